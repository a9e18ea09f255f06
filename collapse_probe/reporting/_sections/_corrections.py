"""What is added to an embedding: the correction's size, its gate, and what it is beside what it corrects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from .. import _figures
from .._facts import Facts, Section, value_of
from .._moments import all_epochs, latest_by_epoch, some_epochs, thinned
from .._style import epoch_colours, plain, saved
from .._text import Aside, Table, bullets, md, number

_IN_EPOCH = {
    "delta/mean_abs.mean": "delta mean",
    "delta/mean_abs.last": "delta mean, last batch",
    "delta/max_abs.mean": "delta max, mean over batches",
    "delta/max_abs.max": "delta max, whole epoch",
    "delta/alpha.last": "alpha, last",
    "delta/correction_max_abs.mean": "actual max correction, mean over batches",
    "delta/correction_max_abs.max": "actual max correction, whole epoch",
}
_USE = {
    "mean_abs": "delta mean",
    "correction_over_query": "‖αδ‖ / ‖q‖",
    "correction_over_residual": "‖αδ‖ / ‖d-q‖",
    "identity_gain": "identity gain",
    "cosine_above_chance": "cos(δ, d-q) above chance",
    "constancy": "constancy",
    "tanh_saturation": "tanh saturation",
}
_GENERIC = ("mean_abs", "norm_mean", "correction_over_query", "correction_over_residual", "constancy", "value")


def _streams(facts: Facts) -> list[str]:
    return [one.name for one in facts.evidence.streams if one.role in ("correction", "gate")]


def _write(facts: Facts) -> list[str]:
    in_epochs, use = _by_epoch(facts), _of_use(facts)
    if not in_epochs:
        generic = _first_and_last(facts)
        unwatched = "Not measured: no probe of it was watched." if facts.founding else "Not measured: it was not heard."
        figures = [facts.figure("residual_dynamics")]
        return [generic.markdown, *figures] if generic else [unwatched]
    blocks = [bullets(_sentences(facts)), some_epochs(in_epochs, "corrections.csv")]
    blocks.append(
        "Means over the epoch are over its training batches, dropout on. Actual max correction = |alpha| times the "
        "largest |delta| of a batch."
    )
    if use:
        blocks += [
            Aside(some_epochs(use, "corrections_in_use.csv")),
            Aside(
                "On a fixed set of training pairs, in evaluation mode. For the ratios and the gain 0 is the identity; "
                '"above chance" subtracts the cosine with other pairs\' d - q; a constancy of 1 is the same delta for '
                "every query."
            ),
        ]
    return [*blocks, facts.figure("residual_histograms"), facts.figure("residual_dynamics")]


def _by_epoch(facts: Facts) -> Table:
    """Return the founding document's residual table: means over the epoch, and alpha times the largest delta."""
    columns = {name: facts.by_epoch(name) for name in _IN_EPOCH} if facts.founding else {}
    first = next(iter(columns.values()), {})
    rows = [
        [
            str(epoch),
            *(number(value_of(column.get(epoch))) for column in columns.values()),
            f"{int(reading['n']):,}",
        ]
        for epoch, reading in first.items()
    ]
    return Table(["epoch", *_IN_EPOCH.values(), "n queries"], rows)


def _of_use(facts: Facts) -> Table:
    """Return what the residual does by epoch, on the fixed probe set in evaluation mode."""
    columns = {name: facts.by_epoch(f"delta_eval/{name}") for name in _USE}
    rows = [
        [
            "step 0" if epoch == 0 else f"epoch {epoch}",
            *(number(value_of(column.get(epoch))) for column in columns.values()),
            f"{int(first['n']):,}",
        ]
        for epoch, first in columns["mean_abs"].items()
    ]
    return Table(["", *_USE.values(), "n queries"], rows)


def _first_and_last(facts: Facts) -> Table:
    """Return what every correction and gate began and ended with."""
    rows = []
    for stream in _streams(facts)[:20]:
        for measure in _GENERIC:
            series = facts.evidence.series(f"{stream}/{measure}").finite()
            if len(series):
                n = f"{int(series.n[-1]):,}" if series.n[-1] >= 0 else "-"
                rows.append([md(stream), measure.replace("_", " "), number(series.first), number(series.last), n])
    return Table(["stream", "measure", "first", "last", "n rows"], rows, words=["measure"])


