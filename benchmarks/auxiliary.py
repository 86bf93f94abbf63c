"""Which objects teach a linear head most? Heads trained on sets of objects, scored on scanned objects kept for choices.

    EQUIVIEW_SHARED=... python benchmarks/auxiliary.py --backbone B --blocks 10,12 --out baselines/auxiliary_B.json \
        --train scans procedural:8 household:32

A set is `scans` (ten scanned objects), `builtin`, `procedural:N`, `household:N` (N seeds) or a folder of meshes; `A+B`
is both, and `A@varied` is seen by varied cameras in varied light. What is computed is kept in --work.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from _protocol import made_with, mesh_path, rounded, shared, short, split
from torch import nn

from equiview.data.meshes import open_mesh, open_object
from equiview.data.synthetic.builtin import BUILTINS
from equiview.data.synthetic.varied_views import varied_views
from equiview.finetune.head_pairs import TrainingPair, object_pairs
from equiview.finetune.head_training import HeadTraining, train_head
from equiview.finetune.stages.add_head import AddHead, add_head
from equiview.finetune.unlabeled_images import unlabeled_images
from equiview.io import MESH_SUFFIXES, atomic_path, file_name, read_jsonl, write_json
from equiview.jobs.improve import apply_head
from equiview.jobs.scoring import rows_path, write_rows
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.render import ViewStore
from equiview.tasks.comparison import paired_difference
from equiview.tasks.equivariance import MeasureConfig, ObjectPlan, plan_object, score_object, summarize
from equiview.types import FeatureMap

FIRST_SEED = 9001
METRIC = "pcdp@0.05"
MEASURE = MeasureConfig(points=300)
NOTHING = "nothing learned"
PICTURES = 16
VARIED = "@varied"
Rows = list[dict[str, Any]]
Tests = list[tuple[ObjectPlan, list[FeatureMap]]]


@dataclass(frozen=True)
class Setting:
    """What features are taken, of how many views, and where what is computed is kept."""

    source: Extractor
    views: int
    work: Path

    @property
    def features(self) -> str:
        """The backbone, the blocks, the size of pictures and the number of views in one word."""
        config = self.source.config
        blocks = "-".join(map(str, config.blocks))
        return f"{self.source.backbone.info.weights_sha256[:12]}-{blocks}-{config.long_side}-{self.views}"

    def maps(self, label: str, pictures) -> list[FeatureMap]:
        """Return the maps of pictures, float16 on disk when they were computed before."""
        path = self.work / "maps" / self.features / f"{file_name(label)}.pt"
        if not path.exists():
            found = [(m.tokens.half(), m.stride_xy, m.offset_xy, m.image_hw) for m in self.source.maps(pictures)]
            with atomic_path(path) as temporary:
                torch.save(found, temporary)
        return [FeatureMap(t.float(), *about) for t, *about in torch.load(path, weights_only=True)]

    def views_of(self, source: str):
        return open_object(source, n_views=self.views, cache_dir=self.work / "views")

    def opened(self, source: str, varied: bool) -> tuple[str, ViewStore]:
        """Return the views of a training object, and a label that no other views have."""
        if varied:
            mesh = open_mesh(source)
            views = varied_views(mesh, self.views, folder=self.work / "varied" / f"{mesh.name}-{mesh.sha256[:12]}")
        else:
            views = self.views_of(source)
        return f"{views.name}-{views.meta['mesh_sha256'][:12]}{VARIED * varied}", views


def sources(name: str) -> Iterator[str]:
    """Yield the objects of a set."""
    for part in name.split("+"):
        kind, _, count = part.partition(":")
        if part == "scans":
            yield from map(mesh_path, split("train"))
        elif part == "builtin":
            yield from (f"builtin:{own}" for own in BUILTINS)
        elif count:
            yield from (f"{kind}:{FIRST_SEED + number}" for number in range(int(count)))
        else:
            yield from (str(file) for file in sorted(Path(part).iterdir()) if file.suffix.lower() in MESH_SUFFIXES)


def held_out(setting: Setting, count: int) -> Tests:
    """Return the objects that heads are scored on."""
    folders = {"dev": "scanned", "more_dev": "more"}
    files = [
        shared() / "data" / "objects" / folder / f"{name}.glb"
        for key, folder in folders.items()
        for name in split(key)[:count]
    ]
    seen = [(file.stem, list(setting.views_of(str(file)))) for file in files]
    return [(plan_object(name, views, MEASURE), setting.maps(f"dev-{name}", views)) for name, views in seen]


def scored(head: nn.Module | None, tests: Tests) -> Rows:
    with torch.no_grad():
        return [
            row for plan, maps in tests for row in score_object(plan, apply_head(head, maps) if head else maps, MEASURE)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, metavar="SET")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--blocks", required=True, help="such as 10,12")
    parser.add_argument("--long-side", type=int, default=FeatureConfig().long_side)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--objects", type=int, default=6, help="so many of each set that heads are scored on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/auxiliary"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    config = HeadTraining(instances=0, steps=args.steps, pictures=PICTURES)
    features = FeatureConfig(blocks=tuple(map(int, args.blocks.split(","))), long_side=args.long_side)
    source = add_head(AddHead("low_rank_whitened_average"), Extractor(load_backbone(args.backbone), features), 0)
    setting = Setting(source.eval(), args.views, args.work)
    tests = held_out(setting, args.objects)
    table = {NOTHING: kept_rows(setting, f"{NOTHING}-{len(tests)}", lambda: scored(None, tests))}
    about = {"objects": [plan.name for plan, _ in tests], "views": args.views, "points": MEASURE.points}
    about |= {"blocks": args.blocks, "long_side": args.long_side, "first_seed": FIRST_SEED, "seeds": args.seeds}
    about = made_with(source.backbone) | about | {"head_training": asdict(config)}
    for name in args.train:
        table[name] = trained_rows(setting, name, config, args.seeds, tests)
        print_line(name, table)
        if args.out:
            entries = {own: entry(rows, table) for own, rows in table.items()}
            write_json(args.out, rounded({"protocol": about, "rows": entries}))


def trained_rows(setting: Setting, name: str, config: HeadTraining, seeds: list[int], tests: Tests) -> Rows:
    """Train a head on a set once for each seed, and return the rows of all."""
    opened = [setting.opened(source, name.endswith(VARIED)) for source in sources(name.removesuffix(VARIED))]
    digest = hashlib.sha256("".join(label for label, _ in opened).encode()).hexdigest()[:8]

    @cache
    def pairs() -> list[list[TrainingPair]]:
        return [object_pairs(list(views), setting.maps(label, views)) for label, views in opened]

    def once(seed: int) -> Rows:
        unlabeled = setting.maps(f"drawn-{PICTURES}", unlabeled_images(None, 0, PICTURES))
        return scored(train_head(pairs(), [], unlabeled, config, seed=seed), tests)

    label = f"{name}-{digest}-{config.steps}-{len(tests)}"
    return [row for seed in seeds for row in kept_rows(setting, f"{label}-{seed}", partial(once, seed))]


def kept_rows(setting: Setting, label: str, make: Callable[[], Rows]) -> Rows:
    """Return rows that are on disk, or make them and put them there."""
    path = rows_path(setting.work / setting.features, label)
    if not path.exists():
        write_rows(path, make())
    return read_jsonl(path)


def entry(rows: Rows, table: dict[str, Rows]) -> dict[str, Any]:
    """Return a set's scores, and what it gains over nothing learned and over scanned objects, in pairs of objects."""
    controls = {name: own for name, own in table.items() if name in (NOTHING, "scans")}
    differences = {name: short(paired_difference(own, rows, METRIC)) for name, own in controls.items()}
    return summarize(rows, {})["metrics"][METRIC] | {"difference_to": differences}


def print_line(name: str, table: dict[str, Rows]) -> None:
    own, base = (summarize(table[key], {})["metrics"][METRIC] for key in (name, NOTHING))
    for key, one in ((NOTHING, base), (name, own)):
        angles = " ".join(f"{bin_} {found['value']:.1f}" for bin_, found in one["by_angle"].items())
        print(f"{key:32s} {one['value']:6.2f}  {angles}", flush=True)


if __name__ == "__main__":
    main()
