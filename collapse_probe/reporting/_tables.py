"""The tables of a report, from a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..diagnosis import HEADLINE, Finding, collections, difference, epochs, evaluated_path, evaluation_records
from ..journal import Run
from ._text import Table, interval, md, number, percent, score

METRIC_LABELS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map@100": "MAP@100", "recall@100": "Recall@100"}
PATH_LABELS = {"raw": "raw encoder", "no_predictor": "without predictor", "predictor": "with predictor"}


def performance(run: Run, collection: str) -> Table:
    """Return every evaluation of one collection, with paired differences against raw encoder and step 0."""
    records = evaluation_records(run)
    raw = records.get((collection, "raw", 0))
    metrics = list(raw["metrics"] if raw else METRIC_LABELS)
    rows = []
    for path, epoch in _scored(run, collection):
        record = records[(collection, path, epoch)]
        value = float(record["metrics"][HEADLINE])
        base = float(raw["metrics"][HEADLINE]) if raw else None
        rows.append(
            [
                _model(path, epoch),
                *(score(float(record["metrics"][metric])) for metric in metrics),
                percent((value - base) / base) if base and path != "raw" else "-",
                interval(difference(run, collection, ("raw", 0), (path, epoch))) if path != "raw" else "-",
                interval(difference(run, collection, (path, 0), (path, epoch))) if epoch > 0 else "-",
                number(float(record["tied_share"])),
                str(record["n_queries"]),
            ]
        )
    labels = [METRIC_LABELS.get(metric, metric) for metric in metrics]
    headers = ["model", *labels, "vs raw", "vs raw [95 %]", "vs step 0 [95 %]", "tied", "n queries"]
    return Table(headers, rows)


def average(run: Run) -> Table:
    """Return nDCG@10 averaged over the collections, where there are several, as the founding document does."""
    names = collections(run)
    if len(names) < 2:
        return Table((), ())
    records = evaluation_records(run)
    rows = []
    base: float | None = None
    for path, epoch in _scored(run, names[0]):
        found = [records.get((name, path, epoch)) for name in names]
        if any(record is None for record in found):
            continue
        mean = sum(float(r["metrics"][HEADLINE]) for r in found if r is not None) / len(names)
        base = mean if path == "raw" else base
        change = percent((mean - base) / base) if base and path != "raw" else "-"
        queries = sum(int(r["n_queries"]) for r in found if r is not None)
        rows.append([_model(path, epoch), score(mean), change, str(len(names)), str(queries)])
    return Table(["model", "average nDCG@10", "vs raw", "n collections", "n queries"], rows)


def residual_by_epoch(run: Run) -> Table:
    """Return the founding document's residual table: means over the epoch, and alpha times the largest delta."""
    rows = []
    mean = _by_epoch(run, "delta/mean_abs.mean")
    for epoch, reading in mean.items():
        cells = {
            name: _by_epoch(run, name).get(epoch)
            for name in (
                "delta/mean_abs.last",
                "delta/max_abs.mean",
                "delta/max_abs.max",
                "delta/alpha.last",
                "delta/correction_max_abs.mean",
                "delta/correction_max_abs.max",
            )
        }
        values = [number(_value(cell)) for cell in cells.values()]
        rows.append([str(epoch), number(_value(reading)), *values, f"{int(reading['n']):,}"])
    headers = [
        "epoch",
        "delta mean",
        "delta mean, last batch",
        "delta max, mean over batches",
        "delta max, whole epoch",
        "alpha, last",
        "actual max correction, mean over batches",
        "actual max correction, whole epoch",
        "n queries",
    ]
    return Table(headers, rows)


def residual_use(run: Run) -> Table:
    """Return what the residual does by epoch, on the fixed probe set in evaluation mode."""
    names = {
        "mean_abs": "delta mean",
        "correction_over_query": "‖αδ‖ / ‖q‖",
        "correction_over_residual": "‖αδ‖ / ‖d−q‖",
        "identity_gain": "identity gain",
        "cosine_above_chance": "cos(δ, d−q) above chance",
        "constancy": "constancy",
        "tanh_saturation": "tanh saturation",
    }
    columns = {name: _by_epoch(run, f"delta_eval/{name}") for name in names}
    rows = []
    for epoch, first in columns["mean_abs"].items():
        cells = [number(_value(column.get(epoch))) for column in columns.values()]
        rows.append(["step 0" if epoch == 0 else f"epoch {epoch}", *cells, f"{int(first['n']):,}"])
    return Table(["", *names.values(), "n queries"], rows)


def losses(run: Run) -> Table:
    """Return first, last and mean of every loss term in every epoch, raw and weighted."""
    rows = []
    weights = run.config.get("recipe", {})
    for name in ("total", "isotropy", "predictive", "residual", "gradient_norm"):
        for kind, suffix in (("raw", ""), ("weighted", "_weighted")):
            reading = f"loss/{name}{suffix}"
            means = _by_epoch(run, f"{reading}.mean")
            firsts, lasts = (_by_epoch(run, f"{reading}.{part}") for part in ("first", "last"))
            label = {"total": "sum of weighted terms", "gradient_norm": "gradient norm"}.get(name, kind)
            if kind == "weighted" and f"lambda_{name}" in weights:
                label = f"x {number(float(weights[f'lambda_{name}']))}"
            for epoch, reading_mean in means.items():
                cells = [number(_value(part.get(epoch))) for part in (firsts, lasts)]
                shown = name.replace("_", " ")
                mean = number(_value(reading_mean))
                rows.append([f"{shown}", label, str(epoch), *cells, mean, f"{int(reading_mean['n']):,}"])
    return Table(["term", "weight", "epoch", "first batch", "last batch", "mean", "n pairs"], rows)


