"""Appending records to a run's journal: one writer, one line a record."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from filelock import FileLock, Timeout

from ._config import RunConfig
from ._course import End
from ._fields import encode_number, fields_of
from ._files import atomic_write_text, write_beside
from ._kinds import NAMES, Record
from ._read import JournalError, last_number
from ._store import Store

LOCK = ".lock"
JOURNAL = "journal.jsonl"
CONFIG = "run.json"

_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_config(folder: Path, config: RunConfig) -> None:
    """Write ``run.json`` atomically into a run folder."""
    text = json.dumps(config.to_json(), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    atomic_write_text(folder / CONFIG, text + "\n")


class JournalWriter:
    """Appends records to a run folder's journal, and keeps them in memory for whoever reads along.

    Every record is a line of its own and is handed to the operating system at once, so a process that is killed
    leaves all finished lines and at most one torn last line. A second writer of the same run is refused. Use it as a
    context manager.

    Args:
        folder: The run folder; None keeps the records in memory only.
        store: Where the records are kept in memory; None keeps none.

    Raises:
        JournalError: another process is writing this run, or the folder cannot be written.
    """

    def __init__(self, folder: Path | None, *, store: Store | None = None) -> None:
        self.folder = folder
        self.store = store
        self._number = 0
        self._file: TextIO | None = None
        self._lock: FileLock | None = None
        if folder is not None:
            self._open(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is buffered to disk and close the file; may be called twice."""
        try:
            if self._file is not None and not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._let_go()

    def write(self, record: Record) -> None:
        """Append one record.

        Raises:
            ValueError: the journal is closed.
        """
        if self.store is not None:
            self.store.add_record(record)
        if self.folder is None:
            return
        if self._file is None or self._file.closed:
            raise ValueError(f"{self.folder}: its journal is closed")
        line: dict[str, Any] = {"kind": NAMES[type(record)], "seq": self._number, **fields_of(record)}
        self._file.write(_LINE.encode(line) + "\n")
        self._file.flush()
        self._number += 1

    def attach(self, name: str, content: Mapping[str, Any]) -> str:
        """Keep per-query scores beside the journal and return the name by which a record finds them.

        Nothing that an older record names is overwritten.

        Args:
            name: What they are; any text.
            content: ``query_ids`` and a list of numbers for each metric.
        """
        file = f"evaluations/{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:120].strip('.-') or 'scores'}.json"
        if self.folder is None:
            if self.store is None:
                return file
            number, found = 1, file
            while found in self.store.files:
                number += 1
                found = f"{file.removesuffix('.json')}-{number}.json"
            self.store.files[found] = dict(content)
            return found
        plain = {key: [_plain(value) for value in values] for key, values in content.items()}
        return write_beside(self.folder / file, json.dumps(plain)).relative_to(self.folder).as_posix()

    def end(
        self,
        status: str,
        *,
        step: int,
        epoch: int | None = None,
        message: str = "",
        cost: tuple[float, float] | None = None,
    ) -> None:
        """Append the end record, which counts the records; to be called after everything else is saved.

        Args:
            status: How it ended.
            step: Optimiser steps done.
            epoch: The epoch.
            message: Why it did not complete.
            cost: Seconds that watching took, and those in which it did; None where unknown.
        """
        ours, seconds = (None, None) if cost is None else cost
        about = {"step": step, "epoch": epoch, "message": message, "ours": ours, "seconds": seconds}
        self.write(End(status=status, **about, records=self._number + 1, time=now()))

    def _let_go(self) -> None:
        """Close the file and release the lock, also where a full disk keeps what is buffered from being written."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _open(self, folder: Path) -> None:
        path = folder / JOURNAL
        try:
            lock = FileLock(folder / LOCK, timeout=0)
            lock.acquire()
        except Timeout:
            raise JournalError(
                f"{folder}: another process is writing this run; wait until it has ended, or give another folder"
            ) from None
        except NotImplementedError:
            lock = None  # a file system without locks: two writers cannot be told apart there
        except OSError as error:
            raise JournalError(f"{folder}: cannot be written ({error.strerror})") from None
        self._lock = lock
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
            if _ends_torn(path):
                self._file.write("\n")
                self._file.flush()
            self._number = last_number(path) + 1
        except OSError as error:
            with suppress(OSError):
                self._let_go()
            raise JournalError(f"{path}: cannot be written ({error.strerror})") from None


def _plain(value: Any) -> Any:
    return encode_number(value) if isinstance(value, float) else value


def now() -> str:
    """Return the time as records carry it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _ends_torn(path: Path) -> bool:
    """Return whether the file has a last line without its line end."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
