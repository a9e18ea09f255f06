"""Appending records to a run's journal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ._files import atomic_write_text
from ._records import KINDS, SCHEMA, encode_number


def write_run_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``run.json`` (configuration, versions, seeds, fingerprints) atomically into a run folder."""
    text = json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(folder / "run.json", text + "\n")


class JournalWriter:
    """Appends records to ``journal.jsonl``, one line each, and flushes each line to the operating system.

    A process that is killed leaves all flushed lines and at most one torn last line, which a reader
    tolerates and a later writer ends before it appends. Use it as a context manager.

    Args:
        path: The journal file; created where it does not exist, never truncated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        if _ends_torn(path):
            self._file.write("\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is buffered to disk and close the file; may be called twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append one record.

        Args:
            kind: One of :data:`KINDS`.
            fields: JSON-serialisable values; floats must be finite, or encoded by ``encode_number``.

        Raises:
            ValueError: unknown kind, or a float that JSON cannot carry.
        """
        self._write([self._line(kind, fields)])

    def readings(
        self, values: Mapping[str, float], *, step: int, epoch: int, n: int, dimension: int, dtype: str
    ) -> None:
        """Append one ``reading`` record for each name in ``values``, all taken from the same sample.

        Args:
            values: Name (``TAP/MEASURE``) to value; NaN and inf are kept as such.
            step: Optimiser steps done when the sample was taken.
            epoch: Epoch of that step, from 1; 0 before training.
            n: Rows of the sample.
            dimension: Columns of the sample; 1 for scalars.
            dtype: Element type of the sample, as in ``"float32"``.
        """
        where = {"step": step, "epoch": epoch}
        sample = {"n": n, "dimension": dimension, "dtype": dtype}
        lines = [
            self._line("reading", {"name": name, **where, "value": encode_number(value), **sample})
            for name, value in values.items()
        ]
        self._write(lines)

    def event(self, name: str, message: str, *, step: int, epoch: int) -> None:
        """Append an ``event`` record."""
        self.append("event", {"name": name, "message": message, "step": step, "epoch": epoch})

    def _line(self, kind: str, fields: Mapping[str, Any]) -> str:
        if kind not in KINDS:
            raise ValueError(f"unknown record kind {kind!r}: use one of {', '.join(KINDS)}")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"schema": SCHEMA, "kind": kind, "time": time, **fields}
        return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()


def _ends_torn(path: Path) -> bool:
    """Return whether the file has a last line without its line end."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
