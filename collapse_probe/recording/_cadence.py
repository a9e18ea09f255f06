"""When a step is due: by its number alone, so that all processes agree, unless reading takes most of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError

DENSE = 20
"""The first steps, which are always due: collapses happen there."""


@dataclass(frozen=True)
class Cadence:
    """The first steps and then every so many of them, and the powers of some numbers.

    Attributes:
        every: Steps between two due ones.
        dense: The first steps that are all due.
        bases: Numbers of at least 2 whose powers are due as well.

    Raises:
        InputError: fewer than 1.

    >>> [step for step in range(1, 45) if Cadence(every=10, dense=3).due(step)]
    [1, 2, 3, 10, 20, 30, 40]
    >>> [step for step in range(1, 45) if Cadence(every=30, dense=1, bases=(3,)).due(step)]
    [1, 3, 9, 27, 30]
    """

    every: int = 10
    dense: int = DENSE
    bases: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise InputError(f"every={self.every!r}: a whole number of at least 1 is needed")

    def due(self, step: int) -> bool:
        """Return whether a step, counted from 1, is due."""
        return self.next(step - 1) == step

    def next(self, step: int) -> int:
        """Return the first due step after one."""
        if step < self.dense:
            return step + 1
        return min([(step // self.every + 1) * self.every, *(_power_above(step, base) for base in self.bases)])


_SHARE, _SECONDS, _MOST = 0.5, 10.0, 64
"""Share of a training's time that reading may take, the seconds that it may whatever the share, and how much more
seldom it is at most (own choices)."""


class Sparing:
    """Reads more seldom where reading takes more than half of the time: twice so, and twice again while it does.

    For a training of one process, and after the first steps, which are read whatever they cost; its weights do not
    depend on it, its journal does.

    Args:
        cadence: Which steps are due otherwise.
        cost: Returns the seconds that reading took so far, and all seconds.

    Attributes:
        times: How much more seldom it reads now.

    >>> spent = iter([(20.0, 21.0), (30.0, 31.5), (31.0, 35.0)])
    >>> sparing = Sparing(Cadence(), lambda: next(spent))
    >>> sparing.next(20), sparing.next(30), sparing.next(40), sparing.times
    (30, 40, 60, 2)
    """

    def __init__(self, cadence: Cadence, cost: Callable[[], tuple[float, float]]) -> None:
        self.times = 1
        self._cadence = cadence
        self._cost = cost
        self._last: tuple[float, float] | None = None

    def next(self, step: int) -> int:
        """Return the first due step after one, which is due itself."""
        if step < self._cadence.dense:
            return self._cadence.next(step)
        ours, seconds = self._cost()
        last, self._last = self._last, (ours, seconds)
        if last is not None and ours > _SECONDS and ours - last[0] > _SHARE * (seconds - last[1]):
            self.times = min(2 * self.times, _MOST)
        if self.times == 1:
            return self._cadence.next(step)
        every = self._cadence.every * self.times
        return (step // every + 1) * every


def _power_above(step: int, base: int) -> int:
    power = 1
    while power <= step:
        power *= base
    return power
