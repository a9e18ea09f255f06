"""Real scores and readings of encoders with whom nothing happens: what null runs are drawn from.

A head is the identity and small random weights on stored vectors; heads of one size are equally good but for chance,
and per-query scores of two of them differ as those of two evaluations of one run do: most not at all, some by jumps.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from _common import SHARED

from collapse_probe.measures import Sample, neighbours_of, read, reciprocal_ranks
from collapse_probe.retrieval import evaluate_vectors, read_beir, read_pairs

COLLECTIONS = {
    "scifact-minilm": ("scifact", "all-MiniLM-L6-v2"),
    "scifact-mpnet": ("scifact", "all-mpnet-base-v2"),
    "nfcorpus-minilm": ("nfcorpus-tokenized", "all-MiniLM-L6-v2"),
}
"""Scored collections: folder of the data, and of the vectors."""

ENCODERS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
SIZES = (0.1, 0.2, 0.4)
"""Sizes of the random weights, relative to the identity."""

HEADS = 40
PAIRS = (32, 128, 512, 2048)
"""Numbers of reference pairs."""

BATCHES = (8, 16, 32, 64, 128, 256, 1024)
_ROLES = {"query": "query", "document": "document"}

Bank = dict[str, np.ndarray]
"""``scores/COLLECTION/SIZE`` and ``ranks/ENCODER/PAIRS/SIZE``: ``[heads, queries]``; ``batch/ENCODER/ROWS`` and
``reference/ENCODER/PAIRS``: ``[readings of one, names]``, their names under ``names/...``."""


def bank(file: Path | None) -> Bank:
    """Return the bank, from a file if it exists; computes it otherwise (minutes) and writes it there."""
    if file is not None and file.is_file():
        with np.load(file) as content:
            return dict(content)
    found = {**_scores(), **_pairs()}
    if file is not None:
        np.savez_compressed(file, **found)
    return found


@cache
def _store(encoder: str) -> tuple[dict[bytes, int], np.ndarray]:
    folder = SHARED / "features" / encoder
    keys = np.load(folder / "keys.npy")
    return {key.tobytes(): row for row, key in enumerate(keys)}, np.load(folder / "vectors.npy", mmap_mode="r")


def _vectors(encoder: str, texts: list[str]) -> np.ndarray:
    rows, vectors = _store(encoder)
    return np.asarray(vectors[[rows[hashlib.sha256(one.encode()).digest()] for one in texts]], dtype=np.float32)


def _head(rng: np.random.Generator, dimension: int, size: float) -> np.ndarray:
    noise = rng.normal(size=(dimension, dimension)) * size / np.sqrt(dimension)
    return (np.eye(dimension) + noise).astype(np.float32)


def _scores() -> Bank:
    """Return nDCG@10 of every query of every collection under heads."""
    found: Bank = {}
    for name, (folder, encoder) in COLLECTIONS.items():
        collection = read_beir(SHARED / "data" / folder)
        q, d = (_vectors(encoder, list(texts.values())) for texts in (collection.queries, collection.documents))
        where = {"query_ids": list(collection.queries), "document_ids": list(collection.documents)}
        for size in SIZES:
            rng = np.random.default_rng(0)
            rows = []
            for _ in range(HEADS):
                head = _head(rng, q.shape[1], size)
                one = evaluate_vectors(q @ head, d @ head, qrels=collection.qrels, similarity="cosine", **where)
                rows.append(list(one.per_query["ndcg@10"].values()))
            found[f"scores/{name}/{size}"] = np.array(rows)
    return found


def _pairs() -> Bank:
    """Return readings of batches, and of reference pairs with the reciprocal rank of each, under heads."""
    pairs = read_pairs(SHARED / "data" / "medquad_smoke_10k.jsonl")
    found: Bank = {}
    for encoder in ENCODERS:
        texts = (pairs.queries[:6000], pairs.documents[:6000])
        q, d = (torch.from_numpy(_vectors(encoder, list(one))) for one in texts)
        rng = np.random.default_rng(0)
        for rows in BATCHES:
            some = []
            for _ in range(200 if rows <= 256 else 40):
                at = torch.from_numpy(rng.choice(len(q), rows, replace=False))
                head = torch.from_numpy(_head(rng, q.shape[1], 0.2))
                some.append(
                    _read(Sample(streams={"query": q[at] @ head, "document": d[at] @ head}, roles=_ROLES), "batch")
                )
            found |= _table(f"batch/{encoder}/{rows}", some)
        for n in PAIRS:
            earlier = neighbours_of(Sample(streams={"query": q[:n], "document": d[:n]}, roles=_ROLES))
            some = []
            for size in SIZES:
                ranks = []
                for _ in range(HEADS if n < 2048 else 12):
                    head = torch.from_numpy(_head(rng, q.shape[1], size))
                    streams = {"query": q[:n] @ head, "document": d[:n] @ head}
                    sample = Sample(streams=streams, roles=_ROLES, earlier=earlier)
                    if size == 0.2:
                        some.append(_read(sample, "reference"))
                    ranks.append(reciprocal_ranks(**streams, similarity="cosine").numpy())
                found[f"ranks/{encoder}/{n}/{size}"] = np.array(ranks)
            found |= _table(f"reference/{encoder}/{n}", some)
    return found


def _read(sample: Sample, on: str) -> dict[str, float]:
    return {name: float(value) for name, value in read(sample, on=on).items()}


def _table(key: str, some: list[dict[str, float]]) -> Bank:
    names = [name for name in some[0] if all(name in one for one in some)]
    return {key: np.array([[one[name] for name in names] for one in some]), f"names/{key}": np.array(names)}
