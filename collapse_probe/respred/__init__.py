"""The founding system: sentence-transformers modules, losses, recipes, and training over stored features.

Recipes come without torch; everything else is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._recipe import Recipe, head_modules, recipe_choices, recipe_fields
from ._recipes import FOUNDING, RECIPES, NamedRecipe, get_recipe

if TYPE_CHECKING:
    from ._evaluation import EvaluationSet, evaluate_head, evaluate_raw, make_evaluation_set
    from ._preflight import preflight
    from ._training import Outcome, train
    from ._vectors import TrainingData

_LATER = {
    "EvaluationSet": "_evaluation",
    "Outcome": "_training",
    "TrainingData": "_vectors",
    "evaluate_head": "_evaluation",
    "evaluate_raw": "_evaluation",
    "make_evaluation_set": "_evaluation",
    "preflight": "_preflight",
    "train": "_training",
}

__all__ = [
    "FOUNDING",
    "RECIPES",
    "EvaluationSet",
    "NamedRecipe",
    "Outcome",
    "Recipe",
    "TrainingData",
    "evaluate_head",
    "evaluate_raw",
    "get_recipe",
    "head_modules",
    "make_evaluation_set",
    "preflight",
    "recipe_choices",
    "recipe_fields",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
