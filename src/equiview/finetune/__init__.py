"""Finetuning on correspondences: recipes of stages, pairs, losses, and what each stage learns."""

from .closed_form import ClosedFormConfig, solve_closed_form
from .overrides import override
from .recipe import Recipe
from .recipes import RECIPES, get_recipe, prepare
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
