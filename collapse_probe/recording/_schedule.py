"""When to measure, as an object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The steps that are due: every ``interval`` th one, the powers of ``base``, and always step 0.

    Args:
        interval: Steps between two due ones; None for none at regular distance.
        base: Steps 1, base, base^2, ... are due as well; None for none of these.

    Raises:
        ValueError: an interval below 1 or a base below 2.

    >>> [step for step in range(21) if Schedule(interval=10, base=2)(step)]
    [0, 1, 2, 4, 8, 10, 16, 20]
    """

    interval: int | None = None
    base: int | None = None

    def __post_init__(self) -> None:
        if self.interval is not None and self.interval < 1:
            raise ValueError(f"every = {self.interval}: a whole number of at least 1 is needed")
        if self.base is not None and self.base < 2:
            raise ValueError(f"powers_of = {self.base}: a whole number of at least 2 is needed")

    def __call__(self, step: int) -> bool:
        """Return whether a step, counted from 0, is due."""
        if step == 0:
            return True
        return (self.interval is not None and step % self.interval == 0) or self._is_power(step)

    def _is_power(self, step: int) -> bool:
        if self.base is None:
            return False
        while step % self.base == 0:
            step //= self.base
        return step == 1
