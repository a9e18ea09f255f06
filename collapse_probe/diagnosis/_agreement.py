"""Whether scoring with a correction gives what scoring without it gives, while retrieval fell."""

from __future__ import annotations

import math

from ..journal import Run
from ..statistics import PairedDifference
from . import _scores

AGREEMENT = 0.1
"""Share of the fall below which the variants with and without correction are said to agree (own choice)."""


def agreement(run: Run, collection: str, epoch: int) -> PairedDifference | None:
    """Return the change by scoring with the correction, where it is small beside a fall since step 0; else None.

    Then adding delta at scoring time is not what changed the scores; its losses may still act through what they
    share.

    Args:
        run: The run.
        collection: Label of the collection.
        epoch: Which.
    """
    fall = _scores.difference(run, collection, ("no_predictor", 0), ("no_predictor", epoch))
    gap = _scores.difference(run, collection, ("no_predictor", epoch), ("predictor", epoch))
    if fall is None or gap is None or math.isnan(fall.high) or math.isnan(gap.high) or fall.high >= 0:
        return None
    widest = max(abs(gap.low), abs(gap.high))
    return gap if abs(gap.mean) < AGREEMENT * abs(fall.mean) and widest < abs(fall.mean) else None
