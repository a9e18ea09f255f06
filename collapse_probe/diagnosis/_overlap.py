"""Whether a gain is on queries whose relevant documents were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..journal import Run
from ..statistics import PairedDifference, welch_p
from . import _scores
from ._finding import Finding, Status


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


def trained_documents(run: Run) -> list[Finding]:
    """CP206: whether what was gained is gained on documents that were not trained on, too."""
    findings = []
    for one in overlaps(run):
        only_seen = one.seen.low > 0 and (one.others is None or (not one.others.low > 0 and _apart(one)))
        findings.append(
            Finding(
                code="CP206",
                title=f"{one.collection}: change of nDCG@10 against raw where no relevant document was trained on",
                status=Status.WARNING if only_seen else Status.HEALTHY,
                value=None if one.others is None else one.others.mean,
                expected=(
                    f"a gain here too: {_in_words(one.others)}, beside {_in_words(one.seen)} where one was trained on"
                ),
                evidence=(f"{one.collection}/{_scores.HEADLINE}",),
                why="a gain on trained documents alone is memory of them; it does not carry over to others",
                remedy="Judge by queries whose documents were not trained on, or train on another collection",
                source="paired over queries, apart by the texts of the training pairs",
                n=None if one.others is None else one.others.n,
                subject=one.collection,
            )
        )
    return findings


def _apart(one: Overlap) -> bool:
    """Return whether the two groups' gains differ by more than noise (Welch's t-test, 5 %)."""
    assert one.others is not None
    return welch_p(one.seen.differences, one.others.differences) < 0.05


def _in_words(change: PairedDifference | None) -> str:
    if change is None:
        return "no such query"
    return f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] (n = {change.n})"


def _seen(run: Run, record: dict[str, Any]) -> set[str]:
    for entry in run.settings.get("collections") or []:
        if (entry["name"], entry["split"]) == (record["collection"], record["split"]):
            return set(entry.get("seen_queries") or [])
    return set()
