"""Rendered views on disk or in memory: compact, read one at a time, resumed after an interruption."""

import io
import logging
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NotRequired, TypedDict, overload

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from .. import pictures
from ..cache import Cache
from ..errors import EquiviewError, bad_input
from ..geometry import pixel_centers, unproject
from ..io import atomic_path, read_json, write_json
from ..limits import MAX_SIDE, require_at_most, require_memory
from ..schema import as_array, as_whole, check
from ..types import Camera, View
from .embree import render_view
from .look import look_of
from .mesh import Mesh
from .shading import RenderConfig

log = logging.getLogger(__name__)

# Decoded views are kept within one limit for all objects together.
SHARED_CACHE: Cache[View] = Cache(512 * 2**20)
Draw = Callable[..., View]
_FORMAT = 1
_BYTES_PER_PIXEL = 180  # While a view is drawn that an object fills, measured.
_META = "meta.json"
_AGAIN = "Render it again."
_DEFAULT = RenderConfig()


class _StoredCamera(TypedDict):
    intrinsics: list[list[float]]
    cam_from_world: list[list[float]]
    hw: tuple[int, int]


class _Meta(TypedDict):
    """meta.json as it is read; what else it holds says how the views were drawn."""

    format: int
    name: str
    cameras: list[_StoredCamera]
    mesh_sha256: NotRequired[str]
    shape: NotRequired[list[float]]
    colour: NotRequired[list[list[float]]]


