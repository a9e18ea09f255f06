"""A run, read-only: all that diagnosis and reporting see, on disk or while it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from ._config import ModuleInfo, RunConfig
from ._course import SCHEMA, End, Event, Start
from ._cut import CutStore
from ._fields import FieldError
from ._frames import Frames
from ._legacy import modern_config
from ._read import JournalError, read_journal
from ._readings import Coverage
from ._scored import Evaluation
from ._store import Key, Series, Store
from ._writer import CONFIG, JOURNAL

R = TypeVar("R")


class LiveRun(Frames):
    """A run in memory: the same questions, asked while it is written.

    Args:
        config: What the run is.
        store: Its records.
        folder: Its folder; None for one that is kept in memory only.
    """

    def __init__(self, config: RunConfig, store: Store, *, folder: Path | None = None) -> None:
        self.config = config
        self.folder = folder
        self.torn = 0
        self._store = store

    @property
    def store(self) -> Store:
        """Its records, for whoever goes on writing them."""
        return self._store

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name

    @property
    def status(self) -> str:
        """``completed``, ``interrupted`` or ``failed``; ``unfinished`` where there is no end record."""
        ends = self.of(End)
        return ends[-1].status if ends else "unfinished"

    @property
    def modules(self) -> tuple[ModuleInfo, ...]:
        """The run's modules, with what was heard of which of them are on the path that is scored."""
        heard = {one.subject: one.name == "scored" for one in self.of(Event) if one.name in ("scored", "not_scored")}
        return tuple(replace(one, scored=heard.get(one.name, one.scored)) for one in self.config.modules)

    @property
    def began(self) -> str:
        """When recording began, UTC, ISO 8601; empty where that is not recorded."""
        starts = self.of(Start)
        return starts[0].time if starts else ""

    @property
    def identity(self) -> str:
        """What tells the run from others of its name: the name and when it began."""
        return f"{self.name} {self.began}".strip()

    @property
    def steps(self) -> int:
        """Optimiser steps done, as far as the journal tells."""
        ends = [end.step for end in self.of(End)]
        return max([*ends, self._store.last_step, *(one.step for one in self.of(Evaluation))], default=0)

    @property
    def damage(self) -> list[str]:
        """What is wrong with the journal, a line each; empty where nothing is."""
        rest = self._store.damages - len(self._store.damage)
        return [*self._store.damage, *([f"{rest:,} more faults of the journal"] if rest else [])]

    @property
    def unknown(self) -> dict[str, int]:
        """Kinds of records that this version does not know, and how many there are of each."""
        return dict(self._store.unknown)

    def cut(self, dimension: int) -> Self:
        """Return the run as its vectors' first columns alone show it: one of :attr:`RunConfig.dimensions`."""
        config = replace(self.config, dimensions=[])
        return type(self)(config, CutStore(self._store, dimension), folder=self.folder)  # type: ignore[arg-type]

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of a kind, in the order in which they were written."""
        return self._store.of(kind)

    @property
    def keys(self) -> list[Key]:
        """``(reading, on, dataset)`` of every series, in the order of their first appearance."""
        return self._store.keys

    def series(self, reading: str, *, on: str | None = None, dataset: str | None = None) -> Series:
        """Return one reading by step, as :meth:`Store.series` does; empty where nothing was recorded.

        ``STREAM/scale_drift`` and ``STREAM/scale_drift_raw`` are made of ``STREAM/norm_mean``: its decimal logarithm
        over that of step 0, and over the raw encoder's; -38 for a norm of 0.
        """
        found = self._store.series(reading, on=on, dataset=dataset)
        stream, _, measure = reading.rpartition("/")
        if not len(found) and measure in ("scale_drift", "scale_drift_raw"):
            return self._drift(stream, raw=measure.endswith("raw"), reading=reading, on=on)
        return found

    def _drift(self, stream: str, *, raw: bool, reading: str, on: str | None) -> Series:
        norms = self._store.series(f"{stream}/norm_mean", on=on)
        whole = norms.where(norms.n == norms.n.max()) if len(norms) else norms
        start = self._store.series(f"{stream}/norm_mean", on="raw") if raw else whole
        if not len(start) or not start.values[0] > 0:
            return whole.where(np.zeros(len(whole), dtype=bool))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.maximum(np.log10(whole.values / start.values[0]), -38.0)
        return replace(whole, reading=reading, values=np.where(np.isnan(whole.values), np.nan, values))

    def baseline(self, reading: str) -> float | None:
        """Return what a reading is compared with: the raw encoder's on the reference pairs, else that of step 0.

        None where neither was recorded. Of other numbers of pairs than were ever read later, it is of other pairs.
        """
        raw, reference = (self.series(reading, on=on).finite() for on in ("raw", "reference"))
        if len(raw) and (not len(reference) or raw.n[0] in reference.n):
            return float(raw.values[0])
        return float(reference.values[0]) if len(reference) and reference.steps[0] == 0 else None

    @property
    def coverage(self) -> dict[str, Coverage]:
        """The latest coverage record of every stream."""
        return {one.stream: one for one in self.of(Coverage)}

    def has_file(self, file: str) -> bool:
        """Return whether the per-query scores that an evaluation record names are there."""
        return file in self._store.files or (self.folder is not None and (self.folder / file).is_file())

    def per_query(self, file: str) -> dict[str, Any]:
        """Return the per-query scores that an evaluation record names.

        Returns:
            ``query_ids``, a list, and one list of floats for each metric, in the same order.

        Raises:
            JournalError: the file is missing, unreadable, or has a metric without a score for every query.
        """
        if file in self._store.files:
            return self._store.files[file]
        if self.folder is None:
            raise JournalError(f"{self.name}: is kept in memory only, so it has no file {file}")
        path = self.folder / file
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise JournalError(f"{path}: per-query scores lie inside the run folder, and this is outside")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise JournalError(f"{path}: per-query scores cannot be read ({error})") from None
        if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
            raise JournalError(f"{path}: per-query scores cannot be read (lists by name are needed)")
        if "query_ids" not in content or len({len(values) for values in content.values()}) != 1:
            raise JournalError(f"{path}: per-query scores cannot be read (one score for each of its queries is needed)")
        return content

    @cached_property
    def damaged(self) -> list[str]:
        """What is wrong with the journal, and with files that its evaluation records name, a line each."""
        found = list(self.damage)
        for file in dict.fromkeys(one.per_query for one in self.of(Evaluation) if one.per_query):
            try:
                self.per_query(file)
            except JournalError as error:
                found.append(str(error))
        return found


class Run(LiveRun):
    """A read-only view of a run folder.

    Records of steps that a resumed process did again are left out.

    Attributes:
        folder: The run folder.
        torn: Lines that a kill tore; they are tolerated.
    """

    folder: Path

    @classmethod
    def load(cls, run: Any) -> Self:
        """Read a run folder.

        Args:
            run: The folder's path, or a ``Run`` or a ``Watch``, whose folder is read again.

        Raises:
            JournalError: no such folder, no ``run.json`` in it, one with a field of a wrong type, a journal without
                any record, one of a newer version, or a run that is kept in memory only.
        """
        folder = _folder(run)
        if not folder.is_dir():
            raise JournalError(f"{folder}: no such run folder; give the folder of a run")
        store = Store()
        run = cls(_read_config(folder / CONFIG), store, folder=folder)
        run.torn = read_journal(folder / JOURNAL, store)
        return run


def _folder(run: Any) -> Path:
    if isinstance(run, str | Path):
        return Path(run)
    live = run if isinstance(run, LiveRun) else getattr(run, "live", None)
    if not isinstance(live, LiveRun):
        kind = type(run).__name__
        raise JournalError(f"cannot load a run from a {kind}: give a run folder's path, a Run or a Watch")
    if live.folder is None:
        raise JournalError(f"{live.name}: is kept in memory only, so there is no folder to load; diagnose it as it is")
    return live.folder


def _read_config(path: Path) -> RunConfig:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        folder, instead = path.parent, f"give one that holds a {CONFIG}"
        if (
            (folder / "config.json").is_file()
            or (folder / "modules.json").is_file()
            or any(folder.glob("checkpoint-*"))
        ):
            instead = f"of finished models write one: collapse-probe examine BASE {folder}"
        raise JournalError(f"{path}: not found, so this is no run folder; {instead}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise JournalError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise JournalError(f"{path}: holds a {type(content).__name__}, where a JSON object is needed")
    schema = content.get("schema")
    if type(schema) is not int or schema < 1:
        raise JournalError(f"{path}: schema is {schema!r:.40}, where a number from 1 to {SCHEMA} is needed")
    if schema > SCHEMA:
        raise JournalError(f"{path}: schema {schema} is newer than {SCHEMA}; upgrade collapse-probe to read it")
    try:
        return (
            RunConfig.from_json(content) if schema == SCHEMA else modern_config({"name": path.parent.name, **content})
        )
    except FieldError as error:
        raise JournalError(f"{path}: {error}") from None
