"""Several runs side by side: the founding document's performance table, with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError, setting, unknown_name
from ..journal import LiveRun
from ..statistics import SeededDifference, align, holm, seeded_difference
from . import _scores
from ._diagnosis import as_run

BASELINE = "Baseline (raw encoder)"

_Collection = tuple[str, str]
_Records = Mapping[tuple[_Collection, str, int], dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """A row's difference from a reference, over the queries of all shared collections.

    Attributes:
        reference: Label of the row that it is compared with.
        difference: Mean over collections, with the interval and p over the queries of these two runs; NaN, of 0
            queries, where one of the two has no scores of single queries.
        relative: The difference over the reference's own average; NaN where that is 0.
        adjusted_p: Its p after Holm's method over every comparison of the table.
    """

    reference: str
    difference: SeededDifference
    relative: float
    adjusted_p: float


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Attributes:
        label: Which run, at which epoch, or step in a run without epochs.
        path: The variant that was scored, such as ``raw`` or ``no_predictor``.
        epoch: The epoch, or the step in a run without epochs; 0 for the raw encoder and step 0.
        by_collection: Collection to its mean score.
        average: Mean over the collections.
        against_baseline: Difference from the raw encoder; None for the raw encoder itself.
        against_reference: Difference from the reference run; None for that run and the raw encoder, and where the
            reference run is the raw encoder itself, which would be the same comparison twice.
    """

    label: str
    path: str
    epoch: int
    by_collection: dict[str, float]
    average: float
    against_baseline: Compared | None
    against_reference: Compared | None


@dataclass(frozen=True)
class _Scored:
    """One model's scores; ``encoder`` is what its baseline's label is made of.

    ``values`` are those of every query, without the collections whose queries have none; ``means`` are of all.
    """

    run: str
    status: str
    path: str
    epoch: int
    encoder: tuple[str, str, str]
    by_step: bool
    sizes: dict[_Collection, int | None]
    fingerprints: dict[_Collection, str]
    means: dict[_Collection, float]
    values: dict[_Collection, dict[str, float]]

    @property
    def label(self) -> str:
        if self.path == "raw":
            return f"{self.run}, raw encoder"
        moment = f"step {self.epoch}" if self.by_step or self.epoch == 0 else f"epoch {self.epoch}"
        ended = f" ({self.status})" if self.status in ("failed", "interrupted") else ""
        return f"{self.run}{ended}, {moment}" + (", with predictor" if self.path == "predictor" else "")


def compare(
    runs: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    metric: str = _scores.HEADLINE,
    every_epoch: bool = False,
    against: str | None = None,
) -> list[Row]:
    """Return the raw encoder and every run at its last evaluated epoch, on the collections that all share.

    Runs whose raw encoders differ (weights, similarity, or scores) have a raw encoder each. Each run is scored on
    its own judged variant. A run without scores of single queries is shown without intervals.

    Args:
        runs: At least two, each a run folder's path, a ``Run`` or a ``Watch``.
        labels: What the runs are called, one each; their names where None.
        metric: Which metric.
        every_epoch: Every epoch of the runs, step 0 too, in place of the last.
        against: Name of the run that the others are compared with; the first one where None.

    Raises:
        InputError: fewer than two runs, no shared collection, runs on different queries, an unknown metric or run, or
            not one label for each run.
    """
    runs = [as_run(run) for run in runs]
    labels = _labels(runs, labels)
    reference_run = labels[0] if against is None else _named(against, labels)
    records = {label: _by_split(run) for label, run in zip(labels, runs, strict=True)}
    shared = _shared_collections(records, runs)
    _check_metric(metric, records.values(), shared)
    baselines: list[_Scored] = []
    table: list[tuple[_Scored, _Scored | None]] = []
    for label, run in zip(labels, runs, strict=True):
        points = _points(run, label, records[label], shared, every_epoch=every_epoch)
        raw, *scored = (_scored(run, label, records[label], shared, at, metric) for at in (("raw", 0), *points))
        baseline = None if raw is None else _known(raw, baselines)
        table += [(one, baseline) for one in scored if one is not None]
    _check_same_queries([*baselines, *(one for one, _ in table)], _how_to_score(runs, "both on the same folder"))
    reference = next(one for one, _ in reversed(table) if one.run == reference_run)
    return _adjusted(_rows(baselines, table, reference))


def _rows(
    baselines: Sequence[_Scored], table: Sequence[tuple[_Scored, _Scored | None]], reference: _Scored
) -> list[Row]:
    names = dict(zip(map(id, baselines), _baseline_labels(baselines), strict=True))
    rows = [_row(one, names[id(one)], None, None) for one in baselines]
    for one, baseline in table:
        vs_baseline = None
        if baseline is not None and one.path != "raw":
            vs_baseline = _compared(one, baseline, names[id(baseline)])
        repeated = reference.path == "raw" and baseline is not None and _alike(baseline, reference)
        vs_reference = None if one is reference or repeated else _compared(one, reference, reference.label)
        rows.append(_row(one, one.label, vs_baseline, vs_reference))
    return rows


