"""Retrieval in the domain that is trained on: held-out queries among all documents of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

from ...retrieval import FEWEST_QUERIES, HELD_OUT, MOST_DOCUMENTS, judged_texts, make_collection
from ._evaluation import EvaluationSet
from ._vectors import TrainingData

MOST_ENCODED = 512
"""Documents that held-out queries are ranked among, where every evaluation encodes them again."""


def held_out_pairs(data: TrainingData, *, most: int = MOST_DOCUMENTS) -> EvaluationSet | None:
    """Return the held-out pairs as a collection of the trained domain, which costs the user no data.

    Equal texts are one document and one query: a duplicate of the right answer counts as right, and so does every
    document that the training pairs give to the same query.

    Args:
        data: The pairs, with their texts.
        most: Documents; those of the held-out pairs come first, then those that are trained on.

    Returns:
        The collection; None without texts, or for fewer than 32 queries.
    """
    texts = data.texts
    if texts is None:
        return None
    queries = _distinct(texts.validation_query)
    documents = _distinct([*texts.validation_document, *texts.document])
    kept = dict(list(documents.items())[:most])
    query_ids = {text: f"q{row}" for text, row in queries.items()}
    document_ids = {text: f"d{row}" for text, row in kept.items()}
    given = ((texts.validation_query, texts.validation_document), (texts.query, texts.document))
    pairs = chain.from_iterable(zip(asked, answers, strict=True) for asked, answers in given)
    judged = judged_texts(query_ids, document_ids, pairs)
    if len(judged) < FEWEST_QUERIES:
        return None
    collection = make_collection(
        HELD_OUT,
        "validation",
        documents={name: text for text, name in document_ids.items()},
        titles={},
        queries={name: text for text, name in query_ids.items()},
        judged=judged,
        source=HELD_OUT,
        identical_ids="keep",
    )
    return EvaluationSet(
        collection=collection,
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        query=data.validation_query[[queries[text] for text in collection.queries.values()]],
        document=torch.cat([data.validation_document, data.document])[list(kept.values())],
        domain="in",
        changed=False,
        trained=frozenset(document_ids[text] for text in set(texts.document) if text in kept),
    )


def _distinct(texts: Sequence[str]) -> dict[str, int]:
    """Return every distinct text that is not empty with the first row it stands in."""
    found: dict[str, int] = {}
    for row, text in enumerate(texts):
        if text:
            found.setdefault(text, row)
    return found
