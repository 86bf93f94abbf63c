"""The table of methods: every way of adapting beside its controls, on objects and on PF-WILLOW.

    EQUIVIEW_SHARED=... python benchmarks/method.py --work runs/method --out baselines/method_deit_tiny.json
    EQUIVIEW_SHARED=... python benchmarks/method.py --backbone equiview/tiny --only core joined --few \
        --work runs/method-tiny --out baselines/method_tiny.json

The recipes on one object have nine repetitions, three seeds times three training objects. Rows for comparison that
train have three: each seed with an object of its own, or with several or none (`paper` from several objects and
1,000 steps of anything have one).
Choices were made on the development objects and on every second class of PF-WILLOW; the numbers are on the test objects
and, for PF-WILLOW, on the pairs of pictures that none of those classes holds (`willow`: classes share pictures) and on
all distinct pairs (`willow_all`). Finished rows lie in WORK/rows under their names, and the same command goes on where
it stopped; rows of OUT that it was not asked for are kept. After a change of a recipe, or of what makes a row, begin
another WORK and another OUT.
"""

import argparse
import hashlib
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import (
    SEEDS,
    TRAIN_OBJECTS,
    TRAIN_VIEWS,
    VIEWS,
    Features,
    Measured,
    Repetition,
    plain_name,
    repetitions,
)
from _protocol import MEASURE, ONE_STEP_020, entry, made_with, rounded, shared, split, with_kept
from _willow import WILLOW_SIDE
from torch import nn

from equiview.finetune.closed_form import ClosedFormConfig, picture_statistics, solve_closed_form, view_statistics
from equiview.finetune.head_step import HeadStep, step_head
from equiview.finetune.head_training import HeadTraining, train_head
from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.overrides import override
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import RECIPES, THOROUGH, prepare
from equiview.finetune.stages.add_head import AddHead
from equiview.finetune.train import train
from equiview.io import atomic_path, write_json
from equiview.metrics.equivariance import object_values
from equiview.metrics.paired import difference
from equiview.models.adapters import load_adapter, save_adapter
from equiview.models.adapters.record import RECORD_FILE
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor
from equiview.models.heads import AverageHead, LinearHead, RandomConvHead

