"""What a trainer's information-retrieval evaluator ranked, and the texts that it has anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..journal import TOP, Rankings
from ..recording import Texts

Seen = Callable[[str, str], bool]
"""Tells of a document's id and text whether it is trained on."""


def ranked(evaluator: Any, rankings: Sequence[Sequence[Mapping[str, Any]]]) -> Rankings:
    """Return the first documents of every query and the rank of its best relevant one.

    Args:
        evaluator: Has ``queries_ids``, ``relevant_docs`` and ``corpus_ids``.
        rankings: For each query hits with ``corpus_id`` and ``score``, in any order.
    """
    places: dict[str, int] = {}
    top: list[list[int]] = []
    best: list[int | None] = []
    right: list[int | None] = []
    for query, hits in zip(evaluator.queries_ids, rankings, strict=True):
        found = [hit["corpus_id"] for hit in sorted(hits, key=lambda hit: hit["score"], reverse=True)]
        relevant = evaluator.relevant_docs[query]
        rank = next((at for at, document in enumerate(found, 1) if document in relevant), None)
        top.append([places.setdefault(str(one), len(places)) for one in found[:TOP]])
        best.append(rank)
        right.append(None if rank is None else places.setdefault(str(found[rank - 1]), len(places)))
    return Rankings(
        query_ids=[str(one) for one in evaluator.queries_ids],
        documents=list(places),
        top=top,
        best=best,
        right=right,
        depth=max(map(len, rankings), default=0),
        n_documents=len(evaluator.corpus_ids),
    )


def texts_of(evaluator: Any, *, seen: Seen | None, shown: bool) -> Texts:
    """Return the texts of an evaluator, which it holds anyway.

    Args:
        evaluator: Has ``queries`` and ``corpus`` beside their ids; without them nothing is told of texts.
        seen: Tells whether a document is trained on; None where that is unknown.
        shown: Whether texts may be written.
    """

    def pairs(ids: str, texts: str) -> Callable[[], Any]:
        return lambda: (
            (str(one), text)
            for one, text in zip(getattr(evaluator, ids, ()), getattr(evaluator, texts, ()), strict=False)
            if isinstance(text, str)
        )

    return Texts(
        queries=pairs("queries_ids", "queries"),
        documents=pairs("corpus_ids", "corpus"),
        titles={},
        seen=seen,
        shown=shown,
    )
