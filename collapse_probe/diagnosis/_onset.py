"""Since when a series is outside: the one seam to a change-point method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import statistics
from ..statistics import Onset

FEWEST = 8
"""Below so many readings the interval runs from the last good one to the first bad one."""

_NOISE = 0.605
"""Standard deviations of independent values to a median second difference."""

_NEAR = 0.25
"""Share of the run that an interval may span without another reading being asked (own choice)."""


def change_point(steps: np.ndarray, values: np.ndarray, *, falls: bool = True) -> Onset | None:
    """Return when a series left its healthy level for good, or None where it did not.

    A step or a ramp by broken sticks; where that finds none, or readings are few, the first reading from which every
    later stretch is further away than the noise. A series that came back in part is read up to its worst stretch.

    Args:
        steps: ``[K]``, ascending.
        values: ``[K]``, the same length; values that are not finite are left out.
        falls: Whether a fall is looked for; a rise otherwise.
    """
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept] if falls else -values[kept]
    if len(values) < 2:
        return None
    below = _Left.of(values)
    end = below.worst or len(values)
    return statistics.change_point(steps[:end], values[:end]) or below.onset(steps)


def left(steps: np.ndarray, values: np.ndarray) -> Onset | None:
    """Return the readings between which a fall began, as far as they alone tell; None where it did not last."""
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept]
    return _Left.of(values).onset(steps) if len(values) > 1 else None


def levelled(steps: np.ndarray, values: np.ndarray) -> Onset | None:
    """Return when a series that rose stopped rising: where it begins to fall, read backwards; None where it did not."""
    found = change_point(-steps[::-1], values[::-1])
    return None if found is None else Onset(step=-found.step, low=-found.high, high=-found.low)


@dataclass(frozen=True)
class _Left:
    """Where a series is below its best stretch for good.

    A stretch is below where its mean is, by more than four times the readings' own noise, which may drift, and a
    tenth of the whole change.

    Attributes:
        first: The first reading below; None where the last stretch is not.
        worst: How many readings there are up to the end of the worst stretch; None where it lasted.
        width: Readings of a stretch.
    """

    first: int | None
    worst: int | None
    width: int

    @classmethod
    def of(cls, values: np.ndarray) -> _Left:
        """Return it for finite values that fall."""
        many = len(values) >= FEWEST
        width = max(1, min(5, len(values) // 8))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        best = int(np.argmax(smooth))
        # Second differences: a steady fall is no noise.
        noise = _NOISE * float(np.median(np.abs(np.diff(values, n=2)))) if many else 0.0
        slack = max(4 * noise, 0.1 * float(smooth[best] - smooth[-1]))
        cut = float(smooth[best]) - slack
        below = smooth < cut
        below[: best + 1] = False
        at = stays(below)
        if at is None:
            return cls(None, None, width)
        first = at + int(np.argmax(values[at : at + width] < cut))
        worst = at + int(np.argmin(smooth[at:]))
        return cls(first, worst + width if smooth[worst] < smooth[-1] - slack else None, width)

    def onset(self, steps: np.ndarray) -> Onset | None:
        """Return the first reading below, between its neighbours; among few, the last good one and itself."""
        if self.first is None:
            return None
        many = len(steps) >= FEWEST
        high = min(self.first + self.width, len(steps) - 1) if many else self.first
        return Onset(step=int(steps[self.first]), low=int(steps[max(self.first - 1, 0)]), high=int(steps[high]))


def stays(outside: np.ndarray) -> int | None:
    """Return the index of the first reading from which every later one is outside; None where the last is inside."""
    if not len(outside) or not outside[-1]:
        return None
    inside = np.flatnonzero(~outside)
    return int(inside[-1]) + 1 if len(inside) else 0


def crossing(steps: np.ndarray, outside: np.ndarray) -> Onset | None:
    """Return the first reading from which all are outside, between the last good and the first bad one.

    What is outside at its first reading may have been so from the start: its interval begins at step 0.
    """
    first = stays(outside)
    if first is None:
        return None
    return Onset(step=int(steps[first]), low=int(steps[first - 1]) if first else 0, high=int(steps[first]))


def within(found: Onset | None, bracket: Onset | None) -> Onset | None:
    """Return an onset with its interval cut to another's: the other alone where they do not meet, or one is missing."""
    if found is None or bracket is None:
        return found or bracket
    low, high = max(found.low, bracket.low), min(found.high, bracket.high)
    return bracket if low > high else Onset(step=min(max(found.step, low), high), low=low, high=high)


def surest(found: Iterable[Onset | None], steps: int) -> Onset | None:
    """Return the first onset that is known to a quarter of the run; else the one that is known best.

    Args:
        found: Onsets of one change by several readings, the best reading first.
        steps: The run's.
    """
    known = [one for one in found if one is not None]
    near = (one for one in known if one.high - one.low <= _NEAR * steps)
    return next(near, min(known, key=lambda one: one.high - one.low, default=None))
