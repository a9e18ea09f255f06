"""Since when a series is outside: the one seam to a change-point method."""

from __future__ import annotations

import numpy as np

from .. import statistics
from ..statistics import Onset

FEWEST = 8
"""Below so many readings the interval runs from the last good one to the first bad one."""


def change_point(steps: np.ndarray, values: np.ndarray, *, falls: bool = True) -> Onset | None:
    """Return when a series left its healthy level for good, or None where it did not.

    A step or a ramp by broken sticks; where that finds none, or readings are few, the first reading from which every
    later one is further away than the noise.

    Args:
        steps: ``[K]``, ascending.
        values: ``[K]``, the same length; values that are not finite are left out.
        falls: Whether a fall is looked for; a rise otherwise.
    """
    kept = np.isfinite(values)
    found = statistics.change_point(steps[kept], values[kept], falls=falls)
    return found or _left(steps, values, falls=falls)


def _left(steps: np.ndarray, values: np.ndarray, *, falls: bool = True) -> Onset | None:
    """Return where a series leaves its healthy level for good, or None where it does not.

    The healthy level is that of the series' best stretch (of its first one, where it begins with its best).
    A reading has left it when it is further away than four times the noise and a tenth of the whole change.

    Args:
        steps: ``[K]``, ascending.
        values: ``[K]``, the same length; values that are not finite are left out.
        falls: Whether a fall is looked for; a rise otherwise.
    """
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept] if falls else -values[kept]
    if len(values) < 2:
        return None
    width = max(1, min(5, len(values) // 8))
    smooth = np.convolve(values, np.ones(width) / width, mode="valid")
    best = int(np.argmax(smooth))
    level, end = float(smooth[best]), float(smooth[-1])
    noise = float(np.median(np.abs(np.diff(values)))) * 1.05 if len(values) >= FEWEST else 0.0
    slack = max(4 * noise, 0.1 * (level - end))
    outside = values < level - slack
    outside[: best + 1] = False
    first = stays(outside)
    if first is None:
        return None
    step = int(steps[first])
    low = int(steps[max(first - 1, 0)])
    high = int(steps[min(first + width, len(steps) - 1)]) if len(values) >= FEWEST else step
    return Onset(step=step, low=low, high=high)


def stays(outside: np.ndarray) -> int | None:
    """Return the index of the first reading from which every later one is outside; None where the last is inside."""
    if not len(outside) or not outside[-1]:
        return None
    inside = np.flatnonzero(~outside)
    return int(inside[-1]) + 1 if len(inside) else 0


def crossing(steps: np.ndarray, outside: np.ndarray) -> Onset | None:
    """Return the first reading from which all are outside, between the last good and the first bad one."""
    first = stays(outside)
    if first is None:
        return None
    return Onset(step=int(steps[first]), low=int(steps[max(first - 1, 0)]), high=int(steps[first]))
