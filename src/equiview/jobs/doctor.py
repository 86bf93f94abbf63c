"""What is installed here, what works, and what each missing part would enable."""

import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import EquiviewError
from ..io import free_space
from ..models.backbones import TINY, load_backbone
from ..version import version_words

Status = Literal["ok", "missing", "broken"]
NEEDED_MIB = 1024
HUB_SECONDS = 3.0
# Extras: what is imported, and what it is for.
EXTRAS = {
    "moderngl": ("gl", "fast rendering on a graphics card (--renderer gl)"),
    "timm": ("timm", "timm: backbones"),
    "av": ("video", "reading video files, and writing tracks over them"),
    "opencv-python-headless": ("cv", "the published pose protocol"),
    "onnxruntime": ("onnx", "ONNX files (export --onnx)"),
    "h5py": ("hloc", "hloc's files (--to hloc)"),
    "rerun-sdk": ("rerun", "recordings in 3D (--rerun)"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        part: What was looked at.
        status: `ok`; `missing`, and equiview works without it; `broken`, and it does not.
        found: What is there.
        advice: What it would enable, and how to get it; empty when it is there.
    """

    part: str
    status: Status
    found: str
    advice: str = ""


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at everything equiview can use. Leaves nothing behind and never fails.

    Args:
        folder: Where results would be written.
    """
    checks: list[Callable[[], Finding]] = [_python, _packages, _tiny, _renderer, _gpu]
    checks += [partial(_extra, name) for name in EXTRAS]
    checks += [_gl, _cache, _hub, partial(_disk, folder), _processor]
    return [check() for check in checks]


def _python() -> Finding:
    from .. import __version__

    where = f"Python {platform.python_version()}, {platform.platform()}"
    return Finding("equiview", "ok", f"{version_words(__version__)}, {where}")


def _packages() -> Finding:
    wanted = ("torch", "transformers", "peft", "numpy", "embreex", "poselib")
    try:
        found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in wanted)
    except importlib.metadata.PackageNotFoundError as error:
        return Finding("packages", "broken", f"{error.name} is not installed", "pip install equiview installs it.")
    return Finding("packages", "ok", found)


def _tiny() -> Finding:
    try:
        info = load_backbone(TINY).info
    except EquiviewError as error:
        return Finding("bundled backbone", "broken", str(error), "Install equiview again.")
    return Finding("bundled backbone", "ok", f"{TINY}, {info.blocks} blocks of {info.dim} channels")


def _renderer() -> Finding:
    from ..data.synthetic.builtin import builtin_mesh
    from ..render import RenderConfig, paper42, render_views

    try:
        view = render_views(builtin_mesh("mug"), paper42((64, 64))[:1], RenderConfig(hw=(64, 64)))[0]
    except (ImportError, OSError, RuntimeError, EquiviewError) as error:
        return Finding("renderer", "broken", f"embree: {error}", "pip install --force-reinstall embreex")
    return Finding("renderer", "ok", f"embree draws ({int(view.mask.sum())} pixels of a test object)")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding(
            "GPU", "ok", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free; --device auto uses it"
        )
    if torch.backends.mps.is_available():
        return Finding("GPU", "ok", "Apple; use it with --device mps")
    built = "torch has no CUDA in it" if torch.version.cuda is None else "torch sees no CUDA device"
    advice = "Large backbones want one: install a CUDA build of torch and a driver."
    return Finding("GPU", "missing", built, advice)


def _extra(package: str) -> Finding:
    extra, use = EXTRAS[package]
    try:
        return Finding(f"extra {extra}", "ok", f"{package} {importlib.metadata.version(package)}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(f"extra {extra}", "missing", f"no {package}", f"For {use}: pip install 'equiview[{extra}]'")


def _gl() -> Finding:
    from ..render.gl import device_name

    try:
        return Finding("OpenGL", "ok", device_name())
    except EquiviewError as error:
        return Finding("OpenGL", "missing", str(error).splitlines()[0], "Only --renderer gl needs it.")


def _cache() -> Finding:
    from huggingface_hub.constants import HF_HUB_CACHE

    where = Path(HF_HUB_CACHE)
    if where.is_dir() and os.access(where, os.W_OK):
        models = sorted(p.name.removeprefix("models--").replace("--", "/") for p in where.glob("models--*"))
        return Finding("model cache", "ok", f"{where}: {', '.join(models[:4]) or 'empty'}")
    above = next((p for p in where.parents if p.exists()), None)
    if above is not None and os.access(above, os.W_OK):
        return Finding("model cache", "ok", f"{where}, not made yet")
    advice = "Hub models cannot be kept: set HF_HOME to a folder that can be written, or name a model's folder."
    return Finding("model cache", "missing", f"{where} cannot be written", advice)


def _hub() -> Finding:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    started = time.monotonic()
    try:
        HfApi().model_info("facebook/dinov2-small", timeout=HUB_SECONDS)
    except (HfHubHTTPError, httpx.HTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = f"For hub ids such as facebook/dinov2-base. Without it: {TINY}, or the folder of a model."
        return Finding("Hugging Face hub", "missing", f"no answer ({reason})", advice)
    return Finding("Hugging Face hub", "ok", f"answers in {time.monotonic() - started:.1f} s")


def _disk(folder: Path) -> Finding:
    if folder.exists() and not folder.is_dir():
        return Finding("this folder", "broken", f"{folder} is a file", "Give --out a folder that can be written.")
    where, free = free_space(folder)
    try:
        with tempfile.TemporaryFile(dir=where) as file:
            file.write(b"equiview")
            file.flush()
    except OSError as error:
        return Finding(
            "this folder", "broken", f"{where}: {error.strerror}", "Give --out a folder that can be written."
        )
    if free < NEEDED_MIB:
        advice = f"A run wants up to {NEEDED_MIB} MiB: free some space or give --out another disk."
        return Finding("this folder", "broken", f"{where}: {free:.0f} MiB free", advice)
    return Finding("this folder", "ok", f"{where}: {free / 1024:.0f} GiB free, can be written")


def _processor() -> Finding:
    import torch

    memory = (
        f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
        if (hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names)
        else ""
    )
    return Finding("processor", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads{memory}")
