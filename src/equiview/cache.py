"""What is expensive to make and may be asked for again, kept while there is room."""

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """The values used last (feature maps, views: dataclasses of arrays), within a number of bytes.

    Args:
        limit_bytes: What they may take together; the one just asked for is kept however large it is.
    """

    def __init__(self, limit_bytes: float) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._numbers = itertools.count()

    def __reduce__(self) -> tuple[Any, ...]:
        # What is sent to another process starts empty there: values are made again sooner than they are copied.
        return (Cache, (self.limit_bytes,))

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of this key; it is made where there is none, or was dropped."""
        if key not in self._values:
            value = self._values[key] = make()
            self.used_bytes += size_of(value)
            while len(self._values) > 1 and self.used_bytes > self.limit_bytes:
                self.used_bytes -= size_of(self._values.popitem(last=False)[1])
        self._values.move_to_end(key)
        return self._values[key]

    def register(self, owner: object) -> int:
        """Return a number for someone who shares this cache: keys (number, ...) are forgotten when the owner is."""
        number = next(self._numbers)
        weakref.finalize(owner, self._forget, number)
        return number

    def _forget(self, number: int) -> None:
        for key in [key for key in self._values if isinstance(key, tuple) and key[0] == number]:
            self.used_bytes -= size_of(self._values.pop(key))


def size_of(value: Any) -> int:
    """Return the bytes of a dataclass's arrays and tensors."""
    return sum(getattr(getattr(value, field.name), "nbytes", 0) for field in fields(value))
