"""A real capture with given poses: points with the poses kept fixed, and cameras recovered from its photos alone.

python benchmarks/fox.py --scene .../ngp_fox --more .../dinoSparseRing .../dino_hemisphere61 \
    --work runs/fox --out baselines/fox_capture.json

The scene is instant-ngp's fox. --more are captures of which only the points are counted. An interrupted run goes on.
"""

import argparse
from pathlib import Path
from typing import Any

from _protocol import rounded

from equiview.data.captures.opening import open_capture
from equiview.data.sfm import (
    CaptureConfig,
    ColmapConfig,
    capture_from_pictures,
    capture_with_poses,
    compare_with_given,
)
from equiview.io import write_json

SHOWN = ("statistics", "verdict", "registered_by_model", "compared_with_given", "masks")


def show(stage: str, done: int, total: int) -> None:
    if done == total:
        print(f"  {stage}: {total}", flush=True)


def entry(about: dict[str, Any]) -> dict[str, Any]:
    """Return what a baseline keeps of a capture.json: numbers, no paths."""
    return {key: about[key] for key in SHOWN if key in about}


def with_poses(folder: Path, work: Path, config: CaptureConfig) -> dict[str, Any]:
    print(f"{folder.name}, poses given", flush=True)
    capture = open_capture(folder, long_side=config.long_side)
    return capture_with_poses(capture, folder, work / f"{folder.name}_given", config, show)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True, help="folder with transforms.json")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="captures with poses, points only")
    parser.add_argument("--work", type=Path, default=Path("runs/fox"))
    parser.add_argument("--out", type=Path, default=Path("baselines/fox_capture.json"))
    parser.add_argument("--long-side", type=int, default=1600)
    parser.add_argument("--threads", type=int, default=1, help="with one, the numbers repeat")
    args = parser.parse_args()
    config = CaptureConfig(long_side=args.long_side, colmap=ColmapConfig(threads=args.threads))
    given = with_poses(args.scene, args.work, config)
    print(f"{args.scene.name}, photos alone", flush=True)
    out = args.work / f"{args.scene.name}_recovered"
    recovered = capture_from_pictures(args.scene, out, config, show)
    recovered = recovered | {"compared_with_given": compare_with_given(out, open_capture(args.scene))}
    more = {folder.name: entry(with_poses(folder, args.work, config)) for folder in args.more}
    result = {
        "scene": args.scene.name,
        "settings": given["settings"],
        "versions": given["versions"],
        "poses_given": entry(given),
        "photos_alone": entry(recovered),
        "more": more,
    }
    write_json(args.out, rounded(result))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
