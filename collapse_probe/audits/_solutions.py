"""Solutions that retrieve nothing: a loss that is as low there does not forbid them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

Pairs = tuple[Tensor, Tensor]
"""Queries and documents of one batch, ``[n, D]`` each, own pairs in equal rows."""

RANKS = (1, 8)


def solutions(batches: Sequence[Pairs], *, unit_length: bool = False) -> Iterator[tuple[str, list[Pairs]]]:
    """Yield the batches as degenerate solutions would have them, by name, at the scale of the batches' documents.

    Args:
        batches: The embeddings as they are.
        unit_length: Embeddings have unit length whatever is learnt, and so has every solution; there is no zero then.

    >>> [name for name, _ in solutions([(torch.eye(9), torch.eye(9))])][:3]
    ['zero', 'constant', 'constant along all-ones']
    """
    first = batches[0][1]
    size = math.sqrt(sum(float(d.square().sum()) for _, d in batches) / sum(len(d) for _, d in batches))
    direction = torch.randn(first.shape[1], generator=torch.Generator().manual_seed(0)).to(first.device)
    constant = size * direction / direction.norm()
    ones = torch.full_like(constant, size / math.sqrt(len(constant)))
    if not unit_length:
        yield "zero", _changed(batches, torch.zeros_like)
    yield "constant", _changed(batches, lambda z: constant.to(z.dtype).expand_as(z))
    yield "constant along all-ones", _changed(batches, lambda z: ones.to(z.dtype).expand_as(z))
    for rank in RANKS:
        found = [_of_rank(pair, rank) for pair in batches]
        if unit_length:
            found = [(nn.functional.normalize(q, dim=1), nn.functional.normalize(d, dim=1)) for q, d in found]
        yield f"rank {rank}", found
    yield "shuffled pairs", [(query, document.roll(1, dims=0)) for query, document in batches]


def exponent(below: float, above: float) -> float:
    """Return d log L / d log c between a scale and twice that scale; NaN where a value is not positive.

    >>> exponent(1.0, 4.0)
    2.0
    """
    return math.log2(above / below) if below > 0 and above > 0 else math.nan


def _changed(batches: Sequence[Pairs], change: Callable[[Tensor], Tensor]) -> list[Pairs]:
    return [(change(query), change(document)) for query, document in batches]


def _of_rank(pair: Pairs, rank: int) -> Pairs:
    directions = torch.linalg.svd(torch.cat(pair), full_matrices=False).Vh[:rank]
    return pair[0] @ directions.T @ directions, pair[1] @ directions.T @ directions
