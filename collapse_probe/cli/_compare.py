"""``collapse-probe compare``."""

from __future__ import annotations

import csv
import io
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
  collapse-probe compare runs/a runs/b --against b --csv table.csv --page reports/a-and-b

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
@click.option("--page", type=click.Path(path_type=Path), metavar="FOLDER", help="Write a page with a figure here.")
@click.option("--csv", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write the table here, too.")
def command(
    runs: tuple[Path, ...], against: str | None, metric: str, epochs: str, page: Path | None, file: Path | None
) -> int:
    """Print the founding document's performance table for runs, with intervals and adjusted p values."""
    from ..diagnosis import compare
    from ..reporting import PAGE, comparison_cells, comparison_notes, write_comparison
    from ._display import say

    _check_free(file)
    if page is not None and page.is_file():
        raise InputError(f"--page {page}: is a file, where a folder is needed")
    rows = compare(runs, metric=metric, every_epoch=epochs == "all", against=against)
    for line in [*_aligned(comparison_cells(rows, metric)), *comparison_notes(rows)]:
        say(line)
    if page is not None:
        say(f"page    {write_comparison(rows, page, metric=metric).with_name(PAGE)}")
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
