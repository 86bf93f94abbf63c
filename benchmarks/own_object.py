"""What adapting to an object gives on other views of that very object: which way is best there, and its price.

    EQUIVIEW_SHARED=... python benchmarks/own_object.py --work runs/method --out baselines/own_object_dev.json
    EQUIVIEW_SHARED=... python benchmarks/own_object.py --work runs/method --objects test \
        --out baselines/own_object_deit_tiny.json

Every object for itself, DeiT-Tiny: adapted on 12 views, scored on 12 others. Ways are chosen on development objects;
on test objects only recipes are scored.
PF-WILLOW (the classes choices are made on for `dev`, the pictures they were not made on for `test`) is scored with the
heads of three of the objects. WORK may be that of method.py, whose views, maps and heads it shares.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import Repetition, plain_name, through
from _protocol import MEASURE, made_with, rounded, shared, short, split
from method import WITHOUT, Bench
from torch import nn

from equiview.finetune.head_training import HeadTraining
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import DEFAULT, ONE_STEP, OWN_OBJECT, RECIPES, WHITENED
from equiview.io import read_jsonl, write_json
from equiview.jobs.scoring import rows_path, write_rows
from equiview.metrics.paired import difference
from equiview.tasks.comparison import paired_difference
from equiview.tasks.equivariance import plan_object, score_object, summarize

SEEN, ALL = 12, 24
STRENGTHS = (0.3, 0.5, 1.0)
COUNTED = ("value", "ci95", "n", "n_improved")


def changed(name: str, **settings: Any) -> Recipe:
    """Return `own-object` with other settings of the training."""
    training = replace(OWN_OBJECT.stage(HeadTraining), **settings)
    return replace(OWN_OBJECT.with_stage(training), name=name)


WAYS = {
    "one-step": ONE_STEP,
    "default": DEFAULT,
    "own-object": OWN_OBJECT,
    "the object alone, retention 1": changed("alone", retention=1.0),
    "the object alone, no retention": changed("alone", retention=0.0),
    "the object alone, no retention, 300 steps": changed("alone", retention=0.0, steps=300),
    "the object alone, no retention, no shrinkage": changed("alone", retention=0.0, shrinkage=0.0),
}


class Own:
    """Scores of ways on the views of objects they did not see."""

    def __init__(self, bench: Bench, objects: list[str], dev: bool) -> None:
        self.bench, self.features, self.objects, self.dev = bench, bench.features, objects, dev
        self.ways = WAYS if dev else {name: recipe for name, recipe in WAYS.items() if name in RECIPES}
        views = {name: self.features.views(name, ALL)[SEEN:] for name in objects}
        self.plans = {name: plan_object(name, own, MEASURE) for name, own in views.items()}

    def score(self, label: str, name: str, recipe: Recipe | None) -> list[dict[str, Any]]:
        """Return the rows of one object with what a recipe learns of it; what is finished is read."""
        path = rows_path(self.features.work / "own" / plain_name(label), name)
        if not path.exists():
            maps = self.features.of_object(name, self.features.spread, ALL, WHITENED.head)[SEEN:]
            with torch.no_grad():
                write_rows(path, score_object(self.plans[name], through(self.head(recipe, name), maps), MEASURE))
        return read_jsonl(path)

    def head(self, recipe: Recipe | None, name: str) -> nn.Module | None:
        return None if recipe is None else self.bench.head_of(recipe, Repetition(0, (name,)))

    def rows(self) -> Iterator[tuple[str, float, list[dict[str, Any]]]]:
        """Yield every way and strength with its rows over all objects."""
        yield WITHOUT, 0.0, [row for name in self.objects for row in self.score("nothing", name, None)]
        for way, recipe in self.ways.items():
            for strength in STRENGTHS:
                at, label = recipe.at_strength(strength), f"{way} {strength:g}"
                yield way, strength, [row for name in self.objects for row in self.score(label, name, at)]

    def willow(self, label: str, recipe: Recipe | None) -> dict[str, float]:
        """Return PCK@0.10 by source picture with the heads of the first three objects."""
        measured, labels = self.bench.measured, []
        for name in self.objects[:3]:
            labels.append(f"own-willow/{'dev' if self.dev else 'test'}/{plain_name(label)}/{name}")
            if not measured.path(labels[-1], "willow").exists():
                maps = measured.willow_maps(self.features.spread, WHITENED.head)
                with torch.no_grad():
                    measured.match(labels[-1], through(self.head(recipe, name), maps))
        return measured.pck(labels, "chosen" if self.dev else "unseen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/method"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", choices=("dev", "test"), default="dev")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(str(shared() / "data" / "weights" / "deit-tiny-patch16-224"), args.work)
    own = Own(bench, split(args.objects), args.objects == "dev")
    found: dict[str, Any] = {}
    nothing, plain = [], own.willow("nothing", None)
    for way, strength, rows in own.rows():
        metrics = summarize(rows, {})["metrics"]
        entry = {name: metrics[name]["value"] for name in ("pcdp@0.05", "ape")}
        entry["by_angle"] = {bin_: one["value"] for bin_, one in metrics["pcdp@0.05"]["by_angle"].items()}
        if way == WITHOUT:
            nothing, label = rows, WITHOUT
        else:
            pck = own.willow(f"{way} {strength:g}", WAYS[way].at_strength(strength))
            entry["gain"] = short(paired_difference(nothing, rows, "pcdp@0.05"), COUNTED)
            entry["willow_change"] = short(difference(plain, pck, "pck@0.10"), COUNTED)
            entry["willow"] = float(np.mean(list(pck.values())))
            label = f"{way}, strength {strength:g}"
        found[label] = entry
        print(f"{label:60s} {entry['pcdp@0.05']:6.2f} {entry.get('gain', {}).get('value', 0):+6.2f}", flush=True)
    about = {"objects": own.objects, "views": f"adapted on {SEEN}, scored on {ALL - SEEN} others", "seed": 0}
    write_json(args.out, rounded({"protocol": made_with(bench.features.backbone) | about, "rows": found}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
