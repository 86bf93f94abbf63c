"""Views that nobody has asked for yet."""

from collections.abc import Callable, Sequence
from typing import overload

from ..types import View


class LazyViews(Sequence[View]):
    """Views of an object that are opened, or rendered, when the first of them is asked for.

    Args:
        count: How many there are.
        open_views: Opens them all.
    """

    def __init__(self, count: int, open_views: Callable[[], Sequence[View]]) -> None:
        self._count, self._open = count, open_views
        self._views: Sequence[View] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[View]: ...
    def __getitem__(self, index: int | slice) -> View | Sequence[View]:
        if self._views is None:
            self._views = self._open()
        return self._views[index]
