"""The job behind `equiview export`: a folder for transformers or timm, or an ONNX file, measured after loading it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import EquiviewError
from ..metrics.equivariance import METRIC_NAMES
from ..models.export import export, open_export
from ..models.extractor import Extractor, MapSource
from ..models.loading import load
from ..models.onnx_export import SizeCheck, export_onnx
from ..models.onnx_session import open_onnx
from ..models.timm_export import export_timm
from ..tasks.equivariance import MeasureConfig, measure, summarize
from .feature_options import FeatureOptions, open_features
from .run_folder import Progress, check_names, open_objects

Form = Literal["full", "plain", "timm"]
# Scores of the reloaded export may differ by this much; timm resamples positions with another bicubic kernel, and the
# whitening of an ONNX file is of low rank.
TOLERANCES: dict[Form, float] = {"full": 0.1, "plain": 0.1, "timm": 1.0}
ONNX_TOLERANCE = 0.5


@dataclass(frozen=True)
class Recheck:
    """What an export is measured on before and after.

    Attributes:
        objects: As `measure` takes them.
        views: Of each.
        seed: Of views and points.
    """

    objects: Sequence[str]
    views: int = 6
    seed: int = 0


def export_model(
    options: FeatureOptions,
    out: Path,
    *,
    form: Form = "full",
    recheck: Recheck | None = None,
    progress: Progress | None = None,
) -> dict[str, tuple[float, float]]:
    """Write a folder for transformers, or for timm, with the adapter merged.

    Args:
        options: The backbone with its adapter.
        out: The folder.
        form: `full` for transformers with the head inside, `plain` the merged backbone alone, `timm` that for timm.
        recheck: What it is measured on after it was loaded again; None to leave that out.
        progress: Called with (stage, done, total).

    Returns:
        Where it is measured again, the scores of the model in memory and of the reloaded export, by metric.

    Raises:
        EquiviewError: It cannot be written, or the scores differ by more than a tenth of a point (timm: a point).
    """
    model = open_features(options)
    if form == "timm":
        export_timm(model, out)
    else:
        export(model, out, plain=form == "plain")
    if recheck is None:
        return {}
    config = model.config
    features: dict[str, Any] = {"blocks": config.blocks, "norm": config.norm, "long_side": config.long_side}
    if form == "timm":
        again = load(f"timm:local-dir:{out}", device=model.device, **features)
    else:
        again = open_export(out, device=str(model.device), **(features if form == "plain" else {}))
    return compare_scores(model, again, recheck, progress or (lambda stage, done, total: None), TOLERANCES[form])


def export_onnx_file(
    options: FeatureOptions,
    out: Path,
    *,
    fp16: bool = False,
    recheck: Recheck | None = None,
    progress: Progress | None = None,
) -> tuple[list[SizeCheck], dict[str, tuple[float, float]]]:
    """Write an ONNX file with the head inside, and a JSON beside it.

    Returns:
        What its check in onnxruntime found, and where it is measured again the scores of the model in torch and of the
        file, by metric.

    Raises:
        EquiviewError: It cannot be written, does not give what torch gives, or the scores differ by half a point.
    """
    model = open_features(options)
    checks = export_onnx(model, out, fp16=fp16)
    if recheck is None:
        return checks, {}
    progress = progress or (lambda stage, done, total: None)
    return checks, compare_scores(model, open_onnx(out), recheck, progress, ONNX_TOLERANCE)


def compare_scores(
    model: Extractor, again: MapSource, recheck: Recheck, progress: Progress, tolerance: float = TOLERANCES["full"]
) -> dict[str, tuple[float, float]]:
    """Measure both on the same views.

    Returns:
        Score of the model in memory and of the reloaded export, by metric.

    Raises:
        EquiviewError: They differ by more than the tolerance (points).
    """
    check_names(recheck.objects, "--remeasure")
    with tempfile.TemporaryDirectory(prefix="equiview-") as cache:
        opened = open_objects(recheck.objects, recheck.views, recheck.seed, Path(cache), progress)
        both = []
        sources: tuple[MapSource, MapSource] = (model, again)
        for number, source in enumerate(sources):
            progress("measure", number, 2)
            rows = measure(source, opened, MeasureConfig(points=300, seed=recheck.seed))
            both.append(summarize(rows, {})["metrics"])
        progress("measure", 2, 2)
    # `measure` refuses objects without a pair, so that every mean has a value.
    values = [{name: cast(float, metrics[name]["value"]) for name in METRIC_NAMES} for metrics in both]
    scores = {name: (values[0][name], values[1][name]) for name in METRIC_NAMES}
    apart = [f"{name} {a:.3f} and {b:.3f}" for name, (a, b) in scores.items() if abs(a - b) > tolerance]
    if apart:
        message = "the reloaded export does not score what the model does"
        raise EquiviewError(f"{message}: {', '.join(apart)}. Do not use it.")
    return scores
