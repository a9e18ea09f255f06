"""When a step was done, as far as the journal tells."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from ..journal import Clock, End, Evaluation, LiveRun


class Times:
    """Wall time by step: exact where a record has it, in proportion to the steps between two that have it.

    Args:
        run: The run.

    Attributes:
        began: When recording began, in seconds since 1970; 0.0 where nothing tells.
        ended: When it ended, or the last time that is known.
        exact: Whether the journal has a clock; older journals have times of its beginning, end and evaluations alone.
    """

    def __init__(self, run: LiveRun) -> None:
        clocks = [(one.step, seconds(one.time)) for one in run.of(Clock)]
        self.exact = bool(clocks)
        known = [(0, seconds(run.began)), *clocks]
        if not clocks:
            known += [(one.step, seconds(one.time)) for one in run.of(Evaluation) if one.step > 0]
        known += [(max(one.step, run.steps), seconds(one.time)) for one in run.of(End)]
        found = {step: time for step, time in reversed(known) if time is not None}
        steps = sorted(found)
        self._steps = np.array(steps or [0], dtype=np.float64)
        # A clock that was set back in the middle of a run makes no step earlier than the one before it.
        self._times = np.maximum.accumulate(np.array([found[one] for one in steps] or [0.0], dtype=np.float64))
        self.began, self.ended = float(self._times[0]), float(self._times[-1])

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Return the time of each step, in seconds since 1970."""
        return np.interp(np.asarray(steps, dtype=np.float64), self._steps, self._times)


def seconds(time: str) -> float | None:
    """Return a record's time in seconds since 1970; None where it is none.

    >>> seconds("1970-01-01T00:01:00.500+00:00"), seconds("")
    (60.5, None)
    """
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
