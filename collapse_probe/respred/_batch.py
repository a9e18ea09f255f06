"""What the losses see of one batch of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What the model made of one batch of pairs; every tensor is float32, ``[N, D]``.

    Attributes:
        query: q, the query embeddings before any predictor.
        document: d.
        predicted: The predictor's estimate of d; q itself where there is no predictor.
        delta: delta(q) of a residual predictor; None for others.
    """

    query: Tensor
    document: Tensor
    predicted: Tensor
    delta: Tensor | None


def make_batch(query_features: dict[str, Any], document_features: dict[str, Any]) -> Batch:
    """Return the batch that the losses and the pair readings see, in float32 whatever the autocast."""
    scored = query_features["sentence_embedding"]
    query = query_features.get("query_embedding", scored).float()
    delta = query_features.get("delta")
    return Batch(
        query=query,
        document=document_features["sentence_embedding"].float(),
        predicted=query_features.get("predicted_embedding", query).float(),
        delta=None if delta is None else delta.float(),
    )
