"""An ONNX file of `equiview export --onnx` as a source of feature maps, to measure it like any other."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Float

from ..errors import bad_input
from ..io import file_sha256, require_file
from ..records import FeaturesRecord, Settings
from ..schema import check, library_loading
from ..types import FeatureMap
from .extractor import Picture, image_batch, picture_rgb, resize

FORMAT = "equiview onnx 1"
INPUT, OUTPUT = "images", "features"
_FIX = "Write it with equiview export --onnx."


def import_onnx() -> tuple[ModuleType, ModuleType]:
    """Return onnx and onnxruntime.

    Raises:
        EquiviewError: They or onnxscript, which torch writes ONNX with, are not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        fix = "pip install 'equiview[onnx]'."
        raise bad_input("ONNX", "onnx, onnxscript and onnxruntime", f"no {error.name}", fix) from error
    return onnx, onnxruntime


def record_path(path: Path) -> Path:
    """Return the JSON that lies beside a file."""
    return path.with_name(f"{path.name}.json")


def open_session(path: Path) -> Any:
    """Return onnxruntime's session on the CPU, on as many threads as torch has.

    Raises:
        EquiviewError: onnxruntime cannot load it.
    """
    _, runtime = import_onnx()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # Its warnings say which half-precision nodes the CPU casts.
    with library_loading(str(path), "a file that onnxruntime can load", _FIX):
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxMeta(TypedDict):
    """What an ONNX file of ours says of itself, each value as JSON."""

    format: str
    patch: int
    long_side: int
    fp16: bool
    features: dict[str, Any]
    versions: NotRequired[dict[str, Any]]


@dataclass(frozen=True)
class OnnxFeatures:
    """A `MapSource` that runs an ONNX file: pictures are resized as the model in torch resizes them.

    Attributes:
        session: Of onnxruntime.
        patch: Side of a patch, pixels.
        long_side: The longer side of pictures is resized to this, both to whole patches.
        described: Which features.
    """

    session: Any
    patch: int
    long_side: int
    described: FeaturesRecord

    def features(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b c rows cols"]:
        """Return the features of pictures as they are, RGB in 0..1.

        Raises:
            EquiviewError: Their size is not one of whole patches.
        """
        h, w = (int(side) for side in images.shape[2:])
        if min(h, w) < self.patch or h % self.patch or w % self.patch:
            fix = f"Resize the picture to multiples of {self.patch} px."
            raise bad_input("images", f"a height and width of whole patches of {self.patch} px", f"{h} x {w}", fix)
        return torch.from_numpy(self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(images.numpy())})[0])

    def maps(self, views: Iterable[Picture], *, batch_size: int = 4) -> Iterator[FeatureMap]:
        """Yield one feature map per picture, in order, one picture at a time."""
        for view in views:
            rgb = picture_rgb(view)
            h, w = (self._network_side(side, rgb.shape[:2]) for side in rgb.shape[:2])
            tokens = self.features(resize(image_batch([rgb], torch.device("cpu")), (h, w)))[0]
            scale = (rgb.shape[1] / w, rgb.shape[0] / h)
            stride_xy = (self.patch * scale[0], self.patch * scale[1])
            offset_xy = (stride_xy[0] / 2, stride_xy[1] / 2)
            yield FeatureMap(tokens, stride_xy, offset_xy, (rgb.shape[0], rgb.shape[1]))

    def _network_side(self, side: int, image_hw: tuple[int, ...]) -> int:
        return max(1, round(side * self.long_side / max(image_hw) / self.patch)) * self.patch

    def describe(self) -> FeaturesRecord:
        """Return what names these features (JSON)."""
        return self.described


def open_onnx(path: str | Path) -> OnnxFeatures:
    """Open a file of `export_onnx`.

    Raises:
        EquiviewError: The extra `onnx` is not installed, or it is not a file of ours.
    """
    path = require_file(Path(path), "an ONNX file of equiview export --onnx")
    session = open_session(path)
    prefix = "equiview."
    stored: dict[str, str] = session.get_modelmeta().custom_metadata_map
    with library_loading(f"{path}: metadata", "that of equiview export --onnx", _FIX):
        meta: Settings = {k.removeprefix(prefix): json.loads(v) for k, v in stored.items() if k.startswith(prefix)}
    if meta.get("format") != FORMAT:
        raise bad_input(f"{path}: format", repr(FORMAT), repr(meta.get("format")), _FIX)
    check(meta, OnnxMeta, str(path), _FIX)
    described: FeaturesRecord = {**meta["features"], "export_sha256": file_sha256(path)}  # type: ignore[typeddict-item]
    return OnnxFeatures(session, meta["patch"], meta["long_side"], described)
