"""Score the recipes of 0.2.0 and their controls on objects none of them was trained or tuned on.

`method.py` has the recipes of today; this table is kept for what it shows about them: the centre, photos against drawn
pictures, LoRA before the solve, the published recipe.

    EQUIVIEW_SHARED=... python benchmarks/recipes.py --work runs/bench --out baselines/recipes_deit_tiny.json

Three repetitions each: repetition s has seed s and the s-th of three training objects. Choices (blocks, c, steps,
companions) were made on the development objects of the split; the numbers are on its test objects.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from _protocol import (
    ONE_STEP_020,
    Rows,
    all_block_maps,
    entry,
    pick_blocks,
    plans,
    protocol,
    rounded,
    shared,
    split,
    views_of,
)

from equiview.finetune.adapt import adapt
from equiview.finetune.closed_form import (
    ClosedFormConfig,
    picture_statistics,
    solve_closed_form,
    view_statistics,
    whitening_matrix,
)
from equiview.finetune.overrides import override
from equiview.finetune.recipes import AUXILIARY_OBJECTS, RECIPES
from equiview.finetune.unlabeled_images import unlabeled_images
from equiview.io import write_json
from equiview.jobs.improve import apply_head
from equiview.models.adapters import load_adapter, save_adapter
from equiview.models.adapters.record import RECORD_FILE
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor
from equiview.models.heads import AverageHead, HeadChain, LinearHead, RandomConvHead

TRAIN_OBJECTS = ("large_marker", "correction_fluid", "mini_claw_hammer_1")
SEVERAL = (4, 6, 8, 10)
BASES = {
    "paper": RECIPES["paper"],
    "lora-only": RECIPES["lora-only"],
    "default": replace(ONE_STEP_020, name="default", auxiliary_objects=AUXILIARY_OBJECTS),
}
# The recipe; with photos in place of drawn pictures; both centred on the pictures with c = 1; the centring alone;
# the recipe with nothing changed but the centre.
CLOSED_FORMS = (
    "one-step",
    "one-step, photos",
    "one-step, centred on pictures, c=1",
    "one-step, photos, centred on photos, c=1",
    "blocks 4,6,8,10 + average, centred on the object",
    "one-step, centred on pictures",
)
# Variant -> recipe and changes. Steps are fixed here, not seconds, so that the numbers do not depend on the machine.
TRAINED = {
    "paper, 1 step": ("paper", {"steps": 1}),
    "paper, 100 steps": ("paper", {"steps": 100}),
    "lora-only, 100 steps": ("lora-only", {"steps": 100}),
    "default": ("default", {"time_budget_s": None}),
    "default after LoRA, 80 steps": (
        "default",
        {
            "time_budget_s": None,
            "stages": "add_head,network,closed_form",
            "lora.rank": 8,
            "lora.last_blocks": None,
            "loss": "info_nce",
            "temperature": 0.05,
            "steps": 80,
        },
    ),
}


class Bench:
    """The backbone, the test objects and a work folder."""

    def __init__(self, work: Path) -> None:
        self.work, self.weights = work, shared() / "data" / "weights" / "deit-tiny-patch16-224"
        self.backbone = load_backbone(self.weights)
        self.rows = Rows(work, plans(split("test"), work))
        self.last = (self.backbone.info.blocks,)

    def base(self, plan, blocks):
        return pick_blocks(all_block_maps(self.backbone, plan, self.work), blocks, self.backbone.info.dim)

    def head(self, variant: str, blocks, head) -> None:
        """Score a fixed head on base features."""
        self.rows.score(
            variant, lambda plan: self.base(plan, blocks) if head is None else apply_head(head, self.base(plan, blocks))
        )

    def controls(self) -> None:
        for name, blocks in (("last block", self.last), ("block 8", (8,)), ("blocks 4,6,8,10", SEVERAL)):
            self.head(f"{name}", blocks, None)
            self.head(f"{name} + average", blocks, AverageHead(3))
            for seed in range(len(TRAIN_OBJECTS)):
                channels = self.backbone.info.dim * len(blocks)
                self.head(f"{name} + random conv/{seed}", blocks, RandomConvHead(channels, seed))

    def closed_forms(self, photos: Path) -> None:
        for seed, name in enumerate(TRAIN_OBJECTS):
            views = list(views_of(name, self.work))
            for label, blocks in (("last block", self.last), ("block 8", (8,)), ("blocks 4,6,8,10", SEVERAL)):
                self.closed_form(seed, label, blocks, views, photos)

    def closed_form(self, seed: int, label: str, blocks, views, photos: Path) -> None:
        source = Extractor(self.backbone, replace(ONE_STEP_020.features, blocks=blocks), AverageHead(3))
        variants = [f"{label} + average + whitening/{seed}"]
        if len(blocks) > 1:
            variants += [f"{name}/{seed}" for name in CLOSED_FORMS]
        if all(self.rows.done(v) for v in variants):
            heads = dict.fromkeys(variants)
        else:
            # The very features the head will be applied to: also one block alone is L2-normalised here.
            trained_on = SimpleNamespace(name=TRAIN_OBJECTS[seed], views=views)
            maps = apply_head(AverageHead(3), self.base(trained_on, blocks))
            own = view_statistics([(views, maps)], ClosedFormConfig(), seed)
            heads = {variants[0]: whitening(maps, views, own)}
            if len(blocks) > 1:
                drawn = picture_statistics(source.maps(unlabeled_images(None, seed)), seed=seed)
                real = picture_statistics(source.maps(unlabeled_images(photos, seed)), seed=seed)
                by_pictures = ClosedFormConfig(c=1.0, center="pictures")
                heads[variants[1]] = solve_closed_form(drawn, own, ClosedFormConfig())
                heads[variants[2]] = solve_closed_form(real, own, ClosedFormConfig())
                heads[variants[3]] = solve_closed_form(drawn, own, by_pictures)
                heads[variants[4]] = solve_closed_form(real, own, by_pictures)
                heads[variants[5]] = LinearHead(torch.eye(len(own.mean)), torch.from_numpy(own.mean).float())
                heads[variants[6]] = solve_closed_form(drawn, own, ClosedFormConfig(center="pictures"))
        for variant, head in heads.items():
            self.head(variant, blocks, head and HeadChain([AverageHead(3), head]))

    def trained(self, variant: str) -> None:
        name, changes = TRAINED[variant]
        recipe = override(BASES[name], changes)
        for seed, train_object in enumerate(TRAIN_OBJECTS):
            folder = self.work / "adapters" / f"{variant.replace(', ', '-').replace(' ', '-')}-{seed}"
            if not (folder / "adapter" / RECORD_FILE).exists():
                objects = {n: list(views_of(n, self.work)) for n in (train_object, *recipe.auxiliary_objects)}
                adapted = adapt(load_backbone(self.weights), objects, recipe, folder, seed=seed)
                save_adapter(folder / "adapter", adapted, {"recipe": name, "seed": seed, "data": sorted(objects)})
            extractor = load_adapter(folder / "adapter", load_backbone(self.weights))
            self.rows.score(f"{variant}/{seed}", lambda plan: list(extractor.maps(plan.views)))  # noqa: B023


def whitening(maps, views, own) -> LinearHead:
    """Return the older closed form: whitening by the scatter, centred on the object's own mean."""
    tokens = np.concatenate(
        [m.tokens.flatten(1).T[on_object(m, v)].double().numpy() for m, v in zip(maps, views, strict=True)]
    )
    matrix = whitening_matrix(np.cov(tokens.T, bias=True), own.scatter)
    return LinearHead(torch.from_numpy(matrix).float(), torch.from_numpy(own.mean).float())


