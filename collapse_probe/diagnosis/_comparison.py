"""Several runs side by side: the founding document's performance table, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, unknown_name
from ..journal import Run
from . import _scores
from ._statistics import SeededDifference, holm, macro_average, randomisation_p

BASELINE = "Baseline (raw encoder)"


@dataclass(frozen=True)
class Compared:
    """A row's difference from a reference, over the queries of all shared collections.

    Attributes:
        reference: Label of the row that it is compared with.
        difference: Mean over collections, queries resampled within each.
        relative: The difference over the reference's own average; NaN where that is 0.
        p_value: Sign-flip randomisation of the same mean, two-sided.
        adjusted_p: After Holm's method over every comparison of the table.
        smallest: The true difference that this query set would resolve in 80 % of cases.
    """

    reference: str
    difference: SeededDifference
    relative: float
    p_value: float
    adjusted_p: float
    smallest: float


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Attributes:
        label: Which run, at which epoch.
        by_collection: Collection to its mean score.
        average: Mean over the collections.
        against_baseline: Difference from the raw encoder; None for the raw encoder itself.
        against_reference: Difference from the reference run; None for that run and the raw encoder.
    """

    label: str
    by_collection: dict[str, float]
    average: float
    against_baseline: Compared | None
    against_reference: Compared | None


@dataclass(frozen=True)
class _Scored:
    label: str
    baseline: str
    by_collection: dict[str, np.ndarray]


def compare(
    runs: Sequence[Run], *, metric: str = _scores.HEADLINE, every_epoch: bool = False, against: str | None = None
) -> list[Row]:
    """Return the raw encoder and every run at its last evaluated epoch, on the collections that all share.

    Runs with another encoder or similarity have a raw encoder of their own. Each run is scored on its own evaluated
    path.

    Args:
        runs: At least two.
        metric: Which metric.
        every_epoch: Every epoch of the runs, step 0 too, in place of the last.
        against: Name of the run that the others are compared with; the first one where None.

    Raises:
        InputError: fewer than two runs, no shared collection, runs on different queries, an unknown metric or run.
    """
    if len(runs) < 2:
        raise InputError(f"compare needs at least two runs, got {len(runs)}: give two or more run folders")
    labels = _labels(runs)
    shared = _shared_collections(runs, labels, metric)
    reference_run = labels[0] if against is None else _named(against, labels)
    baselines: dict[str, _Scored] = {}
    rows: list[_Scored] = []
    last_of: dict[str, _Scored] = {}
    for run, label in zip(runs, labels, strict=True):
        key = _baseline_label(run, runs)
        raw = _scored(run, BASELINE if key == "" else f"{BASELINE}, {key}", key, shared, "raw", 0, metric)
        if raw is not None:
            baselines.setdefault(key, raw)
        for path, epoch in _points(run, shared, every_epoch=every_epoch):
            name = label if path == "raw" else f"{label}, {'step 0' if epoch == 0 else f'epoch {epoch}'}"
            found = _scored(run, name, key, shared, path, epoch, metric)
            if found is not None:
                rows.append(found)
                last_of[label] = found
    return _adjusted(_rows(baselines, rows, last_of.get(reference_run)))


def _rows(baselines: dict[str, _Scored], rows: Sequence[_Scored], reference: _Scored | None) -> list[Row]:
    table = [_row(one, None, None) for one in baselines.values()]
    return table + [_row(one, baselines.get(one.baseline), None if one is reference else reference) for one in rows]


def _row(one: _Scored, baseline: _Scored | None, reference: _Scored | None) -> Row:
    means = {name: float(values.mean()) for name, values in one.by_collection.items()}
    average = math.fsum(means.values()) / len(means)
    return Row(one.label, means, average, _compared(one, baseline), _compared(one, reference))


