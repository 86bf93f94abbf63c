"""Real data sets: how each is recognised under a folder, where it comes from, how it must lie."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...data.captures.bop import bop_scene
from ...data.captures.middlebury import middlebury_scenes, open_middlebury
from ...data.captures.navi import LAYOUT as NAVI_LAYOUT
from ...data.captures.onepose import onepose_scenes
from ...data.captures.scannet_pairs import LAYOUT as SCANNET_LAYOUT
from ...data.clips.badja import open_badja
from ...data.clips.tapvid import open_tapvid
from ...data.keypoints.loaders import LOADERS
from ...errors import EquiviewError, bad_input
from ...io import read_json, require_folder
from ...matching.pose import LocateConfig
from ...metrics.pck import SCORINGS
from ...records import MissingSet
from ...tasks.pose import PoseConfig, seeded
from ...tasks.recall import RecallConfig
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import TransferConfig
from ...types import PoseScene
from . import recall_sets
from .published import protocols_of
from .settings import Again, BenchConfig, Dataset, Found, Opened, Task

# Folders below the root that are looked into.
DEPTH = 3
VIDEO_LONG_SIDE = 854
QUARTERS = (0, 1, 2, 3)
REFERENCE_SPLITS = ("onboarding_static", "train_real", "train_pbr")


def real_sets(config: BenchConfig) -> tuple[list[Found], list[MissingSet]]:
    """Look for every data set of the tasks asked for.

    Returns:
        Those that are there, and for each other one its name, task, what is wrong, where to get it, how it must lie.

    Raises:
        EquiviewError: The root is no folder, or holds none of them.
    """
    root = require_folder(Path(str(config.root)), "the folder that holds the data sets", "Check --root.")
    folders = list(folders_below(root, DEPTH))
    there, missing = [], []
    wanted = DATASETS if config.protocol is None else protocols_of(config.protocol)
    for name, dataset in DATASETS.items():
        if dataset.task in config.tasks and name in wanted:
            path = next((path for folder in folders if (path := dataset.find(folder)) is not None), None)
            if path is None:
                missing.append(missing_set(name, f"not found under {root}"))
            else:
                there.append(Found(dataset.task, name, partial(_open, name, path, config)))
    if not there:
        lines = "".join(f"\n  {one['dataset']}: {one['where']}; it must lie as {one['layout']}" for one in missing)
        raise bad_input(str(root), "at least one data set", "none of them", f"Get one of these:{lines}")
    return [one for task in config.tasks for one in there if one.task == task], missing


def tasks_of(protocol: str) -> tuple[Task, ...]:
    """Return the tasks of a published protocol.

    Raises:
        EquiviewError: There is none of that name.
    """
    return tuple(dict.fromkeys(DATASETS[name].task for name in protocols_of(protocol)))


def missing_set(name: str, problem: str) -> MissingSet:
    """Return what a user must know about a data set that cannot be measured."""
    dataset = DATASETS[name]
    return {
        "dataset": name,
        "task": dataset.task,
        "problem": problem,
        "where": dataset.where,
        "layout": dataset.layout,
    }


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """Yield the root and the folders below it, level by level, in order of their names; hidden ones are left out."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if child.is_dir() and not child.name.startswith(".")
        ]


def _open(name: str, path: Path, config: BenchConfig) -> Opened:
    # By name: the functions of a data set cannot be sent to other processes.
    opened = DATASETS[name].open(path)
    if isinstance(opened.config, PoseConfig):
        return replace(opened, config=seeded(opened.config, config.seed))
    if isinstance(opened.config, RecallConfig):
        return replace(opened, config=replace(opened.config, seed=config.seed))
    return opened


def _has(pattern: str) -> Callable[[Path], Path | None]:
    """Recognise a folder by a file or folder in it."""
    return lambda folder: folder if next(folder.glob(pattern), None) is not None else None


def _pascal(views: str) -> Callable[[Path], Path | None]:
    """Recognise PF-PASCAL: the lists alone are not enough, and pictures alone are no pairs."""
    name = f"test_pairs_pf_{views}_views.csv"
    return lambda folder: folder if (folder / name).is_file() and (folder / "JPEGImages").is_dir() else None


