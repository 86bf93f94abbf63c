"""What an ONNX file keeps of a model: differences on three sizes, and PCDP by the ordinary protocol, beside torch.

    EQUIVIEW_SHARED=... python benchmarks/onnx_files.py --work runs/onnx --out baselines/onnx.json

Features are those of the shipped presets (`--features auto`), objects are development objects. Every file is written by
`equiview export --onnx`, with and without `--fp16`, and run by onnxruntime on the CPU.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from _protocol import rounded, shared, split, views_of

from equiview.io import write_json
from equiview.jobs.feature_options import FeatureOptions, open_features
from equiview.models.adapters.folder import versions
from equiview.models.extractor import MapSource
from equiview.models.heads import head_spec
from equiview.models.onnx_export import export_onnx
from equiview.models.onnx_session import import_onnx, open_onnx
from equiview.tasks.equivariance import MeasureConfig, ObjectPlan, plan_object, score_object, summarize

WEIGHTS = ("equiview/tiny", "depth-anything-v2-small-encoder")
SIDE, OBJECTS, VIEWS, POINTS = 448, 3, 5, 300
METRICS = ("ape", "pcdp@0.05")


def scores(source: MapSource, plans: list[ObjectPlan]) -> dict[str, float]:
    """Return the mean scores over objects."""
    rows = []
    for plan in plans:
        with torch.no_grad():
            rows += score_object(plan, list(source.maps(plan.views, batch_size=1)), MeasureConfig(points=POINTS))
    metrics = summarize(rows, {})["metrics"]
    return {name: rounded(metrics[name]["value"]) for name in METRICS if name in metrics}


def compared(name: str, work: Path, plans: list[ObjectPlan]) -> dict[str, Any]:
    """Return the scores of a backbone's preset in torch, and of its two files with what their checks found."""
    folder = shared() / "data" / "weights" / name
    backbone = str(folder) if folder.is_dir() else name
    model = open_features(FeatureOptions(backbone, preset="auto", long_side=SIDE))
    found: dict[str, Any] = {"blocks": list(model.blocks), "head": head_spec(model.head), "torch": scores(model, plans)}
    for kind in ("fp32", "fp16"):
        path = work / f"{Path(name).name}_{kind}.onnx"
        checks = export_onnx(model, path, fp16=kind == "fp16")
        size = path.stat().st_size / 2**20
        found[kind] = {
            "mib": rounded(size),
            "checks": [asdict(one) for one in checks],
            "scores": scores(open_onnx(path), plans),
        }
        print(name, kind, found[kind]["scores"], found["torch"], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=WEIGHTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    objects = split("dev")[:OBJECTS]
    plans = [plan_object(one, list(views_of(one, given.work))[:VIEWS], MeasureConfig(points=POINTS)) for one in objects]
    onnx, runtime = import_onnx()
    result = {
        "long_side": SIDE,
        "objects": objects,
        "views": VIEWS,
        "points": POINTS,
        "versions": {**versions(), "onnx": onnx.__version__, "onnxruntime": runtime.__version__},
        "weights": {name: compared(name, given.work, plans) for name in given.weights},
    }
    write_json(given.out, result)


if __name__ == "__main__":
    main()
