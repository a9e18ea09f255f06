"""Several runs side by side: the table of the terminal, and the same with a figure as Markdown and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..diagnosis import Compared, Row
from ..diagnosis.screen import metric as metric_label
from ._page import parts_of, write_page
from ._place import write_folder
from ._style import can_draw, colour, plain, saved
from ._text import Table, bullets, interval, md, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPARISON = "comparison.md"

_MOST = 40
"""Differences of the figure."""

_NOTE = (
    "Intervals are 95 %, over the queries of these runs, not adjusted for multiple comparisons; the collections of an "
    "average weigh alike. p values come from the same t test and are Holm-adjusted over all comparisons of the table. "
    "A difference is called a rise or a fall where both agree. One run is one seed: another seed gives another model."
)


def comparison_cells(rows: Sequence[Row], metric: str) -> list[list[str]]:
    """Return the table of a comparison, its header first: plain text."""
    collections = list(rows[0].by_collection)
    several = collections if len(collections) > 1 else []
    head = ["model", f"average {metric}" if several else f"{collections[0]} {metric}", *several]
    table = [head, *([row.label, f"{row.average:.4f}"] for row in rows)]
    for line, row in zip(table[1:], rows, strict=True):
        line += [f"{row.by_collection[name]:.4f}" for name in several]
    for name, compared in _references(rows):
        head += [f"vs {name}", "difference [95 % interval]", "p (Holm)"]
        for line, one in zip(table[1:], compared, strict=True):
            line += _difference(one)
    return table


def comparison_notes(rows: Sequence[Row]) -> list[str]:
    """Return what keeps differences from being findings, as lines of plain text."""
    return [f"{row.label} vs {one.reference}: {said}" for row, one in _compared(rows) if (said := _said(one))]


def write_comparison(rows: Sequence[Row], folder: Path, *, metric: str) -> Path:
    """Write ``comparison.md``, its figure, and the same as a page ``index.html``. Can take seconds.

    Args:
        rows: What :func:`collapse_probe.diagnosis.compare` returned.
        folder: Where; see :func:`write_folder` for what of a user's is kept.
        metric: What was compared.

    Returns:
        The path of the Markdown file.
    """
    owner = f"comparison {metric} of {', '.join(row.label for row in rows)}"
    return write_folder(folder, owner, lambda built: _build(rows, built, metric)) / COMPARISON


def _build(rows: Sequence[Row], folder: Path, metric: str) -> None:
    head, *cells = comparison_cells(rows, metric)
    table = Table([md(one) for one in head], [[md(one) for one in line] for line in cells])
    blocks = ["# Comparison of runs", bullets(_sentence(row, one, metric) for row, one in _compared(rows))]
    figure = _figure(rows, folder, metric) if can_draw() else ""
    blocks += [figure, "## Every model", table.markdown, _NOTE]
    text = "\n\n".join(one for one in blocks if one) + "\n"
    (folder / COMPARISON).write_text(text, encoding="utf-8")
    write_page(folder, parts_of(text), title="comparison of runs")


def _compared(rows: Sequence[Row]) -> list[tuple[Row, Compared]]:
    pairs = [(row, one) for row in rows for one in (row.against_baseline, row.against_reference)]
    return [(row, one) for row, one in pairs if one is not None]


def _sentence(row: Row, one: Compared, metric: str) -> str:
    found = one.difference
    sure = not math.isnan(found.low) and found.resolved and one.adjusted_p < 0.05
    verb = ("**rises**" if found.mean > 0 else "**falls**") if sure else "does not differ by more than noise"
    verb = "differs, without an interval" if not found.n_queries else verb
    p = "" if math.isnan(one.adjusted_p) else f", p {_p(one.adjusted_p, equals=True)} (Holm)"
    n = f", n = {found.n_queries:,} queries" if found.n_queries else ""
    said = _said(one)
    what = "average " if len(row.by_collection) > 1 else ""
    return (
        f"{md(row.label)}: {what}{md(metric_label(metric))} {row.average:.4f} {verb} against {md(one.reference)}: "
        f"{interval(found)}, {percent(one.relative)}{p}{n}." + (f" {said[0].upper()}{said[1:]}." if said else "")
    )


def _figure(rows: Sequence[Row], folder: Path, metric: str) -> str:
    shown = [(row, one) for row, one in _compared(rows) if not math.isnan(one.difference.low)][:_MOST]
    if not shown:
        return ""
    (folder / "figures").mkdir()
    with saved(folder / "figures" / "differences.svg", height=1.2 + 0.45 * len(shown)) as axes:
        differences(axes[0], shown, metric=metric_label(metric))
    title = f"Differences of {metric_label(metric)} with their 95 % intervals"
    said = "Filled: resolved among all comparisons of the table. The line at 0 is the model that is compared with."
    return f"![{md(title)}](figures/differences.svg)\n\n*Figure 1. {said}*"


def differences(axes: Axes, shown: Sequence[tuple[Row, Compared]], *, metric: str) -> None:
    """Draw differences with their intervals, a row each, the first on top."""
    axes.axvline(0, color="0.35", linewidth=1.0)
    for at, (_, one) in enumerate(shown):
        found = one.difference
        face = colour(0) if found.resolved and one.adjusted_p < 0.05 else "white"
        axes.plot([found.low, found.high], [at, at], color=colour(0), linewidth=1.8)
        axes.plot([found.mean], [at], marker="o", color=colour(0), markerfacecolor=face, linestyle="none")
    names = [f"{plain(row.label)}\nvs {plain(one.reference)}" for row, one in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(f"difference of {metric}")


def _references(rows: Sequence[Row]) -> list[tuple[str, list[Compared | None]]]:
    """Return the references that any row is compared with, and the comparison of every row."""
    pairs = [("baseline", [row.against_baseline for row in rows])]
    against = [row.against_reference for row in rows]
    pairs += [(name, against) for name in {one.reference for one in against if one is not None}]
    return [(name, compared) for name, compared in pairs if any(compared)]


def _difference(one: Compared | None) -> list[str]:
    if one is None:
        return ["-", "-", "-"]
    relative = "-" if math.isnan(one.relative) else f"{100 * one.relative:+.2f} %"
    low, high = one.difference.low, one.difference.high
    ends = f"[{low:+.4f}, {high:+.4f}]" if not math.isnan(low) else "[no interval]"
    p = "-" if math.isnan(one.adjusted_p) else _p(one.adjusted_p)
    return [relative, f"{one.difference.mean:+.4f} {ends}", p]


def _p(value: float, *, equals: bool = False) -> str:
    """Return a p value of four decimals, never zeros."""
    return ("< 0.0001" if equals else "<0.0001") if value < 5e-5 else f"{'= ' if equals else ''}{value:.4f}"


def _said(one: Compared) -> str:
    """Return what keeps a difference from being a finding; empty where nothing does."""
    if not one.difference.n_queries:
        return "no interval: one of the two has no scores of single queries"
    n = f"n = {one.difference.n_queries:,}"
    smallest = one.difference.smallest_resolvable
    if smallest == 0 and one.difference.mean == 0:
        return f"the same on every query, {n}"
    if not one.difference.resolved:
        return f"not resolved at {n}" + ("" if math.isnan(smallest) else f" (would resolve {smallest:.3f})")
    if one.adjusted_p >= 0.05:
        return f"resolved by itself at {n}, but not among all comparisons of this table"
    return ""
