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
from ..journal import Run

if TYPE_CHECKING:
    from ..diagnosis import Compared, Row

EPILOG = """\b
Examples:
  collapse-probe compare runs/baseline runs/iso15_pred12 runs/respred
  collapse-probe compare runs/respred runs/frozen --epochs all
  collapse-probe compare runs/a runs/b --against b --csv table.csv

Differences are paired over queries, with 95 % bootstrap intervals; averages resample queries within each
collection. p is a sign-flip randomisation test, adjusted by Holm over all comparisons of the table.
Exit codes: 0 fine, 2 wrong use.
"""


@click.command("compare", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--against", metavar="NAME", help="Run that the others are compared with.  [default: the first]")
@click.option("--metric", default="ndcg@10", show_default=True, help="Metric of the table.")
@click.option(
    "--epochs", type=click.Choice(["last", "all"]), default="last", show_default=True, help="Which epochs of the runs."
)
@click.option("--csv", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write the table here, too.")
def command(runs: tuple[Path, ...], against: str | None, metric: str, epochs: str, file: Path | None) -> int:
    """Print the founding document's performance table for RUNS, with intervals and adjusted p values."""
    from ..diagnosis import compare
    from ._display import say

    if file is not None and file.exists():
        raise InputError(f"--csv {file}: is there already; give another name")
    rows = compare([Run.load(run) for run in runs], metric=metric, every_epoch=epochs == "all", against=against)
    cells = [_cells(row) for row in rows]
    for line in _aligned([_headers(rows, metric), *cells]):
        say(line)
    for note in _notes(rows):
        say(note)
    if file is not None:
        _write(file, [_headers(rows, metric), *cells])
        say(f"table   {file}")
    return 0


def _headers(rows: Sequence[Row], metric: str) -> list[str]:
    collections = list(rows[0].by_collection)
    several = collections if len(collections) > 1 else []
    head = ["model", f"average {metric}" if several else f"{collections[0]} {metric}", *several]
    return [*head, "vs baseline", "95 % interval", "p, Holm", "vs reference", "95 % interval", "p, Holm"]


def _cells(row: Row) -> list[str]:
    several = [f"{value:.4f}" for value in row.by_collection.values()] if len(row.by_collection) > 1 else []
    return [
        row.label,
        f"{row.average:.4f}",
        *several,
        *_difference(row.against_baseline),
        *_difference(row.against_reference),
    ]


def _difference(one: Compared | None) -> list[str]:
    if one is None:
        return ["-", "-", "-"]
    relative = "-" if math.isnan(one.relative) else f"{100 * one.relative:+.2f} %"
    interval = f"{one.difference.mean:+.4f} [{one.difference.low:+.4f}, {one.difference.high:+.4f}]"
    return [relative, interval, f"{one.adjusted_p:.4f}"]


def _notes(rows: Sequence[Row]) -> list[str]:
    reference = next((row.against_reference.reference for row in rows if row.against_reference), None)
    notes = [] if reference is None else [f"reference: {reference}"]
    for row in rows:
        for one in (row.against_baseline, row.against_reference):
            if one is not None and not one.difference.resolved:
                n = f"n = {one.difference.n_queries:,} queries (would resolve {one.smallest:.3f})"
                notes.append(f"{row.label} vs {one.reference}: not resolved at {n}")
    return notes


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _write(file: Path, table: Sequence[Sequence[str]]) -> None:
    from ..journal import atomic_write_text

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    try:
        atomic_write_text(file, text.getvalue())
    except OSError as error:
        raise InputError(f"--csv {file}: cannot be written ({error.strerror})") from None