def _row(one: _Scored, label: str, vs_baseline: Compared | None, vs_reference: Compared | None) -> Row:
    names = [name for name, _ in one.means]
    means = {name if names.count(name) == 1 else f"{name} ({split})": mean for (name, split), mean in one.means.items()}
    average = math.fsum(means.values()) / len(means)
    return Row(label, one.path, one.epoch, means, average, vs_baseline, vs_reference)


def _compared(one: _Scored, reference: _Scored, label: str) -> Compared:
    start = math.fsum(reference.means.values()) / len(reference.means)
    if all(name in one.values and name in reference.values for name in reference.means):
        pairs = [align(values, one.values[name]) for name, values in reference.values.items()]
        found = seeded_difference(*(after[None] - before[None] for before, after in pairs))
    else:
        mean = math.fsum(one.means[name] - before for name, before in reference.means.items()) / len(reference.means)
        unknown = dict.fromkeys(("low", "high", "p_value", "error", "df"), math.nan)
        found = SeededDifference(mean=mean, n_seeds=1, n_queries=0, **unknown)
    return Compared(label, found, found.mean / start if start else math.nan, found.p_value)


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    family = [c for row in rows for c in (row.against_baseline, row.against_reference) if c is not None]
    adjusted = dict(zip(map(id, family), holm([c.difference.p_value for c in family]), strict=True))

    def with_p(one: Compared | None) -> Compared | None:
        return None if one is None else replace(one, adjusted_p=adjusted[id(one)])

    return [
        replace(row, against_baseline=with_p(row.against_baseline), against_reference=with_p(row.against_reference))
        for row in rows
    ]


def _labels(runs: Sequence[LiveRun], given: Sequence[str] | None) -> list[str]:
    """Return the given labels, else every run's name, or its folder where two have the same name."""
    if len(runs) < 2:
        raise InputError(f"compare needs at least two runs, got {len(runs)}: give two or more run folders")
    places = [run.folder.resolve() if run.folder is not None else id(run) for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{run.folder or run.name}: given twice; compare needs different runs")
    if given is not None:
        labels = [str(one) for one in given]
        if len(labels) != len(runs) or len(set(labels)) < len(labels):
            raise InputError(f"labels: {len(runs)} different ones are needed, one a run; got {', '.join(labels)}")
        return labels
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else str(run.folder or f"{name} ({at})")
        for at, (name, run) in enumerate(zip(names, runs, strict=True), start=1)
    ]


def _named(name: str, labels: Sequence[str]) -> str:
    if name not in labels:
        raise unknown_name("run", name, labels)
    return name


def _by_split(run: LiveRun) -> _Records:
    return {
        ((record["collection"], record["split"]), path, epoch): record
        for (_, path, epoch), record in _scores.evaluation_records(run).items()
    }


def _how_to_score(runs: Sequence[LiveRun], what: str) -> str:
    """Return how runs get scores: by the command line where it trained them, else from the program that did."""
    if all(isinstance(run.config.session.get("recipe"), dict) for run in runs):
        return f"evaluate {what}, {setting('collections', 'DIR')}"
    return f"score {what} while they train, by w.evaluation(NAME, METRICS, per_query=...) or a trainer's evaluator"


def _shared_collections(records: Mapping[str, _Records], runs: Sequence[LiveRun]) -> list[_Collection]:
    every = {label: list(dict.fromkeys(name for name, _, _ in found)) for label, found in records.items()}
    shared = [name for name in next(iter(every.values())) if all(name in names for names in every.values())]
    if not shared:
        held = "; ".join(
            f"{label}: {', '.join(f'{name} {split}' for name, split in names) or 'none'}"
            for label, names in every.items()
        )
        raise InputError(f"no collection is scored in all runs ({held}): {_how_to_score(runs, 'them on one')}")
    return shared


def _check_metric(metric: str, records: Iterable[_Records], shared: Sequence[_Collection]) -> None:
    held = [set(one["metrics"]) for found in records for (name, _, _), one in found.items() if name in shared]
    known = set.intersection(*held)
    if metric not in known:
        raise unknown_name("metric", metric, known)


