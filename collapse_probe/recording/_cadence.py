"""When a step is due: by its number alone, so that all processes agree."""

from __future__ import annotations

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


def _power_above(step: int, base: int) -> int:
    power = 1
    while power <= step:
        power *= base
    return power
