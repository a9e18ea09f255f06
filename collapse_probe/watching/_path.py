"""Which parts of a model are on the path that is scored: those that are called when reference pairs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from ..recording import Recorder, canonical
from ._attach import Attachments, is_compiled


class ScoredPath:
    """Listens to the calls of a model's parts until it is known which of them reference pairs go through.

    A part that is called in training and not for the pairs is not on their path. One that is called in neither is not
    known: its parameters may be used by somebody else. Nothing is known where the model is compiled.

    Args:
        target: The model.
        names: Its parts, as the run's configuration has them.
        recorder: What is told.
        attachments: What takes the hooks off again.

    Attributes:
        scoring: Whether what is called now makes embeddings that are scored.
        paused: Whether what is called now is no training.
    """

    def __init__(self, target: nn.Module, names: Iterable[str], recorder: Recorder, attachments: Attachments) -> None:
        self.scoring = self.paused = False
        self._recorder = recorder
        self._called: dict[bool, set[str]] = {True: set(), False: set()}
        self._undo: list[Callable[[], None]] = []
        if any(is_compiled(module) for module in target.modules()):
            return
        wanted = {canonical(name): name for name in names}
        for path, module in target.named_modules():
            parts = canonical(path).split(".")
            prefixes = [".".join(parts[: end + 1]) for end in range(len(parts))]
            name = next((wanted[prefix] for prefix in prefixes if prefix in wanted), None)
            if module is not target and name is not None:
                self._undo.append(attachments.forward_pre_hook(module, self._hook(name)))

    def tell(self) -> None:
        """Write what is known, and listen no more; may be called twice."""
        if not self._undo:
            return
        while self._undo:
            self._undo.pop()()
        trained, scored = self._called[False], self._called[True]
        for name in sorted(scored | (trained if scored else set())):
            self._recorder.event("scored" if name in scored else "not_scored", subject=name)

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, *given: Any) -> None:
            if self.scoring or not self.paused:
                self._called[self.scoring].add(name)

        return hook
