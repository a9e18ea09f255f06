"""The first hits of every query and the rank of its best relevant document, in the order that is scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..journal import TOP
from ._search import Hits


@dataclass(frozen=True)
class Ranked:
    """What a search ranked first.

    Attributes:
        top: ``[Q, 10]`` rows of the documents, the best first; -1 where there are fewer.
        best: ``[Q]`` rank of the best relevant document, from 1; 0 where none is among the hits.
        right: ``[Q]`` its row; -1 where there is none.
        depth: Hits of each query that were looked at.
    """

    top: np.ndarray
    best: np.ndarray
    right: np.ndarray
    depth: int


def ranked(
    hits: Hits,
    relevant: np.ndarray,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    leave_out: Collection[str],
    depth: int,
) -> Ranked:
    """Return what a search ranked first.

    Args:
        hits: The hits, best first.
        relevant: ``[Q, k]``, whether a hit is a relevant document.
        query_ids: Q ids.
        document_ids: N ids.
        leave_out: Queries whose document of the same id is no hit.
        depth: Hits that are looked at.
    """
    indices, relevant = np.array(hits.indices), np.array(relevant)
    scores = -hits.scores.astype(np.float32)
    for row, query in enumerate(query_ids):
        own = [at for at, one in enumerate(indices[row]) if document_ids[one] == query] if query in leave_out else []
        for columns, nothing in ((indices, -1), (relevant, False), (scores, np.inf)) if own else ():
            columns[row] = np.append(np.delete(columns[row], own), [nothing] * len(own))
    indices, relevant, scores = indices[:, :depth], relevant[:, :depth], scores[:, :depth]
    tied = np.flatnonzero((scores[:, 1:] == scores[:, :-1]).any(axis=1))
    if len(tied):
        order = np.lexsort((-_places_by_id(indices[tied], document_ids), scores[tied]), axis=1)
        indices[tied] = np.take_along_axis(indices[tied], order, axis=1)
        relevant[tied] = np.take_along_axis(relevant[tied], order, axis=1)
    found, first = relevant.any(axis=1), relevant.argmax(axis=1)
    right = np.where(found, np.take_along_axis(indices, first[:, None], axis=1)[:, 0], -1)
    top = np.full((len(indices), TOP), -1)
    top[:, : min(TOP, indices.shape[1])] = indices[:, :TOP]
    return Ranked(top, np.where(found, first + 1, 0), right, depth)


def _places_by_id(indices: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Return the place of every hit's id among all ids: trec_eval orders equal scores by it, the last one first."""
    rows, inverse = np.unique(indices, return_inverse=True)
    named = [ids[row] if row >= 0 else "" for row in rows]
    places = np.empty(len(rows), dtype=np.int64)
    places[sorted(range(len(rows)), key=lambda at: named[at])] = np.arange(len(rows))
    return places[inverse].reshape(indices.shape)
