"""Peak memory and time of tracking clips of several lengths: 854x480 frames, 30x53 tokens of 192 channels, 20 points.

python benchmarks/track_long.py --frames 100 1000 --out baselines/track_long.json

Features are noise, so that only the tracker is measured; each length runs in its own process.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from equiview.io import write_json
from equiview.matching.tracking import LazyMaps, Queries, track
from equiview.models.oracle import NoiseExtractor

HW = (480, 854)


class Frames(Sequence):
    """Pictures drawn when indexed."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (*HW, 3), dtype=np.uint8)


def measure(frames: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    queries = Queries(rng.uniform((0, 0), HW[::-1], (20, 2)), np.repeat([0, frames // 2], 10))
    started = time.perf_counter()
    track(LazyMaps(NoiseExtractor(dim=192), Frames(frames)), queries)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": frames, "peak_mib": round(peak, 1), "seconds": round(time.perf_counter() - started, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path, default=Path("runs/track_long.json"))
    args = parser.parse_args()
    rows = []
    for frames in args.frames:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (frames,)))
        print(rows[-1], flush=True)
    write_json(args.out, {"hw": list(HW), "points": 20, "features": "noise, 192 channels, stride 16", "rows": rows})


if __name__ == "__main__":
    main()
