"""The figures: each takes data and an ``Axes``, and changes neither the data nor anything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..statistics import Onset, PairedDifference
from ._style import LINES, MARKERS, colour, epoch_colours, mark_epochs, plain

_NAMED = 8
"""Finished models whose names an axis has room for."""

_ROUNDING = 1e-5
"""Range of a series over its size below which it is one value."""

_LONG = 96
"""Characters of all names on an axis."""

BINS = 200
"""Bins of a long series: two points each, about as many as there are pixels."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._tracks import Track


def moment_label(record: Mapping[str, Any]) -> str:
    """Return when a record was taken, for a legend: the epoch, or the step in a run without epochs."""
    epoch = record["epoch"]
    if epoch is None:
        return f"step {int(record['step']):,}"
    return "step 0" if epoch == 0 else f"epoch {epoch}"


def binned(steps: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a series as a figure draws it: a long one as the smallest and the largest value of each of some bins.

    >>> [len(one) for one in binned(np.arange(100_000), np.sin(np.arange(100_000)))]
    [400, 400]
    """
    steps, values = np.asarray(steps), np.asarray(values, dtype=float)
    if len(values) <= 2 * BINS:
        return steps, values
    parts = np.array_split(np.arange(len(values)), BINS)
    # In the order in which they came, so that the line goes forward.
    ends = np.array([sorted((at[values[at].argmin()], at[values[at].argmax()])) for at in parts]).ravel()
    return steps[ends], values[ends]


def residual_histogram(axes: Axes, record: Mapping[str, Any], *, shade: Any) -> None:
    """Draw one epoch's histogram of |delta| on a log axis, with its share of what lies below the edges."""
    edges, counts = record["edges"], record["counts"]
    total = counts.sum() + record["below"] + record["above"]
    share = counts / total if total else counts
    axes.stairs(100 * share, edges, fill=True, color=shade, alpha=0.85)
    axes.set_xscale("log")
    axes.set_ylabel("entries (%)")
    values = int(record["n"]) * int(record["dimension"])
    axes.set_title(
        f"{moment_label(record)}: n = {int(record['n']):,} queries, {values:,} entries",
        loc="left",
    )


def lines_over_steps(
    axes: Axes, series: Mapping[str, pd.DataFrame], *, ends: list[int], ylabel: str, log: bool = True
) -> None:
    """Draw readings over training steps: on a log axis where all are positive or 0, which is left out.

    Where one is negative (uniformity, say), the axis is a symmetric log, linear around 0.
    """
    from matplotlib.ticker import MaxNLocator

    every = np.concatenate([frame["value"].to_numpy(dtype=float) for frame in series.values()])
    signed = log and bool(np.any(every[np.isfinite(every)] < 0))
    log = log and not signed
    for index, (label, frame) in enumerate(series.items()):
        values = frame["value"].to_numpy(dtype=float)
        keep = np.isfinite(values) & (values > 0 if log else np.ones(len(values), dtype=bool))
        axes.plot(
            *binned(frame["step"].to_numpy()[keep], values[keep]),
            label=label if keep.any() else f"{label} (nothing to draw)",
            color=colour(index),
            linestyle=LINES[index % len(LINES)],
            linewidth=1.4,
            # A line of one point has no length.
            marker=MARKERS[index % len(MARKERS)] if keep.sum() < 3 else None,
        )
    if log and any(len(line.get_xdata()) for line in axes.get_lines()):  # type: ignore[arg-type]
        axes.set_yscale("log")
        # Head room, so that the legend covers no line.
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.25)
    if signed:
        magnitudes = np.abs(every[np.isfinite(every) & (every != 0)])
        axes.set_yscale("symlog", linthresh=10.0 ** math.ceil(math.log10(magnitudes.min())))
    mark_epochs(axes, ends)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("optimiser steps (dotted: end of an epoch)" if len(ends) > 1 else "optimiser steps")
    axes.set_ylabel(f"{ylabel} (symmetric log)" if signed else ylabel)
    axes.legend(loc="best" if signed else "upper right", ncols=2)


