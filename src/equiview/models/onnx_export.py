"""One ONNX file of the features of pictures of any size of whole patches, checked before it is left behind.

Beside it lies a JSON: which features, what the check found, versions.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from ..data.synthetic.dead_leaves import dead_leaves
from ..errors import bad_input
from ..io import atomic_path, file_sha256, write_json
from ..records import Settings
from ..schema import reason
from .adapters.folder import versions
from .extractor import Extractor, image_batch
from .onnx_graph import OnnxGraph
from .onnx_newton import translations
from .onnx_session import FORMAT, INPUT, OUTPUT, import_onnx, open_session, record_path

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
MAX_BYTES = 2**31 - 2**24
"""Of weights: a file of one piece is at most 2 GiB."""
TOLERANCE = {False: 2e-3, True: 3e-2}
"""How far unit descriptors of the file may lie from those of the same graph in torch (float32), by half precision."""
LEAST_COSINE = 0.98
"""Between a descriptor of the file and the one the model itself gives; low-rank whitening is what differs."""


@dataclass(frozen=True)
class SizeCheck:
    """How a file's features compare on one picture.

    Attributes:
        image_hw: Its size.
        difference_to_graph: Largest difference of a component of L2-normalised descriptors between onnxruntime and the
            same graph in torch, float32.
        difference_to_model: The same between onnxruntime and the model as it is measured.
        least_cosine_to_model: Of all tokens.
    """

    image_hw: tuple[int, int]
    difference_to_graph: float
    difference_to_model: float
    least_cosine_to_model: float


def export_onnx(extractor: Extractor, path: str | Path, *, fp16: bool = False) -> list[SizeCheck]:
    """Write the features of a model as one ONNX file, and a JSON of the same name beside it.

    Input `images`: float32 [batch, 3, height, width], RGB in 0..1, both sides whole patches (a runtime refuses others).
    Output `features`: float32 [batch, channels, rows, columns], compared by cosine. Whitening is done by products, with
    as many directions as its low-rank form finds.

    Args:
        extractor: It is not changed. Its `long_side` is not part of the graph: pictures come at their size.
        path: Ends in `.onnx`.
        fp16: Weights and work of the network in float16.

    Returns:
        What the check in onnxruntime found, on three sizes.

    Raises:
        EquiviewError: The extra `onnx` is not installed, no graph can give these features (see `OnnxGraph`), they are
            too large for one file, the disk refuses, or the file does not give what torch gives: it is then not kept.
    """
    path = Path(path)
    if path.suffix != ".onnx" or path.is_dir():
        found = "a folder" if path.is_dir() else path.name
        raise bad_input(str(path), "a file that ends in .onnx", found, "For example features.onnx.")
    import_onnx()
    graph = OnnxGraph(extractor, half=fp16)
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    if size > MAX_BYTES:
        fix = "Export with --fp16." if not fp16 else "Use a smaller backbone."
        raise bad_input(f"ONNX of {extractor.backbone.info.id}", "weights below 2 GiB", f"{size / 2**30:.1f} GiB", fix)
    model = _translated(graph)
    record = _record(extractor, graph, fp16)
    for name, value in record.items():
        model.metadata_props.add(key=f"equiview.{name}", value=json.dumps(value))
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        checks = check_file(temporary, extractor, OnnxGraph(extractor) if fp16 else graph)
        _require(checks, path, TOLERANCE[fp16])
        record |= {"sha256": file_sha256(temporary), "checks": [asdict(one) for one in checks]}
    write_json(record_path(path), record)
    return checks


def _translated(graph: OnnxGraph) -> "ModelProto":
    """Return the graph in ONNX, height and width open, without what names this machine."""
    rows, cols = torch.export.Dim("rows", min=2), torch.export.Dim("cols", min=2)
    shapes = ({0: torch.export.Dim("batch", min=1), 2: graph.patch * rows, 3: graph.patch * cols},)
    # Sizes that no constant of the graph has, so that none of them is taken for one.
    example = torch.zeros(2, 3, 5 * graph.patch, 7 * graph.patch)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "opset_version": OPSET}
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes=shapes,
                custom_translation_table=translations(),
                verbose=False,
                **names,
            )
    except torch.onnx.OnnxExporterError as error:
        fix = "Use the versions of constraints.txt, or report it."
        raise bad_input("ONNX export", "a graph that torch can translate", reason(error), fix) from error
    model = program.model_proto  # type: ignore[union-attr]  # None is what the older exporter returns.
    for axis, name in ((2, "rows"), (3, "cols")):
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
    # Where every node came from in the sources: paths of this machine, larger than the graph.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling which optional libraries it does not find."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def _record(extractor: Extractor, graph: OnnxGraph, fp16: bool) -> Settings:
    onnx, runtime = import_onnx()
    return {
        "format": FORMAT,
        "patch": graph.patch,
        "long_side": extractor.config.long_side,
        "fp16": fp16,
        "features": extractor.describe(),
        "versions": {**versions(), "onnx": onnx.__version__, "onnxruntime": runtime.__version__, "opset": OPSET},
    }


@torch.no_grad()
def check_file(path: Path, extractor: Extractor, graph: OnnxGraph) -> list[SizeCheck]:
    """Compare a file with its graph in torch and with the model, on pictures of three sizes."""
    session, patch = open_session(path), graph.patch
    side = max(4, extractor.config.long_side // patch)
    checks = []
    for number, (rows, cols) in enumerate(((side, side), (side, side * 3 // 4), (side // 2, side * 5 // 8))):
        hw = (rows * patch, cols * patch)
        images = image_batch([dead_leaves(number, hw)], torch.device("cpu"))
        found = F.normalize(torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0]), dim=1)
        same = Extractor(extractor.backbone, replace(extractor.config, long_side=max(hw)), extractor.head)
        ours = F.normalize(same(images.to(same.device)).float().cpu(), dim=1)
        twin = F.normalize(graph(images), dim=1)
        apart = float((found - twin).abs().max()), float((found - ours).abs().max())
        checks.append(SizeCheck(hw, apart[0], apart[1], float((found * ours).sum(1).min())))
    return checks


def _require(checks: list[SizeCheck], path: Path, tolerance: float) -> None:
    """Refuse a file that does not give what torch gives.

    Raises:
        EquiviewError: A difference beyond the tolerance, or one that is no number.
    """
    worst = max(one.difference_to_graph for one in checks)
    least = min(one.least_cosine_to_model for one in checks)
    # Not `worst > tolerance`: that is false of NaN too.
    if not (worst <= tolerance and least >= LEAST_COSINE):
        found = f"up to {worst:.2g} from its graph in torch, cosines from {least:.4f} to the model"
        expected = f"features within {tolerance:g} of torch in onnxruntime, cosines of {LEAST_COSINE} or more"
        raise bad_input(str(path), expected, found, "It was not written; report the backbone and the versions.")


def check_words(checks: list[SizeCheck]) -> str:
    """Return what a person is told of the check."""
    sizes = ", ".join(f"{w} x {h}" for h, w in (one.image_hw for one in checks))
    graph, model = (max(getattr(one, f"difference_to_{name}") for one in checks) for name in ("graph", "model"))
    least = min(one.least_cosine_to_model for one in checks)
    words = (
        f"largest difference of unit descriptors {graph:.1e} from the same graph in torch, {model:.1e} from the model"
    )
    return f"Checked in onnxruntime at {sizes}: {words} (cosine {least:.5f} or more)"
