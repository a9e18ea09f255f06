"""Writing a journal by the founding system's names, until its recorder has today's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._kinds import KINDS, Readings, Start, Summary, Terms, encode_number, record_from
from ._legacy import modern_config, modern_line
from ._writer import JournalWriter, now, write_config


def write_run_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``run.json`` from the founding system's configuration."""
    write_config(folder, modern_config({"name": folder.name, **content}))


class FoundingWriter(JournalWriter):
    """A journal that is written by the founding system's names."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append one record."""
        if kind == "start":
            self.write(Start(time=now()))
        elif kind == "end":
            self.end(fields["status"], step=fields["step"], epoch=fields["epoch"], message=fields["message"])
        elif kind not in KINDS:
            raise ValueError(f"unknown record kind {kind!r}: use one of {', '.join(KINDS)}")
        else:
            line = modern_line({"kind": kind, "time": now(), **fields})
            self.write(record_from(KINDS[line["kind"]], line))

    def readings(
        self, values: Mapping[str, float], *, step: int, epoch: int, n: int, dimension: int, dtype: str
    ) -> None:
        """Append the readings of one sample, a record for each kind of theirs."""
        sample = {"step": step, "epoch": epoch, "n": n, "dimension": dimension, "dtype": dtype}
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        for name, value in values.items():
            line = modern_line({"kind": "reading", "name": name, "value": encode_number(value), **sample})
            fields = {key: entry for key, entry in line.items() if key not in ("kind", "values")}
            kept = groups.setdefault((line["kind"], *fields.items()), {**fields, "values": {}})["values"]
            for reading, entry in line["values"].items():
                kept[reading] = {**kept.get(reading, {}), **entry} if isinstance(entry, dict) else entry
        kinds = {"readings": Readings, "terms": Terms, "summary": Summary}
        for (kind, *_), fields in groups.items():
            self.write(record_from(kinds[kind], fields))

    def event(self, name: str, message: str, *, step: int, epoch: int) -> None:
        """Append an ``event`` record."""
        self.append("event", {"name": name, "message": message, "step": step, "epoch": epoch})
