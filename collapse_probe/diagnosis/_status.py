"""From a judgement's numbers to its status and state: the one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ._contract import Bounds, Condition, Detector, Interval, Judgement, State, Status

TRIFLE = 0.01
"""A change below it is none: a fall of that size is not critical, however well it is resolved (own cut)."""

CRITICAL_P = 0.001
"""A difference is critical only up to this p: .05 calls 9 % of runs without any change fallen, .001 .3 %."""

WARNING_P = 0.01
"""A difference is a warning only up to this p, over everything that was looked at: at .05, 10 % of runs without any
change have one (four evaluations on two collections, often a raw encoder and a validation loss)."""

WARNED = "the 95 % interval lies beyond, and p <= .01 over all that was looked at"
"""The same in words."""


def status_of(judgement: Judgement, *, gravest: Status = Status.CRITICAL) -> Status:
    """Return the status that the numbers have.

    Parts of a signature decide first: one that does not hold, and there is nothing; one that was not measured, and
    nothing is known; all hold, and the kind is there. Then harm decides how grave it is: a fall of separation or
    retrieval makes it the kind's gravest status, harm that was not measured a warning, a change for the better
    nothing at all, unless the signature is extreme. Where there are no parts, the value is held against its bounds; a
    fall that its own test does not call one is a warning at most.
    """
    signature = [one for one in judgement.conditions if not one.harm]
    harm = [one for one in judgement.conditions if one.harm]
    if any(one.holds is False for one in signature):
        return Status.HEALTHY
    if any(one.holds is None for one in signature):
        return Status.NOT_MEASURED
    if signature and not harm:
        return gravest
    if harm and any(one.holds for one in harm):
        return gravest
    if signature:
        return Status.WARNING if judgement.extreme else _without_harm(harm)
    found = _by_value(judgement)
    # What its own test calls no fall is none by its size either.
    return Status.WARNING if found is Status.CRITICAL and _no_fall(harm) else found


def state_of(judgement: Judgement, detector: Detector, status: Status) -> State | None:
    """Return how sure a finding is by the number of readings that say so; None where none ever did."""
    if status in (Status.WARNING, Status.CRITICAL):
        return "confirmed" if len(judgement.outside) >= detector.confirm else "raised"
    return "cleared" if judgement.before and status is Status.HEALTHY else None


def beyond(value: float, cut: float | None, *, above: bool) -> bool:
    """Return whether a value is outside a cut; what is no number is outside every cut."""
    return cut is not None and (math.isnan(value) or (value > cut if above else value < cut))


def _without_harm(harm: Sequence[Condition]) -> Status:
    """Return what a signature is worth where nothing fell: a warning where something is lower by more than a trifle."""
    known = [one.value for one in harm if one.holds is False and one.value is not None]
    return Status.HEALTHY if known and min(known) > -TRIFLE else Status.WARNING


def _no_fall(harm: Sequence[Condition]) -> bool:
    return bool(harm) and all(one.holds is False for one in harm)


def _by_value(judgement: Judgement) -> Status:
    value, bounds = judgement.value, judgement.bounds
    if value is None or (judgement.interval is not None and math.isnan(judgement.interval.high)):
        return Status.NOT_MEASURED
    if math.isnan(value):
        return Status.CRITICAL
    if beyond(value, bounds.critical, above=bounds.above) and _sure(judgement.interval, CRITICAL_P):
        return Status.CRITICAL
    sure = _resolved(judgement.interval, bounds) and _sure(judgement.interval, WARNING_P)
    if beyond(value, bounds.warning, above=bounds.above) and sure:
        return Status.WARNING
    return Status.HEALTHY


def _sure(interval: Interval | None, p: float) -> bool:
    return interval is None or interval.p <= p


def _resolved(interval: Interval | None, bounds: Bounds) -> bool:
    if interval is None or bounds.warning is None:
        return True
    return interval.low > bounds.warning if bounds.above else interval.high < bounds.warning
