"""Read arrays and plain containers from a pickle without running anything the pickle asks for.

A pickle is a program. Here it may call only the few constructors below, each of ours: numpy's names are answered with
small stand-ins that hold bytes and a shape, so that not even numpy's own unpickling code runs on what the file says.

Nor may it grow: a file of a kilobyte can name one list ten times in another, ten levels deep. What comes out, written
out in full, is at most `limits.PICKLE_GROWTH` times as large as the file, which no pickle without such names reaches.
"""

import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import bad_input
from ..io import require_file
from ..limits import PICKLE_GROWTH

PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|i[1248]|u[1248]|f[248]|S\d+|O8?)$")
_BROKEN = (EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError, struct.error)
_PLAIN = (bool, int, float, str, bytes, bytearray, np.ndarray, type(None))
# A number takes at least a byte of the file; a small file may name a part twice.
_ITEM_BYTES, _SLACK = 8, 2**24


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle of numpy arrays, numbers, text, lists, tuples and dictionaries.

    Args:
        path: The file.

    Raises:
        EquiviewError: It is missing, broken, or asks for anything else; nothing of it has been run then.
    """
    require_file(path, "a pickle file")
    fix = "Get the file from its publisher again; pickles of other things are not read, they can run any code."
    expected = "a pickle of numpy arrays and plain containers"
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            content = _ArraysOnly(_Bounded(file, size), encoding="latin1").load()
        return _Plain(PICKLE_GROWTH * size + _SLACK).plain(content)
    except pickle.UnpicklingError as error:
        raise bad_input(str(path), expected, str(error)[:80], fix) from error
    except _BROKEN as error:
        raise bad_input(str(path), expected, f"a broken file ({str(error)[:80]})", fix) from error
    except (MemoryError, RecursionError) as error:
        raise bad_input(str(path), expected, "one too large or too deep to hold", fix) from error


class _Bounded:
    """A file of which nobody can ask for more bytes than it has; a reader would make room for them first."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def read(self, count: int) -> bytes:
        if count > self.size:
            raise pickle.UnpicklingError(f"a part of {count} bytes in a file of {self.size}")
        return self.file.read(count)

    def readline(self) -> bytes:
        return self.file.readline()


class _ArraysOnly(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """The unpickler written in Python: in the one written in C a few bytes can ask for a table of gigabytes."""

    def find_class(self, module: str, name: str) -> Any:
        """Answer the names of numpy's arrays with our stand-ins and refuse every other name."""
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return _ALLOWED[module, name]


class _Dtype:
    """Stands in for `numpy.dtype`."""

    __slots__ = ("value",)

    def __init__(self, spec: Any) -> None:
        if not isinstance(spec, str) or not PLAIN_DTYPE.match(spec):
            raise pickle.UnpicklingError(f"an array of {spec!r}")
        self.value = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in fields):
            raise pickle.UnpicklingError("an array of records")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands in for an array whose content is still to come."""

    __slots__ = ("value",)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise pickle.UnpicklingError("an array without a plain type and shape")
    if dtype.value.hasobject:
        # Some tools store truth values as Python objects; anything that is not a plain number is refused.
        if not isinstance(content, list) or not all(isinstance(item, bool | int | float) for item in content):
            raise pickle.UnpicklingError("an array of objects")
        flat = np.array(content)
    else:
        raw = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(raw, dtype.value)
    return flat.reshape(tuple(shape), order="F" if order == "F" else "C")


class _Allowed:
    """A callable that a pickle can call and do nothing else with (no attributes to set, no state to restore)."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state for a function")


def _refuse(*_: Any) -> Any:
    raise pickle.UnpicklingError("a call of numpy.ndarray")


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def _empty_bytes(*args: Any) -> bytes:
    if args:
        raise pickle.UnpicklingError("a call of bytes")
    return b""


def _scalar(dtype: Any, content: Any) -> Any:
    return _array(content, dtype, (1,), "C")[0].item()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.value = _array(bytes(content) if isinstance(content, bytearray) else content, dtype, shape, str(order))
    return made


_BYTES = _Allowed(_empty_bytes)
_ALLOWED: dict[tuple[str, str], _Allowed] = {
    ("numpy.core.multiarray", "_reconstruct"): _Allowed(lambda kind, shape, code: _Array()),
    ("numpy.core.multiarray", "scalar"): _Allowed(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Allowed(_from_buffer),
    ("numpy", "ndarray"): _Allowed(_refuse),
    ("numpy", "dtype"): _Allowed(lambda spec, *_: _Dtype(spec)),
    ("_codecs", "encode"): _Allowed(_encode),
    ("builtins", "bytes"): _BYTES,
    ("__builtin__", "bytes"): _BYTES,
    ("builtins", "bytearray"): _Allowed(lambda *args: bytearray(*(a for a in args if isinstance(a, bytes)))),
}


class _Plain:
    """Replaces stand-ins by arrays, all the way down; what is named several times is made once and counted every time.

    Args:
        limit: How many bytes the result may have, written out in full.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # By the identity of what was unpickled: the result and its size in full; None while it is being made.
        self.made: dict[int, tuple[Any, int] | None] = {}

    def plain(self, value: Any) -> Any:
        """Return the value without stand-ins."""
        return self._made(value)[0]

    def _made(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, _Array):
            return value.value, value.value.nbytes + _ITEM_BYTES
        if isinstance(value, np.ndarray | str | bytes | bytearray):
            return value, _ITEM_BYTES + (value.nbytes if isinstance(value, np.ndarray) else len(value))
        if isinstance(value, _PLAIN):
            return value, _ITEM_BYTES
        if not isinstance(value, dict | list | tuple):
            raise pickle.UnpicklingError(f"a {type(value).__name__}")
        if id(value) not in self.made:
            self.made[id(value)] = None
            self.made[id(value)] = self._container(value)
        found = self.made[id(value)]
        if found is None:
            raise pickle.UnpicklingError("a container that holds itself")
        return found

    def _container(self, value: Any) -> tuple[Any, int]:
        flat = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
        parts, size = [], _ITEM_BYTES
        for part in flat:
            made, own = self._made(part)
            parts.append(made)
            size += own
            if size > self.limit:
                raise pickle.UnpicklingError(f"over {self.limit} bytes in full, from parts named again and again")
        if isinstance(value, dict):
            return dict(zip(parts[::2], parts[1::2], strict=True)), size
        return (parts if isinstance(value, list) else tuple(parts)), size
