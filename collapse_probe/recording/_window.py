"""What is kept over a window of steps: summaries of readings, and histograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PARTS = ("first", "last", "mean", "max")


@dataclass
class _Running:
    first: Tensor
    last: Tensor
    total: Tensor
    largest: Tensor
    count: int


class WindowSummary:
    """First, last, mean and maximum of readings over a window; they may come and go. Stays on the device.

    >>> summary = WindowSummary()
    >>> for value in (1.0, 3.0): summary.update({"a/b": torch.tensor(value)}, n=2)
    >>> {name: {part: float(value) for part, value in parts.items()} for name, parts in summary.finish().items()}
    {'a/b': {'first': 1.0, 'last': 3.0, 'mean': 2.0, 'max': 3.0}}
    """

    def __init__(self) -> None:
        self.rows = 0
        self._running: dict[str, _Running] = {}

    def update(self, values: Mapping[str, Tensor], *, n: int = 0) -> None:
        """Take in one step's scalars of a sample of ``n`` rows; waits for no device."""
        self.rows += n
        for name, value in values.items():
            value = value.detach().reshape(())
            running = self._running.get(name)
            if running is None:
                self._running[name] = _Running(value, value, value.clone(), value, 1)
                continue
            running.last = value
            running.total = running.total + value
            running.largest = torch.maximum(running.largest, value)
            running.count += 1

    def merge(self, other: WindowSummary) -> None:
        """Take in what another summary saw, of steps after this one's."""
        self.rows += other.rows
        for name, theirs in other._running.items():
            mine = self._running.get(name)
            if mine is None:
                self._running[name] = theirs
                continue
            largest = torch.maximum(mine.largest, theirs.largest)
            count = mine.count + theirs.count
            self._running[name] = _Running(mine.first, theirs.last, mine.total + theirs.total, largest, count)

    def finish(self) -> dict[str, dict[str, Tensor]]:
        """Return the parts of every reading, on the device."""
        return {
            name: {
                "first": running.first,
                "last": running.last,
                "mean": running.total / running.count,
                "max": running.largest,
            }
            for name, running in self._running.items()
        }
