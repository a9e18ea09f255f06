"""When a step is due: by its number alone, so that all processes agree."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError

DENSE = 20
"""The first steps, which are always due: collapses happen there."""


@dataclass(frozen=True)
class Cadence:
    """The first steps and then every so many of them.

    Attributes:
        every: Steps between two due ones.
        dense: The first steps that are all due.

    Raises:
        InputError: fewer than 1.

    >>> [step for step in range(1, 45) if Cadence(every=10, dense=3).due(step)]
    [1, 2, 3, 10, 20, 30, 40]
    """

    every: int = 10
    dense: int = DENSE

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise InputError(f"every={self.every!r}: a whole number of at least 1 is needed")

    def due(self, step: int) -> bool:
        """Return whether a step, counted from 1, is due."""
        return step <= self.dense or step % self.every == 0

    def next(self, step: int) -> int:
        """Return the first due step after one."""
        return step + 1 if step < self.dense else (step // self.every + 1) * self.every