WITHOUT = "blocks 4,6,8,10 + averages + whitening"
CENTRED = "blocks 4,6,8,10 + average + centre"
SEEN = ", three sizes and mirrored"
FINE = (0.15, 0.3, 0.5, 0.75, 1.0)
"""Strengths of the recipes' own rows."""
CONTROLS = (
    *("last block", "block 8 + average", "blocks 4,6,8,10 + average", "blocks 4,6,8,10 + random conv"),
    *(CENTRED, WITHOUT),
)
STEPS = (1, 10, 100, 1000)
OBJECTS = (1, 5, 10)


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is compared with, and how a repetition of it is scored."""

    name: str
    controls: tuple[str, ...]
    repetitions: Sequence[Repetition]
    score: Callable[[str, Repetition], None]
    part: str = "core"
    curve: Mapping[str, Any] | None = None


class Bench:
    """The features, the measurements and the rows."""

    def __init__(self, weights: str, work: Path, seen: bool = False) -> None:
        self.weights, self.work = weights, work
        self.features = Features(weights, work, seen=seen)

    @cached_property
    def measured(self) -> Measured:
        return Measured(self.features, split("test"))

    # Controls -----------------------------------------------------------------------------------------------------

    def controls(self) -> Iterator[Row]:
        f, once = self.features, [Repetition(0, ())]
        for name, blocks in (("last block", f.last), ("block 8", f.best), ("blocks 4,6,8,10", f.spread)):
            yield self.fixed_row(name, blocks, lambda _: None, once)
            yield self.fixed_row(f"{name} + average", blocks, lambda _: AverageHead(), once)
            dim = f.backbone.info.dim * len(blocks)
            seeds = [Repetition(seed, ()) for seed in SEEDS]
            yield self.fixed_row(f"{name} + random conv", blocks, lambda r, d=dim: RandomConvHead(d, r.seed), seeds)
        yield self.fixed_row(CENTRED, f.spread, lambda _: None, once, fixed="centered_average")
        yield self.fixed_row(WITHOUT, f.spread, lambda _: None, once, fixed="whitened_average")

    def fixed_row(self, name: str, blocks, head, repeats, controls=("last block",), fixed="none", **about: Any) -> Row:
        def score(label: str, repetition: Repetition) -> None:
            self.measured.head(label, blocks, lambda: head(repetition), fixed)

        return Row(name, tuple(c for c in controls if c != name), repeats, score, **about)

    # Heads on fixed features --------------------------------------------------------------------------------------

    def linear(self, name: str, recipe: Recipe, objects: int = 1, few: int = 0, **about: Any) -> Row:
        """Return a row of a recipe that ends in a linear head, with all repetitions or a few of them."""
        repeats = repetitions(objects) if objects else [Repetition(seed, ()) for seed in SEEDS]
        if few:
            repeats = (diagonal() if objects == 1 else repeats)[:few]
        return self.fixed_row(
            name,
            self.features.spread,
            lambda repetition: self.head_of(recipe, repetition),
            repeats,
            CONTROLS,
            recipe.stage(AddHead).head,
            **about,
        )

    def head_of(self, recipe: Recipe, repetition: Repetition) -> nn.Module:
        """Return what `adapt` makes of a recipe on its fixed features; it is kept, and serves every strength."""
        strength, recipe = recipe.strength, recipe.at_strength(1.0)
        path = self.kept("heads", recipe, repetition).with_suffix(".pt")
        if not path.exists():
            solved = self.solved(recipe, repetition)
            with atomic_path(path) as temporary:
                torch.save([solved.matrix.detach(), solved.mean.detach()], temporary)
        return LinearHead(*torch.load(path, weights_only=True), strength)

    def kept(self, what: str, recipe: Recipe, repetition: Repetition) -> Path:
        """Return where a repetition of a recipe is kept."""
        weights = self.features.backbone.info.weights_sha256
        about = json.dumps([weights, asdict(recipe), asdict(repetition)], sort_keys=True)
        return self.features.work / what / hashlib.sha256(about.encode()).hexdigest()[:20]

    def solved(self, recipe: Recipe, repetition: Repetition) -> LinearHead:
        """Solve, step or train a linear head on features that are kept."""
        names, seed = (*repetition.objects, *recipe.auxiliary_objects), repetition.seed
        fixed, spread, f = recipe.stage(AddHead).head, self.features.spread, self.features
        pairs = (f.pairs(name, seed, spread, fixed=fixed) for name in names)
        if (step := recipe.find(HeadStep)) is not None:
            return step_head(list(pairs), step, seed=seed)
        drawn = f.unlabeled(seed, spread, fixed)
        if (training := recipe.find(HeadTraining)) is not None:
            categories = f.categories(training.instances, seed, fixed)
            return train_head(list(pairs), categories, drawn, training, seed=seed)
        config = recipe.stage(ClosedFormConfig)
        objects = ((f.views(name, TRAIN_VIEWS), f.of_object(name, spread, TRAIN_VIEWS, fixed)) for name in names)
        views = view_statistics(objects, config, seed)
        pictures = picture_statistics(drawn, config.tokens_per_picture, seed)
        return solve_closed_form(pictures, views, config)

    def heads(self) -> Iterator[Row]:
        one, default = RECIPES["one-step"], RECIPES["default"]
        alone, training = replace(default, auxiliary_objects=()), default.stage(HeadTraining)
        yield self.linear("one-step", one)
        yield self.linear("default", default)
        yield self.linear("default, without the object", default, objects=0)
        yield self.linear("default, without companions", alone, few=3)
        for strength in FINE:
            for recipe in (one, default):
                if strength != recipe.strength:
                    name = f"{recipe.name}, strength {strength:g}"
                    yield self.linear(name, recipe.at_strength(strength), few=3, part="more")
        yield self.linear("wiener", RECIPES["wiener"], few=3, part="more")
        centred = default.with_stage(AddHead(head="centered_average")).with_stage(replace(training, steps=600))
        yield self.linear("default, centred features, 600 steps", centred, few=3, part="more")
        yield self.linear("one-step of 0.2.0 (not centred)", ONE_STEP_020, few=3, part="more")
        for steps in (steps for steps in STEPS if steps != training.steps):
            about = {"part": "curves", "curve": {"recipe": "default", "steps": steps}}
            few, name = 1 if steps == STEPS[-1] else 3, f"default, {steps} step{'s' * (steps > 1)}"
            yield self.linear(name, default.with_stage(replace(training, steps=steps)), few=few, **about)
        for recipe in (one, default):
            for objects in OBJECTS[1:]:
                about = {"part": "curves", "curve": {"recipe": recipe.name, "objects": objects}}
                yield self.linear(f"{recipe.name}, {objects} objects", recipe, objects, **about)

    def thorough(self) -> Iterator[Row]:
        """Yield rows of pictures seen in three sizes and mirrored, by heads that learned on them seen once."""
        other = Bench(self.weights, self.work, seen=True)
        about = {"fixed": "whitened_average", "part": "seen", "controls": ("last block", WITHOUT)}
        yield other.fixed_row(WITHOUT + SEEN, self.features.spread, lambda _: None, [Repetition(0, ())], **about)
        about["controls"] = ("last block", WITHOUT, WITHOUT + SEEN)
        for recipe, objects in ((RECIPES["one-step"], 1), (RECIPES["default"], 1), (RECIPES["default"], 0)):
            name = (recipe.name if objects else f"{recipe.name}, without the object") + SEEN
            repeats = repetitions() if objects else [Repetition(seed, ()) for seed in SEEDS]
            head = partial(self.head_of, recipe)
            yield other.fixed_row(name, self.features.spread, head, repeats, **about)

    # Heads on a trained network -----------------------------------------------------------------------------------

    def joined(self) -> Iterator[Row]:
        """Yield the rows of `lora-and-head`: a LoRA of the object, and the head trained on what comes out."""
        joined, few = RECIPES["lora-and-head"], diagonal()
        of_others = [Repetition(seed, (joined.auxiliary_objects[seed],)) for seed in SEEDS]
        yield self.whole("lora-and-head", joined, repetitions())
        yield self.whole("lora-and-head, without the object", joined, of_others)
        yield self.whole("lora-and-head, strength 0.5", joined, repetitions(), strength=0.5)
        sizes = {"sizes": THOROUGH.features.sizes, "mirrored": THOROUGH.features.mirrored}
        yield self.whole("lora-and-head" + SEEN, joined, few, part="seen", **sizes)

    def whole(self, name: str, recipe: Recipe, repeats, part: str = "joined", **seen: Any) -> Row:
        """Return a row of what `adapt` makes of a recipe, applied or seen in another way than the recipe's own."""

        def score(label: str, repetition: Repetition) -> None:
            self.measured.extractor(label, lambda: self.adapted(recipe, repetition, **seen))

        others = ("default", "lora-and-head, without the object", WITHOUT + SEEN)
        controls = tuple(control for control in (*CONTROLS, *others) if control != name)
        return Row(name, controls, repeats, score, part)

    def adapted(self, recipe: Recipe, repetition: Repetition, **seen: Any) -> Extractor:
        """Adapt to a repetition's objects, or load what was kept of it."""
        auxiliary = tuple(name for name in recipe.auxiliary_objects if name not in repetition.objects)
        recipe = replace(recipe, auxiliary_objects=auxiliary)
        folder = self.kept("adapters", recipe, repetition)
        if not (folder / RECORD_FILE).exists():
            made = self.features.adapted(recipe, repetition, self.kept("training", recipe, repetition))
            save_adapter(folder, made)
        return load_adapter(folder, load_backbone(self.weights), **seen)

    # Training the network -----------------------------------------------------------------------------------------

    def trained(self, name: str, recipe: Recipe, repeats, controls, **about: Any) -> Row:
        def score(label: str, repetition: Repetition) -> None:
            self.measured.extractor(label, lambda: self.train(recipe, repetition, label))

        return Row(name, controls, repeats, score, **about)

    def train(self, recipe: Recipe, repetition: Repetition, label: str) -> Extractor:
        extractor = prepare(load_backbone(self.weights), recipe, seed=repetition.seed)
        views = {name: self.features.views(name, 12) for name in repetition.objects}
        folder = self.features.work / "training" / label
        train(extractor, views, recipe.stage(NetworkTraining), folder, seed=repetition.seed)
        return extractor.eval()

    def networks(self) -> Iterator[Row]:
        conv = ("last block", "last block + average", "last block + random conv")
        for steps in STEPS[:-1]:
            yield self.paper(steps, diagonal(), conv)
        for objects in OBJECTS[1:]:
            about = {"part": "paper", "curve": {"recipe": "paper", "objects": objects}}
            recipe = override(RECIPES["paper"], {"steps": 100})
            yield self.trained(f"paper, {objects} objects", recipe, repetitions(objects)[:1], conv, **about)
        yield self.paper(STEPS[-1], diagonal()[:1], conv)

    def paper(self, steps: int, repeats, controls) -> Row:
        about = {"part": "paper", "curve": {"recipe": "paper", "steps": steps}}
        recipe = override(RECIPES["paper"], {"steps": steps})
        return self.trained(f"paper, {steps} step{'s' * (steps > 1)}", recipe, repeats, controls, **about)

    def rows(self) -> list[Row]:
        return [*self.controls(), *self.heads(), *self.thorough(), *self.joined(), *self.networks()]


