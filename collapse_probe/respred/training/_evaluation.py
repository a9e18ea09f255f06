"""Scoring the raw encoder and a head over stored features, on both scoring paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from sentence_transformers.base.modules import Module, Router
from torch import Tensor

from ...journal import Evaluation, JournalWriter, now, write_beside
from ...recording import Texts, keep_rankings
from ...retrieval import Collection, Features, Scores, evaluate_variants, rankings_of
from ..modules import HeadParts, ResidualPredictor, head_parts
from ..recipes import Similarity

Domain = Literal["in", "out"]


@dataclass(frozen=True)
class EvaluationSet:
    """A collection with the raw encoder's vectors of its texts.

    Attributes:
        collection: Texts and judgements.
        query_ids: Q ids, the rows of ``query``.
        document_ids: N ids, the rows of ``document``.
        query: ``[Q, D]``, float32.
        document: ``[N, D]``, float32.
        role: ``test``, or ``development`` where checkpoints are chosen and training is stopped by it.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        changed: Whether changed versions of the model are scored on it as well.
        verified: False where the vectors are stored ones of an encoder that is not on this machine.
        trained: Its documents that are trained on; None where unknown.
    """

    collection: Collection
    query_ids: list[str]
    document_ids: list[str]
    query: Tensor
    document: Tensor
    role: Literal["test", "development"] = "test"
    domain: Domain | None = None
    changed: bool = True
    verified: bool = True
    trained: frozenset[str] | None = None

    @property
    def texts(self) -> Texts:
        """Its texts, for what is kept of lost queries."""
        trained = self.trained
        return Texts(
            queries=self.collection.queries.items,
            documents=self.collection.documents.items,
            titles=self.collection.titles,
            seen=None if trained is None else lambda document, _: document in trained,
        )

    @property
    def label(self) -> str:
        """The collection's name and split, as it stands in file names."""
        return f"{self.collection.name}-{self.collection.split}".replace(" ", "-")

    @property
    def shown(self) -> str:
        """The name that a user is shown: with its split where it is the development split."""
        return self.label if self.role == "development" else self.collection.name


def make_evaluation_set(
    collection: Collection,
    features: Features,
    *,
    role: Literal["test", "development"] = "test",
    domain: Domain | None = None,
    trained: frozenset[str] | None = None,
) -> EvaluationSet:
    """Return a collection with its stored vectors.

    Raises:
        InputError: a text that was never encoded.
    """
    return EvaluationSet(
        collection=collection,
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        query=torch.from_numpy(features.vectors(list(collection.queries.values()), "query")),
        document=torch.from_numpy(features.vectors(list(collection.documents.values()), "document")),
        role=role,
        domain=domain,
        verified=features.encoder.identity.verified,
        trained=trained,
    )


def evaluate_raw(data: EvaluationSet, *, similarity: Similarity, device: str) -> Scores:
    """Return the scores of the raw encoder."""
    raw = Embedded(data.query, data.document, None, None, None)
    return score_embedded(raw, data, queries={"raw": raw.query}, similarity=similarity, device=device)["raw"]


@dataclass(frozen=True)
class Embedded:
    """A collection's embeddings under a head, float32 on the CPU.

    Attributes:
        query: q, ``[Q, D]``.
        document: d, ``[N, D]``.
        predicted: The predictor's estimate, ``[Q, D]``; None where there is no predictor.
        delta: delta(q) of a residual predictor, ``[Q, D]``; None for others.
        alpha: Its alpha; None for others.
    """

    query: Tensor
    document: Tensor
    predicted: Tensor | None
    delta: Tensor | None
    alpha: float | None

    def paths(self) -> dict[str, Tensor]:
        """Return the queries of every scoring path."""
        paths = {"no_predictor": self.query}
        return paths if self.predicted is None else {**paths, "predictor": self.predicted}


@torch.no_grad()
def embed(parts: HeadParts, data: EvaluationSet, *, device: str) -> Embedded:
    """Return a collection's embeddings, in evaluation mode and float32; each module keeps the mode it was in."""
    return embed_vectors(parts, data.query, data.document, device=device)


