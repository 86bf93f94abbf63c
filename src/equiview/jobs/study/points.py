"""Points of a study: one set of features each, with every score that was measured of it; and their file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import bad_input, shown
from ...io import read_json, write_json
from ...metrics.paired import lower_is_better
from ...schema import as_number

FORMAT = "equiview-study-points"
VERSION = 1
FIELDS = {"format", "version", "source", "lower_is_better", "notes", "protocol", "points"}


@dataclass(frozen=True)
class StudyPoint:
    """One set of features (a backbone, its blocks, its resolution, its adapter) and what it scored.

    Attributes:
        name: Unique in its study.
        family: What it shares with other points, a backbone or a line of models: points of one family are not
            independent.
        scores: Value by score, as published, in whatever unit; a score that is not there was not measured.
        tags: Anything else, as text; a tag can take the place of the family.
        units: For some scores the values by object (clip, picture) that the score is the mean of.
    """

    name: str
    family: str
    scores: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class PointSet:
    """Points that belong together, and how their scores are read.

    Attributes:
        points: In the order they were given.
        lower: Scores of which less is better, beside those whose name says so (ape, ...error...).
        sources: Where they come from, one line each.
        notes: What a reader must know about them.
        protocol: How they were measured, where the file says so.
    """

    points: tuple[StudyPoint, ...]
    lower: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return every score that at least one point has, in order of appearance."""
        return list(dict.fromkeys(name for point in self.points for name in point.scores))

    def sign(self, score: str) -> int:
        """Return -1 where less of this score is better, else 1."""
        return -1 if score in self.lower or lower_is_better(score) else 1

    def values(self, score: str) -> Float[np.ndarray, "n"]:
        """Return the score of every point, turned so that more is better; NaN where it was not measured."""
        return self.sign(score) * np.array([point.scores.get(score, math.nan) for point in self.points])

    def groups(self, cluster: str = "family") -> list[str]:
        """Return the family of every point, or the tag that takes its place.

        Raises:
            EquiviewError: A point lacks that tag.
        """
        if cluster == "family":
            return [point.family for point in self.points]
        lacking = [point.name for point in self.points if cluster not in point.tags]
        if lacking:
            found = ", ".join(sorted({tag for point in self.points for tag in point.tags})) or "no tags"
            where = f"cluster {cluster!r}"
            fix = "Choose family or a tag that every point has."
            raise bad_input(where, "a tag of every point", f"{lacking[0]!r} without it (tags: {found})", fix)
        return [point.tags[cluster] for point in self.points]


