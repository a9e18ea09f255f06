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
from .._facts import Facts, Section
from .._moments import beginning, onset_of, places, variant
from .._scores import MOST_METRICS, performance, scored, some
from .._style import plain, saved
from .._text import Table, bullets, interval, md, percent, score, signed

_COLLECTIONS = 20
_DOMAINS = {"in": "in the domain that is trained on", "out": "outside the domain that is trained on"}
_UNKNOWN = "whether in the domain that is trained on was not told"


def _write(facts: Facts) -> list[str]:
    names = facts.evidence.evaluations.collections
    blocks = [bullets(_sentences(facts))]
    for name in names[:_COLLECTIONS]:
        blocks += [f"### {md(name)}", _sample(facts, name), _shown(facts, name)]
    if len(names) > _COLLECTIONS:
        blocks.append(f"{len(names) - _COLLECTIONS:,} more collections are in `evaluations.csv`.")
    return [*blocks, _legend(blocks), facts.figure("retrieval")]


def _legend(blocks: list[str]) -> str:
    """Return what the columns mean that the tables have."""
    columns = " ".join(blocks)
    return " ".join(
        text
        for mark, text in (
            ("| vs raw |", '"vs raw" is relative.'),
            ("[95 %]", "Differences are paired over queries; brackets hold 95 % intervals."),
            ("", "Means are over the judged queries: one that returned nothing counts 0."),
            ("| tied |", '"tied" is the share of the top 10 places whose score equals a neighbour\'s.'),
        )
        if mark in columns
    )


def _shown(facts: Facts, name: str) -> str:
    table, records = performance(facts, name), scored(facts, name)
    metrics = len({metric for one in records for metric in one.metrics})
    left = [(len(records) - len(table.rows), "evaluations"), (metrics - MOST_METRICS, "metrics")]
    more = " and ".join(f"{count:,} more {what}" for count, what in left if count > 0)
    return table.markdown + (f"\n\n{more[0].upper()}{more[1:]} are in `evaluations.csv`." if more else "")


def _sample(facts: Facts, collection: str) -> str:
    """Return what a collection's scores rest on, as a sentence."""
    records = scored(facts, collection)
    one = records[0]
    parts = [f"n = {one.n_queries:,} queries" if one.n_queries is not None else ""]
    parts[0] += f" over {one.n_documents:,} documents" if one.n_documents is not None and parts[0] else ""
    parts.append(f"scored by {md(one.similarity)}" if one.similarity else "")
    reference = facts.run.config.reference
    if collection == REFERENCE and reference is not None:
        seen = " of the training data: a fall counts, a rise does not" if reference.seen else ""
        parts.append(f"{md(reference.source)} pairs{seen}")
    if not facts.founding and facts.run.config.trains:
        parts.append(_DOMAINS.get(records[-1].domain, _UNKNOWN))
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
        return [_changed(facts, curve) for curve in facts.evidence.curves[:_COLLECTIONS] if curve.changes]
    run, records, lines = facts.run, evaluation_records(facts.run), []
    for collection, path, epoch in last_trained(run):
        now = float(records[(collection, path, epoch)]["metrics"][HEADLINE])
        clauses = [
            _against(facts, collection, (path, epoch), label, reference)
            for label, reference in (("the raw encoder", ("raw", 0)), ("step 0", (path, 0)))
        ]
        start = f"On {md(collection)}, nDCG@10 {variant(path)} is {score(now)} after epoch {epoch}."
        n = int(records[(collection, path, epoch)]["n_queries"])
        end = f"n = {n:,} queries."
        lines.append(" ".join([start, *filter(None, clauses), end]))
    if not lines:
        lines = [
            f"On {md(collection)}, nDCG@10 {'of the ' if path == 'raw' else ''}{variant(path)} is "
            f"{score(float(record['metrics'][HEADLINE]))} (n = {int(record['n_queries']):,} queries)."
            for (collection, path, _), record in records.items()
            if HEADLINE in record["metrics"]
        ]
    return [*lines, *_without_predictor(facts), *_overlap(facts)]


def _changed(facts: Facts, curve: Curve) -> str:
    one = curve.worst if curve.fell else curve.against("start") or curve.changes[0]
    relative = " (relative)" if curve.metric == "d_prime" else ""
    named = {"start": beginning(facts, curve.steps[0]), "raw": "the raw encoder", "best": "its best stretch"}
    sure = "" if one.interval is None else f" [{signed(one.interval.low)}, {signed(one.interval.high)}]"
    verb = _verb_of(one)
    n = "" if one.interval is None else f" (n = {one.interval.n:,})"
    return (
        f"On {md(curve.name)}, {md(metric_label(curve.metric))} {verb} against {named[one.against]}: "
        f"{score(one.before)} to {score(one.after)}, {signed(one.value)}{sure}{relative}{n}."
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
                f"{interval(gap)} (n = {gap.n} queries): scores agree, so **adding delta at scoring time is not what "
                "changed the scores**."
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


def _all(facts: Facts) -> str | None:
    """Return every number of every evaluation as CSV, if the report leaves some out."""
    every = facts.evidence.evaluations
    left_out = any(len(scored(facts, name)) > len(some(facts, scored(facts, name))) for name in every.collections)
    held = [{metric for one in scored(facts, name) for metric in one.metrics} for name in every.collections]
    many = any(len(metrics) > MOST_METRICS for metrics in held)
    if not left_out and not many and len(every.collections) <= _COLLECTIONS:
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
    names = [name for name in names if any(one.variant != "raw" for one in scored(facts, name))]
    if not names:
        return None
    # What looks like a fall and is not resolved is none: the text beside says so.
    known = {one.collection: onset_of(facts, one.onset) for one in reversed(facts.evidence.curves) if one.fell}
    fell = {name: known[name] for name in names if known.get(name) is not None}
    with saved(path, rows=len(names), height=3.0) as axes:
        for axis, name in zip(axes, names, strict=True):
            metric = str(evaluations.metric(name))
            kinds = list(dict.fromkeys(one.variant for one in scored(facts, name) if one.variant != "raw"))
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
            _figures.values_by_step(
                axis,
                series,
                reference=None if reference is None else float(reference),
                ylabel=plain(metric_label(metric)),
                onset=fell.get(name),
                models=places(facts),
            )
            axis.set_title(f"{plain(name)}: {_count(evaluations.of(name, kinds[0])[-1])}", loc="left")
    dotted = "; dotted: the raw encoder" if any(evaluations.raw(name) for name in names) else ""
    by = "Every model" if facts.run.config.examined else "Every evaluation by step, by variant"
    return f"{by}{dotted}{'; vertical line: the onset of a fall' if fell else ''}."


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
