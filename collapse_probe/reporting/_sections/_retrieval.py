"""Retrieval: every collection and variant by step, with paired differences from the raw encoder and step 0."""

from __future__ import annotations

import math
from pathlib import Path

from ...diagnosis import (
    HEADLINE,
    REFERENCE,
    Change,
    Curve,
    agreement,
    collections,
    difference,
    epochs,
    evaluated_path,
    evaluation_records,
    fall_onset,
    last_trained,
    overlaps,
)
from ...diagnosis.screen import metric as metric_label
from ...journal import Evaluation
from ...statistics import PairedDifference
from .. import _figures
from .._facts import MOST_ROWS, Facts, Section
from .._moments import moment, variant
from .._style import plain, saved
from .._text import Table, bullets, change, interval, md, number, percent, score, signed

METRIC_LABELS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map@100": "MAP@100", "recall@100": "Recall@100"}
_METRICS = 6
_COLLECTIONS = 20

_LEGEND = (
    '"vs raw" is relative. Differences are paired over queries; brackets hold 95 % intervals. Means are over the '
    'judged queries: one that returned nothing counts 0. "tied" is the share of the top 10 places whose score equals '
    "a neighbour's."
)


def _write(facts: Facts) -> list[str]:
    names = facts.evidence.evaluations.collections
    blocks = [bullets(_sentences(facts))]
    for name in names[:_COLLECTIONS]:
        blocks += [f"### {md(name)}", _sample(facts, name), _shown(facts, name)]
    if len(names) > _COLLECTIONS:
        blocks.append(f"{len(names) - _COLLECTIONS:,} more collections are in `evaluations.csv`.")
    for name, table in _groups(facts):
        blocks += [f"### {md(name)}: mean over its parts", table.markdown]
    average = _average_of_all(facts)
    if average:
        blocks += ["### Average over the collections", average.markdown]
    return [*blocks, _LEGEND, facts.figure("retrieval")]


def _shown(facts: Facts, name: str) -> str:
    table, whole = performance(facts, name), len(_scored(facts, name))
    more = "" if whole <= MOST_ROWS else f"\n\n{whole - MOST_ROWS:,} more evaluations are in `evaluations.csv`."
    return table.markdown + more


def performance(facts: Facts, collection: str) -> Table:
    """Return the evaluations of one collection, some of them where there are many."""
    records = _scored(facts, collection)
    metrics = _metrics(facts, collection)
    rows = [_row(facts, collection, one, metrics) for one in _some(records)]
    labels = [METRIC_LABELS.get(name, md(metric_label(name))) for name in metrics]
    headers = ["model", *labels, "vs raw", "vs raw [95 %]", "vs step 0 [95 %]", "tied", "n queries"]
    return Table(headers, rows).without_empty_columns()


def _row(facts: Facts, collection: str, one: Evaluation, metrics: list[str]) -> list[str]:
    evaluations, judged = facts.evidence.evaluations, metrics[0]
    value, raw = one.metrics.get(judged), evaluations.raw(collection)
    start = next((first for first in evaluations.of(collection, one.variant) if first.step == 0), None)
    base = raw.metrics.get(judged) if raw and one.variant != "raw" else None
    against = [evaluations.change(first, one, judged) if first and first is not one else None for first in (raw, start)]
    cells = [change(found) for found in against]
    return [
        _model(facts, collection, one),
        *("-" if (found := one.metrics.get(name)) is None else score(float(found)) for name in metrics),
        percent((value - base) / base) if base and value is not None else "-",
        *(("-", "-") if one.variant == "raw" else cells),
        "-" if one.tied_share is None else number(one.tied_share),
        "-" if one.n_queries is None else f"{one.n_queries:,}",
    ]


def _scored(facts: Facts, collection: str) -> list[Evaluation]:
    """Return the evaluations of a collection: raw first, then by step."""
    found = [one for (label, _, _), one in facts.evidence.evaluations.records.items() if label == collection]
    return sorted(found, key=lambda one: (one.variant != "raw", one.step))


