"""Make the points of the study: one set of features each, with equivariance, transfer, tracking and pose.

    EQUIVIEW_SHARED=... python benchmarks/study_points.py --work runs/study --out baselines/study_points.json
    equiview study baselines/study_points.json --out runs/study/page

Blocks x resolutions x backbones (equiview/tiny, DeiT-Tiny, random weights of three seeds) x pretrained, smoothed (3x3
average), whitened (what lies under the recipe one-step, nothing learned) or adapted (one-step from one object). A
backbone sees every picture once at each resolution: all blocks are kept in memory, so that a point costs seconds.
Finished points lie in WORK/points; the same command goes on where it stopped.
"""

import argparse
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _protocol import mesh_path, rounded, shared, split
from torch import nn

from equiview.data.clips.badja import open_badja
from equiview.data.keypoints.pfwillow import load_pf_willow
from equiview.data.meshes import open_object
from equiview.data.synthetic.pose import PoseWorld, pose_scenes
from equiview.data.synthetic.rendered import set_seeds
from equiview.finetune.head_pairs import object_pairs
from equiview.finetune.head_step import HeadStep, step_head
from equiview.finetune.recipes import ONE_STEP, WHITENED
from equiview.finetune.stages.add_head import FIXED_HEADS
from equiview.io import read_json, write_json
from equiview.jobs.study.points import PointSet, StudyPoint, write_points
from equiview.metrics.equivariance import object_values
from equiview.metrics.pck import SCORINGS
from equiview.metrics.rows import scores
from equiview.models.adapters.folder import versions
from equiview.models.backbones import Backbone, load_backbone
from equiview.models.extractor import Extractor, FeatureConfig, picture_rgb, split_blocks
from equiview.models.heads import AverageHead, HeadChain
from equiview.tasks import pose, tracking, transfer
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object, summarize
from equiview.tasks.pose import PoseConfig
from equiview.tasks.tracking import TrackingConfig, part_of
from equiview.tasks.transfer import TransferConfig
from equiview.types import FeatureMap, KeypointPair

# Random weights hardly differ between blocks: fewer will do.
RANDOM_BLOCKS = ((4,), (8,), (12,), (4, 6, 8, 10))
BLOCKS = ((2,), (4,), (6,), (8,), (10,), (12,), (4, 6, 8, 10))
STATES = ("pretrained", "smoothed", "whitened", "adapted")
KEPT = (2, 4, 6, 8, 10, 12)
# Share of the resolution that is usual on each data set.
SCALES = (0.5, 0.75)
USUAL = {"objects": 640, "willow": 448, "badja": 854, "pose": 512}
TRAIN_OBJECT = "large_marker"
VIEWS, POINTS, WILLOW_PICTURES = 6, 300, 5
SCENES, WORLD = 5, PoseWorld(references=12, queries=8, hw=(256, 256), clutter=False)
SCORING = SCORINGS["pf-willow"]
MEASURE = MeasureConfig(points=POINTS)


class BlockMaps:
    """The kept blocks of every picture at one resolution, float16, computed when first asked for."""

    def __init__(self, backbone: Backbone, long_side: int) -> None:
        self.extractor = Extractor(backbone, FeatureConfig(blocks=KEPT, long_side=long_side)).eval()
        self.kept: dict[str, FeatureMap] = {}

    def blocks_of(self, view: Any) -> list[FeatureMap]:
        rgb = picture_rgb(view)
        key = hashlib.sha256(np.ascontiguousarray(rgb).data).hexdigest()
        if key not in self.kept:
            (fmap,) = self.extractor.maps([rgb], batch_size=1, device="cpu")
            self.kept[key] = fmap.replace_tokens(fmap.tokens.half())
        return split_blocks(self.kept[key], len(KEPT))


@dataclass
class Features:
    """Some blocks with a head, as a source of feature maps."""

    maps_of: BlockMaps
    blocks: tuple[int, ...]
    head: nn.Module | None = None

    def maps(self, views: Iterable[Any], *, batch_size: int = 1) -> Iterator[FeatureMap]:
        for view in views:
            parts = self.maps_of.blocks_of(view)
            own = [F.normalize(parts[KEPT.index(block)].tokens.float(), dim=0) for block in self.blocks]
            tokens = torch.cat(own)
            with torch.no_grad():
                yield parts[0].replace_tokens(tokens if self.head is None else self.head(tokens[None])[0])

    def describe(self) -> dict[str, Any]:
        return self.maps_of.extractor.describe() | {"blocks": list(self.blocks)}


