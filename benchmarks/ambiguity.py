"""Fix the threshold of ambiguity on development objects, and report the share of ambiguous points.

    EQUIVIEW_SHARED=... python benchmarks/ambiguity.py --work runs/bench --out baselines/ambiguity.json

The threshold is the mean, over development objects, of the median distance between two descriptions of the same
surface point, each made from one half of the views: patches closer than that look as much alike as a patch and
itself seen again.
"""

import argparse
from pathlib import Path

import numpy as np
from _protocol import rounded, split, views_of

from equiview.data.ambiguity import MAX_POINTS, PATCH_THRESHOLD, AmbiguityMap, describe_patches, surface_cloud
from equiview.io import write_json

PERCENTILE = 50
FRESH_PROCEDURAL = tuple(f"procedural:{seed}" for seed in range(200, 210))


def self_distances(views) -> np.ndarray:
    """Return distances between two descriptions of the same points, from the even and from the odd views."""
    halves = [surface_cloud(views[k::2], seed=k) for k in (0, 1)]
    at = halves[0][np.random.default_rng(0).permutation(len(halves[0]))[:MAX_POINTS], :6]
    described = [describe_patches(half, at) for half in halves]
    # A half leaves points out whose rings it does not fill; compare those both have.
    index = [{tuple(point): n for n, point in enumerate(d.points)} for d in described]
    both = sorted(index[0].keys() & index[1].keys())
    pairs = [(described[0].descriptions[index[0][p]], described[1].descriptions[index[1][p]]) for p in both]
    return np.array([np.linalg.norm(a - b) for a, b in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("--out", type=Path, default=Path("baselines/ambiguity.json"))
    args = parser.parse_args()
    distances = {name: self_distances(list(views_of(name, args.work))) for name in split("dev")}
    percentiles = {name: float(np.percentile(d, PERCENTILE)) for name, d in distances.items()}
    threshold = float(np.mean(list(percentiles.values())))
    print(f"threshold from development objects {threshold:.4f}, in the code {PATCH_THRESHOLD}")
    shares = {}
    for group, names in (("dev", split("dev")), ("test", split("test")), ("procedural", FRESH_PROCEDURAL)):
        shares[group] = {name: AmbiguityMap(list(views_of(name, args.work))).share for name in names}
        print(group, f"mean share {np.mean(list(shares[group].values())):.3f}", flush=True)
    result = {"percentile": PERCENTILE, "threshold_by_object": percentiles, "threshold": threshold}
    write_json(args.out, rounded(result | {"threshold_used": PATCH_THRESHOLD, "share": shares}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
