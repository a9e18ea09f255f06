"""Methods of a model that make embeddings, and are no module's call: their returns are candidates, then streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..recording import Recorder
from ._attach import Attachments
from ._calls import in_backward

NAMES = (
    "encode",
    "encode_query",
    "encode_queries",
    "encode_passage",
    "encode_passages",
    "encode_document",
    "encode_documents",
    "get_embedding",
    "get_embeddings",
)
"""Methods that public trainers make embeddings by."""


class MethodListener:
    """Hears what a model's own methods return; of a method that calls another, the outer one.

    Args:
        target: The model.
        recorder: What is told.
        attachments: What takes the wraps off again.
        candidate: Called with a method's name and its matrix, until :meth:`take`.

    Attributes:
        paused: Whether nothing is heard.
    """

    def __init__(
        self,
        target: nn.Module,
        recorder: Recorder,
        attachments: Attachments,
        *,
        candidate: Callable[[str, Tensor], None],
    ) -> None:
        self.paused = False
        self._recorder = recorder
        self._candidate: Callable[[str, Tensor], None] | None = candidate
        self._keys: dict[str, str] = {}
        self._depth = 0
        for name in NAMES:
            method = getattr(target, name, None)
            if callable(method) and not isinstance(method, nn.Module):
                attachments.wrap(
                    target,
                    name,
                    probe=f"method {name}",
                    before=self._enter,
                    after=self._returns(name),
                    failed=self._fail,
                )

    def take(self, keys: Mapping[str, str]) -> None:
        """Hear some methods from now on, each under its stream, or a key that is split into several."""
        self._candidate = None
        self._keys = dict(keys)

    def end_step(self) -> None:
        """Forget calls that never came back."""
        self._depth = 0

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth += 1

    def _fail(self, error: BaseException) -> None:
        self._depth = max(0, self._depth - 1)

    def _returns(self, name: str) -> Callable[[tuple[Any, ...], dict[str, Any], Any], None]:
        recorder = self._recorder

        def after(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            self._depth = max(0, self._depth - 1)
            if self._depth or self.paused or recorder.next_due > recorder.done + 1 or in_backward():
                return
            if not isinstance(result, Tensor) or result.ndim != 2:
                return
            if self._candidate is not None:
                self._candidate(name, result)
            elif name in self._keys:
                recorder.observe(self._keys[name], result, by_hand=False)

        return after
