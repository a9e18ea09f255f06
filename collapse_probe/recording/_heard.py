"""What the taps heard in the step in progress, and which of it was training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Heard:
    """One call that a tap heard: a copy of what it took.

    Attributes:
        stream: The tap's stream.
        tensor: A detached copy.
        order: How many calls came before it in the step.
        micro: Micro-batch of the step, from 0.
        index: How many calls of the same tap came before it in the micro-batch.
        trained: Whether it had a gradient to pass on.
        confirmed: Whether a backward came through it, or a user's hand gave it.
    """

    stream: str
    tensor: Tensor
    order: int
    micro: int
    index: int
    trained: bool
    confirmed: bool = False


@dataclass
class Step:
    """The calls of the step in progress.

    A micro-batch ends with the backward through one of its calls: the next call begins another.
    """

    calls: list[Heard] = field(default_factory=list)
    _micro: int = 0
    _backward: bool = False
    _index: dict[str, int] = field(default_factory=dict)

    def hear(self, stream: str, tensor: Tensor, *, by_hand: bool = False) -> Heard:
        """Keep a copy of a tensor, and wait for a backward to come through it; waits for no device."""
        if self._backward:
            self._micro += 1
            self._backward = False
            self._index.clear()
        index = self._index.get(stream, 0)
        self._index[stream] = index + 1
        trained = tensor.requires_grad and torch.is_grad_enabled()
        one = Heard(stream, tensor.detach().clone(), len(self.calls), self._micro, index, trained, by_hand)
        self.calls.append(one)
        if trained:
            tensor.register_hook(self._confirms(one))
        return one

    def backward(self) -> None:
        """Note that a backward came, from elsewhere than a stream of this step."""
        self._backward = True

    def _confirms(self, one: Heard) -> Callable[[Tensor], None]:
        def confirm(gradient: Tensor) -> None:
            one.confirmed = True
            self._backward = True

        return confirm

    def training(self) -> list[Heard]:
        """Return the calls that belong to training.

        That is every one that a backward came through, and of a tap that has none such the calls that stand beside
        one: the frozen partner. Of several such calls in one micro-batch (an evaluation may lie between) the one whose
        rows are as many, or a multiple, and that is nearest.
        """
        confirmed = [one for one in self.calls if one.confirmed]
        heard = {one.stream for one in confirmed}
        partners = []
        for micro in sorted({one.micro for one in confirmed}):
            beside = [one for one in confirmed if one.micro == micro]
            for stream in dict.fromkeys(one.stream for one in self.calls if one.stream not in heard):
                found = [one for one in self.calls if one.stream == stream and one.micro == micro]
                fitting = [one for one in found if _fits(one, beside)] or ([] if len(found) > 1 else found)
                if fitting:
                    partners.append(min(fitting, key=lambda one: min(abs(one.order - b.order) for b in beside)))
        return sorted([*confirmed, *partners], key=lambda one: one.order)


def _fits(one: Heard, beside: list[Heard]) -> bool:
    rows = [len(other.tensor) for other in beside if other.tensor.ndim]
    return one.tensor.ndim > 0 and any(n and len(one.tensor) % n == 0 for n in rows)
