"""Coarse to fine: find in the whole picture, then look again at the part that holds what was found.

A backbone sees a picture at a fixed number of tokens, and an object that fills a third of it gets a ninth of them. One
more pass over the part around the first matches gives the object all of them. Every token of that part carries both
features: its own, and what the whole picture says at its centre. Their cosine is a mean of the two, so that a place has
to look right from close by and from afar, and matching, sub-token fit and search regions stay what they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float

from ..errors import bad_input
from ..geometry import cropped_camera
from ..models.extractor import MapSource, picture_rgb
from ..sampling import descriptors, sample, token_centers
from ..types import FeatureMap, Matches, View
from .localise import Localise
from .match import Region, match_regions

# A second look at more than this share of the picture's longer side shows next to nothing new.
MAX_SHARE = 0.8
# And one at less than this share would be of a handful of first tokens.
MIN_SHARE = 0.2
NEAR_WEIGHT = 0.5
"""Of the closer look's cosine beside the first one's: chosen on rendered objects, where 0.25 to 1 are nearly level."""


@dataclass(frozen=True)
class Box:
    """A part of a picture, whole pixels.

    Attributes:
        x0: Left edge.
        y0: Upper edge.
        x1: Right edge, behind the last pixel.
        y1: Lower edge, behind the last pixel.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    def holds(self, xy: Float[torch.Tensor, "n 2"]) -> Bool[torch.Tensor, "n"]:
        """Return True for the pixels inside."""
        low, high = xy.new_tensor((self.x0, self.y0)), xy.new_tensor((self.x1, self.y1))
        return ((xy >= low) & (xy <= high)).all(1)


def box_around(
    xy: Float[torch.Tensor, "n 2"], score: Float[torch.Tensor, "n"], fmap: FeatureMap, margin: float = 0.15
) -> Box | None:
    """Return the part of a picture that holds its matches.

    The quarter of lowest scores is left out, and 2 % on every side of the rest: stray matches move nothing.

    Args:
        xy: Where the matches lie, its pixels.
        score: Their cosines.
        fmap: The map they were found on.
        margin: Added on every side, of the box's longer side; a token at least.

    Returns:
        None where a second look would show little more than the first: the box is large, or there are no matches.
    """
    # Features that are not finite give no box here, and their own message where they are matched.
    finite = torch.isfinite(score)
    xy, score = xy[finite], score[finite]
    if not len(xy):
        return None
    kept = xy[score >= score.float().quantile(0.25)].double()
    low, high = torch.quantile(kept, 0.02, dim=0), torch.quantile(kept, 0.98, dim=0)
    middle, side = (low + high) / 2, high - low
    h, w = fmap.image_hw
    half = side / 2 + max(margin * float(side.max()), *fmap.stride_xy)
    half = half.clamp(min=MIN_SHARE * max(h, w) / 2)
    size = half.new_tensor((w, h))
    first, last = (middle - half).clamp(min=0).floor(), torch.minimum(middle + half, size).ceil()
    if float((last - first).max()) > MAX_SHARE * max(h, w):
        return None
    return Box(*(int(value) for value in (*first, *last)))


def box_of_matches(matches: Sequence[Matches], fmap: FeatureMap) -> Box | None:
    """Return the part of a picture that holds the matches of several others, see `box_around`."""
    if not matches:
        return None
    return box_around(torch.cat([one.xy1 for one in matches]), torch.cat([one.score for one in matches]), fmap)


@dataclass(frozen=True)
class Refined:
    """Both looks at a picture.

    Attributes:
        whole: Features of the whole picture.
        box: The part that was looked at again; None where there was no second look.
        near: Of that part: its own features, then the whole picture's at the same places.
    """

    whole: FeatureMap
    box: Box | None = None
    near: FeatureMap | None = None

    @property
    def fmap(self) -> FeatureMap:
        """The map to match: of the part, or of the whole picture where there is none (its features twice)."""
        if self.near is not None:
            return self.near
        tokens = self.whole.tokens
        return self.whole.replace_tokens(torch.cat([NEAR_WEIGHT**0.5 * tokens, tokens]))

    def descriptors(self, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n c"]:
        """Return L2-normalised descriptors at pixels: from close by inside the box, else the whole picture's, twice."""
        unit = descriptors(self.whole, xy)
        afar = F.normalize(torch.cat([NEAR_WEIGHT**0.5 * unit, unit], 1), dim=1)
        if self.box is None or self.near is None:
            return afar
        return torch.where(self.box.holds(xy.to(afar))[:, None], descriptors(self.near, xy).to(afar), afar)

    def place(
        self,
        queries: Float[torch.Tensor, "n c"],
        coarse: Matches,
        region: Region = None,
        localise: Localise = Localise(),
    ) -> Matches:
        """Return where queries lie: inside the box if their first match did, else where that was.

        Args:
            queries: From `descriptors` of another picture.
            coarse: Their matches on the whole picture.
            region: Tokens of `near` that may win.
            localise: How the winner becomes a place.
        """
        nothing = isinstance(region, torch.Tensor) and not bool(region.any())
        if self.box is None or self.near is None or nothing:
            return coarse
        fine = match_regions(queries, self.near, [region], localise)[0]
        inside = self.box.holds(coarse.xy1)
        xy1 = torch.where(inside[:, None], fine.xy1.to(coarse.xy1), coarse.xy1)
        return Matches(xy1, torch.where(inside, fine.score.to(coarse.score), coarse.score))


@torch.no_grad()
def refine_map(source: MapSource, picture: Any, fmap: FeatureMap, box: Box | None) -> Refined:
    """Take the second look at a picture.

    Args:
        source: What made the map; it is asked once more where there is a box.
        picture: A view or 8-bit RGB picture.
        fmap: Of the whole picture.
        box: The part.

    Raises:
        EquiviewError: The part has other channels than the whole.
    """
    if box is None:
        return Refined(fmap)
    (own,) = source.maps([cut(picture, box)])
    offset = (own.offset_xy[0] + box.x0, own.offset_xy[1] + box.y0)
    near = NEAR_WEIGHT**0.5 * F.normalize(own.tokens.float(), dim=0)
    placed = FeatureMap(near, own.stride_xy, offset, fmap.image_hw)
    seen = F.normalize(sample(fmap, token_centers(placed)).float(), dim=-1).T.reshape(-1, *placed.hw)
    if len(seen) != len(placed.tokens):
        found = f"{len(placed.tokens)} and {len(seen)} channels"
        raise bad_input("features of a part of a picture", "as many channels as of the whole", found, "Use one model.")
    return Refined(fmap, box, placed.replace_tokens(torch.cat([placed.tokens, seen.to(placed.tokens)])))


def cut(picture: Any, box: Box) -> Any:
    """Return the part of a picture; of a view with all that is known of its pixels."""
    here = (slice(box.y0, box.y1), slice(box.x0, box.x1))
    if not isinstance(picture, View):
        return np.ascontiguousarray(picture_rgb(picture)[here])
    return View(
        rgb=np.ascontiguousarray(picture.rgb[here]),
        mask=picture.mask[here],
        points_in_world=picture.points_in_world[here],
        normals_in_world=picture.normals_in_world[here],
        triangle_id=picture.triangle_id[here],
        camera=cropped_camera(picture.camera, (box.x0, box.y0, box.x1, box.y1)),
        name=picture.name,
    )
