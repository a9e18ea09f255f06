"""Scores of finished models that are kept: what geometry and separation are held against where both were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ._curves import Change, Curve
from ._status import TRIFLE

LOST = 0.1
"""Share of a model's score that has to be excluded as lost for it to be kept (own choice)."""

GONE = 0.5
"""Share from which on a score may be gone (own choice)."""

EASY = 0.95
"""Score of the first model from which on a collection is too easy to show much (own choice)."""


def outweighed(curves: Sequence[Curve]) -> list[Curve]:
    """Return curves with the falls of readings as none where the scores of every collection are kept.

    d' is a reading of the cosines, and says nothing of their order: where a common direction is added to all vectors
    it falls, and what is found stays the same. A fall of scores that was not excluded leaves it as it is.

    Args:
        curves: Of finished models.
    """
    return [
        replace(one, outweighed=True, changes=tuple(replace(change, fell=False) for change in one.changes))
        if kept(curves) and one.fell and not one.variant
        else one
        for one in curves
    ]


def kept(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """Return the curves of scores where those of every collection are kept; none where one is not, or none has any."""
    scores = _scored(curves)
    return scores if all(not one.fell and all(_no_loss(change) for change in one.changes) for one in scores) else ()


def may_be_gone(curves: Sequence[Curve]) -> bool | None:
    """Return whether half of a score or more may be lost; None where none has an interval."""
    lows = [
        (change.before, change.interval.low) for one in _scored(curves) for change in one.changes if change.interval
    ]
    return any(low < -GONE * before for before, low in lows) if lows else None


def easy(curve: Curve) -> bool:
    """Return whether the first model finds so nearly everything that what is kept says little."""
    return curve.changes[0].before > EASY


def _scored(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """Return the curves of scores, which have an interval by query; readings are none."""
    return tuple(one for one in curves if one.variant and one.changes and one.changes[0].interval is not None)


def _no_loss(change: Change) -> bool:
    """Return whether a loss of a tenth is excluded, and one beyond a trifle is not shown."""
    known = change.interval
    return known is not None and known.low > -LOST * change.before and known.high > -TRIFLE
