"""Scoring the raw encoder and a head over stored features, on both scoring paths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers.base.modules import Router
from torch import Tensor

from ..journal import JournalWriter, atomic_write_text
from ..retrieval import Collection, FeatureStore, Scores, evaluate_vectors
from ._recipe import Similarity
from .modules import head_parts


@dataclass(frozen=True)
class EvaluationSet:
    """A collection with the raw encoder's vectors of its texts.

    Attributes:
        collection: Texts and judgements.
        query_ids: Q ids, the rows of ``query``.
        document_ids: N ids, the rows of ``document``.
        query: ``[Q, D]``, float32.
        document: ``[N, D]``, float32.
    """

    collection: Collection
    query_ids: list[str]
    document_ids: list[str]
    query: Tensor
    document: Tensor

    @property
    def label(self) -> str:
        """The collection's name and split, as it stands in file names."""
        return f"{self.collection.name}-{self.collection.split}"


def make_evaluation_set(collection: Collection, store: FeatureStore) -> EvaluationSet:
    """Return a collection with its stored vectors.

    Raises:
        InputError: a text that the store does not hold.
    """
    return EvaluationSet(
        collection=collection,
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        query=torch.from_numpy(store.vectors(list(collection.queries.values()))),
        document=torch.from_numpy(store.vectors(list(collection.documents.values()))),
    )


def evaluate_raw(data: EvaluationSet, *, similarity: Similarity, device: str) -> Scores:
    """Return the scores of the raw encoder."""
    return _score(data, data.query.numpy(), data.document.numpy(), similarity=similarity, device=device)


@torch.no_grad()
def evaluate_head(head: Router, data: EvaluationSet, *, similarity: Similarity, device: str) -> dict[str, Scores]:
    """Return the scores of a head: ``no_predictor``, and ``predictor`` where it has one.

    Both paths are always scored, whichever one the recipe's verdict is about. The head is used in
    evaluation mode and float32, and left in the mode that it was in.
    """
    projection, predictor = head_parts(head)
    training = head.training
    head.eval()
    try:
        query = _in_blocks(data.query, device, lambda block: projection({"sentence_embedding": block}))
        document = _in_blocks(data.document, device, lambda block: projection({"sentence_embedding": block}))
        paths = {"no_predictor": query["sentence_embedding"]}
        if predictor is not None:
            predicted = _in_blocks(
                query["sentence_embedding"], device, lambda block: predictor({"sentence_embedding": block})
            )
            paths["predictor"] = predicted["predicted_embedding"]
    finally:
        head.train(training)
    documents = document["sentence_embedding"].numpy()
    return {
        path: _score(data, queries.numpy(), documents, similarity=similarity, device=device)
        for path, queries in paths.items()
    }


def record_evaluation(
    journal: JournalWriter,
    folder: Path,
    data: EvaluationSet,
    scores: Scores,
    *,
    path: str,
    step: int,
    epoch: int,
) -> None:
    """Write an evaluation into the journal and its per-query scores into the run folder.

    Args:
        journal: Where the record goes.
        folder: The run folder.
        data: What was scored.
        scores: The result.
        path: ``raw``, ``no_predictor`` or ``predictor``.
        step: Optimiser steps done.
        epoch: Epochs done; 0 before training.
    """
    file = Path("evaluations") / f"{data.label}-epoch-{epoch}-{path}.json"
    (folder / "evaluations").mkdir(exist_ok=True)
    per_query = {metric: [values[q] for q in data.query_ids] for metric, values in scores.per_query.items()}
    atomic_write_text(folder / file, json.dumps({"query_ids": data.query_ids, **per_query}))
    record = {
        "collection": data.collection.name,
        "split": data.collection.split,
        "step": step,
        "epoch": epoch,
        "path": path,
        "similarity": scores.similarity,
        "metrics": scores.mean,
        "n_queries": scores.n_queries,
        "n_documents": scores.n_documents,
        "tied_share": scores.tied_share,
        "per_query": file.as_posix(),
    }
    journal.append("evaluation", record)


def _score(
    data: EvaluationSet, queries: np.ndarray, documents: np.ndarray, *, similarity: Similarity, device: str
) -> Scores:
    return evaluate_vectors(
        queries,
        documents,
        query_ids=data.query_ids,
        document_ids=data.document_ids,
        qrels=data.collection.qrels,
        similarity=similarity,
        device=device,
    )


def _in_blocks(vectors: Tensor, device: str, apply, size: int = 16_384) -> dict[str, Tensor]:
    """Run rows through a module block by block, so that a large corpus needs no large activations."""
    outputs = [apply(block.to(device)) for block in vectors.split(size)]
    return {name: torch.cat([output[name].cpu() for output in outputs]) for name in outputs[0]}
