"""What the label-free visibility of the tracker was chosen on: rendered clips that no bench uses.

python benchmarks/occlusion_dev.py --backbone equiview/tiny --out runs/occlusion_dev.json

Occlusion accuracy and average Jaccard (percent) of three ways to say what is visible, on the same tracks: everything,
what leads back to its query, and the default. Features: the last block, blocks 4, 6, 8 and 10 averaged, perfect ones.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _protocol import rounded

from equiview.data.synthetic.clips import ClipWorld, rendered_clip
from equiview.data.synthetic.rendered import set_seeds
from equiview.io import write_json
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead
from equiview.models.oracle import PictureOracle
from equiview.stats import mean_with_ci
from equiview.tasks.tracking import TrackingConfig, follow, queries_of, score_clip

# Seeds 15000 and up. The bench and benchmarks/corrected.py draw theirs from set 0: other objects, other motions.
DEV_SET = 50
METRICS = ("occlusion_accuracy", "average_jaccard")


def sources(name: str) -> dict[str, Any]:
    backbone = load_backbone(name)
    return {
        "last block": Extractor(backbone, FeatureConfig(long_side=640)).eval(),
        "blocks averaged": Extractor(backbone, FeatureConfig((4, 6, 8, 10), long_side=640), AverageHead(3)).eval(),
        "perfect, stride 8": 8,
        "perfect, stride 2": 2,
    }


def scores(source: Any, rendered: Any, config: TrackingConfig) -> dict[str, dict[str, float]]:
    """Return the metrics of each way, on one clip."""
    clip = rendered.clip
    source = PictureOracle(rendered.surfaces, source) if isinstance(source, int) else source
    points, queries = queries_of(clip, config)
    tracks = follow(source, clip, queries, config)
    stride = max(next(iter(source.maps([clip.frames[0]]))).stride_xy)
    own = np.arange(len(clip.frames)) == queries.frame[:, None]
    ways = {
        "everything": np.ones_like(tracks.visible),
        "leads back": (tracks.cycle_px <= config.track.cycle_tokens * stride) | own,
        "default": tracks.visible,
    }
    rows = {way: score_clip(clip, points, queries, replace(tracks, visible=v), config)[0] for way, v in ways.items()}
    return {way: {metric: row[metric] for metric in METRICS} for way, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="equiview/tiny")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/occlusion_dev.json"))
    args = parser.parse_args()
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for seed in set_seeds(DEV_SET, args.clips):
        rendered = rendered_clip(seed, ClipWorld())
        for name, source in sources(args.backbone).items():
            found.setdefault(name, []).append(scores(source, rendered, TrackingConfig()))
    table: dict[str, Any] = {}
    for name, clips in found.items():
        for way in clips[0]:
            values = {metric: [clip[way][metric] for clip in clips] for metric in METRICS}
            table.setdefault(name, {})[way] = {metric: mean_with_ci(own) for metric, own in values.items()}
            print(f"{name:18s} {way:11s} " + "  ".join(f"{m} {np.mean(v):5.1f}" for m, v in values.items()))
    write_json(args.out, rounded(table))


if __name__ == "__main__":
    main()
