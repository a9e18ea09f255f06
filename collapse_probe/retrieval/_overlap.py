"""Which queries of a collection have a relevant document that was trained on."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from ._collections import Collection
from ._pairs import Pairs

NEAR = 0.9
"""Cosine from which two texts may be the same one, cut or with a title (own choice); their words decide."""

SHARED_WORDS = 0.9
"""Share of the shorter text's words that the longer one has to have, to be the same text (own choice)."""

SHORTEST = 0.5
"""Least length of the shorter text beside the longer one, in words (own choice)."""

SAME_DOMAIN = 0.1
"""Share of the pairs' documents in a corpus from which on it is of their domain (own choice)."""

_MOST_COMPARED = 2_000_000_000
_BLOCK = 256
_COMPARED = 8
"""Documents near to a text whose words are compared."""
_WORD = re.compile(r"\w+")

Vectors = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Overlap:
    """What a collection and training pairs have in common.

    Attributes:
        queries: Queries with a relevant document that was trained on.
        trained: Distinct documents of the pairs.
        equal: Of these, how many are a document of the corpus, with or without its title.
        near: Of the others, how many are nearly one.
        documents: Ids of the corpus' documents that are among them.
    """

    queries: tuple[str, ...]
    trained: int
    equal: int
    near: int
    documents: frozenset[str] = frozenset()

    @property
    def domain(self) -> Literal["in", "out"] | None:
        """Whether the collection is of the domain that is trained on: a tenth of the pairs' documents are in it."""
        if not self.trained:
            return None
        return "in" if self.equal + self.near >= SAME_DOMAIN * self.trained else "out"

    @property
    def said(self) -> str:
        """How many of the pairs' documents are in the corpus, in words."""
        near = f" ({self.near:,} nearly)" if self.near else ""
        return f"{self.equal + self.near:,} of the {self.trained:,} documents of the pairs are in its corpus{near}"


def words_of(text: str) -> tuple[str, ...]:
    """Return a text as texts are compared: its words, whatever their case, form and signs between them.

    >>> words_of("The  Chain: wiped-dry.")
    ('the', 'chain', 'wiped', 'dry')
    """
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def find_overlap(collection: Collection, pairs: Pairs, vectors: Vectors | None = None) -> Overlap:
    """Return which documents of the pairs are in a collection, and which queries that concerns.

    Args:
        collection: What is scored.
        pairs: What is trained on.
        vectors: Vectors of documents, ``[n, D]``, to find texts that are nearly the same; None compares texts alone.
    """
    trained = {text: words_of(text) for text in dict.fromkeys(pairs.documents)}
    known = {words for words in trained.values() if words}
    corpus: dict[tuple[str, ...], list[str]] = {}
    for document, text in collection.documents.items():
        for form in {words_of(text), words_of(collection.body(document))}:
            if form:
                corpus.setdefault(form, []).append(document)
    in_corpus = {document for words in known if words in corpus for document in corpus[words]}
    equal = {text for text, words in trained.items() if words in corpus}
    near = _near(collection, [text for text in trained if text not in equal], vectors)
    seen = in_corpus | set(near.values())
    queries = tuple(
        query
        for query, judgements in collection.qrels.items()
        if any(value > 0 and document in seen for document, value in judgements.items())
    )
    return Overlap(queries, len(trained), len(equal), len(near), frozenset(seen))


def _near(collection: Collection, texts: Sequence[str], vectors: Vectors | None) -> dict[str, str]:
    """Return text to the document that it nearly is, of texts that are none."""
    documents = [document for document, text in collection.documents.items() if text]
    if len(documents) * len(texts) > _MOST_COMPARED:
        relevant = {d for judged in collection.qrels.values() for d, value in judged.items() if value > 0}
        documents = [document for document in documents if document in relevant]
    if vectors is None or not texts or not documents:
        return {}
    ours = _unit(vectors(texts))
    theirs = _unit(vectors([collection.documents[document] for document in documents]))
    words_of_document = cache(lambda document: _counted(collection, document))
    same: dict[str, str] = {}
    for start in range(0, len(texts), _BLOCK):
        cosines = ours[start : start + _BLOCK] @ theirs.T
        for row in np.flatnonzero((cosines >= NEAR).any(axis=1)):
            text = texts[start + int(row)]
            mine = Counter(words_of(text))
            for column in _nearest(cosines[row]):
                if any(_nearly_equal(mine, other) for other in words_of_document(documents[column])):
                    same[text] = documents[column]
                    break
    return same


def _nearest(cosines: np.ndarray) -> list[int]:
    """Return the few documents that are nearest to a text, of those that are near, the nearest first."""
    near = np.flatnonzero(cosines >= NEAR)
    return [int(column) for column in near[np.argsort(-cosines[near])][:_COMPARED]]


def _counted(collection: Collection, document: str) -> list[Counter[str]]:
    forms = {collection.documents[document], collection.body(document)}
    return [Counter(words_of(form)) for form in forms]


def _nearly_equal(mine: Counter[str], theirs: Counter[str]) -> bool:
    short, long = sorted((mine.total(), theirs.total()))
    return short > 0 and short >= SHORTEST * long and (mine & theirs).total() >= SHARED_WORDS * short


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