def _sentences(facts: Facts) -> list[str]:
    means = facts.run.readings("delta/mean_abs.mean")
    ratios = facts.run.readings("delta_eval/correction_over_residual")
    if not len(means):
        return []
    first, last = (float(means["value"].iloc[i]) for i in (0, -1))
    text = f"Delta's mean absolute entry is {number(first)} over epoch {means['epoch'].iloc[0]}"
    if len(means) > 1:
        text += f" and {number(last)} over epoch {means['epoch'].iloc[-1]}"
    text += f" (n = {int(means['n'].iloc[-1]):,} queries each)"
    if len(ratios):
        start, end = (float(ratios["value"].iloc[i]) for i in (0, -1))
        n = f"n = {int(ratios['n'].iloc[-1]):,}, without dropout"
        text += f"; the applied correction is {number(end)} of ‖d-q‖ at the end, {number(start)} at step 0 ({n})"
    return [text + "."]


def _draw_histograms(facts: Facts, path: Path) -> str | None:
    records = thinned(latest_by_epoch(facts, facts.run.histograms("delta/abs")))
    if not records:
        return None
    by = "epoch" if facts.founding else "step"
    shades = epoch_colours(len(records))
    low, high = _common_edges(records)
    with saved(path, rows=len(records), height=1.6) as axes:
        for axis, record, shade in zip(axes, records, shades, strict=True):
            _figures.residual_histogram(axis, record, shade=shade)
            axis.set_xlim(low, high)
        axes[-1].set_xlabel("|delta| (embedding units, log scale)")
    return (
        f"Histogram of |delta| by {by}, ten bins a decade. Step 0 is the untrained predictor on the fixed probe set, "
        "in evaluation mode; epochs pool the batches of scheduled steps, in training mode. The left tail is cut where "
        "it holds less than a thousandth of the entries."
    )


def _draw_dynamics(facts: Facts, path: Path) -> str | None:
    names = _founding_names() if facts.founding else _foreign_names(facts)
    sizes, shares = (_frames(facts, some) for some in names)
    if not sizes and not shares:
        return None
    panels = [(sizes, "embedding units; alpha has none" if facts.founding else "embedding units; a gate has none")]
    panels = [one for one in (*panels, (shares, "ratio of RMS norms")) if one[0]]
    ends = [int(step) for step in facts.run.readings("loss/total.mean")["step"]]
    with saved(path, rows=len(panels), height=3.4) as axes:
        for axis, (frames, label) in zip(axes, panels, strict=True):
            _figures.lines_over_steps(axis, frames, ends=ends, ylabel=label)
        n = next(iter(panels[0][0].values()))["n"]
        if (n > 0).any():
            axes[0].set_title(f"Each point: one batch, n = {int(n[n > 0].mode().iloc[0]):,} queries", loc="left")
    if facts.founding:
        return "Delta, alpha and the applied correction over steps (log); below, the correction beside q and d - q."
    return "Corrections and gates over steps (log); below, the correction beside what it corrects."


def _founding_names() -> tuple[dict[str, str], dict[str, str]]:
    sizes = {
        "mean |delta|": "delta/mean_abs",
        "max |delta|": "delta/max_abs",
        "alpha": "delta/alpha",
        "max |alpha delta|": "delta/correction_max_abs",
    }
    shares = {"‖αδ‖ / ‖q‖": "delta/correction_over_query", "‖αδ‖ / ‖d-q‖": "delta/correction_over_residual"}
    return sizes, shares


def _foreign_names(facts: Facts) -> tuple[dict[str, str], dict[str, str]]:
    streams = _streams(facts)[:3]
    sizes = {f"{plain(s)} {m}": f"{s}/{name}" for s in streams for m, name in (("norm", "norm_mean"), ("", "value"))}
    shares = {f"{plain(s)} / query": f"{s}/correction_over_query" for s in streams}
    return sizes, shares


def _frames(facts: Facts, names: dict[str, str]) -> dict[str, pd.DataFrame]:
    frames = {label: facts.run.readings(name) for label, name in names.items()}
    return {label: frame for label, frame in frames.items() if len(frame)}


def _common_edges(records: list[dict[str, Any]]) -> tuple[float, float]:
    """Return limits that hold every histogram but the lowest thousandth of its entries."""
    lows, highs = [], []
    for record in records:
        cumulated = record["counts"].cumsum()
        total = cumulated[-1] or 1
        lows.append(record["edges"][(cumulated > 1e-3 * total).argmax()])
        highs.append(record["edges"][(cumulated >= total).argmax() + 1])
    return float(min(lows)), float(max(highs))


CORRECTIONS = Section(
    title="Corrections",
    applies=lambda facts: bool(_streams(facts)),
    write=_write,
    figures={"residual_histograms": _draw_histograms, "residual_dynamics": _draw_dynamics},
    files={
        "corrections.csv": lambda facts: all_epochs(_by_epoch(facts)),
        "corrections_in_use.csv": lambda facts: all_epochs(_of_use(facts)),
    },
)
