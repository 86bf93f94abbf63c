"""What a second look at each picture adds, at equal coarse features: PCDP at fine and usual thresholds, and the time.

    EQUIVIEW_SHARED=... python benchmarks/refine.py --backbone B --preset dinov2-class --work runs/preset --out OUT

Rows: the preset with nothing learned, its recipe `default` with a rendered object of another kind, and the last block,
each by the parabola alone and refined, on the held-out objects (`all` takes an hour). WORK may be that of preset.py,
whose heads it shares.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import repetitions
from _protocol import MEASURE, made_with, rounded, split, views_of
from preset import LAST, NOTHING, Bench, Row

from equiview.io import read_jsonl, write_json
from equiview.jobs.presets import read_preset
from equiview.jobs.scoring import rows_path, write_rows
from equiview.metrics.equivariance import object_values
from equiview.metrics.paired import difference
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object

METRICS = ("pcdp@0.01", "pcdp@0.02", "pcdp@0.05", "pcdp@0.1")
ROWS = (NOTHING, "default", LAST)
OBJECTS = {"test": ("test",), "all": ("test", "more_test"), "dev": ("dev", "more_dev")}
ONCE = MEASURE
TWICE = MeasureConfig(points=MEASURE.points, seed=MEASURE.seed, refine=True)


def score(bench: Bench, row: Row, names: list[str], work: Path) -> dict[str, list[dict[str, Any]]]:
    """Score the objects with one look and with two; each is timed, the passes of the network among it."""
    head = row.head(repetitions()[0])
    model = Extractor(bench.features.backbone, FeatureConfig(blocks=row.blocks), head).eval()
    found: dict[str, list[dict[str, Any]]] = {"once": [], "refined": []}
    for name in names:
        plan = None
        for look, config in (("once", ONCE), ("refined", TWICE)):
            path = rows_path(work / "refine" / row.name.replace(" ", "-") / look, name)
            if not path.exists():
                plan = plan or plan_object(name, views_of(name, work), ONCE)
                write_rows(path, timed(model, plan, config))
            found[look] += read_jsonl(path)
    return found


@torch.no_grad()
def timed(model: Extractor, plan: Any, config: MeasureConfig) -> list[dict[str, Any]]:
    start = time.perf_counter()
    rows = score_object(plan, list(model.maps(plan.views)), config, source=model)
    seconds = time.perf_counter() - start
    return [{**row, "seconds": seconds} for row in rows]


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return both looks' scores, their ratio, and the paired difference over objects."""
    lines: dict[str, Any] = {}
    for metric in METRICS:
        once, twice = (object_values(found[look], metric, None, None) for look in ("once", "refined"))
        a, b = (float(np.mean(list(values.values()))) for values in (once, twice))
        lines[metric] = {"once": a, "refined": b, "ratio": b / a, "difference": difference(once, twice, metric)}
    seconds = {look: sum({row["object"]: row["seconds"] for row in rows}.values()) for look, rows in found.items()}
    return lines | {"seconds": seconds | {"ratio": seconds["refined"] / seconds["once"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--objects", choices=OBJECTS, default="test")
    parser.add_argument("--rows", nargs="*", metavar="ROW", default=list(ROWS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    names = [name for key in OBJECTS[args.objects] for name in split(key)]
    bench = Bench(args.backbone, read_preset(args.preset), args.work, [], [])
    found = {}
    rows = {row.name: row for row in bench.rows()}
    for name in args.rows:
        found[name] = summary(score(bench, rows[name], names, args.work))
        for metric in METRICS:
            one = found[name][metric]
            print(f"{name:16s} {metric:10s} {one['once']:6.2f} {one['refined']:6.2f} x{one['ratio']:.2f}")
        print(found[name]["seconds"], flush=True)
    protocol = made_with(bench.features.backbone) | {
        "preset": args.preset,
        "objects": names,
        "points": MEASURE.points,
        "long_side": 640,
        "seconds": "of all objects, one thread, on a machine with other work: look at the ratio",
    }
    write_json(args.out, rounded({"protocol": protocol, "rows": found}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