def diagonal() -> list[Repetition]:
    """Return three repetitions of one object: each seed with an object of its own."""
    return [one for one in repetitions() if is_diagonal(one)]


def is_diagonal(repetition: Repetition) -> bool:
    """Say whether it is one of those, or one with several objects, none or a companion."""
    others = set(TRAIN_OBJECTS) - {TRAIN_OBJECTS[repetition.seed]}
    return len(repetition.objects) != 1 or repetition.objects[0] not in others


def table(bench: Bench, rows: Sequence[Row], every: Sequence[Row]) -> dict[str, Any]:
    """Return those of some rows that are finished, with their paired differences to what is finished of every row."""
    done = [row for row in every if all(bench.measured.done(label_of(row, one)) for one in row.repetitions)]
    by_name, wanted = {row.name: row for row in done}, {row.name for row in rows}
    found = {}
    for row in (row for row in done if row.name in wanted):
        own = [label_of(row, one) for one in row.repetitions]
        labels = {c: same_seeds(by_name[c], row) for c in row.controls if c in by_name}
        result = entry(bench.measured.rows(own), {c: bench.measured.rows(labels[c]) for c in labels})
        for key, which in (("willow", "unseen"), ("willow_all", "all")):
            values = bench.measured.pck(own, which)
            result[key] = {"pck@0.10": float(np.mean(list(values.values())))} | {
                "difference_to": {
                    c: difference(bench.measured.pck(labels[c], which), values, "pck@0.10") for c in labels
                }
            }
        result["repetitions"] = len(own)
        if row.curve is not None:
            result["curve"] = dict(row.curve)
        found[row.name] = result
    return found


