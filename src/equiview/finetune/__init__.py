"""Finetuning on correspondences: losses, pairs, augmentation, recipes, one plain loop."""

from .closed_form import ClosedFormConfig, solve_closed_form
from .recipes import RECIPES, Recipe, get_recipe, override, prepare
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
