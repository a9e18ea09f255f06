"""Appending records to a run's journal: one writer, one line a record."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from ._config import RunConfig
from ._course import End, Event
from ._fields import encode_number, fields_of
from ._files import atomic_write_text, write_beside
from ._kinds import NAMES, Record
from ._read import JournalError, last_number
from ._store import Store

LOCK = ".lock"
JOURNAL = "journal.jsonl"
CONFIG = "run.json"

_WAITING = 20_000
"""Lines that wait in memory for a disk that is full; of more the journal is cut for good."""

_log = logging.getLogger("collapse_probe")

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
        lasting: Whether a full disk raises nothing: lines that cannot be written wait until they can, which every
            further one tries, and where they never can the journal ends before them, which an event ``cut`` in
            ``store`` says.

    Raises:
        JournalError: another process is writing this run, or the folder cannot be written.
    """

    def __init__(self, folder: Path | None, *, store: Store | None = None, lasting: bool = False) -> None:
        self.folder = folder
        self.store = store
        self._lasting = lasting
        self._number = 0
        self._step = 0
        self._size = 0
        self._waiting: deque[bytes] = deque()
        self._lost: OSError | None = None
        self._file: FileIO | None = None
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
        """Bring everything to the disk and close the file; may be called twice."""
        try:
            if self._file is not None and not self._file.closed:
                if self._lost is not None:
                    self._say_cut(self._lost)
                os.fsync(self._file.fileno())
        finally:
            self._let_go()

    def write(self, record: Record) -> None:
        """Append one record.

        Raises:
            ValueError: the journal is closed.
            OSError: it cannot be written; not where it is ``lasting``.
        """
        if self.store is not None:
            self.store.add_record(record)
        if self.folder is None:
            return
        if self._file is None or self._file.closed:
            raise ValueError(f"{self.folder}: its journal is closed")
        line: dict[str, Any] = {"kind": NAMES[type(record)], "seq": self._number, **fields_of(record)}
        self._number += 1
        step = getattr(record, "step", None)
        self._put(f"{_LINE.encode(line)}\n".encode("utf-8", "backslashreplace"), self._step if step is None else step)

    def _put(self, line: bytes, step: int) -> None:
        """Append a line behind those that wait."""
        if self._lost is not None and len(self._waiting) >= _WAITING:
            return
        self._waiting.append(line)
        try:
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            if not self._lasting:
                self._waiting.clear()
                raise
            if self._lost is None:
                _log.warning(
                    "collapse-probe: %s/%s cannot be written after step %d (%s): training goes on, and what is read "
                    "is kept in memory until it can",
                    self.folder,
                    JOURNAL,
                    self._step,
                    error.strerror,
                )
            self._lost = error
            return
        self._lost, self._step = None, max(self._step, step)

    def _append(self, line: bytes) -> None:
        """Append a whole line, or nothing of it."""
        assert self._file is not None
        try:
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(line)

    def _say_cut(self, error: OSError) -> None:
        """Note in memory, which alone is whole, where the file ends."""
        if self.store is not None:
            message = f"{JOURNAL} is cut at step {self._step} ({error.strerror}); the rest is in memory"
            self.store.add_record(Event(name="cut", subject="journal", message=message, step=self._step))

    def attach(self, name: str, content: Mapping[str, Any]) -> str:
        """Keep per-query scores beside the journal and return the name by which a record finds them.

        Nothing that an older record names is overwritten.

        Args:
            name: What they are; any text.
            content: ``query_ids`` and a list of numbers for each metric.
        """
        file = f"evaluations/{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:120].strip('.-') or 'scores'}.json"
        if self.folder is None:
            return self._keep(file, content)
        plain = {key: [_plain(value) for value in values] for key, values in content.items()}
        try:
            return write_beside(self.folder / file, json.dumps(plain)).relative_to(self.folder).as_posix()
        except OSError:
            if not self._lasting:
                raise
            return self._keep(file, content)

    def _keep(self, file: str, content: Mapping[str, Any]) -> str:
        """Keep scores in memory, and return the name by which a record finds them."""
        if self.store is None:
            return file
        number, found = 1, file
        while found in self.store.files:
            number += 1
            found = f"{file.removesuffix('.json')}-{number}.json"
        self.store.files[found] = dict(content)
        return found

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
        """Close the file and release the lock, also where one of the two fails."""
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
            self._file = FileIO(path, "a", opener=_beside_standard)
            self._size = path.stat().st_size
            if _ends_torn(path):
                self._append(b"\n")
            self._number = last_number(path) + 1
        except OSError as error:
            with suppress(OSError):
                self._let_go()
            raise JournalError(f"{path}: cannot be written ({error.strerror})") from None


def _plain(value: Any) -> Any:
    return encode_number(value) if isinstance(value, float) else value


def _beside_standard(path: str, flags: int) -> int:
    """Open a file in none of the places of standard streams: where one is closed, C code would print into the file."""
    places = [os.open(path, flags, 0o666)]
    while places[-1] <= 2:
        places.append(os.open(path, flags, 0o666))
    for one in places[:-1]:
        os.close(one)
    return places[-1]


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
