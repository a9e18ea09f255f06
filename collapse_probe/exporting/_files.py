"""Tables: CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..reporting import write_folder
from ._described import Described
from ._export import Written
from ._names import cell

READINGS = ("series", "reading", "on", "dataset", "step", "time", "value", "n")
FINDINGS = ("code", "kind", "subject", "status", "state", "step", "time", "value", "title", "text")


def writer(to: str) -> Callable[[Described, str | None, str], Written]:
    """Return what writes tables of a kind.

    Raises:
        ModuleNotFoundError: Parquet needs pyarrow.
    """
    if to == "parquet":
        import pyarrow  # noqa: F401

    def write(run: Described, into: str | None, project: str) -> Written:
        def build(folder: Path) -> None:
            save = _save_csv if to == "csv" else _save_parquet
            save(folder / f"readings.{to}", READINGS, _readings(run))
            save(folder / f"findings.{to}", FINDINGS, _findings(run))
            (folder / "card.md").write_text(run.card, encoding="utf-8")

        folder = Path(into or f"exports/{to}") / run.folder
        return Written(where=str(write_folder(folder, run.key, build)))

    return write


def _readings(run: Described) -> Iterator[tuple[Any, ...]]:
    for line in run.lines:
        names = (cell(line.name), cell(line.reading), line.on, cell(line.dataset))
        columns = (line.steps.tolist(), line.times.tolist(), line.values.tolist(), line.n.tolist())
        for step, time, value, n in zip(*columns, strict=True):
            yield *names, step, _iso(time), value, None if n < 0 else n


def _findings(run: Described) -> Iterator[tuple[Any, ...]]:
    for one in run.alerts:
        words = (cell(one.title), cell(one.text))
        about = (one.code, one.kind, cell(one.subject), one.status, one.state)
        yield *about, one.step, _iso(one.time), one.value, *words


def _save_csv(path: Path, headers: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writing = csv.writer(file, lineterminator="\n")
        writing.writerow(headers)
        writing.writerows(rows)


def _save_parquet(path: Path, headers: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    import pandas as pd

    numbers = {"step": "int64", "value": "float64", "n": "Int64"}
    frame = pd.DataFrame(list(rows), columns=list(headers))
    types = {name: numbers.get(name, "str") for name in headers}
    frame.astype(types).to_parquet(path, index=False)


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds") if time else ""
