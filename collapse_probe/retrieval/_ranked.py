"""The first hits of every query and the rank of its best relevant document, in the order that is scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ._search import Hits

TOP = 10
"""First hits that are kept."""


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
    single = hits.scores.astype(np.float32)
    tied = (single[:, 1:] == single[:, :-1]).any(axis=1)
    for row, query in enumerate(query_ids):
        own = query if query in leave_out and any(document_ids[at] == query for at in indices[row]) else None
        if tied[row] or own is not None:
            order = _order(single[row], indices[row], document_ids, own, depth)
            left = indices.shape[1] - len(order)
            indices[row] = np.append(indices[row][order], [-1] * left)
            relevant[row] = np.append(relevant[row][order], [False] * left)
    indices, relevant = indices[:, :depth], relevant[:, :depth]
    found, first = relevant.any(axis=1), relevant.argmax(axis=1)
    right = np.where(found, np.take_along_axis(indices, first[:, None], axis=1)[:, 0], -1)
    top = np.full((len(indices), TOP), -1)
    top[:, : min(TOP, indices.shape[1])] = indices[:, :TOP]
    return Ranked(top, np.where(found, first + 1, 0), right, depth)


def _order(scores: np.ndarray, rows: np.ndarray, ids: Sequence[str], own: str | None, depth: int) -> list[int]:
    """Return the places of a query's hits as trec_eval orders them: equal scores by id, the last one first."""
    named = [ids[row] for row in rows]
    places = [at for at in range(len(rows)) if named[at] != own][:depth]
    places.sort(key=lambda at: named[at], reverse=True)
    return sorted(places, key=lambda at: -scores[at])
