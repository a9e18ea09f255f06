"""Changes of a configuration: one at a time, in every combination, and those that come to the same thing as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from ..errors import InputError, setting

CONTROL = "control"
"""Name of the run's own configuration among the interventions."""

Axis = list[tuple[str, dict[str, Any]]]
"""What one field is changed to: a label and the changed fields for each value."""


@dataclass(frozen=True)
class Intervention:
    """A change of a run's configuration.

    Attributes:
        name: Its name in tables and figures.
        changes: Field to value; empty for the control. Of nested mappings a field is its keys with dots between them.
        claim: What it decides, in words; empty where there is nothing.
        tests: Slug of the mechanism that it decides; empty where it decides none.
        by_construction: Why it restores whatever the mechanism is, so that it shows the locus alone; empty otherwise.
        trains_less: Whether it undoes a part of anything by training less: it then decides a mechanism that is
            suspected, and names none by itself.
        settings: What is changed of the run beside its configuration, such as its precision.
    """

    name: str
    changes: dict[str, Any]
    claim: str = ""
    tests: str = ""
    by_construction: str = ""
    trains_less: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def all_changes(self) -> dict[str, Any]:
        """What is changed, of the configuration and beside it."""
        return {**self.changes, **self.settings}

    def apply(self, configuration: Any) -> Any:
        """Return a configuration (a mapping or a dataclass) with the changes.

        Raises:
            InputError: a combination that the configuration refuses.
        """
        if isinstance(configuration, Mapping):
            changed = deepcopy(dict(configuration))
            for name, value in self.changes.items():
                _put(changed, name, value)
            return changed
        return replace(configuration, **self.changes)


def _put(configuration: dict[str, Any], name: str, value: Any) -> None:
    """Set a field, of a nested mapping by its keys with dots between them."""
    head, _, rest = name.partition(".")
    if name in configuration or not rest or not isinstance(configuration.get(head), Mapping):
        configuration[name] = value
    else:
        configuration[head] = dict(configuration[head])
        _put(configuration[head], rest, value)


def plain(configuration: Any) -> dict[str, Any]:
    """Return a configuration's fields, as its own ``as_dict`` gives them where it has one."""
    if isinstance(configuration, Mapping):
        return dict(configuration)
    own = getattr(configuration, "as_dict", None)
    return own() if own is not None else asdict(configuration)


def combined(axes: Sequence[Axis], *, grid: bool) -> Iterator[Intervention]:
    """Yield an intervention for each value of each axis.

    Args:
        axes: One for each field.
        grid: Every combination of the axes' values; one axis at a time otherwise.

    Raises:
        InputError: a field that two axes of a grid change.
    """
    if grid:
        _check_axes(axes)
    chosen = product(*axes) if grid else ((change,) for axis in axes for change in axis)
    for combination in chosen:
        name = ", ".join(label for label, _ in combination)
        yield Intervention(name, {field: value for _, part in combination for field, value in part.items()})


def distinct(found: Sequence[Intervention], configuration: Any) -> list[Intervention]:
    """Return the interventions, those that come to one configuration as one: it is trained and tested once.

    ``penalty off`` of one plan and ``option_c3`` of another become ``penalty off = option_c3``.

    Args:
        found: The interventions, the control first.
        configuration: That of the run that is ablated.
    """
    alike: list[tuple[Any, list[Intervention]]] = []
    for one in found:
        changed = (one.apply(configuration), one.settings)
        group = next((group for other, group in alike if other == changed), None)
        if group is None:
            alike.append((changed, [one]))
        else:
            group.append(one)
    return [_as_one(group) for _, group in alike]


def _as_one(group: Sequence[Intervention]) -> Intervention:
    names = dict.fromkeys(one.name for one in group)
    deciding = next((one for one in group if one.claim or one.tests), group[0])
    return replace(deciding, name=" = ".join(names), changes=group[0].changes)


def _check_axes(axes: Sequence[Axis]) -> None:
    seen: set[str] = set()
    for axis in axes:
        varied = {field for _, change in axis for field in change}
        if varied & seen:
            twice = f"{sorted(varied & seen)[0]} is varied twice"
            raise InputError(f"{setting('grid')}: {twice}: give all its values in one {setting('vary')}")
        seen |= varied
