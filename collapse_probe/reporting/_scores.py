"""Evaluations as rows of a table: the raw encoder first, then by step, each with its paired differences."""

from __future__ import annotations

from ..diagnosis.screen import metric as metric_label
from ..journal import Evaluation
from ._facts import MOST_ROWS, Facts
from ._moments import beginning, moment, spread, variant
from ._text import Table, change, md, number, percent, score

METRIC_LABELS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map@100": "MAP@100", "recall@100": "Recall@100"}
MOST_METRICS = 6
_ALL_ROWS = 24
"""Rows of all collections together, unless each has a few at least."""

_FEWEST_ROWS = 4


def metric_name(name: str) -> str:
    """Return a metric as people write it, for Markdown."""
    return METRIC_LABELS.get(name, md(metric_label(name)))


def performance(facts: Facts, collection: str) -> Table:
    """Return the evaluations of one collection, some of them where there are many."""
    records = scored(facts, collection)
    metrics = metric_names(facts, collection)
    rows = [_row(facts, collection, one, metrics) for one in some(facts, records)]
    labels = [metric_name(name) for name in metrics]
    headers = ["model", *labels, "vs raw", "vs raw [95 %]", f"vs {beginning(facts)} [95 %]", "tied", "n queries"]
    return Table(headers, rows).without_empty_columns()


def _row(facts: Facts, collection: str, one: Evaluation, metrics: list[str]) -> list[str]:
    evaluations, judged = facts.evidence.evaluations, metrics[0]
    value, raw = one.metrics.get(judged), evaluations.raw(collection)
    start = next((first for first in evaluations.of(collection, one.variant) if first.step == 0), None)
    base = raw.metrics.get(judged) if raw and one.variant != "raw" else None
    against = [evaluations.change(first, one, judged) if first and first is not one else None for first in (raw, start)]
    cells = [change(found) for found in against]
    return [
        model(facts, collection, one),
        *("-" if (found := one.metrics.get(name)) is None else score(float(found)) for name in metrics),
        percent((value - base) / base) if base and value is not None else "-",
        *(("-", "-") if one.variant == "raw" else cells),
        "-" if one.tied_share is None else number(one.tied_share),
        "-" if one.n_queries is None else f"{one.n_queries:,}",
    ]


def scored(facts: Facts, collection: str) -> list[Evaluation]:
    """Return the evaluations of a collection: raw first, then by step."""
    found = [one for (label, _, _), one in facts.evidence.evaluations.records.items() if label == collection]
    return sorted(found, key=lambda one: (one.variant != "raw", one.step))


def some(facts: Facts, records: list[Evaluation]) -> list[Evaluation]:
    """Return a collection's evaluations at a few steps where there are many: all variants of each, and the raw one."""
    rows = min(MOST_ROWS, max(_FEWEST_ROWS, _ALL_ROWS // len(facts.evidence.evaluations.collections)))
    others = [one for one in records if one.variant != "raw"]
    steps = sorted({one.step for one in others})
    most = (rows - len(records) + len(others)) // max(1, len({one.variant for one in others}))
    if len(records) <= rows or most < 2:
        return [records[at] for at in spread(len(records), rows)]
    kept = {steps[at] for at in spread(len(steps), most)}
    return [one for one in records if one.variant == "raw" or one.step in kept]


def metric_names(facts: Facts, collection: str) -> list[str]:
    """Return the metrics of a collection, the judged one first, then one of each family: not ten cuts of one."""
    judged = facts.evidence.evaluations.metric(collection)
    held = dict.fromkeys(name for one in scored(facts, collection) for name in one.metrics)
    families: dict[str, str] = {}
    for name in [*([judged] if judged else []), *sorted(held, key=_preferred)]:
        families.setdefault(name.partition("@")[0], name)
    names = dict.fromkeys([*families.values(), *held])
    return list(names)[:MOST_METRICS]


def _preferred(name: str) -> tuple[int, str]:
    order = ("ndcg", "mrr", "map", "recall", "accuracy")
    family = name.partition("@")[0]
    return (order.index(family) if family in order else len(order), "")


def model(facts: Facts, collection: str, one: Evaluation) -> str:
    if one.variant == "raw":
        return "raw encoder"
    shown = variant(one.variant)
    return f"{moment(facts, one)}, {shown}" if shown else moment(facts, one)
