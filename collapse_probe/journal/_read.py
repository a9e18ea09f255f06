"""Reading a journal's lines into a store, whatever a kill or a disk did to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ._course import SCHEMA, End
from ._fields import FieldError
from ._legacy import modern_line
from ._store import Store

_DECODE = json.JSONDecoder().raw_decode


class JournalError(InputError):
    """A run folder cannot be read, or not be written; the message names the file, and the line where there is one."""


def read_journal(path: Path, store: Store) -> int:
    """Read a journal into a store and return how many torn lines were skipped.

    A line that a kill tore is tolerated: the last one, or one that a later writer ended and went on behind. All
    else that is wrong (lines that are no records, missing, doubled, in another order) is noted as damage.

    Raises:
        JournalError: the file cannot be opened, comes from a newer version, or holds no record at all.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(path, store)
            if not reader.read(file):
                store.clear()
                reader = _Reader(path, store)
                reader.read_sorted(path)
    except FileNotFoundError:
        # Killed between run.json and the first line: a run in which nothing was recorded.
        return 0
    except OSError as error:
        raise JournalError(f"{path}: cannot be read ({error.strerror})") from None
    reader.finish()
    return reader.torn


class _Reader:
    def __init__(self, path: Path, store: Store) -> None:
        self.torn = 0
        self._ended = True
        self._path = path
        self._store = store
        self._next: int | None = None
        self._unreadable: list[int] = []
        self._after_unreadable = False
        self._lines = 0
        self._missing = 0

    def read(self, lines: Iterable[bytes]) -> bool:
        """Take in lines in the order of the file; False where their numbers say that this is not their order."""
        for number, line in enumerate(lines, start=1):
            content = _parsed(line)
            if content is None:
                if line.strip():
                    self._lines += 1
                    self._note_unreadable(number, line)
                continue
            self._lines += 1
            seq = content.get("seq")
            if type(seq) is int and seq == self._next and not self._unreadable:
                # The usual case, in a line of its own: this loop runs a million times.
                self._next = seq + 1
            elif not self._is_next(seq):
                return False
            self._take(number, content)
        return True

    def read_sorted(self, path: Path) -> None:
        """Take in the lines by their numbers, each number once."""
        places: dict[int, tuple[int, int]] = {}
        unnumbered: list[tuple[int, int]] = []
        doubled = offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                seq = (_parsed(line) or {}).get("seq")
                if type(seq) is not int:
                    unnumbered.append((number, offset))
                elif seq in places:
                    doubled += 1
                else:
                    places[seq] = (number, offset)
                offset += len(line)
            self._store.note_damage(f"{path}: its records are not in the order in which they were written")
            if doubled:
                self._store.note_damage(f"{path}: {_records(doubled)} there twice")
            for number, place in (*unnumbered, *(places[seq] for seq in sorted(places))):
                file.seek(place)
                line = file.readline()
                content = _parsed(line)
                if content is None:
                    self._note_unreadable(number, line)
                elif self._is_next(content.get("seq")):
                    self._take(number, content)
                self._lines += 1

    def finish(self) -> None:
        """Note what the numbers of the records say is missing."""
        if self._unreadable and not self._ended:
            self._unreadable.pop()
            self.torn += 1
        for number in self._unreadable:
            self._store.note_damage(f"{self._path}:{number}: not a JSON record")
        if self._lines and not self._store.count and not self.torn:
            raise JournalError(f"{self._path}: holds no record of a run")
        if self._missing:
            self._store.note_damage(f"{self._path}: {_records(self._missing)} missing")
        ends = self._store.of(End)
        if ends and ends[-1].records and self._next is not None and ends[-1].records > self._next:
            self._store.note_damage(f"{self._path}: {_records(ends[-1].records - self._next)} missing")

    def _note_unreadable(self, number: int, line: bytes) -> None:
        self._unreadable.append(number)
        self._after_unreadable = True
        self._ended = line.endswith(b"\n")

    def _is_next(self, seq: Any) -> bool:
        if type(seq) is not int:
            return True
        expected = self._next if self._next is not None else 0
        if seq < expected:
            return False
        if seq > expected:
            self._missing += seq - expected
        elif self._unreadable and self._after_unreadable:
            # Torn by a kill; a later writer ended the line and gave its number again.
            self.torn += 1
            self._unreadable.pop()
        self._next = seq + 1
        self._after_unreadable = False
        return True

    def _take(self, number: int, content: dict[str, Any]) -> None:
        try:
            schema = content.get("schema")
            if isinstance(schema, int) and schema > SCHEMA:
                raise JournalError(
                    f"{self._path}:{number}: schema {schema} is newer than {SCHEMA}; upgrade collapse-probe to read it"
                )
            if isinstance(schema, int) and schema < SCHEMA:
                content = modern_line(content)
                self._torn_before_resumption(content)
            kind = content.get("kind")
            if not isinstance(kind, str):
                raise FieldError(f"kind is {kind!r:.40}, where a text is needed")
            self._store.add(kind, content)
        except FieldError as error:
            self._store.note_damage(f"{self._path}:{number}: {error}")

    def _torn_before_resumption(self, content: dict[str, Any]) -> None:
        # Lines had no numbers: only a resumption says that the line before it was torn by a kill.
        if self._unreadable and content.get("kind") == "event" and content.get("name") == "resumed":
            self._unreadable.pop()
            self.torn += 1


def last_number(path: Path) -> int:
    """Return the number of a journal's last numbered record, -1 where there is none."""
    size, block = path.stat().st_size, 2**16
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - block))
            numbers = list(_numbers(file if block >= size else [*file][1:]))
            if numbers or block >= size:
                return max(numbers, default=-1)
            block *= 16


def _numbers(lines: Iterable[bytes]) -> Iterator[int]:
    for line in lines:
        seq = (_parsed(line) or {}).get("seq")
        if type(seq) is int:
            yield seq


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        text = line.decode().strip()
        content, end = _DECODE(text)
    except (ValueError, RecursionError):
        return None
    return content if end == len(text) and isinstance(content, dict) else None


def _records(count: int) -> str:
    return "1 record is" if count == 1 else f"{count:,} records are"
