"""What a backbone's preset and its recipes are worth on held-out objects and on PF-WILLOW, beside their controls.

    EQUIVIEW_SHARED=... python benchmarks/preset.py --backbone B --preset dinov2-class --work runs/preset --out OUT

Recipes are those that `equiview finetune` carries out with these features. `one-step` and `default` have nine
repetitions: three seeds times three training objects, none of them scored on; `default` without an object of one's own
has three. Finished rows lie in WORK/rows, and the same command goes on where it stopped.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import SEEDS, TRAIN_VIEWS, VIEWS, Features, Measured, Repetition, plain_name, repetitions
from _protocol import MEASURE, entry, made_with, rounded, split, with_kept
from torch import nn

from equiview.data.names import source_name
from equiview.finetune.adapt import adapt
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import get_recipe
from equiview.finetune.stages.add_head import AddHead, add_head
from equiview.io import atomic_path, read_json, write_json
from equiview.jobs.finetune import open_when_asked
from equiview.jobs.presets import Preset, read_preset, recipe_with_preset
from equiview.metrics.equivariance import object_values
from equiview.metrics.paired import difference
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import RandomConvHead, build_head, head_spec

LAST, NOTHING = "last block", "nothing learned"
CONTROLS = (
    *(LAST, "last block + random conv", "blocks at 1/3 to 5/6 + whitening"),
    *(NOTHING, f"{NOTHING} + random conv", "the preset, nothing learned"),
)
SETS = {"test": ("test", "more_test"), "dev": ("dev", "more_dev")}


@dataclass(frozen=True)
class Row:
    """One line of the table: its blocks, the head of a repetition, and the repetitions."""

    name: str
    blocks: tuple[int, ...]
    head: Callable[[Repetition], nn.Module | None]
    repetitions: Sequence[Repetition]

    def few(self) -> "Row":
        """Return it with a repetition for each seed, each with its own object."""
        step = 1 + len(SEEDS)
        return replace(self, repetitions=self.repetitions[::step]) if len(self.repetitions) > len(SEEDS) else self

    def labels(self, seeds: Sequence[int] | None = None) -> list[str]:
        """Return where the rows of its repetitions are kept."""
        chosen = [one for one in self.repetitions if seeds is None or len(self.repetitions) == 1 or one.seed in seeds]
        return [f"{plain_name(self.name).replace('/', '-')}/{one.name}" for one in chosen]


class Bench:
    """The features of a backbone, the two measurements, and the rows of a preset."""

    def __init__(self, weights: str, preset: Preset, work: Path, objects: Sequence[str], strengths) -> None:
        self.features = Features(weights, work)
        backbone = self.features.backbone
        self.preset, self.work, self.strengths = preset.fitted(backbone.info), work, strengths
        claim_preset(work, self)
        self.measured = Measured(self.features, objects)

    def recipe(self, name: str) -> Recipe:
        return recipe_with_preset(get_recipe(name), self.preset, self.features.backbone)

    def rows(self) -> list[Row]:
        """Return the controls and the recipes."""
        backbone, once = self.features.backbone, [Repetition(0, ())]
        alone, last = [Repetition(seed, ()) for seed in SEEDS], (backbone.info.blocks,)
        default = self.recipe("default")
        blocks, own = default.feature_config(backbone.info.blocks).blocks, self.preset.blocks
        rows = [
            Row(LAST, last, lambda _: None, once),
            Row(CONTROLS[1], last, lambda r: RandomConvHead(backbone.info.dim, r.seed), alone),
            Row(
                CONTROLS[2], self.features.spread, lambda _: self.fixed("whitened_average", self.features.spread), once
            ),
            Row(NOTHING, blocks, lambda _: self.fixed(self.preset.head, blocks), once),
            Row(CONTROLS[4], blocks, lambda r: self.convolved(r.seed, blocks), alone),
            Row(CONTROLS[5], own, lambda _: self.fixed(self.preset.head, own), once),
            self.row("one-step", self.recipe("one-step"), repetitions()),
            self.row("default", default, repetitions()),
            self.row("default, without the object", default, alone),
        ]
        for strength in self.strengths:
            for name in ("one-step", "default"):
                recipe = self.recipe(name).at_strength(strength)
                rows.append(self.row(f"{name}, strength {strength:g}", recipe, repetitions()))
        return rows

    def row(self, name: str, recipe: Recipe, repeats: Sequence[Repetition]) -> Row:
        blocks = recipe.feature_config(self.features.backbone.info.blocks).blocks
        return Row(name, blocks, partial(self.learned, recipe), repeats)

    def fixed(self, head: str, blocks: tuple[int, ...]) -> nn.Module | None:
        plain = Extractor(self.features.backbone, FeatureConfig(blocks=blocks))
        return add_head(AddHead(head), plain, 0).head  # type: ignore[arg-type]

    def convolved(self, seed: int, blocks: tuple[int, ...]) -> nn.Module:
        """Return the fixed head with an untrained convolution on top."""
        channels = self.features.backbone.info.dim * len(blocks)
        fixed = self.fixed(self.preset.head, blocks)
        conv = RandomConvHead(channels, seed)
        return conv if fixed is None else nn.Sequential(fixed, conv)

    def learned(self, recipe: Recipe, repetition: Repetition) -> nn.Module:
        """Return the head that a recipe makes of a repetition's objects; it is kept, and serves every strength."""
        names = "-".join(map(source_name, repetition.objects)) or "none"
        path = self.work / "heads" / f"{recipe.name}-{names}-{repetition.seed}.pt"
        if not path.exists():
            head = self.adapted(recipe.at_strength(1.0), repetition).head
            with atomic_path(path) as temporary:
                torch.save([head_spec(head), head.state_dict()], temporary)  # type: ignore[union-attr]
        spec, state = torch.load(path, weights_only=True)
        changed = [one | {"strength": recipe.strength} if "strength" in one else one for one in spec]
        # Names of nested chains are not those of the flat one, their order is.
        return build_head(changed, dict(zip(build_head(spec).state_dict(), state.values(), strict=True)))

    def adapted(self, recipe: Recipe, repetition: Repetition) -> Extractor:
        own = {source_name(name): self.features.views(name, TRAIN_VIEWS) for name in repetition.objects}
        views = recipe.views_of_auxiliary(TRAIN_VIEWS)
        auxiliary = open_when_asked(recipe.auxiliary_objects, views, self.work / "views")
        out = self.work / "training" / f"{recipe.name}-{'-'.join(own) or 'none'}-{repetition.seed}"
        store = self.work / "pairs" if recipe.keep_auxiliary else None
        return adapt(self.features.backbone, own | auxiliary, recipe, out, store=store, seed=repetition.seed)


