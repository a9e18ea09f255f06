"""Pairs as a collection of their own domain: each query among all documents, equal texts merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HELD_OUT = "held-out pairs"
"""Name of the collection."""

FEWEST_QUERIES = 32
"""Queries below which nothing is scored: of fewer, hardly any change could be told from chance (own choice)."""

MOST_DOCUMENTS = 20_000
"""Documents that the queries are ranked among, where vectors are stored."""


def judged_texts(
    queries: Mapping[str, str], documents: Mapping[str, str], pairs: Iterable[tuple[str, str]]
) -> dict[str, dict[str, int]]:
    """Return which document belongs to which query, by id: a duplicate of the right answer counts as right.

    Args:
        queries: Text to id.
        documents: Text to id, of those that are ranked.
        pairs: Query and document, as texts; those that are not among the two count as none.

    Returns:
        Query id to document id to 1, without queries that have no document.
    """
    judged: dict[str, dict[str, int]] = {}
    for query, document in pairs:
        if query in queries and document in documents:
            judged.setdefault(queries[query], {})[documents[document]] = 1
    return judged