def merge(sets: Sequence[PointSet]) -> PointSet:
    """Put several sets together.

    Raises:
        EquiviewError: No points, or two of one name.
    """
    points = tuple(point for one in sets for point in one.points)
    names = [point.name for point in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not points:
        found = f"{', '.join(twice[:4])} twice" if twice else "none"
        raise bad_input("points of the study", "points with names of their own", found, "Give every result once.")
    protocol = {key: value for one in sets for key, value in one.protocol.items()}
    return PointSet(
        points,
        frozenset(name for one in sets for name in one.lower),
        tuple(line for one in sets for line in one.sources),
        tuple(line for one in sets for line in one.notes),
        protocol,
    )


def only(points: PointSet, tags: Mapping[str, str]) -> PointSet:
    """Return the points that have these tags (`family` and `name` count as tags).

    Raises:
        EquiviewError: No point has them all.
    """
    kept = tuple(
        point
        for point in points.points
        if all(({"family": point.family, "name": point.name} | dict(point.tags)).get(k) == v for k, v in tags.items())
    )
    if not kept:
        found = ", ".join(sorted({f"{k}={v}" for point in points.points for k, v in point.tags.items()})[:20]) or "none"
        wanted = ", ".join(f"{k}={v}" for k, v in tags.items())
        raise bad_input(f"only {wanted}", "at least one point with these tags", found, "Check the spelling.")
    notes = (*points.notes, *(f"Only points with {key} = {value}." for key, value in tags.items()))
    return replace(points, points=kept, notes=notes)


def write_points(path: Path, points: PointSet) -> None:
    """Write the study file that `read_points` reads."""
    value = {
        "format": FORMAT,
        "version": VERSION,
        "source": "; ".join(points.sources),
        "lower_is_better": sorted(points.lower),
        "notes": list(points.notes),
        "protocol": dict(points.protocol),
        "points": [asdict(point) for point in points.points],
    }
    write_json(Path(path), value)


def read_points(path: Path) -> PointSet:
    """Read a study file: {"format": "equiview-study-points", "version": 1, "points": [...]}.

    A point is {"name", "family", "scores": {score: number or null}} and optionally "tags" {tag: text} and "units"
    {score: {object: number}}. Beside the points there may be "source" (text), "lower_is_better" (scores), "notes"
    (lines) and "protocol" (anything). A null score was not measured.

    Raises:
        EquiviewError: It is no such file; the message names the first point and field that are wrong.
    """
    path = Path(path)
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = f"format {value.get('format')!r}" if isinstance(value, dict) else type(value).__name__
        fix = "See docs/study.md; a board of OmniProbe is read as omniprobe:FILE."
        raise bad_input(str(path), f'a study file ("format": "{FORMAT}")', found, fix)
    if value.get("version") != VERSION:
        raise bad_input(str(path), f"version {VERSION}", repr(value.get("version")), "Write it with this equiview.")
    unknown = sorted(set(value) - FIELDS)
    points = value.get("points")
    if unknown or not isinstance(points, list) or not points:
        found = f"unknown {', '.join(unknown)}" if unknown else "no list of points"
        raise bad_input(str(path), "a list of points", found, "See docs/study.md for the format.")
    read = tuple(_point(one, f"{path}: point {number}") for number, one in enumerate(points, 1))
    return PointSet(
        read,
        frozenset(map(str, _part(value, "lower_is_better", list, str(path)))),
        (str(value.get("source") or path.name),),
        tuple(map(str, _part(value, "notes", list, str(path)))),
        _part(value, "protocol", dict, str(path)),
    )


def _part(value: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a part that may be left out (or null), of the kind it must have."""
    part = kind() if value.get(key) is None else value[key]
    if not isinstance(part, kind):
        expected = "a list" if kind is list else "an object {name: value}"
        raise bad_input(f"{where}: {key}", expected, shown(part), "See docs/study.md for the format.")
    return part


def _point(value: Any, where: str) -> StudyPoint:
    fix = "See docs/study.md for the format."
    if not isinstance(value, dict) or not isinstance(value.get("scores"), dict):
        raise bad_input(where, 'an object with "name", "family" and "scores"', shown(value), fix)
    texts = {key: value.get(key) for key in ("name", "family")}
    for key, text in texts.items():
        if not isinstance(text, str) or not text:
            raise bad_input(f"{where}: {key}", "text", repr(text), fix)
    scores = {name: checked(number, f"{where}: {name}") for name, number in value["scores"].items()}
    by_object = _part(value, "units", dict, where)
    units = {
        name: {unit: checked(number, f"{where}: {name} of {unit}") for unit, number in own.items()}
        for name, own in ((name, _part(by_object, name, dict, f"{where}: units")) for name in by_object)
    }
    tags = {str(key): str(text) for key, text in _part(value, "tags", dict, where).items()}
    kept = {name: number for name, number in scores.items() if number is not None}
    whole = {
        name: {u: n for u, n in own.items() if n is not None} for name, own in units.items() if None not in own.values()
    }
    return StudyPoint(str(texts["name"]), str(texts["family"]), kept, tags, whole)


def checked(value: Any, where: str) -> float | None:
    """Return a score as a number, None for one that was not measured (null or NaN).

    Raises:
        EquiviewError: It is text, a truth value, or infinite.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, int | float):
        raise bad_input(where, "a finite number, or null where it was not measured", shown(value), "Correct it.")
    return as_number(value, where, fix="Write null where it was not measured.")
