"""The recipes there are, by name."""

from dataclasses import replace

from ..models.adapters.lora import LoraSpec
from ..models.backbones.base import Backbone
from ..models.extractor import Extractor, FeatureConfig
from .augment import AugmentConfig
from .choices import check_one_of
from .closed_form import ClosedFormConfig
from .head_features import on_pictures_seen_once
from .head_step import HeadStep
from .head_training import HeadTraining
from .network_settings import NetworkTraining
from .pairs import PairConfig
from .recipe import Recipe
from .stages import STAGES
from .stages.add_head import DEBIASED_HEADS, AddHead, add_head
from .stages.network import add_adapter

SPREAD = (1 / 3, 1 / 2, 2 / 3, 5 / 6)
"""Depths of several blocks: 4, 6, 8 and 10 of 12 (the best of a few sets tried)."""
AUXILIARY_OBJECTS = tuple(f"procedural:{seed}" for seed in range(9001, 9009))
"""Procedural objects beside the user's own, so that a run on one object does not learn that object's quirks."""
HOUSEHOLD_OBJECTS = tuple(f"household:{seed}" for seed in range(9001, 9033))
"""Made objects that teach as much as scanned ones, for recipes with many."""
WHITENED = AddHead(head="whitened_average")

ONE_STEP = Recipe("one-step", (WHITENED, HeadStep(strength=0.3)), depths=SPREAD)
DEFAULT = Recipe(
    "default",
    (WHITENED, HeadTraining(strength=0.5)),
    depths=SPREAD,
    auxiliary_objects=AUXILIARY_OBJECTS,
    time_budget_s=600.0,
)
GENERAL = replace(
    DEFAULT,
    name="general",
    stages=(WHITENED, HeadTraining(steps=200, instances=0, pictures=16, strength=0.5)),
    auxiliary_objects=HOUSEHOLD_OBJECTS,
    auxiliary_views=6,
    keep_auxiliary=True,
    time_budget_s=1200.0,
)
"""Needs no object of one's own."""
THOROUGH = replace(DEFAULT, name="thorough", features=FeatureConfig(sizes=(0.7, 1.0, 1.4), mirrored=0.25))
"""Learns as `default` does; its adapter sees every picture six times, for about seven times the work of the network."""
OWN_OBJECT = replace(
    DEFAULT, name="own-object", stages=(WHITENED, HeadTraining(instances=0, strength=1.0)), auxiliary_objects=()
)
"""For other views of the very object or scene it is trained on: it learns from nothing else, and is applied in full."""
LORA = NetworkTraining(
    lora=LoraSpec(rank=4, last_blocks=None),
    lr=3e-4,
    steps=200,
    pairs=PairConfig(max_angle_deg=120.0),
    train_long_side=320,
    own_objects_only=True,
    seen_once=True,
)
LORA_AND_HEAD = replace(DEFAULT, name="lora-and-head", stages=(WHITENED, LORA, HeadTraining(strength=1.0)))
"""The LoRA learns the user's object alone; the head of `default` is trained on what comes out."""
WIENER = Recipe(
    "wiener",
    (AddHead(head="centered_average"), ClosedFormConfig(center="none", strength=0.5)),
    depths=SPREAD,
)
PAPER = Recipe(
    "paper",
    (
        AddHead(head="random_conv"),
        NetworkTraining(
            loss="smooth_ap_published",
            temperature=0.01,
            lr=1e-5,
            weight_decay=1e-4,
            clip=1.0,
            steps=100,
            pairs=PairConfig(sampler="published", points=3000, max_angle_deg=120.0),
            augment=AugmentConfig(),
        ),
    ),
)
LORA_ONLY = Recipe("lora-only", (AddHead(), NetworkTraining()))

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (PAPER, ONE_STEP, DEFAULT, GENERAL, THOROUGH, OWN_OBJECT, LORA_AND_HEAD, WIENER, LORA_ONLY)
}
"""By name. Adding one is one entry here."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        EquiviewError: There is none of this name; the message lists them.
    """
    check_one_of("recipe", name, RECIPES)
    return RECIPES[name]


def prepare(backbone: Backbone, recipe: Recipe, *, seed: int) -> Extractor:
    """Return an extractor with all that the recipe trains in place before anything is learned: its head and its LoRA.

    Args:
        backbone: Changed in place by LoRA.
        recipe: The recipe.
        seed: Of the adapter's and the head's initial weights.

    Raises:
        EquiviewError: The adapter or the blocks do not fit the backbone.
    """
    extractor = _with_added_head(backbone, recipe, seed)
    network = recipe.find(NetworkTraining)
    if network is not None:
        add_adapter(network, extractor, seed)
    return extractor


def features_learned_on(backbone: Backbone, recipe: Recipe) -> Extractor:
    """Return the features a recipe learns on, with what is on top of them from the start.

    Raises:
        EquiviewError: The blocks or the sizes do not fit the backbone.
    """
    extractor = _with_added_head(backbone, recipe, 0)
    seen_once = any(STAGES[settings.stage].seen_once for settings in recipe.stages)
    return on_pictures_seen_once(extractor) if seen_once else extractor


def check_recipe(backbone: Backbone, recipe: Recipe) -> None:
    """Raise for a block, a size or an adapter that does not fit the backbone, before anything is rendered.

    Raises:
        EquiviewError: There is one, or a network is to be trained in which nothing is trainable.
    """
    head = recipe.find(AddHead)
    if head is not None and head.head in DEBIASED_HEADS:  # Nothing is to be measured yet.
        recipe = recipe.with_stage(AddHead(DEBIASED_HEADS[head.head]))
    extractor = features_learned_on(backbone, recipe)
    for settings in recipe.stages:
        STAGES[settings.stage].check(settings, extractor)


def _with_added_head(backbone: Backbone, recipe: Recipe, seed: int) -> Extractor:
    extractor = Extractor(backbone, recipe.feature_config(backbone.info.blocks))
    head = recipe.find(AddHead)
    return extractor if head is None else add_head(head, extractor, seed)
