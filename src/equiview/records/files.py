"""Records of what is done with single files: matches, tracks, poses, features, captures."""

from typing import NotRequired, TypedDict

from .protocols import ProtocolRecord, Settings
from .rows import PoseAttempt


class LocatedPicture(PoseAttempt):
    """What is known of a located image file.

    Keys:
        query: The file.
        covariance: 6x6, rotation (radians) then translation (world units).
    """

    query: str
    covariance: NotRequired[list[list[float]]]


class TransferredPoints(TypedDict):
    """Points that were transferred between two image files (`points.json`).

    Keys:
        image0, image1: The files.
        xy0: Given points, px of the first image.
        xy1: Where they are in the second image, px.
        similarity: Cosine of each match.
        mirrored: The mirrored source fitted better.
        protocol: How it was done.
    """

    image0: str
    image1: str
    xy0: list[list[float]]
    xy1: list[list[float]]
    similarity: list[float]
    mirrored: bool
    protocol: ProtocolRecord


class TrackRecord(TypedDict):
    """The track of one point (`tracks.json`), by frame.

    Keys:
        query: {"x", "y"} in px and the "frame" they are given in.
        xy: Positions, px.
        visible: Whether the point is believed visible.
        score: Cosine to the query.
        cycle_px: How far the match leads back from the query, px.
    """

    query: dict[str, float]
    xy: list[list[float]]
    visible: list[bool]
    score: list[float]
    cycle_px: list[float]


class TracksRecord(TypedDict):
    """Tracks through one clip.

    Keys:
        clip: Its name.
        hw: Height and width of a frame, px.
        frames: How many there are.
        points: The track of each point.
    """

    clip: str
    hw: list[int]
    frames: int
    points: list[TrackRecord]


class PictureEntry(TypedDict):
    """One image of a folder of features (`index.json`).

    Keys:
        name: Of its files.
        file: The image.
        sha256: Of the image file.
        tokens: The file with its tokens, below the folder.
        channels_rows_columns: Shape of the tokens.
        stride_xy: Distance of neighbouring tokens, px of the image.
        offset_xy: Centre of the first token, px of the image.
        image_hw: Height and width of the image, px.
    """

    name: str
    file: str
    sha256: str
    tokens: str
    channels_rows_columns: list[int]
    stride_xy: list[float]
    offset_xy: list[float]
    image_hw: list[int]


class FeatureIndex(TypedDict):
    """Keys: format; geometry: where tokens are, in words; pictures: one each; protocol; pca: files of the colours."""

    format: str
    geometry: str
    pictures: list[PictureEntry]
    protocol: Settings
    pca: NotRequired[dict[str, str]]


class MatchedPoints(TypedDict):
    """Keys: xy0: given points, px; xy1: where they are in the other image, px; score: cosine of each."""

    xy0: list[list[float]]
    xy1: list[list[float]]
    score: list[float]


class MatchRecord(MatchedPoints):
    """Mutual matches of two image files (`matches.json`).

    Keys:
        image0, image1: The files.
        pixels: What a pixel coordinate means, in words.
        checked: Which matches fit one epipolar geometry (where this was asked for).
        points: Where given points go.
        protocol: How the images were matched.
    """

    image0: str
    image1: str
    pixels: str
    checked: NotRequired[list[bool]]
    points: NotRequired[MatchedPoints]
    protocol: Settings


class CaptureRecord(TypedDict, total=False):
    """The record of a capture (`capture.json`).

    Keys:
        source: Where the images came from.
        source_files: Hash of the files.
        poses: "recovered" or "given".
        settings: How it was made.
        frames_of_source: Images or video frames of the source.
        registered_by_model: Images with a camera in each of COLMAP's models.
        notes: What a user should know of the source.
        masks: Masks were written.
        statistics: `CaptureStatistics`.
        verdict: "grade", "reasons", "advice".
        versions: Of equiview and the libraries, by name.
        compared_with_given: `CameraDifference`.
    """

    source: str
    source_files: str
    poses: str
    settings: Settings
    frames_of_source: int
    registered_by_model: list[int]
    notes: list[str]
    masks: bool
    statistics: Settings
    verdict: Settings
    versions: dict[str, str]
    compared_with_given: Settings
