"""What a correction is worth: the trained model, scored with another one."""

from __future__ import annotations

from collections.abc import Sequence

from ...diagnosis import counterfactual_differences, last_trained
from ...journal import Counterfactual
from ...statistics import PairedDifference, holm
from .._facts import Facts, Section
from .._text import Table, interval, md, score

ACTUAL = "alpha x 1"
"""The name of the model as it is among the changed ones."""


def _applies(facts: Facts) -> bool:
    return any(one.family == "delta" for one in facts.run.of(Counterfactual))


def _write(facts: Facts) -> list[str]:
    blocks = []
    for collection, _, epoch in last_trained(facts.run):
        found = counterfactual_differences(facts.run, collection, epoch)
        if found:
            blocks += [f"### {md(collection)}, epoch {epoch}", _table(found).markdown]
    note = (
        "The trained model, scored with another correction; p of a sign-flip randomisation test, adjusted by Holm over "
        "the table. Where another query's delta, or its mean, scores the same, delta does not depend on the query in a "
        "way that matters."
    )
    return [*blocks, note] if blocks else []


def _table(found: Sequence[tuple[str, float, PairedDifference]]) -> Table:
    others = {name: change for name, _, change in found if name != ACTUAL}
    p_values = holm([change.randomisation_p for change in others.values()])
    adjusted = dict(zip(others, p_values, strict=True))
    rows = [
        [md(name), score(value), *_compared(change, adjusted.get(name)), f"{change.n:,}"]
        for name, value, change in found
    ]
    return Table(["delta", "nDCG@10 with predictor", "vs as it is [95 %]", "p (Holm)", "n queries"], rows)


def _compared(change: PairedDifference, p_value: float | None) -> tuple[str, str]:
    return ("-", "-") if p_value is None else (interval(change), f"{p_value:.4f}")


COUNTERFACTUALS = Section(title="What the predictor's delta is worth", applies=_applies, write=_write)
