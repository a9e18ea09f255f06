"""Which checkpoint is kept, and whether the validation loss orders checkpoints as retrieval does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from ...diagnosis import (
    HEADLINE,
    choose_checkpoint,
    collections,
    epochs,
    evaluated_path,
    evaluation_records,
    last_trained,
    loss_against_retrieval,
    selection,
)
from .. import _figures
from .._facts import Facts, Section, value_of
from .._moments import all_epochs, some_epochs, variant
from .._style import plain, saved
from .._text import Table, bullets, interval, md, number, score


def _write(facts: Facts) -> list[str]:
    table = _validation(facts)
    note = "Shares are of the weighted terms in the validation loss."
    blocks = [some_epochs(table, "checkpoints.csv"), note] if table else []
    return [*blocks, bullets(_sentences(facts)), facts.figure("validation_vs_ndcg")]


def _validation(facts: Facts) -> Table:
    """Return validation loss, its shares, and nDCG@10 by epoch."""
    totals = facts.by_epoch("validation/total")
    names_ = dict.fromkeys(name.partition("/")[2] for name, _, _ in facts.run.keys if name.startswith("validation/"))
    terms = [term for term in names_ if term != "total"]
    path, records, names = evaluated_path(facts.run), evaluation_records(facts.run), collections(facts.run)
    rows = []
    for epoch, total in totals.items():
        value = value_of(total)
        shares = []
        for term in terms:
            raw = value_of(facts.by_epoch(f"validation/{term}").get(epoch))
            weight = float(facts.recipe.get(f"lambda_{term}", 0.0))
            shares.append("-" if raw is None or not value else f"{100 * weight * raw / value:.1f} %")
        scores = [records.get((name, path, epoch)) for name in names]
        cells = [score(None if r is None else _headline(r)) for r in scores]
        rows.append([str(epoch), number(value), *shares, *cells, str(int(total["n"]))])
    headers = ["epoch", "validation loss", *(f"{md(term)} share" for term in terms)]
    counted = [f"{md(name)} nDCG@10 (n = {_queries(facts, name):,} queries)" for name in names]
    return Table([*headers, *counted, "n pairs"], rows)


def _headline(record: dict[str, Any]) -> float | None:
    value = record["metrics"].get(HEADLINE)
    return None if value is None else float(value)


def _queries(facts: Facts, collection: str) -> int:
    records = evaluation_records(facts.run)
    return next(int(r["n_queries"] or 0) for (name, _, _), r in records.items() if name == collection)


def _sentences(facts: Facts) -> list[str]:
    """Return which checkpoint the run keeps and why, and how the validation loss orders checkpoints."""
    run = facts.run
    if not list(last_trained(run)):
        return []
    lines = [f"The saved model: {md(choose_checkpoint(run).why)}."]
    for collection, _, _ in last_trained(run):
        found, regret = loss_against_retrieval(run, collection), selection(run, collection)
        if found is not None:
            few = "" if not math.isnan(found.p_value) else "; too few for a test"
            p = "" if math.isnan(found.p_value) else f", p = {found.p_value:.3f}"
            lines.append(
                f"On {md(collection)}, validation loss and nDCG@10 have a rank correlation of {found.spearman:+.2f} "
                f"(Spearman; Kendall {found.kendall:+.2f}{p}) over n = {found.n} checkpoints{few}. Healthy is below 0."
            )
        if regret is not None and not regret.misleads:
            lines.append(
                f"On {md(collection)}, selecting by validation loss loses {score(regret.regret)} nDCG@10 against the "
                f"best of n = {regret.n} checkpoints (it takes epoch {regret.chosen}, the best is epoch {regret.best})."
            )
        if regret is not None and regret.misleads and regret.change is not None:
            lines.append(
                f"On {md(collection)}, selecting by validation loss keeps epoch {regret.chosen} where epoch "
                f"{regret.best} retrieves best: nDCG@10 {interval(regret.change)} "
                f"(n = {regret.n_queries} queries, {regret.n} checkpoints; the interval is adjusted for choosing the "
                "best). **A lower validation loss is not a better model here.**"
            )
    return lines


def _draw(facts: Facts, path: Path) -> str | None:
    run = facts.run
    losses = _points(run.readings("validation/total"))
    names, on = collections(run), evaluated_path(run)
    scored = {plain(name): _scored(facts, name, on) for name in names}
    if not facts.founding or len(losses) < 2 or not any(scored.values()):
        return None
    with saved(path, rows=2, height=2.8) as axes:
        _figures.values_by_epoch(
            axes[0], {"validation loss": losses}, references={}, ylabel="validation loss", log=True
        )
        logarithmic = axes[0].get_yscale() == "log"
        _figures.values_by_epoch(axes[1], scored, references={}, ylabel="nDCG@10")
        n = int(run.readings("validation/total")["n"].iloc[0])
        axes[0].set_title(f"n = {n:,} held-out pairs", loc="left")
        counts = "; ".join(f"{plain(name)}: n = {_queries(facts, name):,} queries" for name in names)
        axes[1].set_title(counts, loc="left")
    note = " (log)" if logarithmic else ""
    return f"Validation loss{note} above retrieval, {variant(on)}: a lower loss is not a better model."


def _points(frame: pd.DataFrame) -> list[tuple[int, float]]:
    frame = frame.drop_duplicates("epoch", keep="last")
    return [(int(e), float(v)) for e, v in zip(frame["epoch"], frame["value"], strict=True)]


def _scored(facts: Facts, collection: str, path: str) -> list[tuple[int, float]]:
    records = evaluation_records(facts.run)
    found = [(e, _headline(records[(collection, path, e)])) for e in epochs(facts.run, collection, path)]
    return [(epoch, value) for epoch, value in found if value is not None]


SELECTION = Section(
    title="Validation loss beside retrieval",
    applies=lambda facts: facts.founding and (len(facts.by_epoch("validation/total")) > 0),
    write=_write,
    figures={"validation_vs_ndcg": _draw},
    files={"checkpoints.csv": lambda facts: all_epochs(_validation(facts))},
)
