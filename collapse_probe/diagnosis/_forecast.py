"""Where a run that goes on is heading: in how many steps separation halves if nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..journal import Series
from ._contract import Finding, Forecast
from ._evidence import Evidence
from ._kinds import of_cut
from ._separation import D_PRIME, RANK

FEWEST = 5
"""Readings since the onset that a line is fitted to."""

_FIT = 0.5
"""Share of the logarithm's variance that the line has to explain (own choice)."""

_T = 4.0
"""Errors of its slope that a fall has to have."""

_GOES_ON = 1 / 3
"""Share of the slope that the second half has to have: what has levelled falls no further (own choice)."""

_FAR = 10.0
"""Half-lives longer than so many times what they are fitted to are not said (own choice)."""


def with_forecast(evidence: Evidence, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, of a run without an end those that rest on a fall with its half-life."""
    found = tuple(findings)
    if evidence.run.status != "unfinished":
        return found
    return tuple(
        _with(evidence, one) if one.grave and not of_cut(one) and _rests_on_a_fall(one) else one for one in found
    )


def half_life(series: Series, since: int) -> Forecast | None:
    """Return in how many steps what is left of separation above chance halves.

    By a straight line through the logarithm of all readings since a step. None for fewer than five of them, where they
    do not fall, do not follow the line, or have levelled.

    Args:
        series: d' or the reciprocal rank of pairs, whose level by chance is 0 and that of n documents in any order.
        since: The first step of the fall.
    """
    finite = series.finite()
    part = finite.where(finite.steps >= since)
    if len(part) < FEWEST:
        return None
    n = max(int(part.n[-1]), 1)
    chance = float((1 / np.arange(1, n + 1)).mean()) if part.reading == RANK else 0.0
    above = part.values - chance
    if above.min() <= 0:
        return None
    steps, logs = part.steps.astype(float), np.log(above)
    slope, error, share = _line(steps, logs)
    later = _line(steps[len(steps) // 2 :], logs[len(steps) // 2 :])[0]
    if not (slope < -_T * error and share >= _FIT and later < _GOES_ON * slope):
        return None
    halves, over = math.log(2) / -slope, int(part.steps[-1] - part.steps[0])
    return None if halves > _FAR * over else Forecast(reading=part.reading, half_life=halves, steps=over)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return a line's slope, its standard error, and the share of the variance that it explains."""
    x, y = x - x.mean(), y - y.mean()
    across, whole = float(x @ x), float(y @ y)
    if across == 0 or whole == 0:
        return 0.0, 0.0, 0.0
    slope = float(x @ y) / across
    rest = float(((y - slope * x) ** 2).sum())
    return slope, math.sqrt(rest / max(len(x) - 2, 1) / across), 1 - rest / whole


def _rests_on_a_fall(finding: Finding) -> bool:
    return finding.judgement is not None and any(one.harm and one.holds for one in finding.judgement.conditions)


def _with(evidence: Evidence, finding: Finding) -> Finding:
    assert finding.judgement is not None
    onset = evidence.separation_onset or finding.judgement.onset
    forecast = None if onset is None else _of_separation(evidence, onset.step)
    return replace(finding, judgement=replace(finding.judgement, forecast=forecast))


def _of_separation(evidence: Evidence, since: int) -> Forecast | None:
    """Return the half-life of the reading that says it best: of the reference pairs before the batches, d' first."""
    kinds = [(name, on) for on in ("reference", "batch") for name in (D_PRIME, RANK)]
    read = (evidence.series(name, on=on) for name, on in kinds if on == "batch" or not evidence.reference_still)
    return next((found for one in read if (found := half_life(one, since))), None)
