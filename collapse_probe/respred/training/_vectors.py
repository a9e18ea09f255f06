"""What a run trains and scores on: vectors of a frozen encoder, or of one whose top layers are trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...retrieval import Task
from ._evaluation import EvaluationSet

PROBE_SET_SIZE = 2048
"""Training pairs in the fixed probe set: more than five times the dimension of a small encoder."""

LIVE_PROBE_SET_SIZE = 256
"""The same where every evaluation has to encode it again."""

Encode = Callable[[Sequence[str], Task], np.ndarray]


@dataclass(frozen=True)
class PairTexts:
    """The texts behind :class:`TrainingData`, row by row."""

    query: Sequence[str]
    document: Sequence[str]
    validation_query: Sequence[str]
    validation_document: Sequence[str]


@dataclass(frozen=True)
class TrainingData:
    """Encoder vectors of the pairs, float32 ``[P, D]``: those trained on and those held out.

    Attributes:
        texts: Their texts, for a recipe that trains encoder layers; None for others.
    """

    query: Tensor
    document: Tensor
    validation_query: Tensor
    validation_document: Tensor
    texts: PairTexts | None = None

    @property
    def dimension(self) -> int:
        """D."""
        return self.query.shape[1]

    @property
    def digest(self) -> str:
        """SHA-256 of all vectors: the same texts encoded elsewhere differ in their last bits."""
        return vectors_digest(self.query, self.document, self.validation_query, self.validation_document)


def vectors_digest(*vectors: Tensor) -> str:
    """Return the SHA-256 of tensors' bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for tensor in vectors:
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def split_pairs(count: int, *, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the row numbers to train on and to hold out, at most 1,000 of them held out.

    Args:
        count: Number of pairs.
        share: Share to hold out, in [0, 0.5].
        seed: Seed of the draw; it draws from a generator of its own.
    """
    held_out = min(1000, max(2, round(share * count))) if share > 0 else 0
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[held_out:].sort().values, order[:held_out].sort().values


Side = tuple[Tensor, Tensor, Sequence[str], Sequence[str]]
"""Vectors of queries and documents, ``[P, D]`` each, and their texts."""


def training_split(pairs: Side, validation: Side | None, *, share: float, seed: int) -> TrainingData:
    """Return pairs split into those trained on and those held out.

    Args:
        pairs: All training pairs.
        validation: Held-out pairs of their own; None holds out a share of ``pairs``.
        share: Share to hold out, in [0, 0.5].
        seed: Seed of the draw.
    """
    if validation is None:
        kept, out = split_pairs(len(pairs[0]), share=share, seed=seed)
        pairs, validation = _rows(pairs, kept), _rows(pairs, out)
    texts = PairTexts(pairs[2], pairs[3], validation[2], validation[3])
    return TrainingData(pairs[0], pairs[1], validation[0], validation[1], texts)


def _rows(side: Side, rows: Tensor) -> Side:
    chosen = rows.tolist()
    return side[0][rows], side[1][rows], [side[2][i] for i in chosen], [side[3][i] for i in chosen]


class Vectors(Protocol):
    """The vectors that evaluations need, under the encoder as it is when they are asked for."""

    initial: Sequence[EvaluationSet]
    """The collections under the encoder of step 0."""

    def evaluations(self) -> Sequence[EvaluationSet]:
        """Return the collections."""
        ...

    def probe_set(self, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the same training pairs every time."""
        ...

    def validation(self) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the held-out pairs."""
        ...


class StoredVectors:
    """Vectors of a frozen encoder: the same at every step."""

    def __init__(self, data: TrainingData, evaluations: Sequence[EvaluationSet]) -> None:
        self.initial = evaluations
        self._data = data
        self._chosen = _probe_rows(len(data.query), PROBE_SET_SIZE)

    def evaluations(self) -> Sequence[EvaluationSet]:
        """Return the collections."""
        return self.initial

    def probe_set(self, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the same training pairs every time; the first ``most`` of them."""
        chosen = self._chosen[:most]
        return self._data.query[chosen], self._data.document[chosen]

    def validation(self) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the held-out pairs."""
        return self._data.validation_query, self._data.validation_document


class LiveVectors:
    """Vectors of an encoder in training, encoded again whenever they are asked for.

    Args:
        texts: The pairs' texts.
        evaluations: The collections under the encoder of step 0.
        encode: The encoder as it is.
    """

    def __init__(self, texts: PairTexts, evaluations: Sequence[EvaluationSet], *, encode: Encode) -> None:
        self.initial = evaluations
        self._texts = texts
        self._encode = encode
        self._chosen = _probe_rows(len(texts.query), LIVE_PROBE_SET_SIZE).tolist()

    def evaluations(self) -> Sequence[EvaluationSet]:
        """Return the collections."""
        return [encoded_again(data, self._encode) for data in self.initial]

    def probe_set(self, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the same training pairs every time; the first ``most`` of them."""
        query, document = self._texts.query, self._texts.document
        return (
            self._vectors([query[i] for i in self._chosen[:most]], "query"),
            self._vectors([document[i] for i in self._chosen[:most]], "document"),
        )

    def validation(self) -> tuple[Tensor, Tensor]:
        """Return queries and documents of the held-out pairs."""
        return (
            self._vectors(self._texts.validation_query, "query"),
            self._vectors(self._texts.validation_document, "document"),
        )

    def _vectors(self, texts: Sequence[str], task: Task) -> Tensor:
        return torch.from_numpy(self._encode(texts, task))


def encoded_again(data: EvaluationSet, encode: Encode) -> EvaluationSet:
    """Return a collection under an encoder as it is now."""
    return replace(
        data,
        query=torch.from_numpy(encode(list(data.collection.queries.values()), "query")),
        document=torch.from_numpy(encode(list(data.collection.documents.values()), "document")),
    )


def _probe_rows(count: int, size: int) -> Tensor:
    """Return the same rows whatever the run's seed, so that runs of several seeds are read on the same pairs."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:size]
