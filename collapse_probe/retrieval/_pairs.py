"""Training pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pairs:
    """Queries and their documents, row by row.

    Attributes:
        queries: P texts.
        documents: P texts.
        source: Where they were read.
        fingerprint: SHA-256 over the texts, in hexadecimal.
        negatives: P tuples of texts that do not belong to the query; empty where there are none at all.
        form: The form that was recognised, and which columns were read as what.
        notes: What was left out, counted.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    source: str
    fingerprint: str
    negatives: tuple[tuple[str, ...], ...] = ()
    form: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def n_negatives(self) -> int:
        """How many negatives there are."""
        return sum(map(len, self.negatives))


def make_pairs(
    examples: Iterable[tuple[str, Iterable[str], Iterable[str]]],
    *,
    source: str,
    form: str = "",
    notes: Iterable[str] = (),
) -> Pairs:
    """Return a pair for every positive of every query.

    Args:
        examples: Queries, each with its positives and negatives.
        source: What they are said to come from.
        form: As in :class:`Pairs`.
        notes: As in :class:`Pairs`.
    """
    rows = [(query, text, tuple(negatives)) for query, positives, negatives in examples for text in positives]
    queries, documents, negatives = zip(*rows, strict=True)
    kept = negatives if any(negatives) else ()
    return Pairs(queries, documents, source, fingerprint([*queries, *documents]), kept, form, tuple(notes))


def fingerprint(texts: list[str]) -> str:
    """Return the SHA-256 over a list of texts, each with its length, in hexadecimal."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()
