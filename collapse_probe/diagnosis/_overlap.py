"""Whether a gain is on queries whose relevant documents were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..journal import Run
from ..statistics import PairedDifference, welch_p
from . import _scores


@dataclass(frozen=True)
class Overlap:
    """The change against the raw encoder, apart by whether a relevant document was trained on.

    Attributes:
        collection: Label of the collection.
        epoch: Epoch that is compared with the raw encoder.
        seen: Over the queries with a relevant document among the training pairs.
        others: Over the other queries; None where there is none.
    """

    collection: str
    epoch: int
    seen: PairedDifference
    others: PairedDifference | None


def overlaps(run: Run) -> list[Overlap]:
    """Return the overlap of every collection that has one and was scored after training."""
    found = []
    for collection, path, epoch in _scores.last_trained(run):
        record = _scores.evaluation_records(run)[(collection, path, epoch)]
        seen = _seen(run, record)
        if not seen:
            continue
        others = set(_scores.per_query(run, record) or ()) - seen
        where: dict[str, Any] = {"before": ("raw", 0), "after": (path, epoch)}
        of_seen = _scores.difference(run, collection, **where, queries=seen)
        if of_seen is not None:
            rest = _scores.difference(run, collection, **where, queries=others) if others else None
            found.append(Overlap(collection, epoch, of_seen, rest))
    return found


def apart(one: Overlap) -> bool:
    """Return whether the two groups' gains differ by more than noise (Welch's t-test, 5 %)."""
    if one.others is None or min(one.seen.n, one.others.n) < 2:
        return False
    return welch_p(one.seen.differences, one.others.differences) < 0.05


def _seen(run: Run, record: dict[str, Any]) -> set[str]:
    for one in run.config.collections:
        if (one.name, one.split) == (record["collection"], record["split"]):
            return set(one.seen_queries)
    return set()
