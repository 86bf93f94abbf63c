"""Put the scores of `equiview/tiny` beside those of its teacher and of random weights, from finished baseline files.

for N in tiny deit_tiny, with BACKBONE equiview/tiny or the folder of DeiT-Tiny, the teacher:
EQUIVIEW_SHARED=... python benchmarks/blocks.py --backbone BACKBONE --out baselines/blocks_N.json
EQUIVIEW_SHARED=... python benchmarks/transfer.py --backbone BACKBONE --random-weights --out baselines/pf_willow_N.json
EQUIVIEW_SHARED=... python benchmarks/tracking.py --backbone BACKBONE --random-weights 1 --out baselines/badja_N.json
and then:
python benchmarks/tiny.py --out baselines/tiny.json

Each score is that of the best block of each backbone, alone; the same of blocks 4, 6, 8, 10 averaged stands beside it.
`share_of_teacher` is tiny over teacher in percent (for APE teacher over tiny).
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equiview.io import read_json, write_json

Scores = Mapping[str, float]
Tables = Mapping[str, Any]


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


def of_objects(tables: Tables, metric: str) -> Callable[[str], Scores]:
    """Scores on rendered objects, from files of blocks.py."""

    def of(who: str) -> Scores:
        kind = "random" if who == "random" else "pretrained"
        rows = {
            name.removeprefix(f"{kind} "): row for name, row in tables[who]["rows"].items() if name.startswith(kind)
        }
        return {name: row["metrics"][metric]["value"] for name, row in rows.items()}

    return of


def of_willow(tables: Tables, metric: str) -> Callable[[str], Scores]:
    """Scores on PF-WILLOW, from files of transfer.py."""

    def of(who: str) -> Scores:
        (own,) = tables[who]["backbones"].values()
        variants = own["random" if who == "random" else "pretrained"]["variants"]
        return {name: row[metric]["value"] for name, row in variants.items()}

    return of


def of_badja(tables: Tables) -> Callable[[str], Scores]:
    """Scores on BADJA at 854 px, from files of tracking.py."""

    def of(who: str) -> Scores:
        end = " at 854, random weights 0" if who == "random" else " at 854"
        (own,) = (backbone for name, backbone in tables[who]["backbones"].items() if name.endswith(end))
        return {name.replace("average 3x3", "3x3"): row["value"] for name, row in own["rows"].items()}

    return of


def read(folder: Path, kind: str) -> Tables:
    tiny = read_json(folder / f"{kind}_tiny.json")
    return {"tiny": tiny, "random": tiny, "teacher": read_json(folder / f"{kind}_deit_tiny.json")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baselines", type=Path, default=Path("baselines"))
    parser.add_argument("--out", type=Path, default=Path("baselines/tiny.json"))
    args = parser.parse_args()
    blocks, willow, badja = (read(args.baselines, kind) for kind in ("blocks", "pf_willow", "badja"))
    metrics = ("ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2")
    table = {f"objects {m}": compare(of_objects(blocks, m), lower=m == "ape") for m in metrics}
    table |= {f"pf-willow {m}": compare(of_willow(willow, m)) for m in ("pck@0.05", "pck@0.10", "pck@0.15")}
    table["badja share_under_8px"] = compare(of_badja(badja))
    write_json(args.out, {"weights_sha256": blocks["tiny"]["protocol"]["weights_sha256"], "scores": table})
    for name, row in table.items():
        cells = [f"{who} {row[who]['value']} ({row[who]['best_block']})" for who in ("tiny", "teacher", "random")]
        print(f"{name:24s}", *cells, f"{row['share_of_teacher, value']} %", sep="  ")
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
