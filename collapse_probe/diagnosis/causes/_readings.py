"""What mechanisms read of a run."""

from __future__ import annotations

import math

import numpy as np

from ...journal import Series
from .._contract import Finding
from .._evidence import Evidence
from ..detectors._signature import BEGAN_AT_NOTHING

_PUSHES = 0.05
"""Push of a loss that has a term for it: of a softmax -.04 to .4, of losses that pull alone at most -.02 (measured)."""

_LEVEL = 3
"""Last readings, and a tenth of them at least, of a way that has come to its end (own choice)."""


def last(evidence: Evidence, reading: str, *, on: str = "batch", count: int = 8) -> float | None:
    """Return the median of a reading's last values; None where there are fewer than three."""
    series = evidence.series(reading, on=on).finite()
    return float(np.median(series.values[-count:])) if len(series) >= 3 else None


def first(evidence: Evidence, reading: str, *, steps: int = 20, on: str = "batch") -> float | None:
    """Return the median of a reading over the first steps; None where there are fewer than three."""
    series = evidence.series(reading, on=on).finite()
    values = series.values[series.steps <= steps] if len(series) else series.values
    return float(np.median(values)) if len(values) >= 3 else None


def group_of(series: Series) -> str:
    """Return the name of the group that a series is of."""
    return series.reading.partition("/")[2]


def leap(series: Series, *, early: int, times: float, least: float) -> tuple[float, int] | None:
    """Return the largest relative update of the first steps, or one that leaps beyond its own past, with its step.

    Args:
        series: ``update/GROUP``.
        early: Steps that count as first.
        times: A later update counts from so many times the median of all before it on.
        least: And from this size on.

    Returns:
        None where neither is there; an update of what was zero counts as none.
    """
    values = np.where(series.values < 1e3, series.values, np.nan)
    steps = series.steps
    start = np.flatnonzero((steps <= early) & (values > 0.1))
    if len(start):
        at = int(start[int(np.nanargmax(values[start]))])
        return float(values[at]), int(steps[at])
    for at in range(5, len(values)):
        past = float(np.nanmedian(values[:at])) if np.isfinite(values[:at]).any() else math.nan
        if steps[at] > early and values[at] > least and values[at] > times * past > 0:
            return float(values[at]), int(steps[at])
    return None


def scaled_by(evidence: Evidence, stream: str) -> tuple[float, float] | None:
    """Return how much a stream's norm changed, as a factor of at least 1, and the loss's degree in it.

    The degree is the slope of log |loss| over log norm, where it fits all readings; None where it does not.
    """
    norm = evidence.series(f"{stream}/norm_median", on="batch").finite()
    loss = evidence.series("loss/total", on="batch").finite()
    shared = np.intersect1d(norm.steps, loss.steps)
    if len(shared) < 8:
        return None
    x = norm.values[np.isin(norm.steps, shared)]
    y = np.abs(loss.values[np.isin(loss.steps, shared)])
    known = (x > 0) & (y > 0)
    if known.sum() < 8:
        return None
    x, y = np.log(x[known]), np.log(y[known])
    change = float(np.exp(np.ptp(x)))
    # The way out counts: where little has moved yet, everything lies on a line.
    slope, intercept = np.polyfit(x, y, 1)
    rest = y - (slope * x + intercept)
    if np.ptp(x) < math.log(4) or float(np.std(rest)) > 0.1 * float(np.std(y)):
        return None
    return change, float(slope)


def decay_done(evidence: Evidence) -> tuple[str, float] | None:
    """Return the group whose weights were decayed most, and by which share: the sum of rate times weight decay."""
    found = []
    for decay in evidence.groups("decay"):
        rate = evidence.series(f"rate/{group_of(decay)}").finite()
        if len(rate):
            edges = np.append(rate.steps, evidence.run.steps + 1)
            lasting = np.clip(np.diff(edges), 0, None)
            found.append((group_of(decay), float((rate.values * lasting).sum() * decay.values[-1])))
    return max(found, key=lambda one: one[1], default=None)


def decay_share(evidence: Evidence) -> float | None:
    """Return which share of the first update weight decay is, of the middle one of the groups; None where unknown.

    Rate times decay over an update's size, both of the weights' own. A rate multiplies both, so the share says nothing
    of it. Later updates tell less: weights that decay and steps that make them grow come to a balance.
    """
    rates = {group_of(one): one for one in evidence.groups("rate")}
    done = [
        float(rates[name].values[0] * decay.values[0])
        for decay in evidence.groups("decay")
        if (name := group_of(decay)) in rates
    ]
    firsts = [float(one.values[0]) for one in evidence.groups("update")]
    sizes = [one for one in firsts if 0 < one < BEGAN_AT_NOTHING]
    return min(1.0, max(done) / float(np.median(sizes))) if done and sizes else None


def pushes(evidence: Evidence) -> bool:
    """Return whether the loss pushes near others apart, in the first readings and in the last."""
    found = first(evidence, "pairs/push"), last(evidence, "pairs/push")
    return all(one is not None and one > _PUSHES for one in found)


def pulls_alone(evidence: Evidence) -> bool:
    """Return whether nothing pushes from the first readings to the last: what shrinks then is drawn together."""
    pushes = first(evidence, "pairs/push"), last(evidence, "pairs/push")
    return all(one is not None and one < 0 for one in pushes)


def vanished(evidence: Evidence) -> str | None:
    """Return a group whose weights went to nothing, where weights decay: as far as they were long, and no further.

    Decay that an optimiser adds to gradients, such as Adam's, is stronger than rate times decay says.
    """
    if not any(float(one.values[-1]) > 0 for one in evidence.groups("decay")):
        return None
    ends = {group_of(one): one.values[-max(_LEVEL, len(one) // 10 + 1) :] for one in evidence.groups("drift")}
    return next((name for name, ways in ends.items() if ways.min() > 0.98 and ways.max() < 1.02), None)


def numbers_of(kind: Finding) -> dict[str, float]:
    """Return the numbers of a kind's own signature."""
    conditions = kind.judgement.conditions if kind.judgement else ()
    return {one.reading: one.value for one in conditions if not one.harm and one.value is not None}


def there_before(evidence: Evidence, kind: Finding) -> bool:
    """Return whether a kind was there before the first step, and nothing was lost since, by no force of training."""
    since = kind.judgement.outside if kind.judgement else ()
    falls = kind.kind in ("loss_against_retrieval", "harmful_correction")
    return evidence.lost_before and (falls or (len(since) > 0 and since[0] == 0))
