"""Time and memory of measuring one object, token matching beside a plain full-resolution twin, in one run.

    python benchmarks/measure.py --backbone FOLDER --object procedural:1 --out baselines/speed_measure.json

The plain twin upsamples the target's features to every pixel and compares each point with all of them; it runs on a
few pairs only, and its time is scaled to all. Each path runs in a process of its own, so peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from equiview.data.meshes import open_object
from equiview.io import write_json
from equiview.jobs.run_folder import device_name
from equiview.metrics.equivariance import error_px
from equiview.models.adapters.folder import versions
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor
from equiview.sampling import descriptors
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object

PLAIN_PAIRS = 20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--object", default="procedural:1")
    parser.add_argument("--views", type=int, default=42)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("--out", type=Path, default=Path("baselines/speed_measure.json"))
    parser.add_argument("--path", choices=("fast", "plain"), help="run one path and print its JSON")
    return parser.parse_args()


def run_path(args: argparse.Namespace) -> dict:
    torch.set_num_threads(args.threads)
    config = MeasureConfig(points=args.points)
    views = list(open_object(args.object, n_views=args.views, seed=0, cache_dir=args.work / "views"))
    extractor = Extractor(load_backbone(args.backbone, device=args.device))
    started = time.perf_counter()
    plan = plan_object("object", views, config)
    planned = time.perf_counter()
    maps = list(extractor.maps(views))
    extracted = time.perf_counter()
    if args.path == "fast":
        pairs, errors = len(plan.pairs), [row["ape"] for row in score_object(plan, maps, config)]
    else:
        chosen = list(plan.pairs)[:: max(1, len(plan.pairs) // PLAIN_PAIRS)][:PLAIN_PAIRS]
        pairs, errors = len(chosen), [plain_ape(plan, pair, maps) for pair in chosen]
    matched = time.perf_counter() - extracted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {"plan": planned - started, "features": extracted - planned, "matching": matched}
    return {"pairs": pairs, "all_pairs": len(plan.pairs), "seconds": seconds, "pairs_per_second": pairs / matched,
            "peak_mib": peak, "mean_ape": float(np.mean(errors))}  # fmt: skip


@torch.no_grad()
def plain_ape(plan, pair: tuple[int, int], maps) -> float:
    """Match against every pixel of the bilinearly upsampled target map."""
    truth, (i, j) = plan.pairs[pair], pair
    h, w = plan.views[j].camera.hw
    dense = F.interpolate(maps[j].tokens[None], size=(h, w), mode="bilinear", align_corners=False)[0]
    dense = F.normalize(dense.flatten(1), dim=0)
    queries = descriptors(maps[i], torch.from_numpy(plan.xy[i]).float())[torch.from_numpy(truth.index)]
    best = torch.cat([(chunk @ dense).argmax(1) for chunk in queries.split(250)]).cpu()
    xy = torch.stack([best % w + 0.5, best // w + 0.5], -1).double().numpy()
    return float(100 * error_px(xy, truth.xy1).mean() / min(h, w))


def main() -> None:
    args = parse()
    if args.path:
        print(json.dumps(run_path(args)))
        return
    results = {}
    for path in ("fast", "plain"):
        command = [sys.executable, __file__, *sys.argv[1:], "--path", path]
        results[path] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(path, results[path], flush=True)
    fast, plain = results["fast"], results["plain"]
    ratio = {
        "speed": fast["pairs_per_second"] / plain["pairs_per_second"],
        "peak_memory": fast["peak_mib"] / plain["peak_mib"],
    }
    protocol = {k: getattr(args, k) for k in ("object", "views", "points", "threads")} | {
        "backbone": Path(args.backbone).name,
        "long_side": 640,
        "device": device_name(args.device),
        "versions": versions(),
    }
    write_json(args.out, {"protocol": protocol, **results, "fast_over_plain": ratio})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
