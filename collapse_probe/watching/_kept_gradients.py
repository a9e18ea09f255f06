"""Gradients of earlier steps that nobody clears, so that each step takes all of them once more."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_SMALL = 65_536
"""Entries up to which a gradient is copied, to be compared with what a step takes."""

_STEPS, _IN_A_ROW = 20, 3
"""First steps that are looked at, and how many of them one after the other tell."""


class KeptGradients:
    """Tells from how often gradients are written between two steps whether anything but a backward did so.

    To clear a gradient in place is a write of its own, and to set it to none makes another tensor of the next one. So
    nothing is read from the device. Several backwards a step, and scaled gradients, are written more often, and are not
    told. What is cleared through ``.data`` is no write: so where writes say that nobody cleared, the gradient that
    arrives at one small parameter is compared with the one that its step takes.

    Args:
        parameters: What the optimisers hold.

    Attributes:
        found: Whether no gradient was cleared in three steps one after the other.
        own: Cosine of what a step takes with what its backward gave, 1 where nothing was there before, clipped or not;
            None where it was not asked.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.found = False
        self.own: Tensor | None = None
        self._parameters = list(parameters)
        self._last: dict[int, tuple[int, int]] = {}
        self._steps = self._count = 0
        self._asked: nn.Parameter | None = None
        self._arrived: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def before_step(self, *, clipped: bool) -> bool:
        """Look at the gradients that a step takes; return whether they were found to be kept just now.

        Args:
            clipped: Whether they were clipped since the backward, which writes them, too.
        """
        last, self._last = self._last, {}
        arrived, self._arrived, self.own = self._arrived, None, None
        if not last:
            return False
        now = self._now()
        writes = [now[at][1] - version for at, (key, version) in last.items() if at in now and now[at][0] == key]
        kept = len(writes) == len(last) and max(writes) == 1 + clipped
        self._count = self._count + 1 if kept else 0
        if kept and arrived is not None and self._asked is not None and self._asked.grad is not None:
            taken = self._asked.grad.detach().flatten().float()
            self.own = torch.nn.functional.cosine_similarity(taken, arrived.flatten().float(), dim=0)
        known, self.found = self.found, self.found or self._count >= _IN_A_ROW
        return self.found and not known

    def after_step(self) -> None:
        """Note the gradients that a step has taken, and hear what arrives at one, where they seem to be kept."""
        self._steps += 1
        self._last = self._now() if self._steps <= _STEPS else {}
        if self._hook is None and self._count and self._last and (one := self._smallest()) is not None:
            self._asked, self._hook = one, one.register_hook(self._arrives)
        if not self._last:
            self.close()

    def close(self) -> None:
        """Take the hook off; may be called twice."""
        if self._hook is not None:
            self._hook.remove()

    def _arrives(self, gradient: Tensor) -> None:
        self._arrived = gradient.detach().clone()

    def _smallest(self) -> nn.Parameter | None:
        given = [one for one in self._parameters if one.grad is not None and one.grad.layout is torch.strided]
        return min((one for one in given if 1 < one.numel() <= _SMALL), key=lambda one: one.numel(), default=None)

    def _now(self) -> dict[int, tuple[int, int]]:
        gradients = ((at, one.grad) for at, one in enumerate(self._parameters))
        return {at: (id(one), one._version) for at, one in gradients if one is not None}