def claim_preset(work: Path, bench: Bench) -> None:
    """Stop where a folder holds finished rows of other recipes: heads and rows are told by their names only."""
    note, recipes = work / "recipes.json", {name: asdict(bench.recipe(name)) for name in ("one-step", "default")}
    wanted = json.loads(json.dumps([recipes, bench.preset.blocks, bench.preset.head]))
    if note.exists() and read_json(note) != wanted:
        raise SystemExit(f"{work} holds rows of other recipes: give another --work.")
    write_json(note, wanted)


def line(bench: Bench, row: Row, every: Sequence[Row]) -> dict[str, Any]:
    """Return a row's scores and its paired differences to the controls."""
    controls = {one.name: one for one in every if one.name in CONTROLS and one.name != row.name}
    if row.name == "default":
        controls |= {one.name: one for one in every if one.name == "default, without the object"}
    seeds = sorted({one.seed for one in row.repetitions})
    labels = {name: one.labels(seeds) for name, one in controls.items()}
    measured = bench.measured
    result = entry(measured.rows(row.labels()), {name: measured.rows(own) for name, own in labels.items()})
    for key, which in (("willow", "unseen"), ("willow_all", "all")):
        values = measured.pck(row.labels(), which)
        apart = {name: difference(measured.pck(own, which), values, "pck@0.10") for name, own in labels.items()}
        result[key] = {"pck@0.10": float(np.mean(list(values.values()))), "difference_to": apart}
    return result | {"repetitions": len(row.repetitions)}


def show(bench: Bench, row: Row) -> None:
    """Print a row's own scores."""
    rows = bench.measured.rows(row.labels())
    pcdp = [
        float(np.mean(list(object_values(rows, "pcdp@0.05", None, angles).values())))
        for angles in (None, (0, 45), (45, 90), (90, 180))
    ]
    willow = [float(np.mean(list(bench.measured.pck(row.labels(), which).values()))) for which in ("unseen", "all")]
    scores = " ".join(f"{value:6.2f}" for value in (*pcdp, *willow))
    print(f"{row.name:40s} {scores}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--preset", required=True, help="a shipped one, or the file of equiview choose")
    parser.add_argument("--objects", choices=SETS, default="test", help="what is scored; choices are made on dev")
    parser.add_argument("--strengths", type=float, nargs="*", default=[], help="more of the recipes' heads")
    parser.add_argument("--rows", nargs="*", metavar="ROW")
    parser.add_argument("--few", action="store_true", help="a repetition for each seed, each with its own object")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    objects = [name for key in SETS[args.objects] for name in split(key)]
    bench = Bench(args.backbone, read_preset(args.preset), args.work, objects, args.strengths)
    every = bench.rows()
    if args.few:
        every = [row.few() for row in every]
    rows = [row for row in every if args.rows is None or row.name in args.rows]
    for row in rows:
        for label, repetition in zip(row.labels(), row.repetitions, strict=True):
            bench.measured.head(label, row.blocks, partial(row.head, repetition))
        show(bench, row)
    done = [row for row in every if all(map(bench.measured.done, row.labels()))]
    found = {row.name: line(bench, row, done) for row in rows}
    protocol = made_with(bench.features.backbone) | {
        "preset": asdict(bench.preset) | {"name": args.preset},
        "objects": objects,
        "views": f"{VIEWS} of the paper's 42, seeded permutation 0",
        "points": MEASURE.points,
        "recipes": {name: asdict(bench.recipe(name)) for name in ("one-step", "default")},
        "willow_unseen": bench.measured.willow.about("unseen"),
        "willow_all": bench.measured.willow.about("all"),
    }
    kept = with_kept(found, (row.name for row in every), args.out)
    write_json(args.out, rounded({"protocol": protocol, "rows": kept}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
