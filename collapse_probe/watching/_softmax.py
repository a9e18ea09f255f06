"""Whether a loss takes a softmax of what is one already, as the graph behind it says; no value is read."""

from __future__ import annotations

from typing import Any

from ._graph import nearest

_NODES = 256
"""Operations behind a loss that are looked at."""

_BETWEEN = ("View", "UnsafeView", "Reshape", "ToCopy", "Clone", "Alias", "Squeeze", "Unsqueeze", "T", "Transpose")
_BETWEEN += ("Permute", "Contiguous")
"""Operations that leave probabilities what they are, but for their shape: a scale may make scores of them, and of one
column of them as well."""


def is_taken_twice(loss: Any) -> bool:
    """Return whether a loss is made of a log softmax of a softmax; attention is not: a product comes after its softmax.

    >>> import torch
    >>> scores = torch.randn(4, 4, requires_grad=True)
    >>> target = torch.arange(4)
    >>> loss = torch.nn.functional.cross_entropy
    >>> is_taken_twice(loss(scores.softmax(dim=1), target).grad_fn), is_taken_twice(loss(scores, target).grad_fn)
    (True, False)
    """
    ends = (one for one in nearest(loss, _NODES) if one.name().startswith("LogSoftmaxBackward"))
    return any(_is_softmax(one.next_functions[0][0]) for one in ends)


def _is_softmax(node: Any) -> bool:
    while node is not None and not node.name().startswith("SoftmaxBackward"):
        made = [before for before, _ in node.next_functions if before is not None]
        if len(made) != 1 or node.name().partition("Backward")[0] not in _BETWEEN:
            return False
        node = made[0]
    return node is not None
