"""What the losses of a recipe say of embeddings that nobody wants; measured on one head, without a training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...audits import exponent, solutions
from .._batch import Batch
from ..losses import WeightedTerms


@dataclass(frozen=True)
class TermValues:
    """The terms of a loss on the same batches.

    Attributes:
        raw: Name to the mean over batches of the unweighted term.
        total: The weighted sum.
    """

    raw: dict[str, float]
    total: float


@torch.no_grad()
def term_values(loss: WeightedTerms, batches: list[Batch]) -> TermValues:
    """Return the terms' means over batches."""
    raw = {name: math.fsum(float(term(batch)) for batch in batches) / len(batches) for name, term in loss.terms.items()}
    total = math.fsum(loss.weights[name] * value for name, value in raw.items() if loss.weights[name])
    return TermValues(raw, total)


def scaling_exponents(loss: WeightedTerms, batches: list[Batch]) -> dict[str, tuple[float, float]]:
    """Return d log L / d log c of every term where embeddings and delta are multiplied by c.

    Returns:
        Name to the exponents below (c from 1/2 to 1) and above (from 1 to 2); NaN where the term is not positive.
        A homogeneous term of degree 2 has (2, 2): it falls when everything shrinks. An anchored one is negative
        below its scale. A term far from its scale may have an exponent near 0 and a strong gradient all the same:
        :func:`gain_of_shrinking` says which way the whole loss goes.
    """
    values = {c: term_values(loss, [_scaled(batch, c) for batch in batches]).raw for c in (0.5, 1.0, 2.0)}
    return {
        name: (exponent(values[0.5][name], values[1.0][name]), exponent(values[1.0][name], values[2.0][name]))
        for name in loss.terms
    }


def gain_of_shrinking(loss: WeightedTerms, batches: list[Batch]) -> float:
    """Return (L(z) - L(z / 2)) / |L(z)| of the weighted total, of the embeddings alone, without a delta.

    Above 0 the loss falls when everything shrinks. A difference, not an exponent: a total may be negative.
    """
    now, half = (
        term_values(loss, [_embeddings(batch, lambda z, c=c: c * z) for batch in batches]).total for c in (1.0, 0.5)
    )
    return (now - half) / abs(now) if now else 0.0


def duplication_ratios(loss: WeightedTerms, batches: list[Batch]) -> dict[str, float]:
    """Return L(every vector beside itself) / L: 2 for a sum over dimensions, 1 for a mean over them."""
    once = term_values(loss, batches).raw
    twice = term_values(loss, [_changed(batch, lambda z: torch.cat([z, z], dim=1)) for batch in batches]).raw
    return {name: twice[name] / value if value else math.nan for name, value in once.items()}


def degenerate_values(loss: WeightedTerms, batches: list[Batch], *, unit_length: bool = False) -> dict[str, TermValues]:
    """Return the loss of solutions that are of no use, by name, each with the batches' own scale where it has one.

    Args:
        loss: The losses.
        batches: Embeddings of the head that is audited.
        unit_length: The head gives embeddings unit length, and so has every solution; there is no zero then.
    """
    return {name: term_values(loss, changed) for name, changed in _degenerate(batches, unit_length=unit_length)}


def _degenerate(batches: list[Batch], *, unit_length: bool) -> Iterator[tuple[str, list[Batch]]]:
    for name, found in solutions([(b.query, b.document) for b in batches], unit_length=unit_length):
        if name == "shuffled pairs":
            yield name, [replace(b, document=document) for b, (_, document) in zip(batches, found, strict=True)]
        else:
            yield name, [_without_delta(b, *pair) for b, pair in zip(batches, found, strict=True)]
    if batches[0].delta is not None:
        yield "delta = 0", [replace(b, predicted=b.query, delta=torch.zeros_like(b.query)) for b in batches]


def _embeddings(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    return _without_delta(batch, change(batch.query), change(batch.document))


def _without_delta(batch: Batch, query: Tensor, document: Tensor) -> Batch:
    """Let the predictor be the identity: what a degenerate projection would give."""
    delta = None if batch.delta is None else torch.zeros_like(query)
    return Batch(query=query, document=document, predicted=query, delta=delta)


def _scaled(batch: Batch, factor: float) -> Batch:
    return _changed(batch, lambda z: factor * z)


def _changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    delta = None if batch.delta is None else change(batch.delta)
    return Batch(change(batch.query), change(batch.document), change(batch.predicted), delta)
