"""Reading a run's retrieval scores: by collection, path and epoch, with their per-query values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from ..journal import JournalError, Run
from ._statistics import PairedDifference, paired_difference

HEADLINE = "ndcg@10"
"""The metric that verdicts are about."""


def evaluation_records(run: Run, *, role: str = "test") -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the latest evaluation record of every (collection label, path, epoch).

    A label is the collection's name, with its split where the same collection was scored on several.

    Args:
        run: The run.
        role: ``test``, or ``development`` for what checkpoints are chosen by.
    """
    records = [record for record in run.records("evaluation") if record.get("role", "test") == role]
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record["collection"], set()).add(record["split"])
    found = {}
    for record in records:
        name = record["collection"]
        label = name if len(splits[name]) == 1 else f"{name} ({record['split']})"
        found[(label, record["path"], _moment(record))] = record
    return found


def collections(run: Run) -> list[str]:
    """Return the labels of the scored collections, in order."""
    return list(dict.fromkeys(label for label, _, _ in evaluation_records(run)))


def epochs(run: Run, collection: str, path: str) -> list[int]:
    """Return the epochs that were scored on a path, ascending."""
    return sorted(epoch for label, p, epoch in evaluation_records(run) if (label, p) == (collection, path))


def evaluated_path(run: Run) -> str:
    """Return the variant that verdicts are about."""
    return run.config.judged


def difference(
    run: Run,
    collection: str,
    before: tuple[str, int],
    after: tuple[str, int],
    *,
    metric: str = HEADLINE,
    role: str = "test",
    queries: Collection[str] | None = None,
) -> PairedDifference | None:
    """Return the paired difference of two evaluations, or None where either or its queries are missing.

    Args:
        run: The run.
        collection: Label of the collection.
        before: (path, epoch).
        after: (path, epoch).
        metric: Which metric.
        role: As in :func:`evaluation_records`.
        queries: Only these; all of them where None.
    """
    records = evaluation_records(run, role=role)
    pair = [records.get((collection, *where)) for where in (before, after)]
    if pair[0] is None or pair[1] is None:
        return None
    try:
        first, second = (run.per_query(record["per_query"] or "") for record in pair if record is not None)
    except JournalError:
        return None
    if metric not in first or metric not in second:
        return None
    values = dict(zip(second["query_ids"], second[metric], strict=True))
    shared = [
        (a, values[q])
        for q, a in zip(first["query_ids"], first[metric], strict=True)
        if q in values and (queries is None or q in queries)
    ]
    if not shared:
        return None
    return paired_difference([a for a, _ in shared], [b for _, b in shared])


def last_trained(run: Run) -> Iterator[tuple[str, str, int]]:
    """Yield (collection, evaluated path, last epoch) of what was scored by the headline metric after training."""
    path = evaluated_path(run)
    for collection in collections(run):
        scored = epochs(run, collection, path)
        if scored and scored[-1] > 0 and HEADLINE in evaluation_records(run)[(collection, path, scored[-1])]["metrics"]:
            yield collection, path, scored[-1]


def fall_onset(run: Run, collection: str, path: str, reference: tuple[str, int]) -> int | None:
    """Return the step of the first epoch from which every later one is resolved below the reference.

    Args:
        run: The run.
        collection: Label of the collection.
        path: Which scoring path.
        reference: (path, epoch) to compare with.
    """
    onset = None
    for epoch in epochs(run, collection, path):
        if (path, epoch) == reference:
            continue
        change = difference(run, collection, reference, (path, epoch))
        if change is None or math.isnan(change.high) or change.high >= 0:
            onset = None
        elif onset is None:
            onset = int(evaluation_records(run)[(collection, path, epoch)]["step"])
    return onset


def _moment(record: dict[str, Any]) -> int:
    """Return the epoch of an evaluation, or its step in a run without epochs."""
    return int(record["step"] if record["epoch"] is None else record["epoch"])
