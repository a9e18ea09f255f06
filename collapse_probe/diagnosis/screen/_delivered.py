"""Whose weights a training left, on the first screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._delivered import delivered_of
from .._evaluations import REFERENCE
from .._evidence import Evidence
from ._words import clean, metric, number

_COLLECTIONS = 2


def delivered(evidence: Evidence, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return whose weights a training left, and how they were scored then; empty where they are the last step's."""
    found = delivered_of(evidence)
    if found is None:
        return ""
    step, last = found["step"], found["last"]
    if step == last:
        return f"step {last:,}, the last: the state that was put back was the live weights themselves, no copy"
    if step is None:
        return f"neither step {last:,}, the last, nor another step that was seen: an average, or from elsewhere"
    scores = [text for row in rows if (text := _scores(evidence, row, step))][:_COLLECTIONS]
    whose = f"step {step:,}" if step else "the start"
    return f"{whose}, not step {last:,}, the last" + (f": {'; '.join(scores)}" if scores else "")


def _scores(evidence: Evidence, row: Mapping[str, Any], step: int) -> str:
    """Return a collection's score at a step and at its last evaluation; empty where one is missing, or both are one."""
    subject = next((one for one in evidence.evaluations.subjects if one.label == row["collection"]), None)
    if subject is None or subject.collection == REFERENCE:
        return ""
    scored = {one.step: one.metrics for one in evidence.evaluations.of(subject.collection, subject.variant)}
    end, name = max(scored, default=step), row["metric"]
    if step not in scored or end == step or not all(name in scored[at] for at in (step, end)):
        return ""
    there, then = (number(scored[at][name]) for at in (step, end))
    named = f"{clean(row['collection'], length=24)} {metric(name)}"
    return "" if there == then else f"{named} {there} there, {then} at step {end:,}"
