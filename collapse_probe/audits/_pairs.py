"""What the given pairs are like before anything is trained on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..journal.vocabulary import Similarity
from ..measures import auc, compare, d_prime, mrr, near_own

FEWEST = 32
"""Pairs below which separation is at chance by chance (as of the reference pairs of a run)."""

MOST = 2048
"""Pairs that are compared with each other."""

BATCH = 64
"""Pairs in a batch, where there are so many."""

_SAME = 0.999
"""Cosine from which on a query is its own document (own choice: equal texts differ by rounding alone)."""


def of_pairs(query: Tensor, document: Tensor, *, similarity: Similarity) -> dict[str, float]:
    """Return readings of separation and of repeated rows.

    Args:
        query: ``[n, D]``, finite.
        document: ``[n, D]``.
        similarity: How they are scored.
    """
    query, document = query[:MOST], document[:MOST]
    scores = compare(query, document, similarity=similarity)
    options = {"similarity": similarity, "scores": scores}
    return {
        "pairs/auc": float(auc(query, document, **options)),
        "pairs/mrr": float(mrr(query, document, **options)),
        "pairs/d_prime": float(d_prime(query, document, **options)),
        "pairs/near_own": float(near_own(query, document)) * (BATCH - 1) / (len(document) - 1),
        "pairs/equal_queries": _repeated(query),
        "pairs/equal_documents": _repeated(document),
        "pairs/own_equal": float((_cosines(query, document) > _SAME).double().mean()),
    }


def of_rows(query: Tensor, document: Tensor) -> dict[str, float]:
    """Return the norms of both sides and how much they differ."""
    norms = torch.cat([query, document]).double().norm(dim=1)
    return {"norm": float(norms.median()), "norm/spread": float((norms.max() - norms.min()) / norms.mean())}


def chance(batch: int) -> float:
    """Return the value by chance of a softmax over the documents of a batch."""
    return math.log(batch)


def _repeated(z: Tensor) -> float:
    """Return the share of rows that another row equals, bit for bit."""
    counts = torch.unique(z, dim=0, return_counts=True)[1]
    return float(counts[counts > 1].sum()) / len(z)


def _cosines(query: Tensor, document: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(query.double(), document.double(), dim=1)