def validation(run: Run) -> Table:
    """Return validation loss, its shares, and nDCG@10 by epoch."""
    totals = _by_epoch(run, "validation/total")
    weights = run.config.get("recipe", {})
    path = evaluated_path(run)
    records = evaluation_records(run)
    names = collections(run)
    rows = []
    for epoch, total in totals.items():
        value = _value(total)
        shares = []
        for term in ("isotropy", "predictive", "residual"):
            raw = _value(_by_epoch(run, f"validation/{term}").get(epoch))
            weight = float(weights.get(f"lambda_{term}", 0.0))
            shares.append("-" if raw is None or not value else f"{100 * weight * raw / value:.1f} %")
        scores = [records.get((name, path, epoch)) for name in names]
        cells = [score(None if r is None else float(r["metrics"][HEADLINE])) for r in scores]
        rows.append([str(epoch), number(value), *shares, *cells, str(int(total["n"]))])
    headers = ["epoch", "validation loss", "isotropy share", "predictive share", "residual share"]
    return Table([*headers, *(f"{md(name)} nDCG@10" for name in names), "n pairs"], rows)


def embeddings(run: Run, tap: str) -> Table:
    """Return scale, rank and isotropy of one tap by epoch, the raw encoder's on the same texts first."""
    names = {
        "norm_mean": "norm",
        "norm_spread": "norm spread",
        "std_mean": "std",
        "scale_drift": "drift, step 0 (log10)",
        "scale_drift_raw": "drift, raw (log10)",
        "participation_ratio": "PR, centred",
        "participation_ratio_uncentred": "PR, uncentred",
        "effective_rank": "effective rank",
        "isoscore": "IsoScore",
        "mean_cosine": "mean cosine",
        "grand_mean_fraction": "grand-mean fraction",
        "dead_dimensions": "dead dims",
        "uniformity": "uniformity",
    }
    rows = []
    raw = {name: _by_epoch(run, f"raw_{tap}/{name}").get(0) for name in names}
    if raw["norm_mean"] is not None:
        rows.append(_embedding_row("raw encoder", raw))
    for epoch in _by_epoch(run, f"{tap}/norm_mean"):
        cells = {name: _by_epoch(run, f"{tap}/{name}").get(epoch) for name in names}
        rows.append(_embedding_row("step 0" if epoch == 0 else f"epoch {epoch}", cells))
    return Table(["", *names.values(), "n, D"], rows)


def monitored(findings: Sequence[Finding]) -> Table:
    """Return every finding as a row."""
    rows = [
        [
            f"{finding.code} {md(finding.title)}",
            number(finding.value) if finding.value is not None else "-",
            md(finding.expected),
            f"**{finding.status.value}**" if finding.status.value in ("collapsed", "warning") else finding.status.value,
            "-" if finding.onset_step is None else str(finding.onset_step),
            "-" if finding.n is None else f"{finding.n:,}",
            md(finding.source),
        ]
        for finding in findings
    ]
    return Table(["finding", "value", "expected", "status", "since step", "n", "source of the range"], rows)


def coverage(run: Run) -> Table:
    """Return what every tap heard, by epoch."""
    rows = [
        [
            md(record["tap"]),
            str(record["epoch"]),
            str(record["calls"]),
            md(record["dtype"]),
            number(record["finite_share"]),
            f"{record['n']:,}",
        ]
        for record in run.records("coverage")
    ]
    return Table(["tap", "epoch", "hooks fired", "dtype", "share finite", "n rows looked at"], rows)


def _scored(run: Run, collection: str) -> list[tuple[str, int]]:
    raw = [("raw", 0)] if ("raw", 0) in {(p, e) for c, p, e in evaluation_records(run) if c == collection} else []
    trained = [
        (path, epoch)
        for epoch in epochs(run, collection, "no_predictor")
        for path in ("no_predictor", "predictor")
        if (collection, path, epoch) in evaluation_records(run)
    ]
    return [*raw, *trained]


def _model(path: str, epoch: int) -> str:
    if path == "raw":
        return "raw encoder"
    return f"{'step 0' if epoch == 0 else f'epoch {epoch}'}, {PATH_LABELS[path]}"


def _embedding_row(label: str, cells: dict[str, Any]) -> list[str]:
    first = cells["norm_mean"]
    sample = f"{int(first['n']):,}, {int(first['dimension'])}"
    return [label, *("-" if cell is None else number(_value(cell)) for cell in cells.values()), sample]


def _by_epoch(run: Run, name: str) -> dict[int, pd.Series]:
    """Return the last reading of every epoch."""
    frame = run.readings(name).drop_duplicates("epoch", keep="last")
    return {int(row["epoch"]): row for _, row in frame.iterrows()}


def _value(reading: pd.Series | None) -> float | None:
    return None if reading is None else float(reading["value"])
