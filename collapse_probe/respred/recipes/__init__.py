"""Recipes: what is trained with which losses, and how it is scored. Needs no torch."""

from ._named import FOUNDING, RECIPES, NamedRecipe, get_recipe
from ._recipe import (
    DeltaMap,
    IsotropyTerm,
    Penalty,
    PredictorKind,
    ProjectionKind,
    Recipe,
    Reduction,
    ScoringPath,
    Similarity,
    head_modules,
    head_streams,
    parse_change,
    recipe_choices,
    recipe_fields,
)

__all__ = [
    "FOUNDING",
    "RECIPES",
    "DeltaMap",
    "IsotropyTerm",
    "NamedRecipe",
    "Penalty",
    "PredictorKind",
    "ProjectionKind",
    "Recipe",
    "Reduction",
    "ScoringPath",
    "Similarity",
    "get_recipe",
    "head_modules",
    "head_streams",
    "parse_change",
    "recipe_choices",
    "recipe_fields",
]
