"""Put the corrected tracker and transfer beside the published ones, on rendered clips and pairs with exact truth.

python benchmarks/corrected.py --backbone equiview/tiny --out baselines/corrected_tiny.json

The features are the same for both; only localisation and occlusion differ. Tracking also with perfect features (the
surface point behind each token), where every error is the protocol's own.
"""

import argparse
from pathlib import Path
from typing import Any

from _protocol import rounded

from equiview.data.synthetic.clips import ClipWorld, rendered_clip
from equiview.data.synthetic.rendered import set_seeds, synthetic_categories
from equiview.io import write_json
from equiview.matching.localise import Localise
from equiview.metrics.pck import SCORINGS
from equiview.models.adapters.folder import versions
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead
from equiview.models.oracle import PictureOracle
from equiview.stats import mean_with_ci
from equiview.tasks import tracking, transfer
from equiview.tasks.tracking import TrackingConfig
from equiview.tasks.transfer import TransferConfig, paper_config

BLOCKS = (4, 6, 8, 10)
METRICS = ("average_jaccard", "delta_avg", "occlusion_accuracy")


def extractor(name: str, long_side: int) -> Extractor:
    return Extractor(load_backbone(name), FeatureConfig(BLOCKS, long_side=long_side), AverageHead(3)).eval()


def tracked(source, clips) -> dict[str, Any]:
    """Return each metric under both protocols, and the paired difference over clips."""
    rows = {p: tracking.run(source, clips, TrackingConfig("first", protocol=p)) for p in ("default", "paper")}
    by_clip = {p: {r["clip"]: r for r in own if r["kind"] == "clip"} for p, own in rows.items()}
    table = {}
    for metric in METRICS:
        values = {p: [own[clip.name][metric] for clip in clips] for p, own in by_clip.items()}
        table[metric] = {p: mean_with_ci(own) for p, own in values.items()}
        table[metric]["difference"] = mean_with_ci([a - b for a, b in zip(*values.values(), strict=True)])
    return table


def transferred(name: str, count: int) -> dict[str, Any]:
    """Return PCK under both localisations; `paper` reads the square it asks for."""
    pairs, scoring = synthetic_categories(0, count), SCORINGS["spair"]
    square = paper_config(extractor(name, 640).backbone.info.patch)
    settings = {"default": (640, TransferConfig()), "paper": (square.square_px, square)}
    settings["default on the square of paper"] = (
        square.square_px,
        TransferConfig(Localise(), square_px=square.square_px),
    )
    table = {}
    for kind, (side, config) in settings.items():
        summary = transfer.summarize(transfer.run(extractor(name, side), pairs, config), {}, scoring)
        table[kind] = {m: {k: v[k] for k in ("value", "ci95", "n")} for m, v in summary["metrics"].items()}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="equiview/tiny")
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("baselines/corrected_tiny.json"))
    args = parser.parse_args()
    rendered = [rendered_clip(seed, ClipWorld()) for seed in set_seeds(0, args.clips)]
    clips = [one.clip for one in rendered]
    table: dict[str, Any] = {"backbone": args.backbone, "blocks": BLOCKS, "versions": versions()}
    table["tracking"] = tracked(extractor(args.backbone, 640), clips)
    oracle = PictureOracle([surface for one in rendered for surface in one.surfaces], stride_px=8)
    table["tracking, perfect features"] = tracked(oracle, clips)
    write_json(args.out, rounded(table))
    table["transfer"] = transferred(args.backbone, args.instances)
    write_json(args.out, rounded(table))
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
