"""What makes a good training object: the gain of one step on each of many, beside what can be said of the object.

    EQUIVIEW_SHARED=... python benchmarks/training_objects.py --work runs/method --out baselines/training_objects.json

Ten scanned objects, the same in plain grey, twelve procedural ones, a white sphere, a white box and a thin rod, 6 views
each; recipe one-step; PCDP@0.05 on the DEVELOPMENT objects minus the same features without an object.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from _method import VIEWS, Features
from _protocol import MEASURE, made_with, mesh_path, rounded, shared, split
from scipy.stats import spearmanr

from equiview.data.meshes import open_object
from equiview.finetune.head_pairs import object_pairs
from equiview.finetune.head_step import HeadStep, step_head
from equiview.finetune.object_diagnostics import change_of
from equiview.finetune.recipes import ONE_STEP, WHITENED
from equiview.finetune.stages.head_step import FEW_IMAGES
from equiview.io import write_json
from equiview.jobs.improve import apply_head
from equiview.metrics.paired import difference
from equiview.tasks.equivariance import plan_object, score_object, summarize

SOLIDS = {
    "white sphere": lambda: trimesh.creation.icosphere(4),
    "white box": lambda: trimesh.creation.box((1, 0.7, 0.4)),
    "thin rod": lambda: trimesh.creation.cylinder(0.01, 1),
}


PLAIN = " in plain grey"


def plain_mesh(name: str) -> trimesh.Trimesh:
    """Return a scanned object without its texture, +y up as its file has it."""
    mesh = trimesh.load(mesh_path(name), force="mesh")
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=(160, 160, 160, 255), process=False)


def views_of(name: str, features: Features) -> list[Any]:
    if name not in SOLIDS and not name.endswith(PLAIN):
        return features.views(name, VIEWS)
    path = features.work / "solids" / f"{name.replace(' ', '_')}.ply"
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = SOLIDS[name]() if name in SOLIDS else plain_mesh(name.removesuffix(PLAIN))
    mesh.export(path)
    up = "y" if name.endswith(PLAIN) else "z"
    return list(open_object(f"{path}@up={up}", n_views=VIEWS, seed=0, cache_dir=features.work / "views"))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/method"))
    parser.add_argument("--out", type=Path, default=Path("baselines/training_objects.json"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    features = Features(str(shared() / "data" / "weights" / "deit-tiny-patch16-224"), args.work)
    spread = features.spread
    dev = {
        name: (
            plan_object(name, features.views(name, VIEWS), MEASURE),
            features.of_object(name, spread, VIEWS, WHITENED.head),
        )
        for name in split("dev")
    }
    pictures = features.unlabeled(0, spread, WHITENED.head)[:FEW_IMAGES]

    def score(head) -> float:
        rows = [
            row
            for plan, maps in dev.values()
            for row in score_object(plan, maps if head is None else apply_head(head, maps), MEASURE)
        ]
        return summarize(rows, {})["metrics"]["pcdp@0.05"]["value"]

    base, found = score(None), {}
    plain = [f"{name}{PLAIN}" for name in split("train")]
    for name in [*split("train"), *plain, *(f"procedural:{seed}" for seed in range(9001, 9013)), *SOLIDS]:
        views = views_of(name, features)
        label = f"{name.replace(':', '-').replace(' ', '-')}-{VIEWS}"
        maps = features.maps(label, lambda v=views: v, spread, fixed=WHITENED.head)
        pairs = object_pairs(views, maps)
        colours = np.concatenate([view.rgb[view.mask] for view in views]).astype(float)
        found[name] = {
            "gain": score(step_head([pairs], ONE_STEP.stage(HeadStep))) - base,
            "change": change_of(pairs, pictures),
            "points": sum(len(pair.xy0) for pair in pairs),
            "colour_std": float(colours.std(0).mean()),
            "share_of_picture": float(np.mean([view.mask.mean() for view in views])),
        }
        print(name, rounded(found[name]), flush=True)
    about = {"objects": split("dev"), "views": VIEWS, "recipe": asdict(ONE_STEP)}
    result = {"protocol": made_with(features.backbone) | about, "without_object": base, "objects": found}
    write_json(args.out, rounded(result | {"spearman": relations(found), "texture": texture(found)}))
    print(f"wrote {args.out}")


def relations(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return Spearman's rho of each property and the gain, over the objects that are not bare solids or plain."""
    own = [entry for name, entry in found.items() if name not in SOLIDS and not name.endswith(PLAIN)]
    return {
        key: float(spearmanr([one[key] for one in own], [one["gain"] for one in own]).statistic)
        for key in ("change", "points", "colour_std", "share_of_picture")
    }


def texture(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return the gain from objects with their texture minus that from the same in plain grey, over objects."""
    plain = {name.removesuffix(PLAIN): own["gain"] for name, own in found.items() if name.endswith(PLAIN)}
    means = {"textured": [found[name]["gain"] for name in plain], "plain": list(plain.values())}
    return {name: float(np.mean(own)) for name, own in means.items()} | {
        "difference": difference(plain, {name: found[name]["gain"] for name in plain}, "gain")
    }


if __name__ == "__main__":
    main()
