"""Reading a run's retrieval scores: by collection, path and epoch, with their per-query values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..journal import JournalError, Run
from ..statistics import Onset, PairedDifference, bracket, paired_difference

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
        found[(label, record["path"], moment(record))] = record
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
    first, second = (per_query(run, record, metric) for record in pair if record is not None)
    if first is None or second is None:
        return None
    shared = [q for q in first if q in second and (queries is None or q in queries)]
    if not shared:
        return None
    return paired_difference({q: first[q] for q in shared}, {q: second[q] for q in shared})


def per_query(run: Run, record: Mapping[str, Any], metric: str = HEADLINE) -> dict[str, float] | None:
    """Return query id to score; None where the record's file is missing or damaged, or lacks the metric.

    Args:
        run: The run.
        record: A record that names its file as ``per_query``.
        metric: A list in that file.
    """
    try:
        content = run.per_query(str(record["per_query"]))
        return {str(q): float(v) for q, v in zip(content["query_ids"], content[metric], strict=True)}
    except (JournalError, KeyError, TypeError, ValueError):
        return None


def last_trained(run: Run) -> Iterator[tuple[str, str, int]]:
    """Yield (collection, evaluated path, last epoch) of what was scored by the headline metric after training."""
    path = evaluated_path(run)
    for collection in collections(run):
        scored = epochs(run, collection, path)
        if scored and scored[-1] > 0 and HEADLINE in evaluation_records(run)[(collection, path, scored[-1])]["metrics"]:
            yield collection, path, scored[-1]


def fall_onset(run: Run, collection: str, path: str, reference: tuple[str, int]) -> Onset | None:
    """Return the evaluation from which every later one is resolved below the reference.

    Args:
        run: The run.
        collection: Label of the collection.
        path: Which scoring path.
        reference: (path, epoch) to compare with.
    """
    steps, bad = [], []
    for epoch in epochs(run, collection, path):
        if (path, epoch) == reference:
            continue
        change = difference(run, collection, reference, (path, epoch))
        steps.append(int(evaluation_records(run)[(collection, path, epoch)]["step"]))
        bad.append(change is not None and not math.isnan(change.high) and change.high < 0)
    return bracket(steps, bad)


def moment(record: Mapping[str, Any]) -> int:
    """Return the epoch of a record, or its step in a run without epochs."""
    return int(record["step"] if record["epoch"] is None else record["epoch"])
