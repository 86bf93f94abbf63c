"""Rows: one record for each sample of a task, failures included."""

from typing import NotRequired, TypedDict

from .scores import PairScores


class PairRow(PairScores):
    """Equivariance of one ordered pair of views, with its scores over the whole target image.

    Keys:
        variant: Which features (runs of `improve`).
        object: Name of the object.
        pair: Numbers of the source and the target view.
        angle_deg: Angle between the viewing directions.
        overlap: Share (0-1) of the source's points that are visible in the target.
        n: Visible points.
        status: "ok", or why a score is missing.
        n_ambiguous: Points that cannot be told apart; None where this is not known.
        unambiguous: Scores without those points; None where there are none left or it is not known.
        in_mask: Scores with the search inside the target's mask; None where no token lies in it.
        ambiguous_share: Share (0-1) of the object's surface that is ambiguous.
        ceiling: Scores of the token centres nearest to the true places.
    """

    variant: NotRequired[str]
    object: str
    pair: list[int]
    angle_deg: float
    overlap: float
    n: int
    status: str
    n_ambiguous: int | None
    unambiguous: PairScores | None
    in_mask: PairScores | None
    ambiguous_share: NotRequired[float | None]
    ceiling: NotRequired[PairScores]


class TransferRow(TypedDict):
    """Semantic transfer of one pair of images. A failed pair has `failed` in place of the measured keys.

    Keys:
        pair: Name of the pair.
        category: Class of the objects.
        image0: The source image.
        self_pair: The pair is one image twice.
        failed: Why it was not scored.
        n: Key points visible in both.
        errors_px: Distance of each predicted key point.
        grid_px: Distance of the token centre nearest to each true key point.
        image_px: Longer side of the target.
        extent_px: Larger range of the target's key points.
        box_px: Longer side of the target's bounding box; None where the data set has none.
        score: Mean cosine of the matches (-1 to 1).
        mirrored: The mirrored source fitted better.
    """

    pair: str
    category: str
    image0: str
    self_pair: bool
    failed: NotRequired[str]
    n: NotRequired[int]
    errors_px: NotRequired[list[float]]
    grid_px: NotRequired[list[float]]
    image_px: NotRequired[float]
    extent_px: NotRequired[float]
    box_px: NotRequired[float | None]
    score: NotRequired[float]
    mirrored: NotRequired[bool]


class TrackingRow(TypedDict):
    """Tracking of a clip (`kind` "clip") or of one query point of it ("point").

    Keys:
        kind: "clip" or "point".
        clip: Name of the clip.
        failed: Why the clip was not scored.
        n: Visible positions that are scored.
        n_hits: Of these, how many lie within 8 px at a height of 256.
        queries: Query points of the clip.
        average_jaccard: TAP-Vid's score; None where undefined, as the next two.
        delta_avg: TAP-Vid's position accuracy.
        occlusion_accuracy: TAP-Vid's visibility accuracy.
        ceiling: TAP-Vid's scores of the token centres nearest to the true places, visibility known.
        point: Number of the query point (rows of points, as all that follow).
        query_frame: Frame of the query.
        frames: Frames in which the point is visible and scored.
        errors_px: Distance in each of these frames, px at a height of 256.
        n_seen_right: Of these frames, how many are called visible.
        n_hidden: Scored frames in which the point is hidden.
        n_hidden_right: Of these, how many are called hidden.
    """

    kind: str
    clip: str
    failed: NotRequired[str]
    n: NotRequired[int]
    n_hits: NotRequired[int]
    queries: NotRequired[int]
    average_jaccard: NotRequired[float | None]
    delta_avg: NotRequired[float | None]
    occlusion_accuracy: NotRequired[float | None]
    ceiling: NotRequired[dict[str, float | None]]
    point: NotRequired[int]
    query_frame: NotRequired[int]
    frames: NotRequired[list[int]]
    errors_px: NotRequired[list[float]]
    n_seen_right: NotRequired[int]
    n_hidden: NotRequired[int]
    n_hidden_right: NotRequired[int]


class PoseErrors(TypedDict, total=False):
    """Errors of a located query. Keys with `_cm` exist where the scale of the world is known.

    Keys:
        rotation_error_deg: Angle of the rotation between estimate and truth.
        translation_error: Distance of the translations, world units.
        lateral_error: Its part across the line of sight.
        depth_error: Its part along the line of sight.
        add: Mean distance of model points, world units.
        add_s: The same to the nearest model point.
        mssd: BOP's maximum symmetry-aware surface distance, world units.
        mspd: BOP's maximum symmetry-aware projection distance, px.
        vsd: BOP's visible surface discrepancy (0-1) at each tolerance.
    """

    rotation_error_deg: float
    translation_error: float
    lateral_error: float
    depth_error: float
    add: float
    add_s: float
    translation_error_cm: float
    lateral_error_cm: float
    depth_error_cm: float
    add_cm: float
    add_s_cm: float
    mssd: float
    mspd: float
    vsd: list[float]


class PoseAttempt(TypedDict, total=False):
    """What locating a query gave apart from its errors.

    Keys:
        n_matches: Matches between query and template.
        roll: Quarter turns of the query that fitted best.
        failed: Why there is no pose.
        n_inliers: Matches that agree with the pose.
        residual_px: Reprojection error of the inliers.
        rotation_sd_deg: Standard deviation of the rotation.
        cam_from_world: The estimated pose, 4x4, OpenCV axes.
    """

    n_matches: int
    roll: int
    failed: str
    n_inliers: int
    residual_px: float
    rotation_sd_deg: float
    cam_from_world: list[list[float]]


class PoseRow(PoseErrors, PoseAttempt):
    """Pose of one query: its errors, or `failed` with the reason.

    Keys:
        object: Name of the scene.
        query: Name of the query image.
        world_unit_cm: Centimetres of one world unit; None where the scale is unknown.
        diameter: Of the object model, world units (with a model only).
        image_width: Of the query, px (with a model only, and where the query can be used).
    """

    object: str
    query: str
    world_unit_cm: float | None
    diameter: NotRequired[float]
    image_width: NotRequired[int]


class EpipolarRow(TypedDict):
    """One pair of posed images; its shares stand beside these keys by metric name, in percent.

    Keys:
        dataset: Name of the capture.
        pair: Names of both images.
        angle_deg: Angle between the viewing directions.
        n: Mutual matches.
        failed: Why there are no shares.
    """

    dataset: str
    pair: list[str]
    angle_deg: float
    n: NotRequired[int]
    failed: NotRequired[str]


class RecallRow(TypedDict):
    """One pair of views; its recalls stand beside these keys by metric name, in percent.

    Keys:
        object: Name of the object or scene.
        pair: Names of both views.
        angle_deg: Angle of the rotation between the two cameras, roll included.
        n: Matches that were kept.
        failed: Why there are no recalls.
    """

    object: str
    pair: list[str]
    angle_deg: float
    n: NotRequired[int]
    failed: NotRequired[str]
