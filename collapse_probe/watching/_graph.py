"""What stands behind a tensor in autograd's graph; no value is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def behind(node: Any) -> Iterator[Any]:
    """Yield a node of the graph and all that it was made from, each once; nothing for None.

    >>> import torch
    >>> [type(one).__name__ for one in behind((2 * torch.ones(1, requires_grad=True)).grad_fn)]
    ['MulBackward0', 'AccumulateGrad']
    """
    seen, waiting = {None}, [node]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            yield one
            waiting += [before for before, _ in one.next_functions]