def _holds(file: str) -> Callable[[Path], Path | None]:
    """Recognise a file (or a folder of shards) in a folder."""
    return lambda folder: folder / file if (folder / file).exists() else None


def _pairs_with(subset: str, key: str) -> Callable[[Path], Path | None]:
    """Recognise a folder whose pair annotations have a key (SPair-71k and AP-10K use the same folders)."""

    def find(folder: Path) -> Path | None:
        first = next((folder / "PairAnnotation" / subset).glob("*.json"), None)
        return folder if first is not None and f'"{key}"' in first.read_text(errors="replace") else None

    return find


def _bop(name: str) -> Callable[[Path], Path | None]:
    """Recognise a folder by its name and the models' list."""

    def find(folder: Path) -> Path | None:
        lists = [folder / models / "models_info.json" for models in ("models_eval", "models")]
        return folder if folder.name == name and any(path.is_file() for path in lists) else None

    return find


def _transfer(name: str) -> Callable[[Path], Opened]:
    return lambda path: Opened(LOADERS[name](path), TransferConfig(), SCORINGS[name])


def _badja(path: Path) -> Opened:
    return Opened(open_badja(path), TrackingConfig("first_annotated"), long_side=VIDEO_LONG_SIDE)


def _tapvid(path: Path, queries: Any) -> Opened:
    return Opened(Again(partial(open_tapvid, path)), TrackingConfig(queries), long_side=VIDEO_LONG_SIDE)


def _middlebury(path: Path) -> Opened:
    low, high = (tuple(float(x) for x in corner) for corner in open_middlebury(path).box)
    # The dinosaur was photographed from all around: a query may be upside down.
    config = PoseConfig(locate=LocateConfig(rolls=QUARTERS), box=(low, high))  # type: ignore[arg-type]
    return Opened(middlebury_scenes(path), config)


def _onepose(path: Path) -> Opened:
    return Opened(onepose_scenes(path), PoseConfig())


def _bop_scenes(path: Path) -> Opened:
    split = next((split for split in REFERENCE_SPLITS if (path / split).is_dir()), None)
    if split is None:
        raise bad_input(str(path), f"references in {' or '.join(REFERENCE_SPLITS)}", "none", "Unpack one of them.")
    targets = path / "test_targets_bop19.json"
    if targets.is_file():
        ids = sorted({int(row["obj_id"]) for row in read_json(targets)})
    else:
        lists = [path / models / "models_info.json" for models in ("models_eval", "models")]
        ids = sorted(int(key) for key in read_json(next(one for one in lists if one.is_file())))

    def scenes() -> Iterator[PoseScene]:
        return (bop_scene(path, number, reference_split=split) for number in ids)

    return Opened(Again(scenes), PoseConfig())


def try_open(found: Found) -> tuple[Opened | None, str]:
    """Open a data set; one that is incomplete or broken is None with what its loader says."""
    try:
        return found.open(), ""
    except EquiviewError as error:
        return None, str(error)


def _keypoints(name: str, where: str, layout: str, find: Callable[[Path], Path | None]) -> Dataset:
    return Dataset("transfer", where, layout, find, _transfer(name))


def _clips(where: str, file: str, queries: str = "first") -> Dataset:
    return Dataset(
        "track", where, file, _holds(file.split(" ", maxsplit=1)[0].rstrip("/")), partial(_tapvid, queries=queries)
    )


_POSE: Task = "pose"
_GEOAWARE = "AP-10K, prepared as pairs by prepare_ap10k.ipynb of github.com/Junyi42/GeoAware-SC"
_AP10K = "ap-10k/JPEGImages, ImageAnnotation and PairAnnotation/"
_PASCAL = "www.di.ens.fr/willow/research/proposalflow, with the lists of github.com/qq456cvb/3DCorrEnhance (data/)"
_LISTS = "PF-dataset-PASCAL/JPEGImages and beside it test_pairs_pf_"
_MVIEW = "vision.middlebury.edu/mview/data"
_TAPVID = "github.com/google-deepmind/tapnet (TAP-Vid)"
_BOP = "bop.felk.cvut.cz/datasets: base archive, models, test (BOP'19 subset) and references"
_BOP_LAYOUT = "models_eval/models_info.json, test/ and one of " + ", ".join(REFERENCE_SPLITS)

