"""Where no stream was found: what was heard deeper in the model, and what to type so that it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import setting
from ..watching import Watch, is_compiled
from ._said import Said

LOOK_AT = 5
"""Steps after which every module is heard for one, if nothing was found."""

_NUMBERS = {1: "once", 2: "twice"}


class Proposals:
    """Looks at one step of a model in which no streams were found.

    Args:
        watch: The watch that found none.
        target: Its model.
        said: Where lines of ours go.
    """

    def __init__(self, watch: Watch, target: nn.Module, said: Said) -> None:
        self._watch = watch
        self._target = target
        self._said = said
        self._at: int | None = None
        self._calls: Counter[tuple[str, tuple[int, ...]]] = Counter()
        self._undo: list[Callable[[], None]] = []

    def before_step(self) -> None:
        """Hear that an optimiser is about to step."""
        done = self._watch.recorder.done
        if self._undo and self._at is not None and done > self._at:
            # Several optimisers of one iteration are one step.
            self.close()
            self._propose()
        elif self._at is None and done >= LOOK_AT:
            self._at = done
            if not self._found() and not any(map(is_compiled, self._target.modules())):
                self._listen()

    def close(self) -> None:
        """Hear nothing any more."""
        while self._undo:
            self._undo.pop()()

    def _found(self) -> bool:
        sides = [one for one in self._watch.recorder.streams.values() if one.role is not None and one.steps]
        return bool(sides)

    def _listen(self) -> None:
        for path, module in self._target.named_modules():
            if not path or id(module) in self._watch.no_sides:
                continue

            def hook(module: nn.Module, args: Any, output: Any, path: str = path) -> None:
                if torch.is_grad_enabled() and isinstance(output, Tensor) and _is_matrix(output):
                    self._calls[path, tuple(output.shape)] += 1

            self._undo.append(module.register_forward_hook(hook).remove)

    def _propose(self) -> None:
        several = [(path, shape, count) for (path, shape), count in self._calls.items() if count >= 2]
        if not several:
            return
        path, shape, count = several[-1]  # the one that was called last is nearest to the loss
        often = _NUMBERS.get(count, f"{count} times")
        if any(other != count and form[1] == shape[1] for _, form, other in several):
            # Others of that width are called at other times: which of them is a side cannot be told.
            heard = (f"{name} {list(form)} {_NUMBERS.get(times, f'{times} times')}" for name, form, times in several)
            sides = f"{setting('query')} and which {setting('document')}"
            self._said.line(f"heard: {', '.join(list(heard)[-4:])} a step; say which is {sides}")
            return
        cure = f"{setting('query', path)} {setting('document', path)}"
        self._said.line(f"heard: {path} {list(shape)} {often} a step; say {cure}")


def _is_matrix(output: Tensor) -> bool:
    return output.ndim == 2 and output.is_floating_point() and output.requires_grad and output.shape[1] > 1