def on_object(fmap, view):
    from equiview.matching.nearest import token_mask

    return token_mask(fmap, torch.from_numpy(view.mask))


# What each row is compared with: the same blocks, smoothed, and mixed at random.
CONTROLS_OF = dict.fromkeys(
    (*CLOSED_FORMS, "default", "default after LoRA, 80 steps", "blocks 4,6,8,10 + average + whitening"),
    "blocks 4,6,8,10",
) | {"block 8 + average + whitening": "block 8"}


def table(rows: Rows) -> dict:
    """Return every row, its repetitions merged, with paired differences to pretrained and to its controls."""
    groups: dict[str, list[str]] = {}
    for variant in rows.table:
        groups.setdefault(variant.split("/")[0], []).append(variant)
    merged = {name: rows.merged(own) for name, own in groups.items()}
    result = {}
    for name, own in merged.items():
        blocks = CONTROLS_OF.get(name, "last block")
        controls = {
            c: merged[c]
            for c in dict.fromkeys(("last block", blocks, f"{blocks} + average", f"{blocks} + random conv"))
            if c != name
        }
        result[name] = {"repetitions": len(groups[name])} | entry(own, controls)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/bench"), help="views, features, adapters and rows are kept here"
    )
    parser.add_argument("--out", type=Path, default=Path("baselines/recipes_deit_tiny.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(TRAINED), help="trained variants to run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(args.work)
    bench.controls()
    bench.closed_forms(shared() / "data" / "natural")
    for variant in args.only:
        bench.trained(variant)
    recipes = {variant: asdict(override(BASES[name], changes)) for variant, (name, changes) in TRAINED.items()}
    record = protocol(bench.backbone, train_objects=list(TRAIN_OBJECTS), seeds=[0, 1, 2], recipes=recipes)
    write_json(args.out, rounded({"protocol": record, "rows": table(bench.rows)}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