def _some(records: list[Evaluation]) -> list[Evaluation]:
    if len(records) <= MOST_ROWS:
        return records
    last = len(records) - 1
    return [records[round(at * last / (MOST_ROWS - 1))] for at in range(MOST_ROWS)]


def _metrics(facts: Facts, collection: str) -> list[str]:
    judged = facts.evidence.evaluations.metric(collection)
    held = dict.fromkeys(name for one in _scored(facts, collection) for name in one.metrics)
    return [*([judged] if judged else []), *(name for name in held if name != judged)][:_METRICS]


def _model(facts: Facts, collection: str, one: Evaluation) -> str:
    if one.variant == "raw":
        return "raw encoder"
    shown = variant(one.variant)
    return f"{moment(facts, one)}, {shown}" if shown else moment(facts, one)


def _sample(facts: Facts, collection: str) -> str:
    """Return what a collection's scores rest on, as a sentence."""
    records = _scored(facts, collection)
    one = records[0]
    parts = [f"n = {one.n_queries:,} queries" if one.n_queries is not None else ""]
    parts[0] += f" over {one.n_documents:,} documents" if one.n_documents is not None and parts[0] else ""
    parts.append(f"scored by {md(one.similarity)}" if one.similarity else "")
    reference = facts.run.config.reference
    if collection == REFERENCE and reference is not None:
        seen = " of the training data: a fall counts, a rise does not" if reference.seen else ""
        parts.append(f"{md(reference.source)} pairs{seen}")
    text = ", ".join(part for part in parts if part)
    taken = (
        " **Unverified**: stored vectors were used without their encoder."
        if not all(one.verified for one in records)
        else ""
    )
    return f"{text}.{taken}" if text else taken.strip()


def _sentences(facts: Facts) -> list[str]:
    """Return how retrieval changed, collection by collection."""
    if not facts.founding:
        return [_changed(curve) for curve in facts.evidence.curves[:_COLLECTIONS] if curve.changes]
    run, records, lines = facts.run, evaluation_records(facts.run), []
    for collection, path, epoch in last_trained(run):
        now = float(records[(collection, path, epoch)]["metrics"][HEADLINE])
        clauses = [
            _against(facts, collection, (path, epoch), label, reference)
            for label, reference in (("the raw encoder", ("raw", 0)), ("step 0", (path, 0)))
        ]
        start = f"On {md(collection)}, nDCG@10 {variant(path)} is {score(now)} after epoch {epoch}."
        n = int(records[(collection, path, epoch)]["n_queries"])
        end = f"Differences are paired over n = {n:,} queries, with 95 % intervals."
        lines.append(" ".join([start, *filter(None, clauses), end]))
    if not lines:
        lines = [
            f"On {md(collection)}, nDCG@10 {'of the ' if path == 'raw' else ''}{variant(path)} is "
            f"{score(float(record['metrics'][HEADLINE]))} (n = {int(record['n_queries']):,} queries)."
            for (collection, path, _), record in records.items()
            if HEADLINE in record["metrics"]
        ]
    return [*lines, *_without_predictor(facts), *_overlap(facts)]


def _changed(curve: Curve) -> str:
    one = curve.worst if curve.fell else next((c for c in curve.changes if c.against == "start"), curve.changes[0])
    relative = " (relative)" if curve.metric == "d_prime" else ""
    against = {"start": "step 0", "raw": "the raw encoder", "best": "its best stretch"}[one.against]
    sure = "" if one.interval is None else f" [{signed(one.interval.low)}, {signed(one.interval.high)}]"
    verb = _verb_of(one)
    n = "" if one.interval is None else f" (n = {one.interval.n:,})"
    return (
        f"On {md(curve.name)}, {md(metric_label(curve.metric))} {verb} against {against}: {score(one.before)} to "
        f"{score(one.after)}, {signed(one.value)}{sure}{relative}{n}."
    )


