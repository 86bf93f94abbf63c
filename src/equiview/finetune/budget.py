"""What an adaptation can afford where time is short: fewer pictures of everything but the user's own objects."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..data.synthetic.category_instances import FAMILIES
from ..models.extractor import Extractor
from ..types import View
from .recipes import TRAIN_HEAD, Recipe

log = logging.getLogger(__name__)

MEMBER_S = 0.5
"""Seconds of rendering a member of a family, about."""
NETWORK_SHARE = 0.3
"""Of the time, for training the network where a head is trained on what comes out."""
FEW_PICTURES = 12
"""Ordinary pictures that say what features vary over in general, roughly."""


@dataclass(frozen=True)
class Costs:
    """What is to be afforded.

    Attributes:
        left_s: Seconds left for rendering the rest, extracting and training.
        map_s: Seconds of one feature map.
        render_s: Seconds of rendering one object.
        views: Views of each object.
        own: Views of the user's objects, which are rendered already.
        pictures: Ordinary pictures a closed form is solved on.
    """

    left_s: float
    map_s: float
    render_s: float
    views: int
    own: int
    pictures: int


def affordable(recipe: Recipe, costs: Costs) -> Recipe:
    """Return the recipe with fewer companions, family members and ordinary pictures where time is short.

    A trained head keeps half of the time (of what the network below it leaves) for its training, and the three shrink
    alike; where a head is solved, companions are left out.
    """
    if recipe.kind in TRAIN_HEAD:
        return _trained(recipe, costs)
    left_s = costs.left_s - costs.map_s * (costs.pictures + costs.own)
    number = max(0, int(left_s / (costs.render_s + costs.map_s * costs.views)))
    if number < len(recipe.companions):
        log.info("time for %d of %d companions", number, len(recipe.companions))
    return replace(recipe, companions=recipe.companions[:number])


def _trained(recipe: Recipe, costs: Costs) -> Recipe:
    assert recipe.head_training is not None
    training, companions = recipe.head_training, recipe.companions
    wanted_s = (
        training.pictures * costs.map_s
        + training.members * len(FAMILIES) * (costs.map_s + MEMBER_S)
        + len(companions) * (costs.render_s + costs.map_s * costs.views)
    )
    left_s = costs.left_s * (1 - NETWORK_SHARE if recipe.kind == "train_then_head" else 1)
    share = max(0.0, left_s / 2 - costs.own * costs.map_s) / max(wanted_s, 1e-9)
    if share >= 1:
        return recipe
    members = int(share * training.members)
    pictures = max(min(FEW_PICTURES, training.pictures), int(share * training.pictures))
    training = replace(training, members=members if members > 1 else 0, pictures=pictures)
    companions = companions[: int(share * len(companions))]
    log.warning(
        "short of time (%.1f s a picture): %d of %d companions, %d of %d members of families, %d of %d ordinary "
        "pictures. Raise time_budget_s for all of them.",
        *(costs.map_s, len(companions), len(recipe.companions), training.members, recipe.head_training.members),
        *(pictures, recipe.head_training.pictures),
    )
    return replace(recipe, head_training=training, companions=companions)


def seconds_per_map(extractor: Extractor, objects: Mapping[str, Sequence[View]]) -> float:
    """Return the time of one feature map (the second: the first warms up), and a fifth more for what follows."""
    views = next(iter(objects.values()))[:2]
    started = last = 0.0
    for _ in extractor.eval().maps(views, batch_size=1):
        started, last = time.monotonic(), started
    return 1.2 * (started - last)
