"""The data sets of viewpoint recall: rendered objects, NAVI, ScanNet's pairs, and whatever captures there are."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...data.captures.navi import is_navi, navi_pairs
from ...data.captures.opening import capture_kind
from ...data.captures.scannet_pairs import is_scannet_pairs, scannet_pairs
from ...data.captures.views import CaptureViews
from ...data.open import check_source, open_source
from ...data.synthetic.procedural import procedural_mesh
from ...data.synthetic.rendered import set_seeds
from ...io import cache_folder
from ...render import render_views, ring
from ...tasks.recall import RecallConfig
from ...types import ViewPairs
from .settings import Again, BenchConfig, Opened

# An object without a scale counts as this large, like those of the other rendered sets: 1 cm is 7 % of its length.
SIZE_CM = 15.0
ELEVATION_DEG = 25.0
CAPTURE_VIEWS = 24
NAVI_PX = 512
# ScanNet counts pixels of 160x120 in pictures of 640x480.
SCANNET = RecallConfig(
    thresholds_cm=(), thresholds_px=(5, 10, 20), px_scale=0.25, binned="10px", bins_deg=(0, 15, 30, 60, 180)
)
NAVI = RecallConfig()
# Small pictures hold fewer points: about the share of them is kept that 1,000 are of those on an object of NAVI.
RENDERED = RecallConfig(matches=250, step_px=2)
CAPTURES = RecallConfig(matches=250, pairs_per_view=2)


def open_rendered(config: BenchConfig) -> Opened:
    """Render objects one after the other, each seen from a ring of cameras."""
    return Opened(Again(partial(_rendered, config)), replace(RENDERED, seed=config.seed))


def _rendered(config: BenchConfig) -> Iterator[ViewPairs]:
    sizes = config.sizes
    for seed in set_seeds(config.seed, sizes.recall_objects):
        cameras = ring(sizes.recall_views, ELEVATION_DEG, hw=sizes.recall_hw)
        views = render_views(procedural_mesh(seed), cameras)
        yield ViewPairs(views.name, views, [one.cam_from_world for one in cameras], unit_cm=SIZE_CM)


def find_navi(folder: Path) -> Path | None:
    """Recognise the folder of NAVI's objects."""
    return folder if is_navi(folder) else None


def open_navi(path: Path) -> Opened:
    """Read NAVI's objects; those without annotations are no part of it."""
    return Opened(Again(partial(navi_pairs, path)), NAVI, long_side=NAVI_PX)


def find_scannet(folder: Path) -> Path | None:
    """Recognise the folder of ScanNet's pairs."""
    return folder if is_scannet_pairs(folder) else None


def open_scannet(path: Path) -> Opened:
    """Read ScanNet's pairs."""
    return Opened(Again(partial(scannet_pairs, path)), SCANNET)


def find_captures(folder: Path) -> Path | None:
    """Recognise a folder that holds captures, each in a folder of its own."""
    return folder if any(map(capture_kind, _folders(folder))) else None


def open_captures(path: Path) -> Opened:
    """Read every capture beside the others; one with poses only is triangulated (extra `colmap`), once.

    Raises:
        EquiviewError: One that cannot be opened.
    """
    sources = [folder for folder in _folders(path) if capture_kind(folder) is not None]
    for source in sources:
        check_source(source)
    return Opened(Again(lambda: map(capture_pairs, sources)), CAPTURES)


def capture_pairs(source: str | Path) -> ViewPairs:
    """Return a capture whose pairs are to be drawn: its longest side counts as `SIZE_CM`.

    Raises:
        EquiviewError: See `open_source`.
    """
    views = open_source(source, n_views=CAPTURE_VIEWS, cache_dir=cache_folder() / "captures")
    assert isinstance(views, CaptureViews)
    return ViewPairs(views.name, views, [one.cam_from_world for one in views.cameras], unit_cm=SIZE_CM)


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