def same_seeds(control: Row, row: Row) -> list[str]:
    """Return the repetitions of a control that have a row's seeds; all of one that has a single repetition."""
    seeds, several = {one.seed for one in row.repetitions}, len(control.repetitions) > 1
    return [label_of(control, one) for one in control.repetitions if not several or one.seed in seeds]


def label_of(row: Row, repetition: Repetition) -> str:
    plain = plain_name(row.name)
    return plain if not repetition.objects and len(row.repetitions) == 1 else f"{plain}/{repetition.name}"


def protocol(bench: Bench) -> dict[str, Any]:
    return made_with(bench.features.backbone) | {
        "objects": split("test"),
        "views": f"{VIEWS} of the paper's 42, seeded permutation 0",
        "points": MEASURE.points,
        "long_side": 640,
        "search": "whole target image",
        "training": "12 views an object; 9 repetitions: three objects x three seeds; 3: three objects, a seed each",
        "willow": f"PF-WILLOW, long side {WILLOW_SIDE}, extent, <=; pictures no choice was made on; by source picture",
        "willow_unseen": bench.measured.willow.about("unseen"),
        "willow_all": bench.measured.willow.about("all"),
        "recipes": {name: asdict(RECIPES[name]) for name in ("one-step", "default", "lora-and-head", "paper")},
        "without_object": WITHOUT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="", help="DeiT-Tiny of EQUIVIEW_SHARED if left out")
    parser.add_argument("--work", type=Path, default=Path("runs/method"))
    parser.add_argument("--out", type=Path, default=Path("baselines/method_deit_tiny.json"))
    parser.add_argument(
        "--only", nargs="*", choices=("core", "joined", "more", "curves", "seen", "paper"), help="parts of the table"
    )
    parser.add_argument("--rows", nargs="*", metavar="ROW", help="some rows of those parts")
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=SEEDS, help="score these only, and write no table: for sharing work out"
    )
    parser.add_argument("--few", action="store_true", help="three repetitions of everything")
    parser.add_argument("--table", action="store_true", help="write the table of the finished rows, and score none")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(args.backbone or str(shared() / "data" / "weights" / "deit-tiny-patch16-224"), args.work)
    every = bench.rows()
    if args.few:
        every = [replace(row, repetitions=[one for one in row.repetitions if is_diagonal(one)]) for row in every]
    if unknown := set(args.rows or ()) - {row.name for row in every}:
        raise SystemExit(f"No such row: {', '.join(sorted(unknown))}.")
    rows = [row for row in every if args.only is None or row.part in args.only]
    rows = [row for row in rows if args.rows is None or row.name in args.rows]
    shared_out = set(args.seeds) != set(SEEDS)
    for row in () if args.table else rows:
        for repetition in (one for one in row.repetitions if one.seed in args.seeds):
            label, started = label_of(row, repetition), time.monotonic()
            fresh = not bench.measured.done(label)
            row.score(label, repetition)
            if fresh:
                print(f"{label:60s} {time.monotonic() - started:6.1f} s", flush=True)
        if not shared_out:
            show(bench, row)
    if shared_out:
        return
    found = with_kept(table(bench, rows, every), (row.name for row in every), args.out)
    write_json(args.out, rounded({"protocol": protocol(bench), "rows": found}))
    print(f"wrote {args.out}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def show(bench: Bench, row: Row) -> None:
    """Print a finished row's own scores; differences and intervals take longer, and stand in the table."""
    labels = [label_of(row, one) for one in row.repetitions]
    rows = bench.measured.rows(labels)
    pcdp, ape = (float(np.mean(list(object_values(rows, name).values()))) for name in ("pcdp@0.05", "ape"))
    willow = float(np.mean(list(bench.measured.pck(labels, "unseen").values())))
    print(f"== {row.name:50s} pcdp@0.05 {pcdp:5.2f}  ape {ape:5.2f}  willow {willow:5.2f}", flush=True)


if __name__ == "__main__":
    main()