def tracks(
    axes: Axes,
    found: Sequence[Track],
    *,
    models: Mapping[int, str],
    onset: Onset | None = None,
    ylabel: str = "",
    log: bool = False,
) -> None:
    """Draw series over steps with what each is held against: a dotted line, a grey band; the onset as a line.

    Args:
        axes: Where.
        found: The series.
        models: Finished models by where they stand, in place of steps; empty for steps.
        onset: Since when something is so.
        ylabel: What is read.
        log: Whether on a log axis, where all are positive.
    """
    for index, one in enumerate(found):
        keep = np.isfinite(one.values)
        axes.plot(
            *binned(one.steps[keep], one.values[keep]),
            label=plain(one.label) if keep.any() else f"{plain(one.label)} (nothing to draw)",
            color=colour(index),
            linestyle=LINES[index % len(LINES)],
            linewidth=1.4,
            marker=MARKERS[index % len(MARKERS)] if keep.sum() < 12 else None,
            markersize=4,
        )
        if one.baseline is not None and math.isfinite(one.baseline):
            axes.axhline(one.baseline, color=colour(index), linewidth=1.0, linestyle=(0, (1, 3)))
        if one.band is not None:
            axes.axhspan(one.band.low, one.band.high, color="0.5", alpha=0.12, linewidth=0)
    drawn = np.concatenate([one.values[np.isfinite(one.values)] for one in found] or [np.zeros(0)])
    if len(drawn) and np.ptp(drawn) <= _ROUNDING * np.abs(drawn).max():
        # The norms of unit vectors differ by rounding alone, which is nothing to look at.
        axes.set_ylim(*sorted((0.9 * drawn[0], 1.1 * drawn[0])) if drawn[0] else (-1, 1))
    elif log and len(drawn) and (drawn > 0).all():
        axes.set_yscale("log")
    mark_onset(axes, onset)
    read = np.concatenate([one.steps for one in found])
    margin = max(0.5, 0.03 * float(read.max() - read.min()))
    # Also where nothing could be drawn: what is not finite was read, and is missing.
    axes.set_xlim(read.min() - margin, read.max() + margin)
    mark_steps(axes, models)
    axes.set_ylabel(ylabel)
    if found:
        axes.legend(loc="best")


def mark_steps(axes: Axes, models: Mapping[int, str]) -> None:
    """Label the axis of steps: by the names of finished models that stand at places of their own, where there are."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("models, in the order given" if models else "optimiser steps")
    if 0 < len(models) <= _NAMED:
        axes.set_xticks(list(models), [plain(name, length=_LONG // len(models)) for name in models.values()])


def mark_onset(axes: Axes, onset: Onset | None) -> None:
    """Draw since when something is so: a line, and its interval as a band."""
    if onset is not None:
        axes.axvspan(onset.low, onset.high, color="#c44e52", alpha=0.12, linewidth=0)
        axes.axvline(onset.step, color="#c44e52", linewidth=1.2)


def values_by_step(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[int, float]]],
    *,
    reference: float | None,
    ylabel: str,
    onset: Onset | None,
    models: Mapping[int, str],
) -> None:
    """Draw scores over steps, a line each, with the raw encoder's dotted; finished models by their names."""
    for index, (label, points) in enumerate(series.items()):
        finite = [(step, value) for step, value in points if math.isfinite(value)]
        axes.plot(
            *binned([step for step, _ in finite], [value for _, value in finite]),
            label=label,
            color=colour(index),
            marker=MARKERS[index % len(MARKERS)] if len(finite) < 30 else None,
            linestyle=LINES[index % len(LINES)],
        )
    if reference is not None and math.isfinite(reference):
        axes.axhline(reference, color="0.35", linestyle=":", label="raw encoder")
    mark_onset(axes, onset)
    mark_steps(axes, models)
    axes.set_ylabel(ylabel)
    axes.legend(loc="best")


def values_by_epoch(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[int, float]]],
    *,
    references: Mapping[str, float],
    ylabel: str,
    log: bool = False,
) -> None:
    """Draw one value for each epoch, and the raw encoder's as horizontal lines; log only where all are positive."""
    for index, (label, points) in enumerate(series.items()):
        finite = [(epoch, value) for epoch, value in points if math.isfinite(value)]
        axes.plot(
            [epoch for epoch, _ in finite],
            [value for _, value in finite],
            label=label,
            color=colour(index),
            marker=MARKERS[index % len(MARKERS)],
            linestyle=LINES[index % len(LINES)],
        )
    for index, (label, value) in enumerate(references.items()):
        axes.axhline(value, label=label, color=colour(index), linewidth=1.0, linestyle=(0, (1, 3)))
    if log and all(value > 0 for points in series.values() for _, value in points if math.isfinite(value)):
        axes.set_yscale("log")
    _epoch_ticks(axes, [epoch for points in series.values() for epoch, _ in points])
    axes.set_ylabel(ylabel)
    axes.legend(loc="best")


