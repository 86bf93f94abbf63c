"""Mutual nearest neighbours in bounded memory: the published size, and the plain matrix beside it where that fits.

python benchmarks/matching.py --out baselines/speed_matching.json
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from equiview.io import write_json
from equiview.matching.nearest import mutual_nearest

SMALL, PUBLISHED = (6_000, 4_800), (120_000, 19_200)  # 19,200 is a 640 x 480 picture at a stride of 4 px


def descriptors(n: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def plain(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The twin: the whole matrix of similarities."""
    similarity = a @ b.T
    best_0, best_1 = similarity.argmax(1), similarity.argmax(0)
    rows = torch.arange(len(a))
    keep = best_1[best_0] == rows
    return rows[keep], best_0[keep]


def measure(kind: str, size: tuple[int, int], dim: int) -> None:
    """Run one case in this process and print its time and the process's peak memory."""
    a, b = (descriptors(n, dim, seed) for seed, n in enumerate(size))
    start = time.perf_counter()
    index_0, index_1 = (plain if kind == "plain" else mutual_nearest)(a, b)[:2]
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(seconds, peak, len(index_0), int((index_0 * 31 + index_1).sum()))


def case(kind: str, size: tuple[int, int], args: argparse.Namespace) -> dict[str, object]:
    """Run one case in a process of its own: peak memory never goes down."""
    words = ["--case", kind, *map(str, size), "--dim", str(args.dim), "--threads", str(args.threads)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    seconds, peak, count, key = done.stdout.split()
    result = {"n": size[0], "m": size[1], "dim": args.dim, "seconds": round(float(seconds), 2)}
    result |= {"peak_gib": round(int(peak) / 2**30, 2), "matches": int(count), "key": int(key)}
    print(kind, result, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=3, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("baselines/speed_matching.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case:
        measure(args.case[0], (int(args.case[1]), int(args.case[2])), args.dim)
        return
    result = {
        "threads": args.threads,
        "bounded": {"small": case("bounded", SMALL, args), "published": case("bounded", PUBLISHED, args)},
        "plain": {"small": case("plain", SMALL, args)},
        "plain_matrix_at_published_size_gib": round(PUBLISHED[0] * PUBLISHED[1] * 4 / 2**30, 2),
    }
    if result["bounded"]["small"]["key"] != result["plain"]["small"]["key"]:
        raise SystemExit("the bounded matcher and its twin disagree")
    if result["bounded"]["published"]["peak_gib"] >= 4:
        raise SystemExit("more than 4 GiB")
    write_json(args.out, result)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
