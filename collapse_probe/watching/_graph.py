"""What stands behind a tensor in autograd's graph; no value is read."""

from __future__ import annotations

from collections import deque
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


def nearest(node: Any, most: int) -> Iterator[Any]:
    """Yield a node of the graph and what it was made from, each once, the nearest first and so many at most.

    >>> import torch
    >>> [type(one).__name__ for one in nearest((2 * torch.ones(1, requires_grad=True)).grad_fn, 1)]
    ['MulBackward0']
    """
    seen, waiting = {None, node}, deque([] if node is None else [node])
    for _ in range(most):
        if not waiting:
            return
        one = waiting.popleft()
        yield one
        found = [before for before, _ in one.next_functions if before not in seen]
        seen.update(found)
        waiting += found