def spectra(axes: Axes, records: Mapping[str, Mapping[str, Any]], *, raw: Mapping[str, Any] | None, title: str) -> None:
    """Draw singular values by rank, a line for each label, log-log; singular values over sqrt(n)."""
    shades = epoch_colours(len(records))
    if raw is not None:
        _spectrum(axes, raw, label="raw encoder", shade="0.35", style=":")
    for index, (label, record) in enumerate(records.items()):
        _spectrum(axes, record, label=label, shade=shades[index], style=LINES[index % len(LINES)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rank of the direction")
    axes.set_ylabel("singular value / sqrt(n)")
    axes.set_title(title, loc="left")
    axes.legend(loc="lower left")


def distances(axes: Axes, positives: Mapping[str, Any], mismatched: Mapping[str, Any] | None, *, xlabel: str) -> None:
    """Draw the distribution of positive pairs beside that of mismatched pairs, as densities."""
    for index, (label, record) in enumerate((("own document", positives), ("another's document", mismatched))):
        if record is None:
            continue
        counts, edges = record["counts"], record["edges"]
        widths = np.diff(edges)
        total = counts.sum()
        density = counts / (total * widths) if total else counts
        style = "-" if index == 0 else "--"
        axes.stairs(density, edges, label=label, color=colour(index), linewidth=1.6, linestyle=style)
        axes.stairs(density, edges, fill=True, color=colour(index), alpha=0.15)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("density")
    axes.set_title(f"{moment_label(positives)}: n = {int(positives['n']):,} pairs each", loc="left")


def retrieval_by_epoch(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[int, float]]],
    *,
    raw: float | None,
    band: Mapping[int, PairedDifference],
    title: str,
) -> None:
    """Draw nDCG@10 by epoch on both paths, with the paired 95 % interval against the raw encoder."""
    if raw is not None:
        axes.axhline(raw, color="0.35", linestyle=":", label="raw encoder")
    for index, (label, points) in enumerate(series.items()):
        axes.plot(
            [epoch for epoch, _ in points],
            [value for _, value in points],
            label=label,
            color=colour(index),
            marker=MARKERS[index],
            linestyle=LINES[index],
            markersize=7 - 2 * index,
        )
    if raw is not None and band:
        marks = sorted(band)
        low = [raw + band[epoch].low for epoch in marks]
        high = [raw + band[epoch].high for epoch in marks]
        # A band over one epoch has no width.
        draw = partial(axes.vlines, linewidth=8) if len(marks) == 1 else axes.fill_between
        draw(marks, low, high, color=colour(0), alpha=0.15, label="95 %, paired with raw")
    _epoch_ticks(axes, [epoch for points in series.values() for epoch, _ in points])
    axes.set_ylabel("nDCG@10")
    axes.set_title(title, loc="left")
    axes.legend(loc="best")


def _spectrum(axes: Axes, record: Mapping[str, Any], *, label: str, shade: Any, style: str) -> None:
    values = np.asarray(record["values"]) / math.sqrt(int(record["n"]))
    ranks = np.arange(1, len(values) + 1)
    if len(ranks) > BINS:
        # Evenly on the log axis: neighbours far out fall on one pixel.
        ranks = np.unique(np.geomspace(1, len(values), BINS).round().astype(int))
    values = values[ranks - 1]
    keep = values > values.max(initial=0.0) * 1e-7
    axes.plot(ranks[keep], values[keep], label=label, color=shade, linestyle=style)


def _epoch_ticks(axes: Axes, found: Sequence[int]) -> None:
    marks = sorted(set(found))
    if marks:
        axes.set_xticks(marks, ["step 0" if mark == 0 else str(mark) for mark in marks])
    axes.set_xlabel("epoch")
