"""A search's rankings by ids, as a run keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..journal import Rankings
from ._scoring import Scores


def rankings_of(scores: Scores, query_ids: Sequence[str], document_ids: Sequence[str]) -> Rankings | None:
    """Return what was ranked first, by ids; None where it is not known."""
    found = scores.ranked
    if found is None:
        return None
    rows = np.unique(np.append(found.top, found.right))
    rows = rows[rows >= 0]
    top = np.searchsorted(rows, found.top)
    return Rankings(
        query_ids=list(query_ids),
        documents=[document_ids[row] for row in rows],
        top=[
            [int(one) for one, row in zip(places, given, strict=True) if row >= 0]
            for places, given in zip(top, found.top, strict=True)
        ],
        best=[int(rank) or None for rank in found.best],
        right=[None if row < 0 else int(np.searchsorted(rows, row)) for row in found.right],
        depth=found.depth,
        n_documents=scores.n_documents,
    )
