"""A run folder, read-only: all that diagnosis and reporting see."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._records import KINDS, SCHEMA, decode_number

if TYPE_CHECKING:
    import pandas as pd

_READING_COLUMNS = ["name", "step", "epoch", "value", "n", "dimension", "dtype"]
_EVALUATION_COLUMNS = [
    "collection",
    "split",
    "step",
    "epoch",
    "path",
    "similarity",
    "metric",
    "value",
    "n_queries",
    "n_documents",
    "tied_share",
    "per_query",
]


class JournalError(InputError):
    """A run folder cannot be read; the message names the file, and the line where there is one."""


class Run:
    """A read-only view of a run folder.

    A torn last line is tolerated, and so is a line torn by a kill that a resumed process then ended;
    :attr:`torn` says how many there were. Records of steps that a resumed process did again are left out:
    an event ``resumed`` at step S supersedes whatever was recorded before it for later steps.

    Args:
        folder: The run folder.
        config: The content of ``run.json``.
        records: The journal's records, superseded ones left out.
        torn: How many torn lines were skipped.
    """

    def __init__(self, folder: Path, *, config: dict[str, Any], records: list[dict[str, Any]], torn: int) -> None:
        self.folder = folder
        self.config = config
        self.torn = torn
        self._records = records

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read a run folder.

        Raises:
            JournalError: no such folder, no ``run.json`` or journal in it, a line that is no record, or a
                schema newer than this version reads.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise JournalError(f"{folder}: no such run folder; give a folder that `collapse-probe train` wrote")
        config = _read_config(folder / "run.json")
        records, torn = _read_journal(folder / "journal.jsonl")
        return cls(folder, config=config, records=_without_superseded(records), torn=torn)

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.config.get("name", self.folder.name))

    @property
    def status(self) -> str:
        """``completed``, ``interrupted`` or ``failed``; ``unfinished`` where there is no end record."""
        ends = self.records("end")
        return str(ends[-1]["status"]) if ends else "unfinished"

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of one kind, in the order in which they were written."""
        if kind not in KINDS:
            raise ValueError(f"unknown record kind {kind!r}: use one of {', '.join(KINDS)}")
        return [record for record in self._records if record["kind"] == kind]

    @cached_property
    def _all_readings(self) -> pd.DataFrame:
        import pandas as pd

        frame = pd.DataFrame(self.records("reading"), columns=_READING_COLUMNS)
        frame["value"] = [decode_number(value) for value in frame["value"]]
        return frame

    @property
    def reading_names(self) -> list[str]:
        """The names of all readings, in the order of their first appearance."""
        return list(dict.fromkeys(self._all_readings["name"]))

    def readings(self, name: str | None = None) -> pd.DataFrame:
        """Return readings as a frame with name, step, epoch, value, n, dimension and dtype, by step.

        Args:
            name: One reading's name, as ``"delta/mean_abs"``; all of them where None.

        Returns:
            A new frame; empty, with its columns, where nothing was recorded under that name.
        """
        frame = self._all_readings
        if name is not None:
            frame = frame[frame["name"] == name]
        return frame.reset_index(drop=True).copy()

    def histograms(self, name: str) -> list[dict[str, Any]]:
        """Return the histogram records of one name; ``edges`` and ``counts`` are arrays."""
        return [_with_arrays(r, ("edges", "counts")) for r in self.records("histogram") if r["name"] == name]

    def spectra(self, name: str) -> list[dict[str, Any]]:
        """Return the spectrum records of one name; ``values`` is an array, in descending order."""
        return [_with_arrays(r, ("values",)) for r in self.records("spectrum") if r["name"] == name]

    def evaluations(self) -> pd.DataFrame:
        """Return one row for each evaluated metric: collection, step, epoch, path, metric, value and so on."""
        import pandas as pd

        rows = [
            {**record, "metric": metric, "value": decode_number(value)}
            for record in self.records("evaluation")
            for metric, value in record["metrics"].items()
        ]
        return pd.DataFrame(rows, columns=_EVALUATION_COLUMNS)

    def per_query(self, file: str) -> dict[str, Any]:
        """Return the per-query scores that an evaluation record names.

        Returns:
            ``query_ids``, a list, and one list of floats for each metric, in the same order.

        Raises:
            JournalError: the file is missing, unreadable, or has a metric without a score for every query.
        """
        path = self.folder / file
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise JournalError(f"{path}: per-query scores cannot be read ({error})") from None
        if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
            raise JournalError(f"{path}: per-query scores cannot be read (lists by name are needed)")
        if "query_ids" not in content or len({len(values) for values in content.values()}) != 1:
            raise JournalError(f"{path}: per-query scores cannot be read (one score for each of its queries is needed)")
        return content

    @property
    def damaged(self) -> list[str]:
        """What is wrong with files that its evaluation records name, a line each; nothing is measured from those."""
        found = []
        for file in dict.fromkeys(str(record["per_query"]) for record in self.records("evaluation")):
            try:
                self.per_query(file)
            except JournalError as error:
                found.append(str(error))
        return found


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JournalError(f"{path}: not found, so this is no run folder; give one that holds a run.json") from None
    except (OSError, ValueError) as error:
        raise JournalError(f"{path}: cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise JournalError(f"{path}: holds a {type(config).__name__}, where a JSON object is needed")
    _check_schema(config, where=str(path))
    return config


def _read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: cannot be read ({error.strerror})") from None
    lines = content.split(b"\n")
    records: list[dict[str, Any]] = []
    torn_at: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
        except ValueError:
            torn_at.append(number)
            continue
        _check_record(record, where=f"{path}:{number}")
        if torn_at and torn_at[-1] == number - 1 and not _is_resumption(record):
            raise JournalError(f"{path}:{number - 1}: not a JSON record; the journal is damaged there")
        records.append(record)
    _check_torn(path, torn_at, lines)
    return records, len(torn_at)


def _check_torn(path: Path, torn_at: list[int], lines: list[bytes]) -> None:
    """Allow torn lines only where a kill leaves them: at the very end, or just before a resumption."""
    last = max((number for number, line in enumerate(lines, start=1) if line.strip()), default=0)
    for first, second in zip(torn_at, torn_at[1:], strict=False):
        if second == first + 1:
            raise JournalError(f"{path}:{first}: not a JSON record; the journal is damaged there")
    if torn_at and torn_at[-1] == last and lines[-1] == b"":
        raise JournalError(f"{path}:{last}: not a JSON record; the journal is damaged there")


def _is_resumption(record: dict[str, Any]) -> bool:
    return record["kind"] == "event" and record.get("name") == "resumed"


def _check_record(record: dict[str, Any], *, where: str) -> None:
    _check_schema(record, where=where)
    if record.get("kind") not in KINDS:
        raise JournalError(f"{where}: unknown record kind {record.get('kind')!r}")


def _check_schema(content: dict[str, Any], *, where: str) -> None:
    schema = content.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise JournalError(f"{where}: schema is {schema!r}, where a number from 1 to {SCHEMA} is needed")
    if schema > SCHEMA:
        raise JournalError(f"{where}: schema {schema} is newer than {SCHEMA}; upgrade collapse-probe to read it")


def _without_superseded(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for record in records:
        if _is_resumption(record):
            # The first step after a checkpoint has the checkpoint's number of steps done, but the next epoch.
            last = (record["step"], record["epoch"])
            kept = [r for r in kept if r["kind"] != "end" and (r.get("step", 0), r.get("epoch", 0)) <= last]
        kept.append(record)
    return kept


def _with_arrays(record: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {**record, **{key: np.asarray(record[key], dtype=float) for key in keys}}
