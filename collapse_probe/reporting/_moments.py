"""How a step, an epoch and a variant are called."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..journal import Evaluation
from ._facts import Facts
from ._text import md

MOST_EPOCHS = 7
"""Epochs that a figure with one panel or line each shows."""

VARIANTS = {"raw": "raw encoder", "no_predictor": "without predictor", "predictor": "with predictor", "model": ""}


def variant(name: str) -> str:
    """Return how a variant is called; empty for the one that a run has where it has one."""
    return VARIANTS.get(name, md(name))


def moment(facts: Facts, one: Evaluation) -> str:
    """Return when something was scored: the epoch where each has one evaluation, else the step."""
    if one.step == 0:
        return "step 0"
    return f"epoch {one.epoch}" if one.epoch is not None and _by_epochs(facts) else f"step {one.step:,}"


def _by_epochs(facts: Facts) -> bool:
    records = facts.evidence.evaluations.records
    counts = Counter((label, kind, one.epoch) for (label, kind, step), one in records.items() if step)
    return max(counts.values(), default=0) <= 1


def latest_by_epoch(facts: Facts, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the latest record of every epoch of the founding system's runs, of every step of others."""
    if not facts.founding:
        records = [{**record, "epoch": None} for record in records]
    latest = {record["step"] if record["epoch"] is None else record["epoch"]: record for record in records}
    return [latest[at] for at in sorted(latest)]


def thinned(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first and the last of some epochs and a few evenly between: more cannot be told apart."""
    if len(records) <= MOST_EPOCHS:
        return records
    last = len(records) - 1
    return [records[round(i * last / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
