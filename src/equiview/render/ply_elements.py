"""The header and the numbers of a PLY file, in text or binary of either byte order."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import bad_input
from .polygons import Ragged

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_BROKEN = "The file is truncated or corrupt; export it again."


@dataclass(frozen=True)
class Element:
    """The properties of one kind of element by name: a number each, or a list each."""

    scalars: dict[str, np.ndarray]
    lists: dict[str, Ragged]


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    count_kind: str | None = None  # Of a list, the type of its length.


@dataclass(frozen=True)
class _Declared:
    name: str
    count: int
    properties: list[_Property]


def read_ply(path: Path) -> tuple[dict[str, Element], list[str]]:
    """Return the elements of a PLY file by name, and the textures that its comments name.

    Raises:
        EquiviewError: It is no PLY, is truncated, or does not keep to its header.
    """
    data = path.read_bytes()
    found = re.search(rb"^end_header[ \t]*(\r\n|\n|\r)", data, re.MULTILINE) or re.search(rb"\rend_header\r", data)
    if not data.startswith(b"ply") or not found:
        raise bad_input(str(path), "a PLY header", "a file without one, or that ends within it", "Export it again.")
    try:
        order, declared, textures = _header(data[: found.start()].decode("utf-8", errors="replace"))
        body = memoryview(data)[found.end() :]
        elements = _binary(body, declared, order) if order else _text(bytes(body), declared)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        message = f"one that does not parse ({str(error)[:80]})"
        raise bad_input(str(path), "a complete PLY mesh", message, _BROKEN) from error
    return elements, textures


def _header(text: str) -> tuple[str, list[_Declared], list[str]]:
    order, declared, textures = None, [], []
    for line in re.split(r"[\r\n]+", text)[1:]:
        words = line.split()
        if not words:
            continue
        key = words[0].lower()
        if key == "format":
            order = _ORDERS[words[1]]
        elif key == "element":
            declared.append(_Declared(words[1], int(words[2]), []))
        elif key == "property" and words[1] == "list":
            declared[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif key == "property":
            declared[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
        elif key == "comment" and len(words) > 2 and words[1].lower() == "texturefile":
            textures.append(line.split(maxsplit=2)[2].strip())
    if order is None or any(one.count < 0 for one in declared):
        raise ValueError("a header without a format, or with a negative count")
    return order, declared, textures


def _binary(body: memoryview, declared: list[_Declared], order: str) -> dict[str, Element]:
    elements, at = {}, 0
    for one in declared:
        smallest = sum(np.dtype(p.count_kind or p.kind).itemsize for p in one.properties)
        if one.count * smallest > len(body) - at:  # Before anything is allocated for it.
            raise ValueError(f"{one.count} x {one.name} do not fit into {len(body) - at} bytes")
        element, at = _uniform(body, at, one, order) or _ragged(body, at, one, order)
        elements[one.name] = element
    return elements


def _uniform(body: memoryview, at: int, one: _Declared, order: str) -> tuple[Element, int] | None:
    """Read an element whose lists are as long as those of its first row, at once; None where they are not."""
    lengths, place = [], at
    for prop in one.properties:
        length = 1
        if prop.count_kind is not None:
            count = np.dtype(order + prop.count_kind)
            length = int(np.frombuffer(body, count, 1, place)[0]) if one.count else 0
            place += count.itemsize
        if length < 0:
            raise ValueError(f"a list of {length}")
        lengths.append(length)
        place += length * np.dtype(prop.kind).itemsize
        if one.count and place > len(body):
            return None
    fields: list[tuple] = []
    for number, (prop, length) in enumerate(zip(one.properties, lengths, strict=True)):
        if prop.count_kind is not None:
            fields.append((f"count{number}", order + prop.count_kind))
        fields.append((f"value{number}", order + prop.kind, (length,)))
    dtype = np.dtype(fields)
    if one.count * dtype.itemsize > len(body) - at:
        return None
    rows = np.frombuffer(body, dtype, one.count, at) if dtype.itemsize and one.count else np.zeros(one.count, dtype)
    element = Element({}, {})
    for number, (prop, length) in enumerate(zip(one.properties, lengths, strict=True)):
        values = rows[f"value{number}"]
        if prop.count_kind is None:
            element.scalars[prop.name] = values[:, 0]
        elif (rows[f"count{number}"] == length).all():
            element.lists[prop.name] = Ragged(np.full(one.count, length), values.reshape(-1))
        else:
            return None
    return element, at + one.count * dtype.itemsize


def _ragged(body: memoryview, at: int, one: _Declared, order: str) -> tuple[Element, int]:
    """Read an element row by row: the place of each depends on the lengths before it."""
    scalars: dict[str, list] = {prop.name: [] for prop in one.properties if prop.count_kind is None}
    lists: dict[str, list] = {prop.name: [] for prop in one.properties if prop.count_kind is not None}
    kinds = [
        (prop.name, np.dtype(order + prop.kind), np.dtype(order + prop.count_kind) if prop.count_kind else None)
        for prop in one.properties
    ]
    for _ in range(one.count):
        for name, kind, count_kind in kinds:
            length = 1
            if count_kind is not None:
                length = int(np.frombuffer(body, count_kind, 1, at)[0])
                at += count_kind.itemsize
            if length < 0 or at + length * kind.itemsize > len(body):
                raise ValueError(f"a list of {length} of {one.name} with {len(body) - at} bytes left")
            values = np.frombuffer(body, kind, length, at)
            at += length * kind.itemsize
            (scalars if count_kind is None else lists)[name].append(values)
    return _joined(scalars, lists), at


def _text(body: bytes, declared: list[_Declared]) -> dict[str, Element]:
    """Read the words of the body in their order; where lines end says nothing."""
    words = body.split()
    elements, at = {}, 0
    for one in declared:
        if one.count * len(one.properties) > len(words) - at:
            raise ValueError(f"{one.count} x {one.name} are declared and the file ends early")
        width = len(one.properties)
        if all(prop.count_kind is None for prop in one.properties):
            table = np.array(words[at : at + one.count * width] or [b"0"][:0]).astype(np.float64)
            columns = table.reshape(one.count, width).T
            at += one.count * width
            found = {p.name: _cast(column, p.kind) for p, column in zip(one.properties, columns, strict=True)}
            elements[one.name] = Element(found, {})
        else:
            elements[one.name], at = _text_rows(words, at, one)
    return elements


def _text_rows(words: list[bytes], at: int, one: _Declared) -> tuple[Element, int]:
    scalars: dict[str, list] = {prop.name: [] for prop in one.properties if prop.count_kind is None}
    lists: dict[str, list] = {prop.name: [] for prop in one.properties if prop.count_kind is not None}
    for _ in range(one.count):
        for prop in one.properties:
            length = 1
            if prop.count_kind is not None:
                length = int(words[at])
                at += 1
            if length < 0 or at + length > len(words):
                raise ValueError(f"a list of {length} of {one.name} with {len(words) - at} numbers left")
            values = _cast(np.array([float(word) for word in words[at : at + length]]), prop.kind)
            at += length
            (scalars if prop.count_kind is None else lists)[prop.name].append(values)
    return _joined(scalars, lists), at


def _cast(values: np.ndarray, declared: str) -> np.ndarray:
    """Return numbers as the type the header declares.

    Raises:
        ValueError: One does not fit a type of whole numbers: NaN, or beyond its range.
    """
    kind = np.dtype(declared)
    if kind.kind in "iu":
        ends = np.iinfo(kind)
        if not ((values >= ends.min) & (values <= ends.max)).all():
            raise ValueError(f"a value that is no {kind.name}")
    with np.errstate(over="ignore"):  # To infinity, which is refused where it is drawn.
        return values.astype(kind)


def _joined(scalars: dict[str, list], lists: dict[str, list]) -> Element:
    return Element(
        {name: np.concatenate(rows) if rows else np.zeros(0) for name, rows in scalars.items()},
        {
            name: Ragged(np.array([len(row) for row in rows], np.int64), np.concatenate(rows))
            if rows
            else Ragged.empty()
            for name, rows in lists.items()
        },
    )
