"""Put the scores of `equiview/tiny` beside those of its teacher and of random weights, from finished baseline files.

EQUIVIEW_SHARED=... python benchmarks/blocks.py --backbone equiview/tiny --out baselines/blocks_tiny.json
EQUIVIEW_SHARED=... python benchmarks/blocks.py --out runs/blocks_teacher.json
EQUIVIEW_SHARED=... python benchmarks/transfer.py --backbone equiview/tiny TEACHER --random-weights \\
    --out baselines/pf_willow_tiny.json
EQUIVIEW_SHARED=... python benchmarks/tracking.py --backbone equiview/tiny TEACHER --random-weights 1 \\
    --out baselines/badja_tiny.json
python benchmarks/tiny.py --teacher-blocks runs/blocks_teacher.json --out baselines/tiny.json

TEACHER is the folder of DeiT-Tiny. Each score is that of the best block of each backbone, alone; the same of blocks 4,
6, 8, 10 averaged stands beside it. `share_of_teacher` is tiny over teacher in percent (for APE teacher over tiny).
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equiview.io import read_json, write_json

TEACHER = "deit-tiny-patch16-224"
Scores = Mapping[str, float]


def best_single(scores: Scores, lower: bool) -> tuple[str, float]:
    """Return the best single block without averaging."""
    single = {name: value for name, value in scores.items() if name.startswith("block ") and "3x3" not in name}
    name = (min if lower else max)(single, key=single.__getitem__)
    return name, single[name]


def together(scores: Scores) -> float:
    return next(value for name, value in scores.items() if name.startswith("blocks") and "3x3" in name)


def compare(of: Callable[[str], Scores], lower: bool = False) -> dict[str, Any]:
    """Return one metric's row; `of` gives the scores by variant for tiny, teacher and random."""
    row: dict[str, Any] = {}
    for who in ("tiny", "teacher", "random"):
        name, value = best_single(of(who), lower)
        row[who] = {"best_block": name, "value": round(value, 3), "blocks 4,6,8,10 + 3x3": round(together(of(who)), 3)}
    for key in ("value", "blocks 4,6,8,10 + 3x3"):
        ours, theirs = row["tiny"][key], row["teacher"][key]
        row[f"share_of_teacher, {key}"] = round(100 * (theirs / ours if lower else ours / theirs), 1)
    return row


def of_objects(tiny: dict, teacher: dict, metric: str) -> Callable[[str], Scores]:
    """Scores on rendered objects, from two files of blocks.py."""

    def of(who: str) -> Scores:
        rows, kind = (teacher if who == "teacher" else tiny)["rows"], "random" if who == "random" else "pretrained"
        own = {name.removeprefix(f"{kind} "): row for name, row in rows.items() if name.startswith(kind)}
        return {name: row["metrics"][metric]["value"] for name, row in own.items()}

    return of


def of_willow(table: dict, metric: str) -> Callable[[str], Scores]:
    """Scores on PF-WILLOW, from a file of transfer.py."""

    def of(who: str) -> Scores:
        own = table["backbones"][TEACHER if who == "teacher" else "tiny"]["random" if who == "random" else "pretrained"]
        return {name: row[metric]["value"] for name, row in own["variants"].items()}

    return of


def of_badja(table: dict) -> Callable[[str], Scores]:
    """Scores on BADJA, from a file of tracking.py."""
    names = {"tiny": "tiny", "teacher": TEACHER, "random": "tiny, random weights 0"}

    def of(who: str) -> Scores:
        rows = table["backbones"][names[who]]["rows"]
        return {name.replace("average 3x3", "3x3"): row["value"] for name, row in rows.items()}

    return of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baselines", type=Path, default=Path("baselines"))
    parser.add_argument("--teacher-blocks", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("baselines/tiny.json"))
    args = parser.parse_args()
    tiny, teacher = read_json(args.baselines / "blocks_tiny.json"), read_json(args.teacher_blocks)
    willow = read_json(args.baselines / "pf_willow_tiny.json")
    metrics = ("ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2")
    table = {f"objects {m}": compare(of_objects(tiny, teacher, m), lower=m == "ape") for m in metrics}
    table |= {f"pf-willow {m}": compare(of_willow(willow, m)) for m in ("pck@0.05", "pck@0.10", "pck@0.15")}
    table["badja share_under_8px"] = compare(of_badja(read_json(args.baselines / "badja_tiny.json")))
    write_json(args.out, {"weights_sha256": tiny["protocol"]["weights_sha256"], "scores": table})
    for name, row in table.items():
        cells = [f"{who} {row[who]['value']} ({row[who]['best_block']})" for who in ("tiny", "teacher", "random")]
        print(f"{name:24s}", *cells, f"{row['share_of_teacher, value']} %", sep="  ")
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