def _against(facts: Facts, collection: str, now: tuple[str, int], label: str, reference: tuple[str, int]) -> str | None:
    found = difference(facts.run, collection, reference, now)
    if found is None:
        return None
    start = float(evaluation_records(facts.run)[(collection, *reference)]["metrics"][HEADLINE])
    relative = f", {percent(found.mean / start)}" if start else ""
    onset = fall_onset(facts.run, collection, now[0], reference) if found.high < 0 else None
    since = "" if onset is None else f", in every evaluation from step {onset.step} on"
    return f"It {_verb(found)} against {label} ({score(start)}): {interval(found)}{relative}{since}."


def _verb_of(one: Change) -> str:
    if one.fell:
        return "**fell**"
    if one.interval is not None and one.interval.low > 0:
        return "**rose**"
    return "did not fall" if one.fell is False else "changed, without an interval,"


def _verb(found: PairedDifference) -> str:
    if math.isnan(found.high):
        return "differs, without an interval,"
    if found.high < 0:
        return "**fell**"
    return "**rose**" if found.low > 0 else "did not change by more than noise"


def _without_predictor(facts: Facts) -> list[str]:
    lines = []
    for collection, _, epoch in last_trained(facts.run):
        gap = agreement(facts.run, collection, epoch)
        if gap is not None:
            lines.append(
                f"On {md(collection)}, scoring with the predictor instead of without changes nDCG@10 by "
                f"{interval(gap)} (n = {gap.n} queries): with- and without-predictor scores agree, so **adding delta "
                "at scoring time is not what changed the scores**; its losses may still act through what they share."
            )
    return lines


def _overlap(facts: Facts) -> list[str]:
    """Return the change against the raw encoder apart by whether a relevant document was trained on."""
    lines = []
    for one in overlaps(facts.run):
        count = one.seen.n + (one.others.n if one.others else 0)
        rest = "" if one.others is None else f"; on the other {one.others.n:,} by {interval(one.others)}"
        lines.append(
            f"{one.seen.n:,} of the {count:,} queries of {md(one.collection)} have a relevant document that was "
            f"trained on. There, nDCG@10 differs from the raw encoder's by {interval(one.seen)}{rest}."
        )
    return lines


def _units(facts: Facts) -> dict[str, list[str]]:
    """Return what is averaged over, with its collections: each collection, but the parts of one together."""
    units: dict[str, list[str]] = {}
    for (label, _, _), one in facts.evidence.evaluations.records.items():
        members = units.setdefault(one.group or label, [])
        if label not in members and label != REFERENCE:
            members.append(label)
    return {name: members for name, members in units.items() if members}


def _groups(facts: Facts) -> list[tuple[str, Table]]:
    """Return the mean over the parts of each collection that comes in parts, as BEIR averages cqadupstack."""
    found = [(name, members) for name, members in _units(facts).items() if len(members) > 1]
    return [(name, _average(facts, {member: [member] for member in members})) for name, members in found]


def _average_of_all(facts: Facts) -> Table:
    units = _units(facts)
    return _average(facts, units) if len(units) > 1 else Table((), ())


def _average(facts: Facts, units: dict[str, list[str]]) -> Table:
    """Return the mean over units of the metric that all of them have, as the founding document averages."""
    evaluations = facts.evidence.evaluations
    names = [name for members in units.values() for name in members]
    metrics = {evaluations.metric(name) for name in names}
    metric = metrics.pop() if len(metrics) == 1 else None
    rows, base = [], None
    for first in _some(_scored(facts, names[0])) if metric else []:
        found = {name: evaluations.records.get((name, first.variant, first.step)) for name in names}
        if any(one is None or metric not in one.metrics for one in found.values()):
            continue
        value = {name: float(one.metrics[metric]) for name, one in found.items() if one is not None}
        mean = sum(sum(value[n] for n in unit) / len(unit) for unit in units.values()) / len(units)
        base = mean if first.variant == "raw" else base
        relative = percent((mean - base) / base) if base and first.variant != "raw" else "-"
        queries = sum(one.n_queries or 0 for one in found.values() if one is not None)
        rows.append([_model(facts, names[0], first), score(mean), relative, str(len(units)), f"{queries:,}"])
    label = METRIC_LABELS.get(str(metric), md(metric_label(str(metric))))
    return Table(["model", f"average {label}", "vs raw", "n collections", "n queries"], rows)