@torch.no_grad()
def embed_vectors(parts: HeadParts, queries: Tensor, documents: Tensor, *, device: str) -> Embedded:
    """Return the embeddings of an encoder's vectors, ``[Q, D]`` and ``[N, D]``, as :func:`embed` does."""
    modes = {module: module.training for module in parts.named().values()}
    try:
        for module in modes:
            module.eval()
        query = _in_blocks(queries, device, parts.query_projection)["sentence_embedding"]
        document = _in_blocks(documents, device, parts.document_projection)["sentence_embedding"]
        predicted = {} if parts.predictor is None else _in_blocks(query, device, parts.predictor)
    finally:
        for module, mode in modes.items():
            module.train(mode)
    alpha = parts.predictor.alpha if isinstance(parts.predictor, ResidualPredictor) else None
    return Embedded(query, document, predicted.get("predicted_embedding"), predicted.get("delta"), alpha)


def score_embedded(
    embedded: Embedded, data: EvaluationSet, *, queries: Mapping[str, Tensor], similarity: Similarity, device: str
) -> dict[str, Scores]:
    """Return the scores of several versions of the queries, ``[Q, D]`` each, over the embedded documents."""
    return evaluate_variants(
        {name: vectors.numpy() for name, vectors in queries.items()},
        embedded.document.numpy(),
        query_ids=data.query_ids,
        document_ids=data.document_ids,
        qrels=data.collection.qrels,
        similarity=similarity,
        device=device,
        leave_out=data.collection.leave_out,
    )


def evaluate_head(head: Router, data: EvaluationSet, *, similarity: Similarity, device: str) -> dict[str, Scores]:
    """Return the scores of a head: ``no_predictor``, and ``predictor`` where it has one.

    Both paths are always scored, whichever one the recipe's verdict is about.
    """
    embedded = embed(head_parts(head), data, device=device)
    return score_embedded(embedded, data, queries=embedded.paths(), similarity=similarity, device=device)


def record_evaluation(
    journal: JournalWriter,
    folder: Path,
    data: EvaluationSet,
    scores: Scores,
    *,
    variant: str,
    step: int,
    epoch: int,
    judged: bool = True,
) -> None:
    """Write an evaluation into the journal and its per-query scores into the run folder.

    Args:
        journal: Where the record goes.
        folder: The run folder.
        data: What was scored.
        scores: The result.
        variant: ``raw``, ``no_predictor`` or ``predictor``.
        step: Optimiser steps done.
        epoch: Epochs done; 0 before training.
        judged: Whether verdicts are about the variant, or held against it: then what it ranked first is kept, too.
    """
    per_query = {metric: [values[q] for q in data.query_ids] for metric, values in scores.per_query.items()}
    content = json.dumps({"query_ids": data.query_ids, **per_query})
    file = write_beside(folder / "evaluations" / f"{data.label}-epoch-{epoch}-{variant}.json", content)
    journal.write(
        Evaluation(
            collection=data.collection.name,
            split=data.collection.split,
            role=data.role,
            domain=data.domain,
            step=step,
            epoch=epoch,
            variant=variant,
            similarity=scores.similarity,
            metrics=dict(scores.mean),
            n_queries=scores.n_queries,
            n_documents=scores.n_documents,
            fingerprint=data.collection.fingerprint,
            tied_share=scores.tied_share,
            per_query=file.relative_to(folder).as_posix(),
            group=data.collection.group,
            verified=data.verified,
            time=now(),
        )
    )
    if (
        judged
        and data.role == "test"
        and (rankings := rankings_of(scores, data.query_ids, data.document_ids)) is not None
    ):
        name = f"evaluations/{data.label}-epoch"
        keep_rankings(
            journal,
            file.relative_to(folder).as_posix(),
            rankings,
            scores=scores.per_query,
            texts=data.texts,
            against=[f"{name}-0-{kind}.json" for kind in dict.fromkeys(("raw", variant))] if epoch else (),
            replaces=[f"{name}-{one}-{variant}.json" for one in range(1, epoch)],
        )


def _in_blocks(vectors: Tensor, device: str, module: Module, size: int = 16_384) -> dict[str, Tensor]:
    """Run rows through a module block by block, so that a large corpus needs no large activations."""
    outputs = [module({"sentence_embedding": block.to(device)}) for block in vectors.split(size)]
    return {name: torch.cat([output[name].cpu() for output in outputs]) for name in outputs[0]}
