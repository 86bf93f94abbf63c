"""What each step from pretrained to adapted changes, on the study's own points: the same settings before and after.

    python benchmarks/study_changes.py baselines/study_points.json --out baselines/study_changes.json

A correlation over points mixes what differs between backbones, blocks and resolutions with what adapting does. Here
every point is held against the one of the same backbone, blocks and resolution one state before. Values are means over
these settings; intervals are 95 % bootstrap over what was scored (objects, categories, query points), paired.
"""

import argparse
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _protocol import rounded
from study_points import STATES

from equiview.io import read_json, write_json
from equiview.metrics.paired import difference

SHOWN = {
    "pcdp@0.05": "PCDP@0.05",
    "transfer/pf-willow/pck@0.10": "transfer",
    "track/badja/percent_under_8px": "tracking",
    "pose/synthetic/pose_recall@10deg": "pose, 10 degrees",
}


def units_of(points: list[dict[str, Any]], score: str) -> dict[str, float]:
    """Return what each object, category or query point scores, a mean over the points."""
    values = defaultdict(list)
    for point in points:
        for unit, value in point["units"][score].items():
            values[unit].append(value)
    return {unit: float(np.mean(own)) for unit, own in values.items()}


def change(before: list[dict[str, Any]], after: list[dict[str, Any]], score: str) -> dict[str, Any]:
    found = difference(units_of(before, score), units_of(after, score), score)
    return {key: found[key] for key in ("value", "ci95", "n")} | {"settings": len(after)}


def changes(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, by backbone with trained weights and by step from state to state, how every score moves."""
    by_state = defaultdict(list)
    for point in points:
        if point["tags"]["weights"] == "trained":
            by_state[point["family"], point["tags"]["state"]].append(point)
    return {
        family: {
            f"{one} to {other}": {s: change(by_state[family, one], by_state[family, other], s) for s in SHOWN}
            for one, other in pairwise(STATES)
        }
        for family in dict.fromkeys(family for family, _ in by_state)
    }


def cell(own: dict[str, Any]) -> str:
    ends = "" if own["ci95"] is None else " [{:+.1f}, {:+.1f}]".format(*own["ci95"])
    return f"{own['value']:+.1f}{ends}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("--out", type=Path, default=Path("baselines/study_changes.json"))
    args = parser.parse_args()
    found = rounded(changes(read_json(args.points)["points"]))
    write_json(args.out, {"benchmark": "study_changes", "points": args.points.name, "changes": found})
    print(f"| backbone | step | {' | '.join(SHOWN.values())} |\n|---|---|{'---|' * len(SHOWN)}")
    for family, steps in found.items():
        for step, scores in steps.items():
            print(f"| {family} | {step} | {' | '.join(cell(scores[name]) for name in SHOWN)} |")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
