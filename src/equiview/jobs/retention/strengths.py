"""One adapter at several strengths: the backbone runs once a picture, and the head at every strength."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ...cache import Cache
from ...models.adapters import has_lora, set_strength
from ...models.extractor import Extractor, Picture, picture_rgb
from ...records import FeaturesRecord
from ...types import FeatureMap


class AdjustableFeatures:
    """An adapted extractor whose strength can be changed, with the maps before the head kept while there is room.

    Where the adapter has LoRA, the backbone itself depends on the strength and nothing can be shared.

    Args:
        adapted: With its adapter.
        cache_mb: Room for maps; a picture is computed again when it was dropped.
    """

    def __init__(self, adapted: Extractor, cache_mb: int = 1024) -> None:
        self.adapted = adapted
        self.shared = None if has_lora(adapted.backbone) else Extractor(adapted.backbone, adapted.config)
        self._maps: Cache[FeatureMap] = Cache(cache_mb * 2**20)

    def at(self, strength: float) -> "AtStrength":
        """Return the features at one strength; several may be used in turn."""
        return AtStrength(self, strength)

    @torch.no_grad()
    def map(self, picture: Picture, strength: float) -> FeatureMap:
        """Return one picture's features at a strength."""
        set_strength(self.adapted, strength)
        if self.shared is None:
            (fmap,) = self.adapted.maps([picture])
            return fmap
        fmap = self._before_head(picture, self.shared)
        return fmap if self.adapted.head is None else fmap.replace_tokens(self.adapted.head(fmap.tokens[None])[0])

    def _before_head(self, picture: Picture, shared: Extractor) -> FeatureMap:
        rgb = np.ascontiguousarray(picture_rgb(picture))
        return self._maps.get((hashlib.sha256(rgb.data).digest(), rgb.shape), lambda: next(shared.maps([rgb])))


@dataclass(frozen=True)
class AtStrength:
    """A `MapSource`: adjustable features at one strength."""

    adjustable: AdjustableFeatures
    strength: float

    def maps(self, views: Iterable[Picture], *, batch_size: int = 4) -> Iterator[FeatureMap]:
        """Yield one map a picture, one at a time: sources of several strengths may be read by turns."""
        for view in views:
            yield self.adjustable.map(view, self.strength)

    def describe(self) -> FeaturesRecord:
        """Return what names these features, the strength included (JSON)."""
        set_strength(self.adjustable.adapted, self.strength)
        return {**self.adjustable.adapted.describe(), "strength": self.strength}
