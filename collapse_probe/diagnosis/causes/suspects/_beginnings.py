"""How a training began: its first readings, and how far groups of weights went in the first steps."""

from __future__ import annotations

from ....journal import Series
from ....journal.vocabulary import OUTSIDE
from ..._contract import Interval
from ..._curves import Curve
from ..._evidence import Evidence
from ...detectors._signature import BEGAN_AT_NOTHING
from .._readings import group_of

WEIGHTS_OF_NOTHING = 1e-12
"""What the updates of a group that begins at zero are held against."""

SOON = 5
"""Steps within which what a large step broke is broken (own choice)."""

OWN_LENGTH = 1.0
"""Way of weights that multiplies nothing by 10 (own choice)."""


def ways_of(evidence: Evidence) -> list[float]:
    """Return how far each group has gone in all, over its length at first; not those that began at nothing."""
    return [float(one.values[-1]) for one in evidence.groups("drift") if float(one.values[0]) < BEGAN_AT_NOTHING]


def makers_of(evidence: Evidence) -> list[Series]:
    """Return the updates of what makes embeddings: no part outside the model, no bias, which may begin at nothing."""
    groups = evidence.groups("update")
    return [one for one in groups if group_of(one) != OUTSIDE and group_of(one).rpartition(".")[2] != "bias"]


def opening_of(evidence: Evidence, reading: str) -> float | None:
    """Return a reading's very first value of the batches, before any update where step 1 was read; None without one."""
    series = evidence.series(reading, on="batch").finite()
    return float(series.values[0]) if len(series) else None


def replaced(evidence: Evidence, whole: float) -> bool:
    """Return whether one of the first steps moved a group, and no bias, farther than its own length."""
    firsts = [one.values[one.steps <= SOON] for one in makers_of(evidence)]
    return any(len(one) > 0 and whole < float(one.max()) < BEGAN_AT_NOTHING for one in firsts)


def starts_of(evidence: Evidence) -> list[tuple[Curve, tuple[float, Interval]]]:
    """Return what step 0 is beside the raw encoder, on every collection where both were scored."""
    found, changes = evidence.evaluations, []
    for curve in evidence.curves:
        raw, scored = found.raw(curve.name), found.of(curve.name, found.judged(curve.name))
        if raw is not None and scored and scored[0].step == 0:
            change = found.change(raw, scored[0], curve.metric)
            changes += [] if change is None else [(curve, change)]
    return changes
