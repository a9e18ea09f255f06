"""What the programs train on: frozen vectors of real texts, split once and for all.

A world is an encoder with a set of pairs and a collection. Its pairs are cut into training pairs and held-out pairs;
the first 512 held-out pairs are the reference that a user would give, and all of them together with every document of
the pairs (equal texts merged) are the in-domain collection that the truth is measured on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from collapse_probe.retrieval import evaluate_vectors, read_beir, read_pairs

SHARED = Path(__file__).resolve().parents[3] / "shared"
ENCODERS = {"minilm": "all-MiniLM-L6-v2", "mpnet": "all-mpnet-base-v2"}
HELD_OUT = 1000
REFERENCE = 512
_SPLIT = 20_251_118


class Vectors:
    """An encoder's stored vectors, by text."""

    def __init__(self, folder: Path) -> None:
        keys = np.load(folder / "keys.npy")
        self._rows = {bytes(key): row for row, key in enumerate(keys)}
        self._vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self.dimension = json.loads((folder / "manifest.json").read_text("utf-8"))["dimension"]

    def __call__(self, texts: list[str]) -> Tensor:
        """Return ``[n, D]``, float32."""
        rows = [self._rows[hashlib.sha256(text.encode()).digest()] for text in texts]
        return torch.from_numpy(np.asarray(self._vectors[rows], dtype=np.float32))


@dataclass(frozen=True)
class Searched:
    """A collection's vectors under the frozen encoder."""

    name: str
    query: Tensor
    document: Tensor
    query_ids: list[str]
    document_ids: list[str]
    qrels: dict[str, dict[str, int]]

    def scores(self, query: Tensor, document: Tensor, *, similarity: str) -> dict[str, dict[str, float]]:
        """Return metric to query id to score, of vectors in the place of the encoder's."""
        found = evaluate_vectors(
            query.float().numpy(),
            document.float().numpy(),
            query_ids=self.query_ids,
            document_ids=self.document_ids,
            qrels=self.qrels,
            similarity=similarity,  # type: ignore[arg-type]
        )
        return {name: dict(values) for name, values in found.per_query.items()}


@dataclass(frozen=True)
class World:
    """An encoder's vectors of pairs and of a collection."""

    name: str
    query: Tensor
    document: Tensor
    texts: tuple[list[str], list[str]]
    held_out: tuple[Tensor, Tensor]
    collection: Searched
    inside: Searched

    @property
    def dimension(self) -> int:
        """D."""
        return self.query.shape[1]

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor]:
        """The held-out pairs that a user would give."""
        return self.held_out[0][:REFERENCE], self.held_out[1][:REFERENCE]


def _pairs(name: str) -> tuple[list[str], list[str]]:
    if name == "medquad":
        pairs = read_pairs(SHARED / "data" / "medquad_smoke_10k.jsonl")
        return list(pairs.queries), list(pairs.documents)
    folder, split = {"scifact": ("scifact", "train"), "nfcorpus": ("nfcorpus-tokenized", "train")}[name]
    collection = read_beir(SHARED / "data" / folder, split=split)
    found = [
        (collection.queries[query], collection.documents[document])
        for query, judged in collection.qrels.items()
        for document, value in list(judged.items())[:8]
        if value > 0 and document in collection.documents
    ]
    return [query for query, _ in found], [document for _, document in found]


@cache
def world(name: str) -> World:
    """Return a world by its name: ``ENCODER/PAIRS/COLLECTION``, such as ``minilm/medquad/scifact``."""
    encoder, pairs, collection = name.split("/")
    vectors = Vectors(SHARED / "features" / ENCODERS[encoder])
    queries, documents = _pairs(pairs)
    order = np.random.default_rng(_SPLIT).permutation(len(queries))
    held_out = min(HELD_OUT, len(order) // 4)
    out, kept = order[:held_out], order[held_out:]
    query, document = vectors(queries), vectors(documents)
    distinct = list(dict.fromkeys(documents))
    place = {text: str(row) for row, text in enumerate(distinct)}
    inside = Searched(
        "inside",
        query[out],
        vectors(distinct),
        [str(row) for row in out],
        [str(row) for row in range(len(distinct))],
        {str(row): {place[documents[row]]: 1} for row in out},
    )
    searched = read_beir(SHARED / "data" / {"scifact": "scifact", "nfcorpus": "nfcorpus-tokenized"}[collection])
    ids = list(searched.qrels)
    other = Searched(
        collection,
        vectors([searched.queries[one] for one in ids]),
        vectors(list(searched.documents.values())),
        ids,
        list(searched.documents),
        searched.qrels,
    )
    texts = [queries[row] for row in kept], [documents[row] for row in kept]
    return World(name, query[kept], document[kept], texts, (query[out], document[out]), other, inside)
