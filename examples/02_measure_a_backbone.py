"""Measure how well a backbone's features agree between views, and write the page.

    python examples/02_measure_a_backbone.py [BACKBONE] [OUT]

The same as: equiview measure --backbone BACKBONE --objects builtin:mug builtin:duck --out OUT
"""

import sys
import tempfile
from pathlib import Path

import equiview


def main(backbone: str, out: Path) -> None:
    # Blocks are counted from 1; several are each normalised and concatenated.
    features = equiview.load(backbone, blocks=(4, 8), long_side=320)

    # What is measured, and how. The run folder remembers it: the same call goes on with an interrupted run, another
    # one is refused.
    run = equiview.MeasureRun(
        objects=("builtin:mug", "builtin:duck"),
        views=6,
        measure=equiview.MeasureConfig(points=200, seed=0),
    )
    summary = equiview.measure_objects(features, run, out)

    # Every number lies beside the protocol it was made with.
    for name, metric in summary["metrics"].items():
        by_angle = {angle: part["value"] and round(part["value"], 1) for angle, part in metric["by_angle"].items()}
        print(f"{name:9s} {metric['value']:5.1f} %   by angle (degrees): {by_angle}")
    print("stored beside them:", ", ".join(summary["protocol"]))
    print("page:", equiview.write_report(out))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        backbone = sys.argv[1] if len(sys.argv) > 1 else "equiview/tiny"
        main(backbone, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "run")