@dataclass
class Data:
    """Everything that is measured on, opened once."""

    work: Path
    plans: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        root = shared() / "data"
        self.plans = [plan_object(name, list(self.views(name)), MEASURE) for name in split("test")]
        self.train_views = list(self.views(TRAIN_OBJECT))
        self.pairs = first_pictures(load_pf_willow(root / "semantic" / "PF-dataset-WILLOW"))
        self.clips = [part_of(clip, np.flatnonzero(clip.known.any(0))) for clip in open_badja(root / "tracking")]
        self.scenes = list(pose_scenes(set_seeds(0, SCENES), WORLD))

    def views(self, name: str):
        return open_object(mesh_path(name), n_views=VIEWS, seed=0, cache_dir=self.work / "views")


def first_pictures(pairs: list[KeypointPair]) -> list[KeypointPair]:
    """Return the pairs among the first pictures of every category: few pictures to compute, many pairs."""
    names: dict[str, list[str]] = {}
    for pair in pairs:
        own = names.setdefault(pair.category, [])
        own += [str(pair.image0)] if str(pair.image0) not in own else []
    kept = {name for own in names.values() for name in sorted(own)[:WILLOW_PICTURES]}
    return [pair for pair in pairs if str(pair.image0) in kept and str(pair.image1) in kept]


@dataclass(frozen=True)
class Setting:
    """One point."""

    family: str
    weights: str
    seed: int | None
    scale: float
    blocks: tuple[int, ...]
    state: str

    @property
    def name(self) -> str:
        return f"{self.family}, blocks {'+'.join(map(str, self.blocks))}, x{self.scale:g}, {self.state}"


def settings() -> list[Setting]:
    """Return all points, those of one backbone and resolution together."""
    deit = str(shared() / "data" / "weights" / "deit-tiny-patch16-224")
    backbones = [("equiview/tiny", "equiview/tiny", None), ("DeiT-Tiny", deit, None)]
    backbones += [(f"random {seed}", deit, seed) for seed in range(3)]
    return [
        Setting(*backbone, scale, blocks, state)
        for backbone, scale in itertools.product(backbones, SCALES)
        for blocks in (BLOCKS if backbone[2] is None else RANDOM_BLOCKS)
        for state in STATES
    ]


def head_of(state: str, features: Features, data: Data) -> nn.Module | None:
    """Return nothing, the 3x3 average, or what the recipe one-step puts on them: without and with its object."""
    if state == "pretrained":
        return None
    if state == "smoothed":
        return AverageHead(3)
    fixed = FIXED_HEADS[WHITENED.head]()
    if state == "whitened":
        return fixed
    maps = list(Features(features.maps_of, features.blocks, fixed).maps(data.train_views))
    config = ONE_STEP.stage(HeadStep)
    pairs = object_pairs(
        data.train_views, maps, min_overlap=config.min_overlap, max_angle_deg=config.max_angle_deg, seed=0
    )
    return HeadChain([fixed, step_head([pairs], config, strength=ONE_STEP.strength)])


def measured(setting: Setting, maps: dict[str, BlockMaps], data: Data) -> StudyPoint:
    """Score one setting on everything."""
    head = head_of(setting.state, Features(maps["objects"], setting.blocks), data)
    source = {name: Features(own, setting.blocks, head) for name, own in maps.items()}
    found: dict[str, float] = {}
    units: dict[str, dict[str, float]] = {}
    for part in (equivariance, willow, badja, posed):
        own_scores, own_units = part(source, data)
        found, units = found | own_scores, units | own_units
    tags = {
        "blocks": "+".join(map(str, setting.blocks)),
        "scale": f"{setting.scale:g}",
        "state": setting.state,
        "weights": "trained" if setting.seed is None else "random",
    }
    return StudyPoint(setting.name, setting.family, found, tags, units)


Scored = tuple[dict[str, float], dict[str, dict[str, float]]]


def equivariance(source: dict[str, Features], data: Data) -> Scored:
    rows = [row for plan in data.plans for row in score_object(plan, list(source["objects"].maps(plan.views)), MEASURE)]
    names = ("ape", "pcdp@0.05", "pcdp@0.1")
    metrics = summarize(rows, {})["metrics"]
    return {name: metrics[name]["value"] for name in names}, {name: object_values(rows, name) for name in names}


