"""How a step, an epoch and a variant are called."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..journal import Evaluation
from ..statistics import Onset
from ._facts import Facts
from ._text import Table, md

MOST_EPOCHS = 7
"""Epochs that a figure with one panel or line each shows."""

EPOCHS_OF_A_TABLE = 5
"""Epochs that a table shows; all of them are written beside the report."""

VARIANTS = {"raw": "raw encoder", "no_predictor": "without predictor", "predictor": "with predictor", "model": ""}


def variant(name: str) -> str:
    """Return how a variant is called; empty for the one that a run has where it has one."""
    return VARIANTS.get(name, md(name))


def moment(facts: Facts, one: Evaluation) -> str:
    """Return when something was scored: the epoch where each has one evaluation, else the step."""
    if one.step == 0 or facts.run.config.at(one.step):
        return md(called(facts, one.step))
    return f"epoch {one.epoch}" if one.epoch is not None and _by_epochs(facts) else f"step {one.step:,}"


def beginning(facts: Facts, step: int = 0) -> str:
    """Return what a run is held against where it has no other encoder: the first model, or the first step scored."""
    return f"step {step:,}, where it was scored first" if step else md(called(facts, 0))


def called(facts: Facts, step: int) -> str:
    """Return what stands at a step, as plain text: a finished model by its name, else the step."""
    return facts.run.config.at(step) or f"step {step:,}"


def places(facts: Facts) -> dict[int, str]:
    """Return the finished models by where they stand; empty where these are the steps of their training."""
    models = facts.run.config.examined
    return {} if any(one.counted for one in models) else {one.step: one.name for one in models}


def onset_of(facts: Facts, onset: Onset | None) -> Onset | None:
    """Return since when something is so; None where one finished model is held against another: it is what it is."""
    return None if len(facts.run.config.examined) == 2 else onset


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


def thinned(records: list[Any]) -> list[Any]:
    """Return the first and the last of some epochs and a few evenly between: more cannot be told apart."""
    return [records[at] for at in spread(len(records), MOST_EPOCHS)]


def spread(count: int, most: int) -> list[int]:
    """Return at most so many places among some, the first and the last with them.

    >>> spread(3, 7), spread(21, 5)
    ([0, 1, 2], [0, 5, 10, 15, 20])
    """
    return list(range(count)) if count <= most else [round(at * (count - 1) / (most - 1)) for at in range(most)]


def some_epochs(table: Table, file: str, *, column: int = 0) -> str:
    """Return the rows of a few epochs of a table, and where the others are.

    Args:
        table: One or more rows for each epoch.
        file: The CSV file that has all of them.
        column: Which one says the epoch; ``step 0`` and the raw encoder are always shown.
    """
    left = _left_out(table, column)
    if not left:
        return table.markdown
    kept = Table(table.headers, [row for row in table.rows if row[column] not in left], table.words)
    return f"{kept.markdown}\n\n{len(left):,} more epochs are in `{file}`."


def all_epochs(table: Table, *, column: int = 0) -> str | None:
    """Return a table as CSV, if :func:`some_epochs` leaves some of it out."""
    return table.csv if _left_out(table, column) else None


def _left_out(table: Table, column: int) -> set[str]:
    labels = dict.fromkeys(row[column] for row in table.rows)
    numbered = [label for label in labels if label.removeprefix("epoch ").isdigit()]
    return set(numbered) - {numbered[at] for at in spread(len(numbered), EPOCHS_OF_A_TABLE)}
