"""The founding system: sentence-transformers modules, losses, recipes, and training over stored features.

Recipes come without torch; everything else is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import find_lazily
from .recipes import (
    FOUNDING,
    RECIPES,
    NamedRecipe,
    Recipe,
    get_recipe,
    head_modules,
    recipe_choices,
    recipe_fields,
)

if TYPE_CHECKING:
    from .audits import preflight
    from .session import train
    from .training import (
        EvaluationSet,
        Outcome,
        TrainingData,
        evaluate_head,
        evaluate_raw,
        make_evaluation_set,
        train_recipe,
    )

_LATER = {
    "EvaluationSet": "training",
    "Outcome": "training",
    "TrainingData": "training",
    "evaluate_head": "training",
    "evaluate_raw": "training",
    "make_evaluation_set": "training",
    "preflight": "audits",
    "train": "session",
    "train_recipe": "training",
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
    "train_recipe",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return find_lazily(__name__, _LATER[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