DATASETS: dict[str, Dataset] = {
    "middlebury": Dataset(
        _POSE,
        _MVIEW,
        "dino/ with dino_par.txt, README.txt and dinoNNNN.png (any number of them)",
        _has("dino_par.txt"),
        _middlebury,
    ),
    "middlebury-sparse-ring": Dataset(
        _POSE,
        _MVIEW,
        "dinoSparseRing/ with dinoSR_par.txt, README.txt and dinoSRNNNN.png",
        _has("dinoSR_par.txt"),
        _middlebury,
    ),
    "onepose-lowtexture": Dataset(
        _POSE,
        "github.com/zju3dv/OnePose_Plus_Plus (LowTexture, lowtexture_test_data)",
        "lowtexture_test_data/0700-toyrobot-others/toyrobot-1 and -2, each with color/, intrin_ba/ and poses_ba/",
        _has("*-*-*/*-1/poses_ba"),
        _onepose,
    ),
    "ycbv": Dataset(_POSE, _BOP, f"ycbv/{_BOP_LAYOUT}", _bop("ycbv"), _bop_scenes),
    "lmo": Dataset(_POSE, _BOP, f"lmo/{_BOP_LAYOUT}", _bop("lmo"), _bop_scenes),
    "badja": Dataset(
        "track",
        "joints of github.com/benjiebob/BADJA, frames of davischallenge.org (DAVIS 2017, 480p)",
        "joint_annotations/NAME.json beside NAME/video/*.jpg",
        _has("joint_annotations/*.json"),
        _badja,
    ),
    "tapvid-davis": _clips(_TAPVID, "tapvid_davis.pkl"),
    "tapvid-davis-strided": _clips(_TAPVID, "tapvid_davis.pkl", "strided"),
    "tapvid-rgb-stacking": _clips(_TAPVID, "tapvid_rgb_stacking.pkl"),
    "tapvid-kinetics": _clips(_TAPVID, "tapvid_kinetics/ with *.pkl shards"),
    "pf-willow": _keypoints(
        "pf-willow",
        "github.com/bsham/ProposalFlow or www.di.ens.fr/willow/research/proposalflow",
        "PF-dataset-WILLOW/car(G)/*.png with a .mat beside each",
        _has("car(G)/*.mat"),
    ),
    "pf-pascal": _keypoints("pf-pascal", _PASCAL, f"{_LISTS}different_views.csv", _pascal("different")),
    "pf-pascal-same": _keypoints("pf-pascal-same", _PASCAL, f"{_LISTS}same_views.csv", _pascal("same")),
    "spair": _keypoints(
        "spair",
        "cvlab.postech.ac.kr/research/SPair-71k",
        "SPair-71k/JPEGImages and PairAnnotation/test",
        _pairs_with("test", "src_imname"),
    ),
    "ap10k": _keypoints("ap10k", _GEOAWARE, f"{_AP10K}test", _pairs_with("test", "src_json_path")),
    "ap10k-cross-species": _keypoints(
        "ap10k-cross-species",
        _GEOAWARE,
        f"{_AP10K}test_cross_species",
        _pairs_with("test_cross_species", "src_json_path"),
    ),
    "ap10k-cross-family": _keypoints(
        "ap10k-cross-family", _GEOAWARE, f"{_AP10K}test_cross_family", _pairs_with("test_cross_family", "src_json_path")
    ),
    "tss": _keypoints(
        "tss",
        "taniai.space/projects/cvpr16_dccs",
        "TSS_CVPR2016/FG3DCar/PAIR/flow1.flo and its six neighbours",
        _has("*/*/flow1.flo"),
    ),
    "navi": Dataset(
        "recall", "github.com/google/navi (navi_v1.tar.gz)", NAVI_LAYOUT, recall_sets.find_navi, recall_sets.open_navi
    ),
    "scannet-1500": Dataset(
        "recall",
        "scannet_test_1500.tar of github.com/zju3dv/LoFTR, with the two .npz files of its assets/",
        SCANNET_LAYOUT,
        recall_sets.find_scannet,
        recall_sets.open_scannet,
    ),
    "captures": Dataset(
        "recall",
        "your own photographs with poses, or any capture that equiview reads",
        "a folder of captures; those without depth or points need `pip install equiview[colmap]`",
        recall_sets.find_captures,
        recall_sets.open_captures,
    ),
}
