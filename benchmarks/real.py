"""What a preset and its recipes, which saw rendered objects only, are worth on real photographs.

    EQUIVIEW_SHARED=... python benchmarks/real.py --backbone B --preset dinov2-class --work runs/preset --out OUT
    EQUIVIEW_SHARED=... python benchmarks/real.py ... --sets chosen     what choices may be made on

Rows: the last block, nothing learned (alone and under an untrained convolution), `one-step` and `default` with a
rendered object, `default` without one; nothing learned and `default` with a fine part too. Captures: 12 pictures each,
PCDP@0.05; pairs: PCK@0.10 at 448 px; clips: the share under 8 px. WORK may be that of preset.py, whose heads it shares;
finished rows are read.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import through
from _protocol import made_with, rounded
from _real import CAPTURE_VIEWS, CHOSEN_ON, REPORTED, RealSet, open_sets
from preset import LAST, NOTHING, Bench, Row

from equiview.io import read_jsonl, write_json
from equiview.jobs.presets import read_preset
from equiview.jobs.scoring import rows_path, write_rows
from equiview.metrics.paired import difference
from equiview.models.heads import with_fine

ROWS = (LAST, NOTHING, f"{NOTHING} + random conv", "one-step", "default", "default, without the object")
FINE = ", fine part"
PLACED = (NOTHING, "default")
"""Rows that are scored with a fine part too, see `heads.with_fine`."""
AGAINST = (LAST, NOTHING)
SETS = {"reported": REPORTED, "chosen": CHOSEN_ON}
SCORE = "percent"


class Real:
    """Rows of a preset on sets of real pictures."""

    def __init__(self, bench: Bench, rows: Sequence[Row]) -> None:
        self.bench, self.rows, self.work = bench, rows, bench.work

    def path(self, label: str, name: str) -> Path:
        return rows_path(self.work / "real" / label, name.replace(" ", "-"))

    def run(self, one: RealSet) -> dict[str, dict[str, float]]:
        """Score every row on a set; return the value of each unit by row."""
        for row in self.rows:
            for label, repetition in zip(row.labels(), row.repetitions, strict=True):
                if not self.path(label, one.name).exists():
                    head = row.head(repetition)
                    with torch.no_grad():
                        found = one.score(through(head, self.maps(one, row.blocks)))
                    write_rows(self.path(label, one.name), found)
        return {row.name: one.values(self.read(row, one.name)) for row in self.rows}

    def maps(self, one: RealSet, blocks: tuple[int, ...]):
        return self.bench.features.maps(one.maps_name, one.pictures, blocks, one.long_side)

    def read(self, row: Row, name: str) -> list[dict[str, Any]]:
        return [line for label in row.labels() for line in read_jsonl(self.path(label, name))]


def placed(row: Row) -> Row:
    """Return the row with a fine part."""
    return replace(row, name=row.name + FINE, head=lambda repetition: with_fine(row.head(repetition)))


def summary(values: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return each row's mean over units, and its paired differences to what learned nothing."""
    return {
        name: {"value": float(np.mean(list(own.values()))), "units": len(own)}
        | {f"minus {other}": difference(values[other], own, SCORE) for other in AGAINST if name not in AGAINST[:1]}
        for name, own in values.items()
    }


def pooled(every: dict[str, dict[str, dict[str, float]]], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the units of several sets as those of one."""
    rows = next(iter(every.values())).keys()
    return {row: {f"{name}/{unit}": v for name in names for unit, v in every[name][row].items()} for row in rows}


def show(name: str, found: dict[str, Any]) -> None:
    print(name)
    for row, one in found.items():
        line = f"  {row:36s} {one['value']:6.2f}"
        for other in AGAINST:
            if change := one.get(f"minus {other}"):
                low, high = change["ci95"] or (float("nan"),) * 2
                line += f"   {change['value']:+6.2f} [{low:+.2f}, {high:+.2f}]"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--sets", choices=SETS, default="reported")
    parser.add_argument("--rows", nargs="*", metavar="ROW", help="some of them")
    parser.add_argument("--only", nargs="*", metavar="SET", help="some of them; all are wanted for a file to keep")
    parser.add_argument("--strengths", type=float, nargs="*", default=[], help="more of the recipes' heads")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    bench = Bench(args.backbone, read_preset(args.preset), args.work, [], args.strengths)
    wanted = {
        *AGAINST,
        *(args.rows or ROWS),
        *(f"{name}, strength {s:g}" for s in args.strengths for name in ("one-step", "default")),
    }
    rows = [row.few() for row in bench.rows() if row.name in wanted]
    rows += [placed(row) for row in rows if row.name in PLACED]
    real, every, kinds = Real(bench, rows), {}, {}
    for one in open_sets(args.only or SETS[args.sets], args.work):
        every[one.name] = real.run(one)
        kinds.setdefault(one.kind, []).append(one.name)
        show(one.name, summary(every[one.name]))
    together = {kind: pooled(every, names) for kind, names in kinds.items()}
    for kind, values in together.items():
        show(f"all {kind}", summary(values))
    protocol = made_with(bench.features.backbone) | {
        "preset": args.preset,
        "captures": f"PCDP@0.05, up to {CAPTURE_VIEWS} pictures each at 640 px, points by COLMAP, by source view",
        "transfer": "PCK@0.10 at 448 px (PF-WILLOW: of the points' extent, birds: of the box), by source picture",
        "tracking": "share under 8 px at 256 high, 854 px, by query point",
        "pooled": "units of the sets together",
        "repetitions": "seeds 0, 1, 2; where a row has an object, the seed's",
    }
    found = {name: summary(values) for name, values in every.items()}
    of_kinds = {name: summary(values) for name, values in together.items()}
    write_json(args.out, rounded({"protocol": protocol, "pooled": of_kinds, "sets": found}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
