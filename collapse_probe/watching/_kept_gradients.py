"""Gradients of earlier steps that nobody clears, so that each step takes all of them once more."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

_STEPS, _IN_A_ROW = 20, 3
"""First steps that are looked at, and how many of them one after the other tell."""


class KeptGradients:
    """Tells from how often gradients are written between two steps whether anything but a backward did so.

    To clear a gradient in place is a write of its own, and to set it to none makes another tensor of the next one. So
    nothing is read from the device. Several backwards a step, and scaled gradients, are written more often, and are not
    told.

    Args:
        parameters: What the optimisers hold.

    Attributes:
        found: Whether no gradient was cleared in three steps one after the other.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.found = False
        self._parameters = list(parameters)
        self._last: dict[int, tuple[int, int]] = {}
        self._steps = self._count = 0

    def before_step(self, *, clipped: bool) -> bool:
        """Look at the gradients that a step takes; return whether they were found to be kept just now.

        Args:
            clipped: Whether they were clipped since the backward, which writes them, too.
        """
        last, self._last = self._last, {}
        if self.found or not last:
            return False
        now = self._now()
        writes = [now[at][1] - version for at, (key, version) in last.items() if at in now and now[at][0] == key]
        kept = len(writes) == len(last) and max(writes) == 1 + clipped
        self._count = self._count + 1 if kept else 0
        self.found = self._count >= _IN_A_ROW
        return self.found

    def after_step(self) -> None:
        """Note the gradients that a step has taken."""
        self._steps += 1
        self._last = self._now() if self._steps <= _STEPS and not self.found else {}

    def _now(self) -> dict[int, tuple[int, int]]:
        gradients = ((at, one.grad) for at, one in enumerate(self._parameters))
        return {at: (id(one), one._version) for at, one in gradients if one is not None}
