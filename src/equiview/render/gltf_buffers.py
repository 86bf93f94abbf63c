"""The bytes of a glTF file: container, buffers, accessors and pictures."""

import base64
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

from ..errors import EquiviewError, bad_input, shown
from ..limits import require_memory
from ..schema import as_record, parse_json
from .references import find_file, read_texture

_DTYPE: dict[int, Any] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_LARGEST_BYTES = 8
# What is a place in a list, a count or a size in bytes; below 0 Python would count from the end.
_PLACES = {
    *("buffer", "bufferView", "mesh", "skin", "scene", "source", "sampler", "index", "material", "indices", "node"),
    *("nodes", "children", "joints", "inverseBindMatrices", "attributes", "count", "byteOffset", "byteLength"),
    *("byteStride", "texCoord"),
}
_AGAIN = "Download or export it again."


class GltfFile:
    """The parsed JSON of one model with access to its binary data.

    Attributes:
        path: The file.
        json: The glTF object.
    """

    def __init__(self, path: Path, content: dict[str, Any], binary: bytes | None) -> None:
        self.path = path
        self.json = content
        self._binary = binary
        self._cached_buffer = lru_cache(maxsize=None)(self._read_buffer)

    def accessor(self, index: int) -> np.ndarray:
        """Return accessor `index` as float64 [count, columns]; normalised integers become 0..1 or -1..1."""
        entry = self.json["accessors"][index]
        dtype, columns, count = np.dtype(_DTYPE[entry["componentType"]]), _COLUMNS[entry["type"]], entry["count"]
        if entry["type"].startswith("MAT") and entry["type"] != "MAT4" and dtype.itemsize < 4:
            raise ValueError("small-integer matrices are not supported")
        if "bufferView" in entry:
            values = self._strided(entry["bufferView"], entry.get("byteOffset", 0), dtype, columns, count)
        else:
            fix = "The file is corrupt; export it again."
            require_memory(f"{self.path}: accessor {index}", 3 * _LARGEST_BYTES * count * columns, fix)
            values = np.zeros((count, columns), dtype)
        if "sparse" in entry:
            values = self._with_sparse(values, entry["sparse"], dtype, columns)
        return self.converted(index, values)

    def converted(self, index: int, values: np.ndarray) -> np.ndarray:
        """Return stored values of accessor `index` as float64; normalised integers become 0..1 or -1..1."""
        entry = self.json["accessors"][index]
        if entry.get("normalized") and values.dtype.kind in "iu":
            return np.maximum(values / float(np.iinfo(_DTYPE[entry["componentType"]]).max), -1.0)
        return values.astype(np.float64)

    def is_stored(self, index: int) -> bool:
        """Return whether accessor `index` has values of its own; without, it is all zeros or unpacked elsewhere."""
        entry = self.json["accessors"][index]
        return "bufferView" in entry or "sparse" in entry

    def image(self, index: int) -> np.ndarray:
        """Return picture `index` as uint8 RGBA.

        Raises:
            EquiviewError: It is missing or does not open.
        """
        entry = self.json["images"][index]
        what = f"{self.path}: image {entry.get('name') or entry.get('uri', '')[:80] or index}"
        return read_texture(
            self.view_bytes(entry["bufferView"]) if "bufferView" in entry else self._uri_bytes(entry["uri"]), what
        )

    def view_bytes(self, index: int) -> bytes:
        """Return the bytes of buffer view `index`."""
        return self._view_bytes(index)[0]

    def _with_sparse(self, values: np.ndarray, sparse: dict[str, Any], dtype: np.dtype, columns: int) -> np.ndarray:
        places, new, count = sparse["indices"], sparse["values"], sparse["count"]
        where = self._strided(
            places["bufferView"], places.get("byteOffset", 0), np.dtype(_DTYPE[places["componentType"]]), 1, count
        )
        values = values.copy()
        values[where[:, 0]] = self._strided(new["bufferView"], new.get("byteOffset", 0), dtype, columns, count)
        return values

    def _strided(self, view: int, offset: int, dtype: np.dtype, columns: int, count: int) -> np.ndarray:
        data, stride = self._view_bytes(view)
        row = dtype.itemsize * columns
        stride = stride or row
        if count and offset + stride * (count - 1) + row > len(data):
            raise bad_input(
                str(self.path),
                f"{offset + stride * (count - 1) + row} bytes in buffer view {view}",
                f"{len(data)}",
                _AGAIN,
            )
        return np.ndarray((count, columns), dtype.newbyteorder("<"), data, offset, (stride, dtype.itemsize))

    def _view_bytes(self, index: int) -> tuple[bytes, int]:
        view = self.json["bufferViews"][index]
        packed = next((name for name in view.get("extensions", {}) if name.endswith("meshopt_compression")), None)
        if packed is not None and self._is_placeholder(view["buffer"]):
            raise bad_input(
                str(self.path),
                "a model that can be unpacked",
                f"one compressed with {packed}",
                "Export it uncompressed.",
            )
        data = self._cached_buffer(view["buffer"])
        start = view.get("byteOffset", 0)
        if start + view["byteLength"] > len(data):
            raise bad_input(
                str(self.path), f"a buffer of {start + view['byteLength']} bytes", f"{len(data)} (truncated)", _AGAIN
            )
        return data[start : start + view["byteLength"]], view.get("byteStride", 0)

    def _is_placeholder(self, index: int) -> bool:
        """Return whether a buffer only states a size: its content exists compressed and nowhere else."""
        return "uri" not in self.json["buffers"][index] and (index > 0 or self._binary is None)

    def _read_buffer(self, index: int) -> bytes:
        entry = self.json["buffers"][index]
        if "uri" in entry:
            return self._uri_bytes(entry["uri"])
        if self._binary is None:
            raise bad_input(str(self.path), "a binary chunk", "none", _AGAIN)
        return self._binary

    def _uri_bytes(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return _data_bytes(uri)
        shown = repr(uri[:80])
        # A model from the internet must not be able to read files elsewhere. A link within the folder is its owner's:
        # caches of data sets are made of them.
        if ".." in os.path.normpath(unquote(uri).replace("\\", "/")).split("/"):
            raise bad_input(str(self.path), "files beside the model", f"{shown} outside its folder", "Move it inside.")
        file = find_file(unquote(uri), self.path.parent) or find_file(uri, self.path.parent)
        if file is None:
            raise bad_input(str(self.path), f"the file {shown} beside it", "nothing there", "Copy it there.")
        return file.read_bytes()


def open_gltf(path: Path) -> GltfFile:
    """Open a `.gltf` or `.glb` file (told apart by content).

    Raises:
        EquiviewError: It is truncated, not JSON, or another version.
    """
    data = path.read_bytes()
    text, binary = _glb_chunks(path, data) if data[:4] == b"glTF" or path.suffix.lower() == ".glb" else (data, None)
    content = as_record(parse_json(text, str(path), _AGAIN, "glTF JSON"), str(path), fix=_AGAIN)
    if not str(as_record(content.get("asset", {}), f"{path} asset", fix=_AGAIN).get("version", "")).startswith("2"):
        raise bad_input(str(path), "glTF version 2", "another version or no version", "Export it as glTF 2.0.")
    _check_places(content, path)
    return GltfFile(path, content, binary)


def _check_places(content: dict[str, Any], path: Path) -> None:
    queue: list[Any] = [content]
    while queue:
        inside = queue.pop()
        for key, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if key in _PLACES:
                several = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
                below = next((one for one in several if isinstance(one, int | float) and one < 0), None)
                if below is not None:
                    raise bad_input(f"{path}: {key}", "a number of at least 0", shown(below), _AGAIN)
            if isinstance(value, dict | list) and key != "extras":
                queue.append(value)


def _data_bytes(uri: str) -> bytes:
    """Return the content of a `data:` URI, base64 (with its padding or without) or percent-encoded, RFC 2397."""
    kind, _, data = uri.partition(",")
    if not kind.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    data = "".join(unquote(data).split()).translate(str.maketrans("-_", "+/"))
    return base64.b64decode(data.rstrip("=") + "=" * (-len(data.rstrip("=")) % 4), validate=True)


def _glb_chunks(path: Path, data: bytes) -> tuple[bytes, bytes | None]:
    if len(data) < 20 or data[:4] != b"glTF":
        raise bad_input(str(path), "a GLB file", f"{len(data)} bytes that are not one", _AGAIN)
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise EquiviewError(f"{path}: expected GLB version 2, found {version}. Export it as glTF 2.0.")
    if length > len(data):
        raise bad_input(str(path), f"{length} bytes as its header says", f"{len(data)} (truncated)", _AGAIN)
    chunks, at = [], 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size
    if not chunks or chunks[0][0] != b"JSON":
        raise bad_input(str(path), "a JSON chunk first", "none", _AGAIN)
    return chunks[0][1], next((chunk for kind, chunk in chunks[1:] if kind == b"BIN\0"), None)
