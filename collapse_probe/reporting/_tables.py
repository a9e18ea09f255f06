"""The tables of a report, from a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..diagnosis import FindingRow as Finding
from ..journal import Run
from ._text import Table, md, number

LOSS_TERMS = ("isotropy", "predictive", "residual", "contrastive")
"""The terms that a loss may have, in the order in which they are shown."""


def residual_by_epoch(run: Run) -> Table:
    """Return the founding document's residual table: means over the epoch, and alpha times the largest delta."""
    rows = []
    mean = by_epoch(run, "delta/mean_abs.mean")
    for epoch, reading in mean.items():
        cells = {
            name: by_epoch(run, name).get(epoch)
            for name in (
                "delta/mean_abs.last",
                "delta/max_abs.mean",
                "delta/max_abs.max",
                "delta/alpha.last",
                "delta/correction_max_abs.mean",
                "delta/correction_max_abs.max",
            )
        }
        values = [number(value_of(cell)) for cell in cells.values()]
        rows.append([str(epoch), number(value_of(reading)), *values, f"{int(reading['n']):,}"])
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
        "correction_over_residual": "‖αδ‖ / ‖d-q‖",
        "identity_gain": "identity gain",
        "cosine_above_chance": "cos(δ, d-q) above chance",
        "constancy": "constancy",
        "tanh_saturation": "tanh saturation",
    }
    columns = {name: by_epoch(run, f"delta_eval/{name}") for name in names}
    rows = []
    for epoch, first in columns["mean_abs"].items():
        cells = [number(value_of(column.get(epoch))) for column in columns.values()]
        rows.append(["step 0" if epoch == 0 else f"epoch {epoch}", *cells, f"{int(first['n']):,}"])
    return Table(["", *names.values(), "n queries"], rows)


def losses(run: Run) -> Table:
    """Return first, last and mean of every loss term in every epoch, raw and weighted."""
    rows = []
    weights = run.settings.get("recipe", {})
    for name in ("total", *LOSS_TERMS, "gradient_norm"):
        for kind, suffix in (("raw", ""), ("weighted", "_weighted")):
            reading = f"loss/{name}{suffix}"
            means = by_epoch(run, f"{reading}.mean")
            firsts, lasts = (by_epoch(run, f"{reading}.{part}") for part in ("first", "last"))
            label = {"total": "sum of weighted terms", "gradient_norm": "before clipping"}.get(name, kind)
            if kind == "weighted" and f"lambda_{name}" in weights:
                label = f"x {number(float(weights[f'lambda_{name}']))}"
            for epoch, reading_mean in means.items():
                cells = [number(value_of(part.get(epoch))) for part in (firsts, lasts)]
                shown = name.replace("_", " ")
                mean = number(value_of(reading_mean))
                rows.append([f"{shown}", label, str(epoch), *cells, mean, f"{int(reading_mean['n']):,}"])
    headers = ["term", "weight", "epoch", "first batch", "last batch", "mean", "n pairs"]
    return Table(headers, rows, words=["weight"])


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
    raw = {name: by_epoch(run, f"raw_{tap}/{name}").get(0) for name in names}
    if raw["norm_mean"] is not None:
        rows.append(_embedding_row("raw encoder", raw))
    for epoch in by_epoch(run, f"{tap}/norm_mean"):
        cells = {name: by_epoch(run, f"{tap}/{name}").get(epoch) for name in names}
        rows.append(_embedding_row("step 0" if epoch == 0 else f"epoch {epoch}", cells))
    return Table(["", *names.values(), "n, D"], rows)


def monitored(findings: Sequence[Finding]) -> Table:
    """Return every finding as a row."""
    rows = [
        [
            f"{finding.code} {md(finding.title)}",
            number(finding.value) if finding.value is not None else "-",
            md(finding.expected),
            f"**{finding.status.value}**" if finding.status.value in ("critical", "warning") else finding.status.value,
            "-" if finding.onset_step is None else str(finding.onset_step),
            "-" if finding.n is None else f"{finding.n:,}",
            md(finding.source),
        ]
        for finding in findings
    ]
    headers = ["finding", "value", "expected", "status", "since step", "n", "source of the range"]
    return Table(headers, rows, words=["expected", "status", "source of the range"])


def preflight(run: Run) -> Table:
    """Return what was said of the run before its first step."""
    colours = {"collapsed": "**red**", "warning": "**amber**", "healthy": "green"}
    rows = [
        [
            f"{entry['code']} {md(entry['title'])}",
            number(entry["value"]) if entry["value"] is not None else "-",
            md(entry["expected"]),
            colours.get(entry["status"], md(entry["status"])),
            f"{entry['n']:,}" if entry["n"] else "-",
        ]
        for entry in run.settings.get("preflight") or []
    ]
    return Table(["audit", "value", "expected", "result", "n pairs"], rows, words=["expected", "result"])


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
    headers = ["tap", "epoch", "hooks fired", "dtype", "share finite", "n rows looked at"]
    return Table(headers, rows, words=["dtype"])


def _embedding_row(label: str, cells: dict[str, Any]) -> list[str]:
    first = cells["norm_mean"]
    sample = f"{int(first['n']):,}, {int(first['dimension'])}"
    return [label, *("-" if cell is None else number(value_of(cell)) for cell in cells.values()), sample]


def by_epoch(run: Run, name: str) -> dict[int, dict[str, Any]]:
    """Return the last reading of every epoch: value, n, dimension and so on, by column."""
    frame = run.readings(name).drop_duplicates("epoch", keep="last")
    readings = cast(list[dict[str, Any]], frame.to_dict("records"))
    return {int(reading["epoch"]): reading for reading in readings}


def value_of(reading: dict[str, Any] | None) -> float | None:
    """Return a reading's value; None where there is none."""
    return None if reading is None else float(reading["value"])
