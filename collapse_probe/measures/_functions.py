"""The function of every measure, joined to its entry by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from torch import Tensor

from ..journal.vocabulary import MEASURES
from . import _angles, _corrections, _forces, _neighbours, _pairs, _rows, _scale, _spectrum

_FAMILIES = (_angles, _scale, _spectrum, _pairs, _rows, _neighbours, _forces, _corrections)

FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    name: getattr(family, name) for family in _FAMILIES for name in family.__all__ if name in MEASURES
}
"""The functions of :data:`~collapse_probe.journal.vocabulary.MEASURES`."""

OPTIONS: Mapping[str, frozenset[str]] = {
    name: frozenset(inspect.signature(function).parameters) - set(MEASURES[name].needs)
    for name, function in FUNCTIONS.items()
}
"""Arguments of each function beside what it needs."""
