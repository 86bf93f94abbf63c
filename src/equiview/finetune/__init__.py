"""Finetuning on correspondences: losses, pairs, augmentation, recipes, one plain loop."""

from .closed_form import ClosedFormConfig, solve_closed_form
from .overrides import override
from .recipes import RECIPES, Recipe, get_recipe, prepare
from .train import TrainResult

__all__ = [
    "RECIPES",
    "ClosedFormConfig",
    "Recipe",
    "TrainResult",
    "get_recipe",
    "override",
    "prepare",
    "solve_closed_form",
]
