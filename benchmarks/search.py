"""The search: every family of methods tried for adapting from one object, on DEVELOPMENT data only.

    EQUIVIEW_SHARED=... python benchmarks/search.py --work runs/method --out baselines/search_deit_tiny.json

Blocks, centring, the Wiener filter's c, the steps of training and the strength are chosen here: on six development
objects (6 views each) and on five of PF-WILLOW's ten classes at 448 px. `method.py` reports on the others. A method is
read at its best strength among those that lose at most one point of PF-WILLOW against the same features without the
object. One repetition of everything but the two recipes, which have three (all with `--repetitions 3`): differences
below half a point are ties. Finished rows lie in WORK/rows/searched; the same command goes on where it stopped, and
rows of OUT that WORK has not are kept as they are. With 2 cores the rows that train the network (`--long`) take two
hours, the others another.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _method import Repetition
from _protocol import made_with, rounded, shared, split, with_kept
from _search import AT_MOST, ONE_THREE, WITHOUT, Candidate, Space
from _search_inputs import Inputs
from _search_network import Network
from _search_solved import Solved, fixed_candidates, nothing
from _search_steps import Steps
from _search_trained import Trained
from _willow import WILLOW_SIDE

from equiview.io import write_json


def candidates(space: Space) -> Iterator[Candidate]:
    yield Candidate(WITHOUT, "control", nothing, strengths=(0.0,), once=True)
    yield from fixed_candidates()
    for family in (Inputs(space), Solved(space), Steps(space), Trained(space), Network(space)):
        yield from family.candidates()


def line(name: str, found: dict[str, Any]) -> str:
    best = found["best_strength"]
    if len(found["by_strength"]) == 1:  # Nothing to choose from.
        (best,) = found["by_strength"]
    if best is None:
        return f"{name:46s} loses more than {AT_MOST:g} at every strength"
    own = found["by_strength"][best]
    gain, change = own["gain"], own["willow_change"]
    low, high = gain["ci95"] or (0, 0)
    return (
        f"{name:46s} at {best:4s} pcdp@0.05 {own['pcdp@0.05']:5.2f} {gain['value']:+5.2f} [{low:+.1f}, {high:+.1f}]"
        f"  willow {own['willow']:5.2f} {change['value']:+5.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/method"))
    parser.add_argument("--out", type=Path, default=Path("baselines/search_deit_tiny.json"))
    parser.add_argument("--only", default="", help="rows whose name or family has this in it")
    parser.add_argument("--long", action="store_true", help="the rows that train the network, too")
    parser.add_argument("--repetitions", type=int, choices=(1, 3), default=1)
    parser.add_argument("--table", action="store_true", help="write the table of the finished rows, and score none")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    space = Space(str(shared() / "data" / "weights" / "deit-tiny-patch16-224"), args.work)
    own, found = list(candidates(space)), {}
    base = space.label(own[0], Repetition(0, ()), 0.0)
    for candidate in own:
        wanted = args.only in candidate.name or args.only in candidate.family or candidate is own[0]
        repetitions = [Repetition(0, ())] if candidate.once else list(ONE_THREE)
        if wanted and not args.table and (args.long or not candidate.trained):
            started = time.monotonic()
            for repetition in repetitions[: 3 if candidate.three else args.repetitions]:
                space.score(candidate, repetition)
            if (result := space.result(candidate, repetitions, base)) is not None:
                print(line(candidate.name, result), f" {time.monotonic() - started:5.0f} s", flush=True)
        if (result := space.result(candidate, repetitions, base)) is not None:
            found[candidate.name] = result
    found = with_kept(found, (candidate.name for candidate in own), args.out)
    write_json(args.out, rounded({"protocol": protocol(space), "rows": found}))
    print(f"wrote {args.out}")


def protocol(space: Space) -> dict[str, Any]:
    return made_with(space.features.backbone) | {
        "objects": split("dev"),
        "trained_on": [one.name for one in ONE_THREE],
        "willow": space.measured.willow.about("chosen"),
        "willow_side": WILLOW_SIDE,
        "rule": f"best strength that loses at most {AT_MOST:g} of PF-WILLOW",
    }


if __name__ == "__main__":
    main()