def willow(source: dict[str, Features], data: Data) -> Scored:
    rows = transfer.run(source["willow"], data.pairs, TransferConfig())
    metrics = transfer.summarize(rows, {}, SCORING)["metrics"]
    scoring = {"threshold": SCORING.threshold, "inclusive": SCORING.inclusive}
    units = by_unit(rows, "category", "pck@0.10", scoring)
    return {"transfer/pf-willow/pck@0.10": metrics["pck@0.10"]["value"]}, {"transfer/pf-willow/pck@0.10": units}


def badja(source: dict[str, Features], data: Data) -> Scored:
    rows = tracking.run(source["badja"], data.clips, TrackingConfig("first_annotated"))
    share = 100 * tracking.summarize(rows, {})["metrics"]["share_under_8px"]["value"]
    points = [row | {"point": str(row["point"])} for row in rows if row["kind"] == "point" and row["n"]]
    units = {point: 100 * value for point, value in by_unit(points, "point", "share_under_8px").items()}
    return {"track/badja/percent_under_8px": share}, {"track/badja/percent_under_8px": units}


def posed(source: dict[str, Features], data: Data) -> Scored:
    rows = pose.run(source["pose"], data.scenes, PoseConfig())
    metrics = pose.summarize(rows, {})["metrics"]
    names = ("pose_recall@5deg", "pose_recall@10deg")
    units = {f"pose/synthetic/{name}": by_unit(rows, "object", name) for name in names}
    return {f"pose/synthetic/{name}": metrics[name]["value"] for name in names}, units


def by_unit(
    rows: list[dict[str, Any]], key: str, score: str, scoring: dict[str, Any] | None = None
) -> dict[str, float]:
    """Return the mean of a score over the rows of each unit."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(str(row[key]), []).append(scores(row, scoring)[score])
    return {name: float(np.mean(own)) for name, own in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/study"), help="views and finished points")
    parser.add_argument("--out", type=Path, default=Path("baselines/study_points.json"))
    parser.add_argument("--only", default="", help="only points whose name contains this, for a try")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    wanted = [setting for setting in settings() if args.only in setting.name]
    if not wanted:
        raise SystemExit(f"--only {args.only}: no such point.")
    data: Data | None = None
    points = []
    for (_, scale), group in itertools.groupby(wanted, key=lambda one: (one.family, one.scale)):
        maps: dict[str, BlockMaps] = {}
        for setting in group:
            path = args.work / "points" / f"{setting.name.replace('/', '-').replace(' ', '_').replace(',', '')}.json"
            if not path.exists():
                data = data or Data(args.work)
                if not maps:
                    backbone = load_backbone(setting.weights, random_weights_seed=setting.seed)
                    maps = {name: BlockMaps(backbone, round(side * scale)) for name, side in USUAL.items()}
                started = time.process_time()
                point = measured(setting, maps, data)
                write_json(path, rounded({"scores": point.scores, "units": point.units, "tags": point.tags}))
                print(f"{setting.name:50s} {time.process_time() - started:5.1f} CPU s  {shown(point)}", flush=True)
            points.append(StudyPoint(name=setting.name, family=setting.family, **read_json(path)))
            write_points(args.out, PointSet(tuple(points), sources=("points made by equiview",), protocol=protocol()))
    print(f"wrote {args.out}: {len(points)} points")


def shown(point: StudyPoint) -> str:
    return "  ".join(f"{name.rpartition('/')[2]} {value:.1f}" for name, value in point.scores.items())


def protocol() -> dict[str, Any]:
    return {
        "resolution": f"the scale times {USUAL} px",
        "objects": f"{split('test')}, {VIEWS} views, {POINTS} points a view",
        "transfer": f"PF-WILLOW, ordered pairs of the first {WILLOW_PICTURES} pictures of each category, extent, <=",
        "tracking": "BADJA, annotated frames, percent under 8 px at 256 px height",
        "pose": f"{SCENES} rendered objects, {WORLD.references} references and {WORLD.queries} queries each, on black",
        "whitened": f"the fixed head {WHITENED.head}: averages, centring and whitening within each picture",
        "adapted": f"the recipe one-step from {TRAIN_OBJECT}, {VIEWS} views, strength {ONE_STEP.strength}",
        "units": "objects; categories (transfer), query points (tracking), objects (pose)",
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
