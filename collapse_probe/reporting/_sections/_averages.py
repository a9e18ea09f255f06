"""Means over the parts of a collection, and over the collections."""

from __future__ import annotations

from ...diagnosis import REFERENCE
from .._facts import Facts, Section
from .._moments import beginning
from .._scores import metric_name, model, scored, some
from .._text import Table, md, percent, score


def _write(facts: Facts) -> list[str]:
    blocks = []
    for name, table in _groups(facts):
        blocks += [f"### {md(name)}: mean over its parts", table.markdown]
    average = _average_of_all(facts)
    return [*blocks, *(["### Average over the collections", average.markdown] if average else [])]


def _applies(facts: Facts) -> bool:
    return bool(_groups(facts)) or bool(_average_of_all(facts))


def _units(facts: Facts) -> dict[str, list[str]]:
    """Return what is averaged over, with its collections: each collection, but the parts of one together."""
    # Held-out pairs, which a run adds by itself, are no collection to average over.
    asked = {one.name for one in facts.run.config.collections}
    units: dict[str, list[str]] = {}
    for (label, _, _), one in facts.evidence.evaluations.records.items():
        if one.mean_of:
            continue
        members = units.setdefault(one.group or label, [])
        if label not in members and label != REFERENCE and (not asked or one.collection in asked):
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
    rows, base, against = [], None, ""
    for first in some(facts, scored(facts, names[0])) if metric else []:
        found = {name: evaluations.records.get((name, first.variant, first.step)) for name in names}
        if any(one is None or metric not in one.metrics for one in found.values()):
            continue
        value = {name: float(one.metrics[metric]) for name, one in found.items() if one is not None}
        mean = sum(sum(value[n] for n in unit) / len(unit) for unit in units.values()) / len(units)
        against = against or ("raw" if first.variant == "raw" else beginning(facts, first.step))
        relative = percent((mean - base) / base) if base else "-"
        base = mean if base is None else base
        queries = sum(one.n_queries or 0 for one in found.values() if one is not None)
        rows.append([model(facts, names[0], first), score(mean), relative, str(len(units)), f"{queries:,}"])
    label = metric_name(str(metric))
    return Table(["model", f"average {label}", f"vs {against}", "n collections", "n queries"], rows)


AVERAGES = Section(title="Averages", applies=_applies, write=_write)
