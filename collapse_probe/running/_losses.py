"""Losses that no module makes: heard where their backward begins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def hear_backwards(begins: Callable[[Tensor], Any]) -> Callable[[], None]:
    """Call a function with every tensor whose ``backward()`` is called, before it runs.

    Returns:
        What undoes it.
    """
    inner = Tensor.backward
    depth = 0

    @functools.wraps(inner)
    def backward(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        # Under a function mode the call comes back here: it is one backward.
        if depth == 0 and not torch.compiler.is_compiling():
            begins(self)
        depth += 1
        try:
            return inner(self, *args, **kwargs)
        finally:
            depth -= 1

    Tensor.backward = backward  # type: ignore[method-assign]

    def undo() -> None:
        if Tensor.backward is backward:
            Tensor.backward = inner  # type: ignore[method-assign]

    return undo
