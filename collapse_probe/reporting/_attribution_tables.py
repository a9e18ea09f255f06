"""The tables of what was scored without training: other deltas, and modules put back to step 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..diagnosis import (
    Attribution,
    attribution,
    collections,
    counterfactual_differences,
    last_trained,
)
from ..journal import Run
from ..statistics import PairedDifference, holm
from ._score_tables import PATH_LABELS
from ._text import Table, interval, md, score

ACTUAL = "alpha x 1"
"""The name of the model as it is among the changed ones."""


def grafts(run: Run) -> list[tuple[str, Table]]:
    """Return a title and a table of module effects for every collection and path that has them."""
    tables = []
    for collection in collections(run):
        for path in ("no_predictor", "predictor"):
            found = attribution(run, collection, path)
            if found is not None:
                title = f"{md(collection)}, {PATH_LABELS[path]}, epoch {found.epoch}"
                tables.append((title, _graft_table(found)))
    return tables


def deltas(run: Run) -> list[tuple[str, Table]]:
    """Return a title and a table of changed deltas for every collection that has them."""
    tables = []
    for collection, _, epoch in last_trained(run):
        found = counterfactual_differences(run, collection, epoch)
        if found:
            tables.append((f"{md(collection)}, epoch {epoch}", _delta_table(found)))
    return tables


def _delta_table(found: Sequence[tuple[str, float, PairedDifference]]) -> Table:
    others = {name: change for name, _, change in found if name != ACTUAL}
    p_values = holm([change.randomisation_p for change in others.values()])
    adjusted = dict(zip(others, p_values, strict=True))
    rows = [
        [md(name), score(value), *_compared(change, adjusted.get(name)), f"{change.n:,}"]
        for name, value, change in found
    ]
    return Table(["delta", "nDCG@10 with predictor", "vs as it is [95 %]", "p (Holm)", "n queries"], rows)


def share(found: Attribution, module: str) -> str:
    """Return a module's share of the whole change in percent."""
    fraction = found.fraction(module)
    return "-" if math.isnan(fraction) else f"{100 * fraction:.1f} %".replace("-0.0 %", "0.0 %")


def _graft_table(found: Attribution) -> Table:
    rows = [
        [
            md(effect.module),
            interval(effect.alone),
            interval(effect.put_back),
            interval(effect.share),
            share(found, effect.module),
            f"{found.total.n:,}",
        ]
        for effect in found.effects
    ]
    n = f"{found.total.n:,}"
    rows.append(["interaction", interval(found.interaction), "-", "-", "-", n])
    rows.append(["whole change since step 0", interval(found.total), "-", interval(found.total), "100 %", n])
    headers = ["module", "trained alone [95 %]", "put back [95 %]", "share, all orders [95 %]", "of it", "n queries"]
    return Table(headers, rows)


def _compared(change: PairedDifference, p_value: float | None) -> tuple[str, str]:
    return ("-", "-") if p_value is None else (interval(change), f"{p_value:.4f}")
