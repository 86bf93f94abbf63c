"""Good inputs as small as they can be, and ways to spoil them."""

import importlib
import json
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equiview.cli import main
from equiview.models.adapters import LoraSpec, add_lora, save_adapter
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead
from render.makers import QUAD, QUAD_FACES, GltfMaker, sphere

Result = tuple[int, str, str]
Run = Callable[..., Result]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["equiview", *map(str, arguments)])
        capsys.readouterr()  # What the test itself wrote, such as the progress of saving a model.
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def check_message(result: Result, *said: str, code: int = 2) -> str:
    """Check the exit code and that stderr is one message that says all of this; return the message."""
    found, out, err = result
    assert found == code, (found, out, err)
    assert out == ""
    assert "Traceback" not in err and err.count("expected") <= 1
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == (1 if code == 2 else 2), err
    for words in said:
        assert words.lower() in err.lower(), (words, err)
    return lines[0]


def leftovers(folder: Path) -> list[str]:
    """Return temporary files anywhere under a folder."""
    return [str(p) for p in folder.rglob("*") if p.name.startswith(".")]


def ball_ply(path: Path, seed: int = 0, rows: int = 24, columns: int = 32) -> Path:
    """Write a ball whose vertices have random colours; of every seed but 0 one channel is darker than another's."""
    part = sphere(rows, columns)
    colors = np.random.default_rng(seed).integers(0, 256, (len(part.vertices), 3))
    colors[:, seed % 3] //= 1 + seed
    head = f"ply\nformat ascii 1.0\nelement vertex {len(part.vertices)}\n"
    head += "".join(f"property float {c}\n" for c in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    head += f"element face {len(part.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    body = "".join(
        f"{x:.6f} {y:.6f} {z:.6f} {r} {g} {b}\n" for (x, y, z), (r, g, b) in zip(part.vertices, colors, strict=True)
    )
    body += "".join(f"3 {a} {b} {c}\n" for a, b, c in part.faces)
    path.write_text(head + body)
    return path


def quad_glb(path: Path, vertices: np.ndarray = QUAD, faces: np.ndarray = QUAD_FACES) -> Path:
    """Write a square without texture or UVs, in a material that is not grey."""
    maker = GltfMaker()
    maker.json["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [0.0, 1.0, 0.0, 1.0]}, "doubleSided": True}]
    attributes = {"POSITION": maker.accessor(vertices)}
    primitive = {"attributes": attributes, "indices": maker.accessor(faces.ravel()), "material": 0}
    maker.json["meshes"].append({"primitives": [primitive]})
    maker.node(mesh=0)
    maker.json["scenes"], maker.json["scene"] = [{"nodes": [0]}], 0
    return maker.glb(path)


def no_faces_glb(path: Path) -> Path:
    """Write a GLB with a scene and nothing in it."""
    text = b'{"asset":{"version":"2.0"},"scenes":[{"nodes":[]}],"scene":0}'
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk)
    return path


def cut(path: Path, keep: float = 0.5) -> Path:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def evil_ckpt(path: Path, target: Path) -> Path:
    """Write a checkpoint that would run code."""
    torch.save({"state_dict": {}, "callbacks": Evil(target)}, path)
    return path


def write_adapter(folder: Path, backbone: str | Path, *, head: bool = True) -> Path:
    """Write an adapter of rank 2 that changes the features."""
    extractor = Extractor(load_backbone(backbone), FeatureConfig(long_side=64), AverageHead(3) if head else None)
    add_lora(extractor.backbone, LoraSpec(rank=2, last_blocks=1), seed=0)
    with torch.no_grad():
        for name, parameter in extractor.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    return save_adapter(folder, extractor)


@contextmanager
def interrupted(target: str, at: int, error: type[BaseException] = KeyboardInterrupt) -> Iterator[None]:
    """Raise in place of call number `at` (from 1) of a function."""
    place, _, name = target.rpartition(".")
    # Not by its dotted name: `equiview.improve` is the function of that name too.
    module = importlib.import_module(place)
    real, count = getattr(module, name), 0

    def once(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise error
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, once)
        yield
    assert count >= at, f"{target} was called {count} times only"


def scores(folder: Path) -> dict[str, Any]:
    """Return everything of summary.json but the protocol, which holds times and paths."""
    summary = json.loads((folder / "summary.json").read_text())

    def without(value: Any) -> Any:
        return {k: without(v) for k, v in value.items() if k != "protocol"} if isinstance(value, dict) else value

    return without(summary)


def environment(**changes: str) -> dict[str, str]:
    """Return this process's variables, one thread, with some changed."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}
