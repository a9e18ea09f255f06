"""``collapse-probe compare``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError

if TYPE_CHECKING:
    from ..diagnosis import Compared, Row

EPILOG = """\b
Examples:
  collapse-probe compare runs/baseline runs/iso15_pred12 runs/respred
  collapse-probe compare runs/respred runs/frozen --epochs all
  collapse-probe compare runs/a runs/b --against b --csv table.csv

Intervals are 95 %, over the queries of these runs, not adjusted for multiple comparisons; the collections of an
average weigh alike. p values come from the same t test and are Holm-adjusted over all comparisons of the table.
Exit codes: 0 fine, 2 wrong use.
"""


@click.command("compare", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, metavar="RUN RUN...", type=click.Path(path_type=Path))
@click.option("--against", metavar="NAME", help="Run that the others are compared with.  [default: the first]")
@click.option("--metric", default="ndcg@10", show_default=True, help="Metric of the table.")
@click.option(
    "--epochs", type=click.Choice(["last", "all"]), default="last", show_default=True, help="Which epochs of the runs."
)
@click.option("--csv", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write the table here, too.")
def command(runs: tuple[Path, ...], against: str | None, metric: str, epochs: str, file: Path | None) -> int:
    """Print the founding document's performance table for runs, with intervals and adjusted p values."""
    from ..diagnosis import compare
    from ._display import say

    _check_free(file)
    rows = compare(runs, metric=metric, every_epoch=epochs == "all", against=against)
    for line in [*_aligned(_table(rows, metric)), *_notes(rows)]:
        say(line)
    if file is not None:
        _write(file, rows, metric)
        say(f"table   {file}")
    return 0


def _check_free(file: Path | None) -> None:
    if file is None:
        return
    if file.exists():
        raise InputError(f"--csv {file}: is there already; give another name")
    if not file.parent.is_dir():
        raise InputError(f"--csv {file}: no such folder {file.parent}; make it, or give another name")


def _table(rows: Sequence[Row], metric: str) -> list[list[str]]:
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
    interval = f"[{low:+.4f}, {high:+.4f}]" if not math.isnan(low) else "[no interval]"
    p = "-" if math.isnan(one.adjusted_p) else f"{one.adjusted_p:.4f}"
    return [relative, f"{one.difference.mean:+.4f} {interval}", p]


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    for row in rows:
        for one in (row.against_baseline, row.against_reference):
            if one is not None and (said := _said(one)):
                notes.append(f"{row.label} vs {one.reference}: {said}")
    return notes


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


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _write(file: Path, rows: Sequence[Row], metric: str) -> None:
    from ..journal import atomic_write_text

    collections = list(rows[0].by_collection)
    fields = ["reference", "difference", "low", "high", "relative", "p", "p_holm", "would_resolve", "n_queries"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "path", "epoch", "metric", "average", *collections]
        + [f"{kind}_{field}" for kind in ("vs_baseline", "vs_run") for field in fields]
    )
    for row in rows:
        scores = [row.average, *(row.by_collection[name] for name in collections)]
        compared = [*_numbers(row.against_baseline, fields), *_numbers(row.against_reference, fields)]
        writer.writerow([row.label, row.path, row.epoch, metric, *scores, *compared])
    try:
        atomic_write_text(file, text.getvalue())
    except OSError as error:
        raise InputError(f"--csv {file}: cannot be written ({error.strerror})") from None


def _numbers(one: Compared | None, fields: Sequence[str]) -> list[object]:
    if one is None:
        return [""] * len(fields)
    found = one.difference
    values = [found.mean, found.low, found.high, one.relative, found.p_value, one.adjusted_p]
    return [one.reference, *values, found.smallest_resolvable, found.n_queries]
