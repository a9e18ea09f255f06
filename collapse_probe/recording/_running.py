"""First, last, mean and maximum of named scalars over a stretch of steps."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningValues:
    """Summaries of vectors of named scalars, kept on the device in float64 until they are asked for.

    Attributes:
        rows: Samples seen, as counted by the caller.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._names: tuple[str, ...] = ()
        self._count = 0
        self._first: Tensor | None = None
        self._last: Tensor | None = None
        self._sum: Tensor | None = None
        self._max: Tensor | None = None

    def update(self, names: tuple[str, ...], values: Tensor, *, n: int) -> None:
        """Take in one step's values; waits for no device.

        Args:
            names: The same names on every step.
            values: ``[K]``, one for each name.
            n: Samples that the values were computed from.

        Raises:
            ValueError: other names than before.
        """
        if self._first is None or self._sum is None or self._max is None:
            values = values.double()
            self._names = names
            self._first, self._sum, self._max = values, values.clone(), values.clone()
        else:
            if names != self._names:
                raise ValueError(f"readings changed from {self._names} to {names} within an epoch")
            self._sum = self._sum + values
            self._max = torch.maximum(self._max, values)
        self._last = values
        self._count += 1
        self.rows += n

    def summary(self) -> dict[str, dict[str, float]]:
        """Return ``first``, ``last``, ``mean`` and ``max`` by name; empty where nothing was taken in."""
        if self._first is None or self._last is None or self._sum is None or self._max is None:
            return {}
        parts = torch.stack([self._first, self._last.double(), self._sum / self._count, self._max])
        columns = ("first", "last", "mean", "max")
        return {
            name: dict(zip(columns, column, strict=True))
            for name, column in zip(self._names, parts.T.tolist(), strict=True)
        }