class ViewStore(Sequence[View]):
    """The views of one object, decoded when asked for; the most recent ones are kept.

    A stored view holds the picture as PNG, the mask as bits and, inside the mask, float32 z-depth (points come back to
    about 1e-7 of the distance), normals to about 1e-4 and triangle numbers.

    Args:
        name: The object's name.
        cameras: One per view.
        encoded: Returns the bytes of view i, and the name of their file for messages.
        meta: What the views were made from.
        cache: Where decoded views are kept; one memory limit for all objects unless told otherwise.
    """

    def __init__(
        self,
        name: str,
        cameras: Sequence[Camera],
        encoded: Callable[[int], tuple[bytes, str]],
        meta: dict[str, Any],
        cache: Cache[View] = SHARED_CACHE,
    ) -> None:
        self.name = name
        self.cameras = tuple(cameras)
        self.meta = meta
        self._encoded = encoded
        self._cache = cache
        self._cache_key = cache.register(self)

    def __len__(self) -> int:
        return len(self.cameras)

    def first(self, n: int) -> "ViewStore":
        """Return a store of the first `n` views only."""
        meta = {**self.meta, "cameras": self.meta["cameras"][:n]}
        return ViewStore(self.name, self.cameras[:n], self._encoded, meta, self._cache)

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> list[View]: ...
    def __getitem__(self, index: int | slice) -> View | list[View]:
        """Return view `index`.

        Raises:
            EquiviewError: Its file is missing or corrupt; the message names it.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"view {index} of {len(self)}")
        index %= len(self)
        return self._cache.get((self._cache_key, index), lambda: self._decoded(index))

    def _decoded(self, index: int) -> View:
        data, where = self._encoded(index)
        return decode_view(data, self.cameras[index], f"{self.name}/{index:03d}", where)


def render_views(
    mesh: Mesh,
    cameras: Sequence[Camera],
    config: RenderConfig = _DEFAULT,
    out_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    draw: Draw = render_view,
) -> ViewStore:
    """Draw a mesh from every camera.

    Args:
        mesh: The object (see `mesh.normalize`).
        cameras: At least one.
        config: Light, background, anti-aliasing.
        out_dir: Folder to write to; views already there are kept if they were made from the same mesh, cameras and
            config. None keeps the (compact) views in memory.
        progress: Called with (views done, views in all) after each.
        draw: The renderer, `render_view` of embree.py or of gl.py.

    Raises:
        EquiviewError: The folder holds views of something else, or cannot be written.
    """
    if not cameras:
        raise bad_input("cameras", "at least one", "none", "Use a rig of equiview.render.rigs.")
    height, width = max((camera.hw for camera in cameras), key=math.prod)
    require_at_most("edge of a picture, pixels", max(height, width), MAX_SIDE)
    require_memory(f"a view of {width}x{height} pixels", height * width * _BYTES_PER_PIXEL, "Draw smaller pictures.")
    meta = _meta(mesh, cameras, config, draw)
    memory: dict[int, bytes] = {}
    folder = None if out_dir is None else Path(out_dir)
    if folder is not None:
        _claim(folder, meta, mesh)
    for index, camera in enumerate(cameras):
        if folder is None or not _is_valid(_view_path(folder, index), camera):
            data = encode_view(draw(mesh, camera, config, index=index))
            if folder is None:
                memory[index] = data
            else:
                with atomic_path(_view_path(folder, index)) as temporary:
                    temporary.write_bytes(data)
        if progress is not None:
            progress(index + 1, len(cameras))
    if folder is not None:
        return open_views(folder)
    return ViewStore(mesh.name, cameras, lambda i: (memory[i], f"{mesh.name} view {i} in memory"), meta)


def open_views(folder: str | Path) -> ViewStore:
    """Open a folder that `render_views` wrote. Views are read when they are asked for.

    Raises:
        EquiviewError: It is not such a folder, or a view is missing (an interrupted run: render again to finish).
    """
    folder = Path(folder)
    if not (folder / _META).is_file():
        raise bad_input(str(folder), f"a folder of rendered views with {_META}", "none", "Run `equiview render` first.")
    meta = read_json(folder / _META)
    check(meta, _Meta, str(folder / _META), _AGAIN)
    if meta["format"] != _FORMAT:
        raise bad_input(str(folder / _META), f"format {_FORMAT}", str(meta["format"]), _AGAIN)
    cameras = [_camera(c, f"{folder / _META}: camera {i}") for i, c in enumerate(meta["cameras"])]
    if not cameras:
        raise bad_input(f"{folder / _META}: cameras", "one or more", "none", _AGAIN)
    name = meta["name"]
    missing = [i for i in range(len(cameras)) if not _view_path(folder, i).is_file()]
    if missing:
        raise bad_input(
            str(_view_path(folder, missing[0])),
            f"{len(cameras)} views",
            f"{len(missing)} missing",
            "Run the same `equiview render` again to draw the missing ones.",
        )

    def encoded(index: int) -> tuple[bytes, str]:
        path = _view_path(folder, index)
        try:
            return path.read_bytes(), str(path)
        except OSError as error:
            raise bad_input(str(path), "a stored view", str(error.strerror), "Render it again.") from error

    return ViewStore(name, cameras, encoded, meta)


def _camera(stored: "_StoredCamera", where: str) -> Camera:
    h, w = (as_whole(side, f"{where}: hw", 1, MAX_SIDE, _AGAIN) for side in stored["hw"])
    intrinsics = as_array(stored["intrinsics"], f"{where}: intrinsics", (3, 3), _AGAIN)
    return Camera(intrinsics, as_array(stored["cam_from_world"], f"{where}: cam_from_world", (4, 4), _AGAIN), (h, w))


def encode_view(view: View) -> bytes:
    """Pack a view into the bytes of a compressed npz file."""
    picture = io.BytesIO()
    file = io.BytesIO()
    Image.fromarray(view.rgb).save(picture, format="PNG", compress_level=3)
    points = view.points_in_world[view.mask].astype(np.float64)
    depth = points @ view.camera.cam_from_world[2, :3] + view.camera.cam_from_world[2, 3]
    np.savez_compressed(
        file,
        rgb_png=np.frombuffer(picture.getvalue(), np.uint8),
        mask_bits=np.packbits(view.mask),
        depth=depth.astype(np.float32),
        normals=_octahedral(view.normals_in_world[view.mask]),
        triangle_id=view.triangle_id[view.mask].astype(np.int32),
    )
    return file.getvalue()


def decode_view(data: bytes, camera: Camera, name: str, where: str) -> View:
    """Unpack `encode_view`.

    Args:
        data: The bytes.
        camera: The view's camera.
        name: The view's name.
        where: The file, for the message.

    Raises:
        EquiviewError: The bytes are truncated or corrupt.
    """
    h, w = camera.hw
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("rgb_png", "mask_bits", "depth", "normals", "triangle_id")}
        with pictures.opened(arrays["rgb_png"].tobytes(), where) as image:
            rgb = pictures.rgb(image, where)
        mask = np.unpackbits(arrays["mask_bits"], count=h * w).reshape(h, w).astype(bool)
        points, normals = np.full((h, w, 3), np.nan), np.full((h, w, 3), np.nan, np.float32)
        triangle_id = np.full((h, w), -1, np.int32)
        points[mask] = unproject(camera, pixel_centers((h, w))[mask], arrays["depth"].astype(np.float64))
        normals[mask] = _from_octahedral(arrays["normals"])
        triangle_id[mask] = arrays["triangle_id"]
        return View(rgb, mask, points, normals, triangle_id, camera, name)
    except (ValueError, KeyError, EOFError, OSError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise bad_input(
            where, "a stored view", f"a corrupt file ({error})", "Delete it and run the same command again."
        ) from error


def _view_path(folder: Path, index: int) -> Path:
    return folder / f"view_{index:04d}.npz"


def _is_valid(path: Path, camera: Camera) -> bool:
    if not path.is_file():
        return False
    try:
        decode_view(path.read_bytes(), camera, path.stem, str(path))
    except EquiviewError as error:
        log.warning("%s It is drawn again.", error)
        return False
    return True


def _meta(mesh: Mesh, cameras: Sequence[Camera], config: RenderConfig, draw: Draw) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "name": mesh.name,
        "mesh_sha256": mesh.sha256,
        "notes": list(mesh.notes),
        "renderer": draw.__module__.rpartition(".")[2],
        "config": {**asdict(config), "hw": list(config.hw), "background": str(config.background)},
        "cameras": [
            {"intrinsics": c.intrinsics.tolist(), "cam_from_world": c.cam_from_world.tolist(), "hw": list(c.hw)}
            for c in cameras
        ],
    }


def _claim(folder: Path, meta: dict[str, Any], mesh: Mesh) -> None:
    """Write the folder's description, or check that it is the same; without a view in it the folder is still free."""
    path = folder / _META
    if not path.is_file() or not any(folder.glob("view_*.npz")):
        write_json(path, {**meta, **look_of(mesh).record()})  # By its look the object is known under any name.
        return
    found = read_json(path)
    different = [key for key in meta if not isinstance(found, dict) or found.get(key) != meta[key]]
    if different:
        raise bad_input(
            str(folder),
            "views of the same mesh, cameras and settings to go on with",
            f"another {', '.join(different)}",
            "Choose another folder or delete this one.",
        )


def _octahedral(normals: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n 2"]:
    """Unit vectors as two 16-bit integers: projected on an octahedron, the lower half folded over the upper."""
    normals = normals / np.abs(normals).sum(1, keepdims=True)
    folded = (1 - np.abs(normals[:, [1, 0]])) * np.where(normals[:, :2] >= 0, 1, -1)
    return np.rint(np.where(normals[:, 2:] < 0, folded, normals[:, :2]) * 32767).astype(np.int16)


def _from_octahedral(packed: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    xy = packed.astype(np.float32) / 32767
    z = 1 - np.abs(xy).sum(1, keepdims=True)
    unfolded = (1 - np.abs(xy[:, [1, 0]])) * np.where(xy >= 0, 1, -1)
    normals = np.concatenate([np.where(z < 0, unfolded, xy), z], 1).astype(np.float32)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