def _all(facts: Facts) -> str | None:
    """Return every number of every evaluation as CSV, if the report leaves some out."""
    every = facts.evidence.evaluations
    some = any(len(_scored(facts, name)) > MOST_ROWS for name in every.collections)
    many = any(len(one.metrics) > _METRICS for one in every.records.values())
    if not some and not many and len(every.collections) <= _COLLECTIONS:
        return None
    rows = [
        [label, str(one.step), name, metric, repr(float(value)), str(one.n_queries or "")]
        for (label, name, _), one in every.records.items()
        for metric, value in one.metrics.items()
    ]
    return Table(["collection", "step", "variant", "metric", "value", "n queries"], rows).csv


def _draw(facts: Facts, path: Path) -> str | None:
    if facts.founding and any(epochs(facts.run, name, "no_predictor") for name in collections(facts.run)):
        return _draw_by_epoch(facts, path)
    evaluations = facts.evidence.evaluations
    names = [one for one in evaluations.collections if evaluations.metric(one) and one != REFERENCE][:6]
    names = [name for name in names if any(one.variant != "raw" for one in _scored(facts, name))]
    if not names:
        return None
    with saved(path, rows=len(names), height=3.0) as axes:
        for axis, name in zip(axes, names, strict=True):
            metric = str(evaluations.metric(name))
            kinds = list(dict.fromkeys(one.variant for one in _scored(facts, name) if one.variant != "raw"))
            series = {
                plain(kind): [
                    (one.step, float(one.metrics[metric]))
                    for one in evaluations.of(name, kind)
                    if metric in one.metrics
                ]
                for kind in kinds[:6]
            }
            raw = evaluations.raw(name)
            reference = raw.metrics.get(metric) if raw else None
            curve = next((one for one in facts.evidence.curves if one.name == name), None)
            _figures.values_by_step(
                axis,
                series,
                reference=None if reference is None else float(reference),
                ylabel=plain(metric_label(metric)),
                onset=curve.onset if curve else None,
            )
            axis.set_title(f"{plain(name)}: {_count(evaluations.of(name, kinds[0])[-1])}", loc="left")
    dotted = "; dotted: the raw encoder" if any(evaluations.raw(name) for name in names) else ""
    fell = any(one.onset for one in facts.evidence.curves if one.name in names)
    return f"Every evaluation by step, by variant{dotted}{'; vertical line: the onset of a fall' if fell else ''}."


def _count(one: Evaluation) -> str:
    return f"n = {one.n_queries:,} queries" if one.n_queries is not None else "number of queries not recorded"


def _draw_by_epoch(facts: Facts, path: Path) -> str | None:
    run = facts.run
    names = [name for name in collections(run) if epochs(run, name, "no_predictor")]
    records = evaluation_records(run)
    with saved(path, rows=len(names), height=3.2) as axes:
        for axis, name in zip(axes, names, strict=True):
            series = {
                variant(p): [(e, float(records[(name, p, e)]["metrics"][HEADLINE])) for e in epochs(run, name, p)]
                for p in ("no_predictor", "predictor")
            }
            raw = records.get((name, "raw", 0))
            path_ = evaluated_path(run)
            changes = {e: difference(run, name, ("raw", 0), (path_, e)) for e in epochs(run, name, path_)}
            n = next(int(r["n_queries"]) for (label, _, _), r in records.items() if label == name)
            _figures.retrieval_by_epoch(
                axis,
                {label: points for label, points in series.items() if points},
                raw=None if raw is None else float(raw["metrics"][HEADLINE]),
                band={e: one for e, one in changes.items() if one is not None},
                title=f"{plain(name)}: n = {n:,} queries",
            )
    return (
        "nDCG@10 by epoch on both scoring paths; "
        "the band is the 95 % interval of the paired difference from the raw encoder."
    )


RETRIEVAL = Section(
    title="Retrieval",
    applies=lambda facts: bool(facts.evidence.evaluations.records),
    write=_write,
    figures={"retrieval": _draw},
    files={"evaluations.csv": _all},
)
