"""Valid files of every kind that is read, small, each with the reader that a command calls."""

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

import capture_worlds
import recall_sets
from bad_inputs import ball_ply
from capture_worlds import BENT, World
from equiview.data.captures.navi import navi_pairs
from equiview.data.captures.opening import open_capture
from equiview.data.captures.scannet_pairs import scannet_pairs
from equiview.data.clips.badja import open_badja
from equiview.data.clips.tapvid import open_tapvid
from equiview.data.keypoints.loaders import LOADERS
from equiview.data.keypoints.pfwillow import read_points as read_mat
from equiview.io import read_image
from equiview.jobs.report import write_page
from equiview.jobs.study.points import read_points
from equiview.jobs.study.run_folders import read_folders
from equiview.models.adapters import LoraSpec, add_lora, load_adapter, save_adapter
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import LinearHead
from equiview.render import RenderConfig, load_mesh, open_views, render_views, ring
from models.backbones.tiny import make_model, save
from render.makers import GltfMaker, mesh_of, sphere
from report.make_run import write_measured

Read = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A file among others that are right, and what reads it."""

    file: Path
    read: Read


def _noise(path: Path, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)).convert(mode).save(path)
    return path


def _picture(path: Path, mode: str = "RGB") -> Case:
    return Case(_noise(path, mode), lambda: read_image(path))


def _gltf(folder: Path, *, binary: bool) -> Case:
    maker = GltfMaker()
    texture = maker.texture(np.full((4, 4, 4), 200, np.uint8))
    maker.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}, "alphaMode": "MASK"}]
    maker.node(mesh=maker.quad_mesh(maker.json["materials"][0]), translation=[1, 2, 3])
    maker.json["scenes"], maker.json["scene"] = [{"nodes": [0]}], 0
    path = maker.glb(folder / "a.glb") if binary else maker.gltf(folder / "a.gltf", embedded=True)
    return Case(path, lambda: load_mesh(path))


def _obj(folder: Path, name: str) -> Case:
    _noise(folder / "tex.png")
    (folder / "a.mtl").write_text("newmtl m\nKd 1 0.5 0\nmap_Kd -s 1 1 1 tex.png\nd 0.5\n")
    lines = "mtllib a.mtl\nv 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\n"
    (folder / "a.obj").write_text(lines + "usemtl m\nf 1/1/1 2/2/1 3/3/1 4/1/1\nf -4// -3// -2//\n")
    return Case(folder / name, lambda: load_mesh(folder / "a.obj"))


def _ply(folder: Path, form: str) -> Case:
    if form == "ascii":
        path = ball_ply(folder / "a.ply", rows=4, columns=5)
        return Case(path, lambda: load_mesh(path))
    path = folder / "b.ply"
    head = f"ply\nformat {form} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    order = "<" if "little" in form else ">"
    body = np.eye(3).astype(f"{order}f4").tobytes() + b"\x03" + np.arange(3).astype(f"{order}i4").tobytes()
    path.write_bytes(head.encode() + body)
    return Case(path, lambda: load_mesh(path))


def _capture(folder: Path, file: str) -> Case:
    def read() -> None:
        capture = open_capture(folder)
        for image in (capture.images[0], capture.images[len(capture.images) - 1]):
            image.image if isinstance(image.image, np.ndarray | Path) else image.image.read()

    return Case(folder / file, read)


def _tapvid(folder: Path, protocol: int) -> Case:
    rng = np.random.default_rng(0)
    example = {
        "video": rng.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8),
        "points": rng.random((2, 3, 2)).astype(np.float32),
        "occluded": rng.random((2, 3)) < 0.3,
    }
    path = folder / "a.pkl"
    path.write_bytes(pickle.dumps({"goat": example}, protocol=protocol))
    return Case(path, lambda: [clip.frames[0] for clip in open_tapvid(path)])


def _badja(folder: Path) -> Case:
    entry = {"joints": [[10, 40], [0, 0]], "visibility": [True, False], "image_path": "x/goat/00000.jpg"}
    (folder / "joint_annotations").mkdir()
    path = folder / "joint_annotations" / "goat.json"
    path.write_text(json.dumps([entry]))
    for number in range(2):
        frame = folder / "goat" / "video" / f"{number:05d}.png"
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 54)).save(frame)
    return Case(path, lambda: list(open_badja(folder)))


def _pairs(folder: Path) -> Case:
    _noise(folder / "a.png")
    pair = {"image0": "a.png", "image1": "a.png", "xy0": [[1, 2], [3, 4]], "xy1": [[5, 6], None], "category": "mug"}
    path = folder / "pairs.json"
    path.write_text(json.dumps({"pairs": [pair | {"box1_wh": [3, 4], "name": "one"}]}))
    return Case(path, lambda: LOADERS["json"](path))


def _mat(folder: Path) -> Case:
    path = folder / "a.mat"
    savemat(path, {"pts_coord": np.array([[1.5, 2.5], [3.0, 4.0]])})
    return Case(path, lambda: read_mat(path))


def _adapter(folder: Path, file: str) -> Case:
    vit = save(make_model("vit"), folder / "vit")
    backbone = load_backbone(vit)
    extractor = Extractor(
        backbone, FeatureConfig((2, 3), long_side=56), LinearHead(torch.eye(64), torch.zeros(64), 0.5)
    )
    add_lora(extractor.backbone, LoraSpec(2, last_blocks=1), seed=0)
    save_adapter(folder / "a", extractor)
    return Case(folder / "a" / file, lambda: load_adapter(folder / "a", load_backbone(vit)))


def _views(folder: Path, file: str) -> Case:
    render_views(mesh_of(sphere(6, 8)), ring(2, hw=(16, 16)), RenderConfig(hw=(16, 16)), folder / "v")
    return Case(folder / "v" / file, lambda: open_views(folder / "v")[1])


def _run(folder: Path, file: str, read: Callable[[Path], Any]) -> Case:
    run = write_measured(folder / "run")
    return Case(run / file, lambda: read(run))


def _study(folder: Path) -> Case:
    point = {"name": "a", "family": "f", "scores": {"ape": 1.0, "pck": None}, "tags": {"t": "x"}}
    path = folder / "study.json"
    points = [point | {"units": {"ape": {"mug": 1.0}}}, point | {"name": "b"}]
    path.write_text(json.dumps({"format": "equiview-study-points", "version": 1, "points": points, "notes": ["n"]}))
    return Case(path, lambda: read_points(path))


def _co3d(folder: Path) -> Case:
    sequence = recall_sets.write_co3d(folder, count=2)
    return Case(folder / "apple" / "frame_annotations.jgz", lambda: open_capture(sequence))


def _navi(folder: Path) -> Case:
    recall_sets.write_navi(folder, count=2)
    return Case(folder / "cup" / "wild_set" / "annotations.json", lambda: list(navi_pairs(folder)))


def _scannet(folder: Path, file: str) -> Case:
    recall_sets.write_scannet(folder, count=3)
    return Case(folder / file, lambda: list(scannet_pairs(folder)))


BYTES: dict[str, Callable[[Path], Case]] = {
    "PNG": lambda d: _picture(d / "a.png"),
    "palette PNG": lambda d: _picture(d / "a.png", "P"),
    "JPEG": lambda d: _picture(d / "a.jpg"),
    "TIFF": lambda d: _picture(d / "a.tif"),
    "WebP": lambda d: _picture(d / "a.webp"),
    "GIF": lambda d: _picture(d / "a.gif"),
    "one-bit TIFF": lambda d: _picture(d / "a.tif", "1"),
    "GLB": lambda d: _gltf(d, binary=True),
    "OBJ": lambda d: _obj(d, "a.obj"),
    "MTL": lambda d: _obj(d, "a.mtl"),
    "texture": lambda d: _obj(d, "tex.png"),
    "PLY text": lambda d: _ply(d, "ascii"),
    "PLY little": lambda d: _ply(d, "binary_little_endian"),
    "PLY big": lambda d: _ply(d, "binary_big_endian"),
    "COLMAP cameras.txt": lambda d: _colmap(d, "txt", "cameras"),
    "COLMAP images.txt": lambda d: _colmap(d, "txt", "images"),
    "COLMAP points3D.txt": lambda d: _colmap(d, "txt", "points3D"),
    "COLMAP cameras.bin": lambda d: _colmap(d, "bin", "cameras"),
    "COLMAP images.bin": lambda d: _colmap(d, "bin", "images"),
    "COLMAP points3D.bin": lambda d: _colmap(d, "bin", "points3D"),
    "Middlebury list": lambda d: _world(d, capture_worlds.write_middlebury, "made_par.txt"),
    "RGB-D pose": lambda d: _world(d, capture_worlds.write_rgbd, "pose/002.txt"),
    "RGB-D intrinsics": lambda d: _world(d, capture_worlds.write_rgbd, "intrinsics.txt"),
    "RGB-D depth": lambda d: _world(d, capture_worlds.write_rgbd, "depth/000.png"),
    "CO3D annotations": _co3d,
    "ScanNet's pairs": lambda d: _scannet(d, "test.npz"),
    "TAP-Vid pickle": lambda d: _tapvid(d, 4),
    "TAP-Vid pickle of old": lambda d: _tapvid(d, 0),
    "MATLAB": _mat,
    "adapter head": lambda d: _adapter(d, "head.safetensors"),
    "view": lambda d: _views(d, "view_0001.npz"),
    "rows of a run": lambda d: _run(d, "rows.jsonl", write_page),
}
"""Kinds of file that are spoiled byte by byte."""

JSON: dict[str, Callable[[Path], Case]] = {
    "glTF": lambda d: _gltf(d, binary=False),
    "transforms.json": lambda d: _world(d, capture_worlds.write_transforms, "transforms.json"),
    "BOP scene_gt.json": lambda d: _world(d, capture_worlds.write_bop, "scene_gt.json"),
    "BOP scene_camera.json": lambda d: _world(d, capture_worlds.write_bop, "scene_camera.json"),
    "NAVI annotations": _navi,
    "BADJA": _badja,
    "key points": _pairs,
    "adapter record": lambda d: _adapter(d, "equiview.json"),
    "adapter config": lambda d: _adapter(d, "adapter_config.json"),
    "backbone config": lambda d: _backbone(d, "config.json"),
    "meta.json of views": lambda d: _views(d, "meta.json"),
    "summary of a run, reported": lambda d: _run(d, "summary.json", write_page),
    "summary of a run, studied": lambda d: _run(d, "summary.json", lambda run: read_folders([run])),
    "study file": _study,
}
"""Kinds of JSON file, in which values become others too."""


def _world(folder: Path, write: Callable[..., Any], file: str) -> Case:
    write(folder / "scene", World())
    return _capture(folder / "scene", file)


def _colmap(folder: Path, form: str, name: str) -> Case:
    capture_worlds.write_colmap(folder / "scene", World(BENT), form=form)
    return _capture(folder / "scene", f"sparse/0/{name}.{form}")


def _backbone(folder: Path, file: str) -> Case:
    vit = save(make_model("vit"), folder / "vit")
    return Case(vit / file, lambda: load_backbone(vit))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a JSON value with each of its keys."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])
