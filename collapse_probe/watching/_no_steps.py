"""Training whose steps nobody counts: it is said, and nothing of it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..recording import Recorder
from ._attach import Attachments
from ._calls import in_backward

CALLS = 200
"""Calls of one module with a gradient, before the first step, that are too many for a step."""


class NoSteps:
    """Counts calls of a model that nobody ends a step of, until one is ended.

    Args:
        target: The model.
        recorder: Counts the steps.
        attachments: What takes it off again.
        say: Warns the user, once for a key.
    """

    def __init__(
        self, target: nn.Module, recorder: Recorder, attachments: Attachments, *, say: Callable[[str, str], None]
    ) -> None:
        self._recorder = recorder
        self._say = say
        self._calls: Counter[int] = Counter()
        self._undo = [attachments.forward_pre_hook(one, self._called) for one in (target, *target.children())]

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if in_backward() or not torch.is_grad_enabled():
            return
        if self._recorder.done:
            while self._undo:
                self._undo.pop()()
            return
        self._calls[id(module)] += 1
        if self._calls[id(module)] >= CALLS:
            self._calls.clear()
            self._recorder.containment.run("steps", self._tell)

    def _tell(self) -> None:
        self._recorder.forget()
        self._say(
            "no step",
            f"no step was counted in {CALLS} calls of the model, so nothing is read: give optimizer= to watch(), or "
            "call w.step() after each step",
        )
