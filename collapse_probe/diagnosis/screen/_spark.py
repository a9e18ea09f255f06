"""A series as a line of blocks."""

from __future__ import annotations

import numpy as np

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(steps: np.ndarray, values: np.ndarray, *, width: int = 13) -> str:
    """Return a series as at most ``width`` blocks over even stretches of steps; empty for fewer than two values.

    >>> sparkline(np.array([0, 1, 2, 3]), np.array([0.0, 1.0, 2.0, 3.0]), width=4)
    '▁▃▆█'
    """
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept]
    if len(values) < 2 or steps[-1] <= steps[0]:
        return ""
    place = np.minimum((steps - steps[0]) * width // (steps[-1] - steps[0]), width - 1)
    means = [float(values[place == one].mean()) for one in np.unique(place)]
    low, high = min(means), max(means)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return _BLOCKS[3] * len(means)
    return "".join(_BLOCKS[round((one - low) / (high - low) * (len(_BLOCKS) - 1))] for one in means)
