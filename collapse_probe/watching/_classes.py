"""What a softmax over classes compares: vectors with the rows of a weight, of which a label names each one's own.

The product is told from autograd's graph behind the scores, so that it is found inside of a module, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._graph import nearest

_FEWEST = 20
"""Classes below which they are rather a classifier's than documents among which one is looked for (own choice)."""

ROWS = 512
"""Rows of a batch of which vectors and classes are read, at most."""

_LEAST, _OFTEN = 4, 0.2
"""Classes of a batch below which it is not read, and the share of one class above which it is not read on a GPU, where
rows cannot be chosen without waiting (own choices)."""

_NODES = 64
"""Operations behind the scores in which their product is looked for: scales, margins and masks."""

_PRODUCTS = {
    "MmBackward": ("_saved_self", "_saved_mat2", True),
    "AddmmBackward": ("_saved_mat1", "_saved_mat2", True),
    "CdistBackward": ("_saved_x1", "_saved_x2", False),
    "EuclideanDistBackward": ("_saved_x1", "_saved_x2", False),
}
"""Operations that compare all with all: their operands, and whether the second one has its vectors as columns."""


_LANGUAGE = ("ForCausalLM", "ForMaskedLM", "LMHeadModel", "ForConditionalGeneration", "ForPreTraining")
"""How transformers' classes end whose classes are tokens, which are no texts."""


def is_language_model(target: nn.Module) -> bool:
    """Return whether a model, or a part of it, is one of transformers that tells tokens."""
    return any(type(one).__name__.endswith(_LANGUAGE) for one in target.modules())


def labels_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, int] | None:
    """Return the labels that a softmax is given, ``[n]`` integers, and which is left out; None where it has others."""
    labels = args[1] if len(args) > 1 else kwargs.get("target")
    left_out = args[4] if len(args) > 4 else kwargs.get("ignore_index", -100)
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.dtype != torch.long or not len(labels):
        return None
    return (labels, left_out) if isinstance(left_out, int) else None


def rows_of_labels(labels: Tensor, left_out: int, *, waits: bool) -> Tensor | None:
    """Return which rows are read: of each class the first one; None where too few are left, or none is to be read.

    Vectors of one class are to be one, which is no collapse, however many of a batch they are. Labels below 0 are left
    out by language models.

    Args:
        labels: ``[n]``.
        left_out: The label whose rows count for nothing.
        waits: Whether the device may be waited for; without that all rows are read, evenly.
    """
    if not waits:
        return None if left_out >= 0 else torch.arange(0, len(labels), -(-len(labels) // ROWS), device=labels.device)
    if int(labels.min()) < 0:
        return None
    found, place, counts = labels.unique(return_inverse=True, return_counts=True)
    if labels.device.type != "cpu":
        # In the steps that follow every row is read.
        few = int(counts.max()) > max(_OFTEN * len(labels), 2)
        return None if few or left_out >= 0 else rows_of_labels(labels, left_out, waits=False)
    order = torch.arange(len(labels))
    first = torch.full_like(found, len(labels)).scatter_reduce(0, place, order, "amin")
    kept = first[found != left_out].sort().values[:ROWS]
    return kept if len(kept) >= _LEAST else None


def operands_of(scores: Tensor, rows: int) -> tuple[Tensor, bool, Tensor, bool] | None:
    """Return the product that scores ``[rows, C]`` were made of; None where there is none.

    Returns:
        What has a vector for each row, and whether as columns; what has one for each class, and whether as columns.
    """
    if scores.ndim != 2 or len(scores) != rows or scores.shape[1] < _FEWEST or scores.grad_fn is None:
        return None
    shape = tuple(scores.shape)
    for node in nearest(scores.grad_fn, _NODES):
        names = next((names for kind, names in _PRODUCTS.items() if node.name().startswith(kind)), None)
        if names is None:
            continue
        left, right = _kept(node, names[0]), _kept(node, names[1])
        if not isinstance(left, Tensor) or not isinstance(right, Tensor) or left.ndim != 2 or right.ndim != 2:
            return None
        columns = names[2]
        made = len(left), right.shape[1] if columns else len(right)
        if made == shape:
            return left, False, right, columns
        return (right, columns, left, False) if made == shape[::-1] else None
    return None


def _kept(node: Any, name: str) -> Any:
    """Return what an operation keeps for its backward; None where a hook would have to bring it back.

    Of a checkpoint that is a whole forward, once more.
    """
    try:
        raw = getattr(node, f"_raw{name}", None)
        return getattr(node, name) if raw is not None and getattr(raw, "unpack_hook", ...) is None else None
    except RuntimeError:
        return None  # the backward is over, and has let it go
