"""The retention report of every recipe: what its adapter costs elsewhere, at the recipe's own strength and in full.

    EQUIVIEW_SHARED=... python benchmarks/retention.py --work runs/retention --out baselines/retention_deit_tiny.json

One adapter a recipe (large_marker, seed 0), made and measured by the commands a user has, `equiview finetune` and
`equiview retain`: drift on drawn pictures, equivariance on the built-in objects, PF-WILLOW (all ten classes) and one
clip of BADJA, at 640 px. `paper` has none: its random convolution replaces the features, so nothing lies at strength 0.
An interrupted run goes on where it stopped, and rows of OUT that it was not asked for are kept. With one adapter each,
intervals are over pictures, objects, source pictures and points.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _protocol import rounded, shared, with_kept
from method_costs import ALL, Way, source_of

from equiview.finetune.recipes import RECIPES
from equiview.io import read_json, write_json

WAYS = {
    "one-step": Way("one-step"),
    "wiener": Way("wiener"),
    "default": Way("default", settings=(ALL,)),
    "thorough": Way("thorough", settings=(ALL,)),
    "own-object": Way("own-object", settings=(ALL,)),
    "lora-and-head": Way("lora-and-head", settings=(ALL,)),
    "lora-only": Way("lora-only"),
}
TASKS = ("drift", "equivariance", "transfer", "tracking")


def run(*arguments: str) -> None:
    code = [sys.executable, "-c", "from equiview.cli import main; main()"]
    subprocess.run([*code, *arguments], check=True, env=os.environ)


def report(name: str, backbone: str, work: Path) -> dict[str, Any]:
    """Make the adapter of one recipe and its retention report; what is finished is read."""
    folder, out, way = work / name, work / f"{name}-retain", WAYS[name]
    if not (folder / "adapter" / "equiview.json").is_file():
        run(*way.arguments(backbone, [source_of(one) for one in way.objects], str(folder)))
    own = RECIPES[name].strength
    # Where a recipe is applied in full, half of it stands beside it.
    strengths = sorted({0.0, 0.5 if own == 1 else own, 1.0})
    data = shared() / "data"
    run(
        *("retain", "--backbone", backbone, "--adapter", str(folder), "--out", str(out), "--device", "cpu"),
        *("--strengths", *map(str, strengths), "--clips", f"badja:{data / 'tracking'}"),
        *("--pairs", f"pf-willow:{data / 'semantic' / 'PF-dataset-WILLOW'}"),
    )
    found = read_json(out / "retention.json")
    return {
        "strength": own,
        "strengths": [{k: e[k] for k in ("strength", *TASKS, "difference")} for e in found["strengths"]],
        "reading": {k: found["reading"][k] for k in ("recommended", "tolerance", "verdicts")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/retention"))
    parser.add_argument("--out", type=Path, default=Path("baselines/retention_deit_tiny.json"))
    parser.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS), metavar="RECIPE")
    args = parser.parse_args()
    backbone = str(shared() / "data" / "weights" / "deit-tiny-patch16-224")
    rows = with_kept({name: report(name, backbone, args.work) for name in args.only}, WAYS, args.out)
    write_json(args.out, rounded({"backbone": Path(backbone).name, "long_side": 640, "rows": rows}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
