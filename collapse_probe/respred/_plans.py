"""Interventions on recipes: the plans, and what is asked for field by field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..diagnosis import MECHANISMS
from ..errors import InputError, setting, unknown_name
from ..experiments import Axis, Intervention, combined
from .recipes import RECIPES, Recipe, parse_change

_CAUSES = (
    Intervention("penalty off", {"lambda_residual": 0.0}, "the residual penalty causes the fall", "penalty_too_strong"),
    Intervention(
        "penalty detached", {"detach_delta": True}, "the penalty causes it through the projection", "penalty_leak"
    ),
    Intervention(
        "projection frozen",
        {"freeze_projection": True},
        "training the projection causes it",
        by_construction="it freezes what is trained and scored, so it shows where the fall is, never why",
    ),
    Intervention("scale anchored", {"normalise": True}, "the shrinking of all embeddings causes it", "no_scale_anchor"),
    Intervention("predictor off", {"predictor": "none", "scoring_path": "no_predictor"}, "the predictor causes it"),
    Intervention(
        "contrastive term added", {"lambda_contrastive": 1.0}, "nothing pushes different texts apart", "no_repulsion"
    ),
    Intervention(
        "pulling term off", {"lambda_predictive": 0.0}, "the term that only pulls together causes it", "no_repulsion"
    ),
    Intervention("identity start", {"projection": "linear"}, "the projection's random start causes it", "random_head"),
)

_PUSHED = "contrastive term, identity start, small steps"


def _of_the_run(recipe: Recipe, precision: str) -> list[Intervention]:
    """Return the interventions whose change depends on the run's own values."""
    rates = {"learning_rate": recipe.learning_rate / 10}
    if recipe.trains_from_text:
        rates["encoder_learning_rate"] = recipe.encoder_learning_rate / 10
    found = [
        Intervention(
            "learning rate / 10", rates, "steps that are too large cause it", "steps_too_large", trains_less=True
        ),
        Intervention(_PUSHED, _remedy(), "what is advised against a missing push restores it"),
    ]
    if precision not in ("", "fp32"):
        change = {"precision": "fp32"}
        found.append(Intervention("fp32", {}, "half precision causes it", "half_precision", settings=change))
    return found


def _remedy() -> dict[str, Any]:
    """Return the recipe fields that the diagnosis advises against a missing push."""
    mechanism = next(one for one in MECHANISMS if one.cause == "no_repulsion")
    return dict(next(one.change for one in mechanism.remedies if "lambda_contrastive" in one.change))


_FOUNDING = (
    "option_a",
    "option_b",
    "option_b_adaptive",
    "option_c1",
    "option_c2",
    "option_c3",
    "option_d",
    "option_e",
    "alpha_02",
    "alpha_03",
)
PLANS = ("founding", "causes")


def plan(name: str, recipe: Recipe, *, precision: str = "fp32") -> list[Intervention]:
    """Return the interventions of a plan that change something in a recipe.

    Args:
        name: ``founding`` (the founding document's options) or ``causes`` (what separates the known causes).
        recipe: The recipe of the run that is ablated.
        precision: Its precision.

    Raises:
        InputError: no such plan.
    """
    if name == "causes":
        found = [*_CAUSES, *_of_the_run(recipe, precision)]
    elif name == "founding":
        found = [Intervention(key, _option(key)) for key in _FOUNDING]
    else:
        raise unknown_name("plan", name, PLANS)
    return [one for one in found if _means_something(one, recipe)]


def _option(name: str) -> dict[str, Any]:
    """Return the fields of a named recipe; without a predictor there is one path left to score."""
    changes = RECIPES[name].changes
    return {**changes, "scoring_path": "no_predictor"} if changes.get("predictor") == "none" else changes


def vary(specifications: Sequence[str], recipe: Recipe, *, grid: bool) -> list[Intervention]:
    """Return the interventions of ``field=value,value`` specifications.

    One that a plan has too decides the same.

    Args:
        specifications: One for each field.
        recipe: The recipe of the run that is ablated.
        grid: Every combination of the fields' values; one field at a time otherwise.

    Raises:
        InputError: a specification without ``=``, an unknown field, or a value of the wrong type or range.
    """
    axes = [_axis(specification) for specification in specifications]
    found = []
    for one in combined(axes, grid=grid):
        if one.apply(recipe) == recipe and grid and len(axes) > 1:
            continue  # this combination is the control
        _check_change(one, recipe)
        same = next((cause for cause in _CAUSES if cause.changes == one.changes), None)
        found.append(replace(same, name=one.name) if same else one)
    return found


def _check_change(one: Intervention, recipe: Recipe) -> None:
    changed, given = one.apply(recipe), setting("vary", one.name)
    if changed == recipe:
        raise InputError(f"{given}: the run has this value already, and the control is always run")
    if not changed.trains:
        raise InputError(f"{given}: nothing would be trained")
    idle = _idle_changes(changed, recipe)
    if not changed.changed_from(recipe).keys() - {"select"} - ({"patience"} & idle.keys()):
        raise InputError(f"{given}: it changes no training, only which checkpoint is kept")
    if idle:
        field, needs = next(iter(idle.items()))
        raise InputError(f"{given}: {field} plays no role in this run: it needs {needs}")


def _axis(specification: str) -> Axis:
    name, equals, values = specification.partition("=")
    if not equals or not values.strip():
        given, example = setting("vary", specification), setting("vary", "lambda_residual=0,1e-4")
        raise InputError(f"{given}: write FIELD=VALUE,VALUE, as in {example}")
    return [(f"{name.strip()}={value.strip()}", parse_change(name, value.strip())) for value in values.split(",")]


def _idle_changes(changed: Recipe, recipe: Recipe) -> dict[str, str]:
    """Return the changed fields that play no role, neither before nor after, and what they would need."""
    differing = changed.changed_from(recipe)
    return {field: needs for field, needs in changed.idle.items() if field in differing and field in recipe.idle}


def _means_something(one: Intervention, recipe: Recipe) -> bool:
    if one.settings:
        return True
    try:
        changed = one.apply(recipe)
    except InputError:
        return False
    if not changed.changed_from(recipe).keys() - _idle_changes(changed, recipe).keys() or not changed.trains:
        return False
    if one.name in ("contrastive term added", _PUSHED) and recipe.lambda_contrastive > 0:
        return False
    if one.name in ("identity start", _PUSHED) and recipe.projection != "mlp":
        return False
    return one.name != "penalty detached" or "residual_penalty" not in recipe.idle
