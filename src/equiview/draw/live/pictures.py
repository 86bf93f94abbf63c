"""A pack of any pictures, with the pretrained features and, where there is an adapter, the adapted ones beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import bad_input
from ...io import read_image
from ...models.extractor import MapSource
from ...types import FeatureMap
from .make import MAX_VIEWS, make_pack
from .pack import Pack

# Of a page of its own, which may be 15 MB of text.
PAGE_BYTES = 10_500_000


def pack_pictures(paths: Sequence[Path], sources: Mapping[str, MapSource], seed: int = 0) -> Pack:
    """Read pictures, extract their features and pack them.

    Args:
        paths: Picture files, at most 12.
        sources: What gives the features, by variant.
        seed: Of the questions that measure the loss.

    Raises:
        EquiviewError: A picture cannot be read, there are none or too many, or they do not fit a page.
    """
    if not 1 <= len(paths) <= MAX_VIEWS:
        raise bad_input("view", f"1 to {MAX_VIEWS} pictures", str(len(paths)), "Choose some of them.")
    pictures = [read_image(path) for path in paths]
    maps: dict[str, list[FeatureMap]] = {name: list(one.maps(pictures)) for name, one in sources.items()}
    names = [path.name for path in paths]
    title = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return make_pack(title, pictures, maps, names=names, max_bytes=PAGE_BYTES, seed=seed)
