"""What data sets there are, how to get one, and whether one that is there can be read. Nothing is downloaded."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import bad_input
from ..io import pixels_of, posed_pixels, require_folder
from ..matching.pose.references import picture_of
from ..tasks.pose import PoseConfig
from ..tasks.recall import RecallConfig
from ..tasks.tracking import TrackingConfig
from ..types import Capture, Clip, KeypointPair, PoseScene, UnusableQuery, ViewPairs
from .bench.real import DEPTH, folders_below
from .bench.settings import Opened
from .data_sets import DataSet, data_set, data_sets

SAMPLES = 10


def list_sets(root: str | Path | None = None) -> list[dict[str, Any]]:
    """Return a record of every set: name, use, what, terms, and with a root where it lies ("" where it does not).

    Raises:
        EquiviewError: The root is no folder.
    """
    folders = None if root is None else _folders(root)
    return [
        {"name": one.name, "use": one.use, "what": one.what, "terms": one.terms}
        | ({} if folders is None else {"found": str(_place(one, folders) or "")})
        for one in data_sets().values()
    ]


def how(name: str) -> dict[str, str]:
    """Return how to get a set: what it is, its terms, where it is, how it must lie, and what reads it then.

    Raises:
        EquiviewError: There is none of that name.
    """
    one = data_set(name)
    use = f"equiview bench --suite real --root ROOT --tasks {one.use}"
    use = "equiview measure --objects FOLDER" if one.use == "measure" else use
    return {
        "name": one.name,
        "what": one.what,
        "terms": one.terms,
        "where": one.where,
        "layout": f"{one.layout}; at most {DEPTH} levels below ROOT",
        "then": f"equiview data check {one.name} --root ROOT && {use}",
    }


def check(name: str, root: str | Path) -> dict[str, Any]:
    """Look for a set below a folder, open it, and read ten samples with the loader that a measurement uses.

    Returns:
        {"name", "found": folder or file, "items": scenes, clips, pairs or pictures, None where they are only read one
        after the other, "samples": the names of those that were read}.

    Raises:
        EquiviewError: It is not there, or its loader says what is wrong.
    """
    one = data_set(name)
    path = _place(one, _folders(root))
    if path is None:
        fix = f"Get it from {one.where}."
        raise bad_input(str(root), f"{name}, laid out as {one.layout}", f"none {DEPTH} levels deep", fix)
    opened = one.open(path)
    items = opened.images if isinstance(opened, Capture) else opened.items
    count = len(items) if isinstance(items, list | tuple) or isinstance(opened, Capture) else None  # type: ignore[arg-type]
    samples = list(islice(read_samples(opened), SAMPLES))
    if not samples:
        raise bad_input(str(path), "one sample or more", "none", f"Get it again from {one.where}.")
    return {"name": name, "found": str(path), "items": count, "samples": samples}


def read_samples(opened: Opened | Capture) -> Iterator[str]:
    """Yield the name of each sample after reading its pictures.

    Raises:
        EquiviewError: One cannot be read.
    """
    if isinstance(opened, Capture):
        for posed in opened.images:
            posed_pixels(posed)
            yield posed.name
    elif isinstance(opened.config, PoseConfig):
        yield from _queries(opened.items)
    elif isinstance(opened.config, TrackingConfig):
        yield from _frames(opened.items)
    elif isinstance(opened.config, RecallConfig):
        yield from _views(opened.items)
    else:
        yield from _pairs(opened.items)


def _queries(scenes: Iterable[PoseScene]) -> Iterator[str]:
    for scene in scenes:
        for query in scene.queries:
            if not isinstance(query, UnusableQuery):
                picture_of(query)
                yield f"{scene.name} {query.name}"


def _frames(clips: Iterable[Clip]) -> Iterator[str]:
    for clip in clips:
        for number in sorted({0, len(clip.frames) // 2}):
            _ = clip.frames[number]
            yield f"{clip.name} frame {number}"


def _pairs(pairs: Iterable[KeypointPair]) -> Iterator[str]:
    for pair in pairs:
        pixels_of(pair.image0)
        pixels_of(pair.image1)
        yield pair.name


def _views(sets: Iterable[ViewPairs]) -> Iterator[str]:
    for one in sets:
        for view in one.views:
            yield f"{one.name} {view.name}"


def _folders(root: str | Path) -> list[Path]:
    return list(
        folders_below(require_folder(Path(root), "the folder that holds the data sets", "Check --root."), DEPTH)
    )


def _place(one: DataSet, folders: Iterable[Path]) -> Path | None:
    return next((path for folder in folders if (path := one.find(folder)) is not None), None)
