"""Is this capture good enough, and what should be photographed differently: words from numbers alone."""

from dataclasses import dataclass
from typing import Literal

from .statistics import CaptureStatistics

Grade = Literal["good", "usable", "weak", "failed"]

# Below the first number a capture is weak, below the second only usable.
_REGISTERED, _POINTS_PER_IMAGE, _TRACK_LENGTH = (0.6, 0.9), (40.0, 150.0), (2.3, 3.0)
_ANGLE_DEG, _CIRCLE = (3.0, 8.0), (0.15, 0.5)
_FITTING = (0.15, 0.35)
_ERROR_PX = (1.5, 1.0)  # Above, not below.
_MIN_IMAGES, _MIN_POINTS = 3, 30
# Cameras this close together, measured against their distance to the points, have turned rather than walked.
_ON_THE_SPOT = 0.1


@dataclass(frozen=True)
class Verdict:
    """What a capture is worth.

    Attributes:
        grade: "good"; "usable": scores from it mean something; "weak": expect noise; "failed": nothing to use.
        reasons: One sentence for each shortcoming, with its number.
        advice: What to photograph differently, one sentence each, without repetition.
    """

    grade: Grade
    reasons: tuple[str, ...]
    advice: tuple[str, ...]


_OVERLAP = "Take more pictures with more overlap: each should show two thirds of the one before."
_TEXTURE = "Give it more texture: put it on a printed page or a patterned cloth, and take it out of plain surroundings."
_SHARP = "Take sharper pictures: more light, a steady hand, no zooming in between, focus on the object."
_AROUND = "Walk around the object, all the way if you can, at two heights."
_WALK = "Do not turn on the spot: walk sideways between pictures, so that near things move against far ones."
_POSES = "Check that the given poses and lens belong to these pictures, and the axes they were written in."
_STILL = "Keep the object still against its surroundings; move the camera, not the object."


def judge(found: CaptureStatistics, *, poses_given: bool = False) -> Verdict:
    """Return the verdict.

    Args:
        found: The numbers.
        poses_given: Poses came with the capture: then registration says nothing, and few points may mean wrong poses.
    """
    failure = _failure(found, poses_given)
    if failure is not None:
        return failure
    assert found.median_error_px is not None and found.mean_track_length is not None  # There are points.
    assert found.median_angle_deg is not None and found.circle_seen is not None and found.baseline is not None
    share = found.images_registered / found.images_given
    per_image = found.observations / max(found.images_registered, 1)
    turned = found.baseline < _ON_THE_SPOT
    marks = [
        _mark(
            share,
            _REGISTERED,
            f"Only {found.images_registered} of {found.images_given} pictures got a camera.",
            _OVERLAP,
        ),
        _mark(per_image, _POINTS_PER_IMAGE, f"A picture sees only {per_image:.0f} points.", _TEXTURE),
        _mark(
            found.mean_track_length,
            _TRACK_LENGTH,
            f"A point is seen in only {found.mean_track_length:.1f} pictures.",
            _OVERLAP,
        ),
        _mark(
            -found.median_error_px,
            (-_ERROR_PX[0], -_ERROR_PX[1]),
            f"Points reproject {found.median_error_px:.2f} px off.",
            _POSES if poses_given else _SHARP,
        ),
        _mark(
            found.median_angle_deg,
            _ANGLE_DEG,
            f"A point is seen from directions only {found.median_angle_deg:.1f} degrees apart.",
            _WALK if turned else _AROUND,
        ),
        _mark(
            found.circle_seen,
            _CIRCLE,
            f"Only {100 * found.circle_seen:.0f} % of the circle around it is seen.",
            _WALK if turned else _AROUND,
        ),
    ]
    if found.models > 1:
        marks.append(("usable", f"The pictures fell apart into {found.models} groups that share no points.", _OVERLAP))
    if found.images_without_points:
        blind = found.images_without_points
        marks.append(("usable", f"{blind} pictures with a camera see no point.", _TEXTURE))
    if found.matches_fitting is not None:
        fit = f"Only {100 * found.matches_fitting:.0f} % of the matches fit the given poses."
        marks.append(_mark(found.matches_fitting, _FITTING, fit, _POSES))
    bad = [mark for mark in marks if mark is not None]
    grade: Grade = "weak" if any(level == "weak" for level, _, _ in bad) else "usable" if bad else "good"
    return Verdict(grade, tuple(reason for _, reason, _ in bad), tuple(dict.fromkeys(advice for _, _, advice in bad)))


def _mark(value: float, limits: tuple[float, float], said: str, advice: str) -> tuple[Grade, str, str] | None:
    """Return the level, the sentence and the advice of a number below its limits."""
    if value >= limits[1]:
        return None
    return ("weak" if value < limits[0] else "usable", said, advice)


def _failure(found: CaptureStatistics, poses_given: bool) -> Verdict | None:
    if found.images_given < _MIN_IMAGES:
        return Verdict("failed", (f"There are {found.images_given} pictures; three are the least.",), (_OVERLAP,))
    if found.images_registered >= _MIN_IMAGES and found.points >= _MIN_POINTS:
        return None
    if poses_given:
        reason = f"Only {found.points} points fit the given poses."
        return Verdict("failed", (reason,), (_POSES, _TEXTURE))
    if found.images_registered < _MIN_IMAGES:
        reason = f"Only {found.images_registered} of {found.images_given} pictures could be put together."
    else:
        reason = f"Only {found.points} points were found."
    return Verdict("failed", (reason,), (_OVERLAP, _WALK, _TEXTURE, _STILL))
