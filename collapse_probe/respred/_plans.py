"""Which configurations an ablation compares: the control, and interventions that change some of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..errors import InputError, setting, unknown_name
from .recipes import RECIPES, Recipe, parse_change


@dataclass(frozen=True)
class Intervention:
    """A change of a run's configuration.

    Attributes:
        name: Its name in tables and figures.
        changes: Recipe field to value; empty for the control.
        tests: The claim about a cause that it decides, in words; empty where there is none.
    """

    name: str
    changes: dict[str, Any]
    tests: str = ""

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the changes.

        Raises:
            InputError: a combination that has no meaning.
        """
        return replace(recipe, **self.changes)


_CAUSES = (
    Intervention("penalty off", {"lambda_residual": 0.0}, "the residual penalty causes the fall"),
    Intervention("penalty detached", {"detach_delta": True}, "the penalty causes it through the projection"),
    Intervention("projection frozen", {"freeze_projection": True}, "training the projection causes it"),
    Intervention("scale anchored", {"normalise": True}, "the shrinking of all embeddings causes it"),
    Intervention("predictor off", {"predictor": "none", "scoring_path": "no_predictor"}, "the predictor causes it"),
)
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


def plan(name: str, recipe: Recipe) -> list[Intervention]:
    """Return the interventions of a plan that change something in a recipe.

    Args:
        name: ``founding`` (the founding document's options) or ``causes`` (what separates the known causes).
        recipe: The recipe of the run that is ablated.

    Raises:
        InputError: no such plan.
    """
    if name == "causes":
        found = list(_CAUSES)
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

    Args:
        specifications: One for each field.
        recipe: The recipe of the run that is ablated.
        grid: Every combination of the fields' values; one field at a time otherwise.

    Raises:
        InputError: a specification without ``=``, an unknown field, or a value of the wrong type or range.
    """
    axes = [_axis(specification) for specification in specifications]
    if grid:
        _check_axes(axes)
    chosen = product(*axes) if grid and len(axes) > 1 else ((change,) for axis in axes for change in axis)
    found = []
    for combination in chosen:
        name = ", ".join(label for label, _ in combination)
        changes = {field: value for _, part in combination for field, value in part.items()}
        one = Intervention(name, changes)
        changed = one.apply(recipe)
        if changed == recipe:
            if grid and len(axes) > 1:
                continue  # this combination is the control
            raise InputError(f"{setting('vary', name)}: the run has this value already, and the control is always run")
        if not changed.trains:
            raise InputError(f"{setting('vary', name)}: nothing would be trained")
        idle = _idle_changes(changed, recipe)
        if not changed.changed_from(recipe).keys() - {"select"} - ({"patience"} & idle.keys()):
            raise InputError(f"{setting('vary', name)}: it changes no training, only which checkpoint is kept")
        if idle:
            field, needs = next(iter(idle.items()))
            raise InputError(f"{setting('vary', name)}: {field} plays no role in this run: it needs {needs}")
        found.append(one)
    return found


def distinct(found: Sequence[Intervention], recipe: Recipe) -> list[Intervention]:
    """Return the interventions, those that come to one configuration as one: it is trained and tested once.

    ``penalty off`` of one plan and ``option_c3`` of another become ``penalty off = option_c3``.

    Args:
        found: The interventions, the control first.
        recipe: The recipe of the run that is ablated.
    """
    alike: dict[Recipe, list[Intervention]] = {}
    for one in found:
        alike.setdefault(one.apply(recipe), []).append(one)
    return [
        Intervention(
            " = ".join(dict.fromkeys(one.name for one in group)),
            group[0].changes,
            next((one.tests for one in group if one.tests), ""),
        )
        for group in alike.values()
    ]


def _check_axes(axes: Sequence[list[tuple[str, dict[str, Any]]]]) -> None:
    seen: set[str] = set()
    for axis in axes:
        varied = {field for _, change in axis for field in change}
        if varied & seen:
            twice = f"{sorted(varied & seen)[0]} is varied twice"
            raise InputError(f"{setting('grid')}: {twice}: give all its values in one {setting('vary')}")
        seen |= varied


def _axis(specification: str) -> list[tuple[str, dict[str, Any]]]:
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
    try:
        changed = one.apply(recipe)
    except InputError:
        return False
    if not changed.changed_from(recipe).keys() - _idle_changes(changed, recipe).keys() or not changed.trains:
        return False
    return one.name != "penalty detached" or "residual_penalty" not in recipe.idle
