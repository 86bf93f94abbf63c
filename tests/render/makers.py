"""Tiny meshes and files with known answers."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from equiview.render.mesh import Material, Mesh, Part, merge_parts

WHITE = (1.0, 1.0, 1.0, 1.0)
QUAD = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]])
QUAD_UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)  # top left of the picture at (-0.5, +0.5)
# Red, green / blue, white: quarters of a picture, so that a flip or a turn shows.
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8).repeat(8, 0).repeat(8, 1)


def rgba(rgb: np.ndarray, alpha: np.ndarray | int = 255) -> np.ndarray:
    return np.dstack([rgb, np.broadcast_to(np.asarray(alpha, np.uint8), rgb.shape[:2])])


def mesh_of(*parts: Part, name: str = "made") -> Mesh:
    return merge_parts(parts, name)


def quad(z: float = 0.0, material: Material | None = None, scale: float = 1.0, flip: bool = False) -> Part:
    """A unit square facing +z at height z."""
    faces = QUAD_FACES[:, ::-1] if flip else QUAD_FACES
    return Part(QUAD * scale + [0, 0, z], faces, material or Material(color=WHITE), uv=QUAD_UV)


def sphere(rows: int = 60, columns: int = 80, radius: float = 0.5) -> Part:
    """A ball whose vertices lie on the sphere."""
    polar, angle = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)], -1).reshape(-1, 3)
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (r * columns + c).ravel()
    first, second = np.stack([a, a + columns, a + columns + 1], 1), np.stack([a, a + columns + 1, a + 1], 1)
    faces = np.concatenate([first[: -(columns - 1)], second[columns - 1 :]])  # one triangle per cell at the poles
    return Part(unit * radius, faces, Material(color=WHITE, double_sided=False), normals=unit)


def box() -> Part:
    """A cube of side 1 around the origin, counter-clockwise outside."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)]
    return Part(corners, np.array(faces), Material(color=WHITE, double_sided=False))


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


class GltfMaker:
    """Collects accessors and writes a .glb, or a .gltf with a .bin beside it."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"}, "buffers": [], "bufferViews": [], "accessors": [],
            "meshes": [], "nodes": [], "materials": [], "textures": [], "images": [], "samplers": [],
        }  # fmt: skip
        self.binary = b""

    def view(self, data: bytes, **extra: Any) -> int:
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **extra})
        self.binary += data + b"\0" * (-len(data) % 4)
        return len(self.json["bufferViews"]) - 1

    def accessor(self, array: np.ndarray, **extra: Any) -> int:
        kinds = {"f": 5126, "B": 5121, "H": 5123, "I": 5125, "b": 5120, "h": 5122}
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if array.dtype == np.int64:
            array = array.astype(np.uint32)
        columns = 1 if array.ndim == 1 else int(np.prod(array.shape[1:]))
        entry = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes()),
            "componentType": kinds[array.dtype.char],
            "count": len(array),
            "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[columns],
            **extra,
        }
        self.json["accessors"].append(entry)
        return len(self.json["accessors"]) - 1

    def texture(self, picture: np.ndarray, *, uri: str | None = None, sampler: dict | None = None) -> int:
        image = {"uri": uri} if uri else {"bufferView": self.view(png(picture)), "mimeType": "image/png"}
        self.json["images"].append(image)
        entry: dict[str, Any] = {"source": len(self.json["images"]) - 1}
        if sampler is not None:
            self.json["samplers"].append(sampler)
            entry["sampler"] = len(self.json["samplers"]) - 1
        self.json["textures"].append(entry)
        return len(self.json["textures"]) - 1

    def quad_mesh(self, material: dict | None = None, uv: np.ndarray | None = QUAD_UV, **attributes: int) -> int:
        """Add a mesh of one square; returns its index."""
        attributes = {"POSITION": self.accessor(QUAD), **attributes}
        if uv is not None:
            attributes["TEXCOORD_0"] = self.accessor(uv)
        primitive: dict[str, Any] = {"attributes": attributes, "indices": self.accessor(QUAD_FACES.ravel())}
        if material is not None:
            self.json["materials"].append(material)
            primitive["material"] = len(self.json["materials"]) - 1
        self.json["meshes"].append({"primitives": [primitive]})
        return len(self.json["meshes"]) - 1

    def node(self, **entry: Any) -> int:
        self.json["nodes"].append(entry)
        return len(self.json["nodes"]) - 1

    def _content(self, buffer: dict[str, Any]) -> bytes:
        content = {key: value for key, value in self.json.items() if value != []}
        return json.dumps({**content, "buffers": [{**buffer, "byteLength": len(self.binary)}]}).encode()

    def glb(self, path: Path) -> Path:
        text = self._content({})
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.binary), b"BIN\0") + self.binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path

    def gltf(self, path: Path, *, embedded: bool = False) -> Path:
        if embedded:
            uri = "data:application/octet-stream;base64," + base64.b64encode(self.binary).decode()
        else:
            uri = path.stem + " data.bin"
            (path.parent / uri).write_bytes(self.binary)
            uri = uri.replace(" ", "%20")
        path.write_bytes(self._content({"uri": uri}))
        return path
