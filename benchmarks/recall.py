"""Viewpoint recall of a preset beside the last block, on rendered objects and on captures.

    EQUIVIEW_SHARED=... python benchmarks/recall.py --backbone B --preset dinov2-class --long-side 448 \
        --objects 3 --captures strecha_fountain-P11 --work W --out baselines/recall_dinov2_class.json

The protocol is that of NAVI (`equiview bench --tasks recall`): rendered objects in a ring of 17 views, captures as in
the bench, triangulated with their poses (extra `colmap`). An object or capture counts as 15 cm. Differences are paired;
their intervals are over pairs of views of these very objects.
"""

import argparse
from pathlib import Path
from typing import Any

from _protocol import made_with, rounded, shared

from equiview.io import write_json
from equiview.jobs.bench import BenchConfig, Sizes
from equiview.jobs.bench.recall_sets import CAPTURES, RENDERED, capture_pairs, open_rendered
from equiview.jobs.feature_options import FeatureOptions, open_features
from equiview.jobs.scoring import resumed_rows
from equiview.models.extractor import Extractor
from equiview.stats import mean_with_ci
from equiview.tasks.recall import RecallConfig, protocol_of, samples, summarize

LAST = "last block"


def scored(source: Extractor, items: Any, config: RecallConfig, path: Path) -> list[dict[str, Any]]:
    """Return the rows of a set, each pair on disk as soon as it is there."""
    return resumed_rows(path, lambda start: samples(source, items, config, None, start))


def differences(rows: list[dict[str, Any]], against: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean paired difference of every recall over pairs of views."""
    pairs = [(a, b) for a, b in zip(rows, against, strict=True) if "failed" not in a]  # No surface is none in both.
    names = [name for name in pairs[0][0] if name.startswith("recall@")]
    return {name: mean_with_ci([a[name] - b[name] for a, b in pairs]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--long-side", type=int, required=True)
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--captures", nargs="*", default=())
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    sources = {
        name: open_features(FeatureOptions(asked.backbone, preset=preset, long_side=asked.long_side))
        for name, preset in ((LAST, None), (asked.preset, asked.preset))
    }
    rendered = open_rendered(BenchConfig(sizes=Sizes(recall_objects=asked.objects)))
    sets = {"rendered": (rendered.items, RENDERED)}
    for name in asked.captures:
        sets[name] = ([capture_pairs(shared() / "data" / "captures" / name)], CAPTURES)
    result: dict[str, Any] = {"sets": {}, "protocol": {}}
    for set_name, (items, config) in sets.items():
        rows = {
            name: scored(source, items, config, asked.work / f"{set_name} {name}.jsonl".replace(" ", "-"))
            for name, source in sources.items()
        }
        summaries = {name: summarize(found, protocol_of(sources[name], config)) for name, found in rows.items()}
        result["sets"][set_name] = {
            "rows": {name: one["metrics"] for name, one in summaries.items()},
            "failed": {name: one["failed"] for name, one in summaries.items()},
            "difference": differences(rows[asked.preset], rows[LAST]),
        }
        result["protocol"][set_name] = protocol_of(sources[LAST], config)["recall"]
    result["features"] = {name: _portable(source) for name, source in sources.items()}
    write_json(asked.out, rounded(result | made_with(sources[LAST].backbone)))


def _portable(source: Extractor) -> dict[str, Any]:
    """Return what names features, without the machine's paths."""
    return source.describe() | {"backbone": Path(source.backbone.info.id).name}


if __name__ == "__main__":
    main()
