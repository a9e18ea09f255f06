"""The named recipes: the founding system, its baselines, every option that it recommends, and what goes beyond it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...errors import unknown_name
from ._recipe import Recipe

_OPTIONS = "Recommendations"
_STEPS = "Immediate Next Steps"


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with what it is and where it comes from.

    Attributes:
        recipe: The recipe.
        summary: One line on what it is.
        origin: Heading of the founding document that it is taken from, or ``beyond it``.
    """

    recipe: Recipe
    summary: str
    origin: str

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that differ from the founding recipe's."""
        return self.recipe.changed_from(FOUNDING)


FOUNDING = Recipe(name="respred")


def _named(name: str, summary: str, origin: str, **changes: Any) -> NamedRecipe:
    return NamedRecipe(replace(FOUNDING, name=name, **changes), summary, origin)


_ALL = (
    NamedRecipe(
        FOUNDING, "shared projection, q + alpha * delta(q), penalty 0.01 on ||delta||^2", "the founding system"
    ),
    _named(
        "baseline",
        "the raw encoder, nothing trained: what every other recipe has to beat",
        "Performance Summary",
        projection="none",
        predictor="none",
        lambda_isotropy=0.0,
        lambda_predictive=0.0,
        lambda_residual=0.0,
        similarity="cosine",
    ),
    _named(
        "iso15_pred12",
        "a direct MLP predictor; its batch size and learning rate differ too, so it confounds three changes",
        "Performance Summary",
        predictor="direct",
        lambda_residual=0.0,
        batch_size=16,
        learning_rate=5e-4,
    ),
    _named("option_a", "no residual penalty, no tanh", f"{_OPTIONS}, option A", lambda_residual=0.0, tanh=False),
    _named("option_b", "a penalty a hundred times weaker", f"{_OPTIONS}, option B", lambda_residual=1e-4),
    _named(
        "option_b_adaptive",
        "the penalty only counts while mean ||delta|| is above 0.1",
        f"{_OPTIONS}, option B",
        residual_margin=0.1,
    ),
    _named(
        "option_c1",
        "penalise the part of delta along q",
        f"{_OPTIONS}, option C1",
        residual_penalty="orthogonal",
    ),
    _named("option_c2", "an L1 penalty, at the same weight", f"{_OPTIONS}, option C2", residual_penalty="l1"),
    _named("option_c3", "no residual penalty, the tanh stays", f"{_OPTIONS}, option C3", lambda_residual=0.0),
    _named(
        "option_d",
        "the encoder's top 2 layers are trained too, from text",
        f"{_OPTIONS}, option D",
        unfreeze_layers=2,
    ),
    _named(
        "option_e",
        "a projection each for queries and documents, no predictor",
        f"{_OPTIONS}, option E",
        asymmetric=True,
        predictor="none",
        lambda_residual=0.0,
    ),
    _named("alpha_02", "alpha starts at 0.2", f"{_STEPS}, 3", alpha=0.2),
    _named("alpha_03", "alpha starts at 0.3", f"{_STEPS}, 3", alpha=0.3),
    _named(
        "mean_reduction",
        "the penalty averaged over dimensions, as the predictive term is",
        "beyond it",
        residual_reduction="mean",
    ),
    _named(
        "detached", "delta's input detached: the penalty cannot reach the projection", "beyond it", detach_delta=True
    ),
    _named(
        "contrastive",
        "no projection, no penalty: the predictor alone, by in-batch InfoNCE on the predicted query",
        "beyond it",
        projection="none",
        lambda_isotropy=0.0,
        lambda_predictive=0.0,
        lambda_residual=0.0,
        lambda_contrastive=1.0,
        epochs=20,
        similarity="cosine",
        scoring_path="predictor",
    ),
    _named(
        "sigreg",
        "isotropy by SIGReg as in LeJEPA's repository (t in [0, 3], 1,024 slices), its weights",
        "beyond it",
        isotropy="sigreg",
        lambda_isotropy=0.05,
        lambda_predictive=0.95,
    ),
    _named(
        "sigreg_paper",
        "isotropy by SIGReg as in LeJEPA's Algorithm 1 (t in [-5, 5], 256 slices), the same weights",
        "beyond it",
        isotropy="sigreg_paper",
        lambda_isotropy=0.05,
        lambda_predictive=0.95,
    ),
    _named(
        "vicreg",
        "isotropy by VICReg's variance and covariance terms, its weights (25, 25, 1)",
        "beyond it",
        isotropy="vicreg",
        lambda_isotropy=1.0,
        lambda_predictive=25.0,
    ),
    _named("koleo", "isotropy by KoLeo, blind to scale", "beyond it", isotropy="koleo", lambda_isotropy=0.1),
    _named(
        "uniformity",
        "isotropy by uniformity on the sphere, weight 1; blind to scale",
        "beyond it",
        isotropy="uniformity",
        lambda_isotropy=1.0,
    ),
)

RECIPES: dict[str, NamedRecipe] = {entry.recipe.name: entry for entry in _ALL}
"""Every recipe by its name."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: no such recipe; says which is nearest.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name].recipe