def _check_same_queries(every: Sequence[_Scored], remedy: str) -> None:
    first = every[0]
    for one in every[1:]:
        for name, split in one.means:
            values, expected = (found.values.get((name, split)) for found in (one, first))
            if values is not None and expected is not None and values.keys() != expected.keys():
                raise InputError(
                    f"{name} ({split}): {first.run} and {one.run} are two runs on different queries ({len(expected)} "
                    f"and {len(values)}, {len(expected.keys() & values.keys())} shared); {remedy}"
                )
            sizes = first.sizes[(name, split)], one.sizes[(name, split)]
            if None not in sizes and sizes[0] != sizes[1]:
                raise InputError(
                    f"{name} ({split}): {first.run} and {one.run} searched different corpora ({sizes[0]} and "
                    f"{sizes[1]} documents); {remedy}"
                )
            if len({one.fingerprints[(name, split)], first.fingerprints[(name, split)]} - {""}) > 1:
                raise InputError(
                    f"{name} ({split}): {first.run} and {one.run} were scored on other texts or judgements (the same "
                    f"ids, another fingerprint); {remedy}"
                )


def _judged(run: LiveRun, records: _Records, shared: Sequence[_Collection]) -> str:
    """Return the variant that is shown: the judged one, else the one that was scored most often on what is shared."""
    counts = Counter(path for name, path, _ in records if path != "raw" and name in shared)
    declared = run.config.judged
    return declared if declared in counts or not counts else counts.most_common(1)[0][0]


def _points(
    run: LiveRun, label: str, records: _Records, shared: Sequence[_Collection], *, every_epoch: bool
) -> list[tuple[str, int]]:
    """Return the (path, epoch) of a run that are shown: those that all shared collections have."""
    if not any(path != "raw" for _, path, _ in records) and not run.config.trains:
        return [("raw", 0)]
    path = _judged(run, records, shared)
    scored = [{epoch for name, p, epoch in records if (name, p) == (one, path)} for one in shared]
    epochs = sorted(set.intersection(*scored))
    if not epochs:
        raise InputError(
            f"{label}: no epoch is scored on all of {', '.join(f'{name} {split}' for name, split in shared)}: "
            f"evaluate {run.folder} on them, {setting('collections', 'DIR')}"
        )
    return [(path, epoch) for epoch in (epochs if every_epoch else epochs[-1:])]


def _scored(
    run: LiveRun, label: str, records: _Records, shared: Sequence[_Collection], at: tuple[str, int], metric: str
) -> _Scored | None:
    found = {name: records[(name, *at)] for name in shared if (name, *at) in records}
    if len(found) < len(shared):
        return None
    encoder = run.config.session.get("encoder") or {}
    identity = (encoder.get("name"), encoder.get("weights_sha256"), found[shared[0]].get("similarity"))
    values, means = {}, {}
    for name, record in found.items():
        content = run.per_query(record["per_query"]) if record["per_query"] is not None else {}
        means[name] = float(record["metrics"][metric])
        if metric in content:
            values[name] = dict(zip(content["query_ids"], content[metric], strict=True))
            means[name] = math.fsum(values[name].values()) / len(values[name])
    return _Scored(
        label,
        run.status,
        *at,
        (str(identity[0] or ""), str(identity[1] or ""), str(identity[2] or "")),
        all(record["epoch"] is None for record in found.values()),
        {name: record["n_documents"] for name, record in found.items()},
        {name: _fingerprint(run, name, record) for name, record in found.items()},
        means,
        values,
    )


def _fingerprint(run: LiveRun, collection: _Collection, record: Mapping[str, Any]) -> str:
    """Return the record's own, or what ``run.json`` says of that collection, or nothing where neither is known."""
    known = {(one.name, one.split): one.fingerprint for one in run.config.collections}
    return str(record.get("fingerprint") or known.get(collection) or "")


def _known(raw: _Scored, baselines: list[_Scored]) -> _Scored:
    """Return the raw encoder among those found that this one is, after adding it where it is none of them."""
    for one in baselines:
        if _same(one, raw):
            return one
    baselines.append(raw)
    return raw


def _same(one: _Scored, other: _Scored) -> bool:
    """Return whether two raw encoders are one: its name, weights, similarity and scores."""
    return one.encoder == other.encoder and _alike(one, other)


def _alike(one: _Scored, other: _Scored) -> bool:
    """Return whether the scores of every query agree, to 1e-6; queries that only one has are an error of its own.

    Euclidean and cosine rank unit vectors alike, so raw encoders of two similarities often are.
    """
    return all(abs(mean - other.means[name]) <= 1e-6 for name, mean in one.means.items()) and all(
        abs(values.get(query, value) - value) <= 1e-6
        for name, values in one.values.items()
        for query, value in other.values.get(name, {}).items()
    )


def _baseline_labels(baselines: Sequence[_Scored]) -> list[str]:
    """Return the shortest labels that tell the raw encoders apart."""
    labels = [BASELINE] * len(baselines)
    for parts in range(2, 5):
        if len(set(labels)) == len(labels):
            break
        labels = []
        for one in baselines:
            name, weights, similarity = one.encoder
            known = (name, similarity, weights and f"weights {weights[:8]}", one.run)[:parts]
            labels.append(", ".join(filter(None, (BASELINE, *known))))
    return labels