def _compared(one: _Scored, reference: _Scored | None) -> Compared | None:
    if reference is None:
        return None
    differences = [one.by_collection[name] - values for name, values in reference.by_collection.items()]
    start = math.fsum(float(values.mean()) for values in reference.by_collection.values()) / len(differences)
    found = macro_average(differences)
    spread = math.sqrt(sum(float(d.var(ddof=1)) / len(d) for d in differences if len(d) > 1)) / len(differences)
    p_value = randomisation_p(differences)
    relative = found.mean / start if start else math.nan
    # 2.80 standard errors: the 97.5 % and 80 % points of the normal distribution.
    return Compared(reference.label, found, relative, p_value, p_value, (1.959964 + 0.841621) * spread)


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    family = [c for row in rows for c in (row.against_baseline, row.against_reference) if c is not None]
    adjusted = dict(zip(map(id, family), holm([c.p_value for c in family]), strict=True))

    def with_p(one: Compared | None) -> Compared | None:
        return None if one is None else replace(one, adjusted_p=adjusted[id(one)])

    return [
        replace(row, against_baseline=with_p(row.against_baseline), against_reference=with_p(row.against_reference))
        for row in rows
    ]


def _labels(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]


def _named(name: str, labels: Sequence[str]) -> str:
    if name not in labels:
        raise unknown_name("run", name, labels)
    return name


def _baseline_label(run: Run, runs: Sequence[Run]) -> str:
    """Return what tells this run's raw encoder from others'; empty where all runs share one."""
    keys = {_encoder(one) for one in runs}
    if len(keys) == 1:
        return ""
    name, _, similarity = _encoder(run)
    return f"{name}, {similarity}"


def _encoder(run: Run) -> tuple[str, str, str]:
    encoder = run.config.get("encoder") or {}
    similarity = (run.config.get("recipe") or {}).get("similarity", "")
    return str(encoder.get("name")), str(encoder.get("weights_sha256")), str(similarity)


def _shared_collections(runs: Sequence[Run], labels: Sequence[str], metric: str) -> list[str]:
    every = [_scores.collections(run) for run in runs]
    shared = [name for name in every[0] if all(name in names for names in every)]
    if not shared:
        held = "; ".join(f"{label}: {', '.join(names) or 'none'}" for label, names in zip(labels, every, strict=True))
        raise InputError(
            f"no collection is scored in all runs ({held}): `collapse-probe evaluate RUN --beir ...` adds one"
        )
    for name in shared:
        queries = [_queries(run, name) for run in runs]
        for label, found in zip(labels, queries, strict=True):
            if found != queries[0]:
                raise InputError(
                    f"{name}: {labels[0]} and {label} were scored on different queries ({len(queries[0])} and "
                    f"{len(found)}, {len(queries[0] & found)} shared): score both on the same split"
                )
    known = {m for run in runs for record in _scores.evaluation_records(run).values() for m in record["metrics"]}
    if metric not in known:
        raise unknown_name("metric", metric, known)
    return shared


def _queries(run: Run, collection: str) -> set[str]:
    records = _scores.evaluation_records(run)
    record = next(record for (name, _, _), record in records.items() if name == collection)
    return set(run.per_query(record["per_query"])["query_ids"])


def _points(run: Run, shared: Sequence[str], *, every_epoch: bool) -> list[tuple[str, int]]:
    """Return the (path, epoch) of a run that are shown: those that all shared collections have."""
    path = _scores.evaluated_path(run)
    common = set.intersection(*(set(_scores.epochs(run, name, path)) for name in shared))
    epochs = sorted(common)
    if not epochs:
        return [("raw", 0)]
    return [(path, epoch) for epoch in (epochs if every_epoch else epochs[-1:])]


def _scored(
    run: Run, label: str, baseline: str, shared: Sequence[str], path: str, epoch: int, metric: str
) -> _Scored | None:
    records = _scores.evaluation_records(run)
    found = {}
    for name in shared:
        record = records.get((name, path, epoch))
        if record is None:
            return None
        content = run.per_query(record["per_query"])
        values = dict(zip(content["query_ids"], content[metric], strict=True))
        found[name] = np.array([values[query] for query in sorted(values)])
    return _Scored(label, baseline, found)
