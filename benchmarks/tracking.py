"""Score every block of one or more backbones on BADJA: the share of joints followed to within 8 px at 256 high.

EQUIVIEW_SHARED=... python benchmarks/tracking.py --backbone FOLDER [FOLDER ...] --long-side 854 1280 1708 \\
    --random-weights 1 --out baselines/badja_deit_tiny.json

Features of the annotated frames are extracted once for all blocks and kept in float16. Each frame is searched alone,
so frames without annotation change nothing.
"""

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _protocol import rounded

from equiview.data.clips.badja import open_badja
from equiview.io import write_json
from equiview.matching.tracking import TrackConfig, Tracks, track
from equiview.models.adapters.folder import versions
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig, split_blocks
from equiview.models.heads import AverageHead
from equiview.tasks.tracking import TrackingConfig, part_of, queries_of, score_clip, summarize
from equiview.types import Clip, FeatureMap


class Variant(Sequence[FeatureMap]):
    """Maps of some blocks (from 1), each L2-normalised, concatenated, averaged over kernel x kernel tokens."""

    def __init__(self, maps: Sequence[list[FeatureMap]], blocks: Sequence[int], kernel: int) -> None:
        self.maps, self.blocks, self.head = maps, blocks, AverageHead(kernel)

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> FeatureMap:
        parts = [self.maps[index][block - 1] for block in self.blocks]
        tokens = torch.cat([F.normalize(part.tokens.float(), dim=0) for part in parts])
        return parts[0].replace_tokens(self.head(tokens[None])[0])

    def __iter__(self) -> Iterator[FeatureMap]:
        return (self[index] for index in range(len(self)))


def block_maps(source: Extractor, clip: Clip) -> list[list[FeatureMap]]:
    """Return every block's map of every frame, float16, on the CPU."""
    maps = []
    for index in range(len(clip.frames)):
        fmap = next(source.maps([clip.frames[index]], device="cpu"))
        maps.append(split_blocks(fmap.replace_tokens(fmap.tokens.half()), len(source.blocks)))
    return maps


def variants(depth: int) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return blocks and averaging kernel by name; with another depth than 12 the four blocks keep their places."""
    four = tuple(max(1, round(block * depth / 12)) for block in (4, 6, 8, 10))
    table = {}
    for block in range(1, depth + 1):
        table |= {f"block {block}": ((block,), 1), f"block {block} + average 3x3": ((block,), 3)}
    name = "blocks " + ",".join(map(str, four))
    return table | {name: (four, 1), f"{name} + average 3x3": (four, 3)}


def score(clips: Sequence[Clip], maps: Sequence[Sequence[FeatureMap]] | None, config: TrackConfig) -> dict[str, Any]:
    """Return {"value", "ci95", "n", "unit", "mean_error_px"}; without maps nothing moves."""
    rows = []
    protocol = TrackingConfig("first_annotated", track=config)
    for number, clip in enumerate(clips):
        points, queries = queries_of(clip, protocol)
        if maps is None:
            shape = (len(points), len(clip.frames))
            still = np.repeat(queries.xy[:, None], shape[1], 1)
            tracks = Tracks(still, np.ones(shape, bool), np.ones(shape), np.zeros(shape))
        else:
            tracks = track(maps[number], queries, config)
        rows += score_clip(clip, points, queries, tracks, protocol)
    errors = np.concatenate([row["errors_px"] for row in rows if row["kind"] == "point"])
    share = summarize(rows, {})["metrics"]["share_under_8px"]
    return share | {"median_error_px": float(np.median(errors))}


def measure(
    name: str, long_side: int, clips: Sequence[Clip], args: argparse.Namespace, seed: int | None
) -> dict[str, Any]:
    backbone = load_backbone(name, device=args.device, random_weights_seed=seed)
    every = tuple(range(1, backbone.info.blocks + 1))
    settings = FeatureConfig(every, args.norm, long_side, args.stride, args.position)
    source = Extractor(backbone, settings).eval()
    started = time.perf_counter()
    maps = [block_maps(source, clip) for clip in clips]
    seconds = time.perf_counter() - started
    rows = {}
    for variant, (blocks, kernel) in variants(backbone.info.blocks).items():
        rows[variant] = score(clips, [Variant(own, blocks, kernel) for own in maps], tracker_of(args))
        kind = "" if seed is None else f"random {seed} "
        print(f"{Path(name).name} {long_side} {kind}{variant:34s} {rows[variant]['value']:.3f}", flush=True)
    describe = source.describe() | {"backbone": Path(backbone.info.id).name}
    del describe["blocks"]
    return {"features": describe, "extraction_seconds": round(seconds, 1), "rows": rows}


def tracker_of(args: argparse.Namespace) -> TrackConfig:
    return TrackConfig(args.localisation, args.window, args.temperature)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    root = args.data or Path(os.environ.get("EQUIVIEW_SHARED", "")) / "data" / "tracking"
    clips = [part_of(clip, np.flatnonzero(clip.known.any(0))) for clip in open_badja(root)]
    result: dict[str, Any] = {
        "protocol": {
            "data": {clip.name: f"{len(clip.frames)} annotated frames of {clip.hw[1]}x{clip.hw[0]}" for clip in clips},
            "score": "share (0-1) under 8 px, frames scaled to 256 high, aspect kept; strict",
            "queries": "joints visible in the first annotated frame",
            "ci95": "percentile bootstrap over joints (fewer than 5 clips) or clips, 10,000 draws",
            "localisation": args.localisation,
            "search": "whole frame",
            "versions": versions(),
        },
        "no motion": score(clips, None, tracker_of(args)),
        "backbones": {},
    }
    for name, side in itertools.product(args.backbone, args.long_side):
        for seed in (None, *range(args.random_weights)):
            kind = "" if seed is None else f", random weights {seed}"
            result["backbones"][f"{Path(name).name} at {side}{kind}"] = measure(name, side, clips, args, seed)
            # After every part, so that a stopped run leaves what it has.
            write_json(args.out, rounded(result))
    print(f"wrote {args.out}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", nargs="+", required=True)
    parser.add_argument("--data", type=Path, help="holds joint_annotations; EQUIVIEW_SHARED/data/tracking if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/badja.json"))
    parser.add_argument("--random-weights", type=int, default=0, metavar="SEEDS", help="controls beside each backbone")
    parser.add_argument("--long-side", type=int, nargs="+", default=[854])
    parser.add_argument("--stride", type=int)
    parser.add_argument("--position", default="hf", choices=("hf", "dinov2"))
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--localisation", default="quadratic", choices=("quadratic", "parabola", "window", "token"))
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
