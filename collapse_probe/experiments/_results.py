"""The results of an ablation, read-only: its cells as runs, and every measure of theirs in one tidy table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..diagnosis import Evaluations
from ..errors import InputError
from ..journal import Run
from ._cells import CELL_RECORD, CELLS, ERROR, RECORD
from ._scores import Ends, ends

if TYPE_CHECKING:
    from ._effects import Effect

READINGS = {
    "correction": "delta_eval/correction_over_residual",
    "mean_abs_delta": "delta_eval/mean_abs",
    "scale": "document/std_mean",
    "rank": "document/participation_ratio",
    "mean_cosine": "document/mean_cosine",
    "validation_loss": "validation/total",
}
"""Measure to the reading that it is, on fixed pairs in evaluation mode."""

COLUMNS = [
    "intervention",
    "changes",
    "seed",
    "status",
    "collection",
    "path",
    "evaluated_path",
    "epoch",
    "step",
    "measure",
    "value",
    "n",
]


@dataclass(frozen=True)
class CellRun:
    """A finished cell.

    Attributes:
        intervention: Its name; :data:`CONTROL` for the run's own configuration.
        seed: Its seed.
        run: Its run folder.
    """

    intervention: str
    seed: int
    run: Run

    @cached_property
    def evaluations(self) -> Evaluations:
        """What it scored."""
        return Evaluations(self.run)


@dataclass(frozen=True)
class Failure:
    """A cell whose training raised.

    Attributes:
        intervention: Its name.
        seed: Its seed.
        error: What it raised, in one line.
    """

    intervention: str
    seed: int
    error: str


class Ablation:
    """A read-only view of an ablation's folder.

    Args:
        folder: The folder.
        config: The content of ``ablation.json``.
        cells: The finished cells.
        failures: The cells whose training raised.
    """

    def __init__(
        self, folder: Path, *, config: dict[str, Any], cells: list[CellRun], failures: list[Failure] | None = None
    ) -> None:
        self.folder = folder
        self.config = config
        self.cells = cells
        self.failures = failures or []

    @classmethod
    def load(cls, folder: str | Path) -> Ablation:
        """Read an ablation's folder.

        Raises:
            InputError: it is none, or comes from a newer version.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{folder}: no {RECORD} in it; give a folder that an ablation was written into") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / RECORD}: cannot be read ({error})") from None
        if not isinstance(config, dict) or config.get("schema") != 1:
            raise InputError(f"{folder / RECORD}: schema is not 1; upgrade collapse-probe to read it")
        known = [entry["name"] for entry in config["interventions"]]
        cells: list[CellRun] = []
        failures: list[Failure] = []
        for path in sorted((folder / CELLS).glob(f"*/{CELL_RECORD}")):
            if path.parent.name not in config["cells"]:
                continue
            record = json.loads(path.read_text(encoding="utf-8"))
            which = (str(record["intervention"]), int(record["seed"]))
            if (path.parent / ERROR).exists():
                error = json.loads((path.parent / ERROR).read_text(encoding="utf-8"))
                failures.append(Failure(*which, str(error["error"])))
            else:
                cells.append(CellRun(*which, Run.load(path.parent)))
        for found in (cells, failures):
            found.sort(key=lambda one: (known.index(one.intervention), one.seed))  # type: ignore[attr-defined]
        return cls(folder, config=config, cells=cells, failures=failures)

    @property
    def name(self) -> str:
        """The ablation's name."""
        return str(self.config["name"])

    @property
    def interventions(self) -> list[str]:
        """Names of the interventions that have a finished cell, the control first."""
        return list(dict.fromkeys(cell.intervention for cell in self.cells))

    def changes(self, intervention: str) -> dict[str, Any]:
        """Return the fields that an intervention changes."""
        return dict(self._entry(intervention)["changes"])

    def claim(self, intervention: str) -> str:
        """Return what an intervention decides, in words."""
        entry = self._entry(intervention)
        return str(entry.get("claim", entry.get("tests", "")))

    def tests(self, intervention: str) -> str:
        """Return the slug of the mechanism that an intervention decides; empty where it decides none."""
        entry = self._entry(intervention)
        return str(entry.get("tests", "")) if "claim" in entry else ""

    def by_construction(self, intervention: str) -> str:
        """Return why an intervention restores whatever the mechanism is; empty where it does not."""
        return str(self._entry(intervention).get("by_construction", ""))

    def trains_less(self, intervention: str) -> bool:
        """Return whether an intervention undoes a part of anything by training less."""
        return bool(self._entry(intervention).get("trains_less", False))

    def runs(self, intervention: str) -> dict[int, Run]:
        """Return the finished runs of an intervention by seed."""
        return {cell.seed: cell.run for cell in self.cells if cell.intervention == intervention}

    def completed(self, intervention: str) -> dict[int, Run]:
        """Return those of its runs whose training came to its end, by seed."""
        return {seed: run for seed, run in self.runs(intervention).items() if run.status == "completed"}

    @property
    def collections(self) -> list[str]:
        """Labels of what was scored by query: collections, then the reference pairs, which are of the own domain."""
        found = [(label, cell.evaluations) for cell in self.cells for label in cell.evaluations.collections]
        scored = [(_is_reference(of, label), label) for label, of in found if ends(of, label) is not None]
        return [label for _, label in sorted(dict.fromkeys(scored), key=lambda one: one[0])]

    def ends(self, intervention: str, collection: str) -> dict[int, Ends]:
        """Return what the completed runs of an intervention scored on a collection, by seed."""
        found = {
            cell.seed: ends(cell.evaluations, collection)
            for cell in self.cells
            if cell.intervention == intervention and cell.run.status == "completed"
        }
        return {seed: one for seed, one in found.items() if one is not None}

    @cached_property
    def effects(self) -> dict[str, list[Effect]]:
        """Collection to what the control and every intervention did there, in the ablation's order."""
        from ._effects import effects

        return {collection: effects(self, collection) for collection in self.collections}

    @property
    def verdicts(self) -> dict[str, dict[str, str]]:
        """Collection to intervention to what it does: ``restores``, ``no effect`` and so on."""
        return {
            collection: {one.intervention: one.verdict.value for one in found if one.verdict is not None}
            for collection, found in self.effects.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the ablation as JSON has it; numbers that are absent or not finite are None."""
        cells = [(cell.intervention, cell.seed, cell.run.status, "") for cell in self.cells]
        cells += [(one.intervention, one.seed, "failed", one.error) for one in self.failures]
        return {
            "schema": 1,
            "name": self.name,
            "folder": str(self.folder),
            "run": self.config["run"],
            "seeds": list(self.config["seeds"]),
            "interventions": list(self.config["interventions"]),
            "cells": [dict(zip(("intervention", "seed", "status", "error"), one, strict=True)) for one in cells],
            "effects": [one.to_dict() for found in self.effects.values() for one in found],
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.cells)} of {len(self.config['cells'])} cells"]
        for collection, found in self.effects.items():
            lines += [f"{collection}:", *(f"  {one}" for one in found)]
        return "\n".join(
            [*lines, *(f"failed: {one.intervention}, seed {one.seed}: {one.error}" for one in self.failures)]
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every measure of every cell: one row each, by intervention, seed, epoch and path.

        Readings of the embeddings have no collection and path; ``n`` is what a value was taken from: queries of a
        score, pairs of a reading.
        """
        rows = [row for cell in self.cells for row in self._rows(cell)]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _entry(self, intervention: str) -> dict[str, Any]:
        return next(entry for entry in self.config["interventions"] if entry["name"] == intervention)

    def _rows(self, cell: CellRun) -> list[dict[str, Any]]:
        common = {
            "intervention": cell.intervention,
            "changes": json.dumps(self.changes(cell.intervention), sort_keys=True),
            "seed": cell.seed,
            "status": cell.run.status,
        }
        return [{**common, **row} for row in (*_score_rows(cell.evaluations), *_reading_rows(cell.run))]


def _is_reference(evaluations: Evaluations, label: str) -> bool:
    return any(one.role == "reference" for (name, _, _), one in evaluations.records.items() if name == label)


def _score_rows(evaluations: Evaluations) -> Iterator[dict[str, Any]]:
    for (collection, path, step), record in evaluations.records.items():
        for metric, value in record.metrics.items():
            yield {
                "collection": collection,
                "path": path,
                "evaluated_path": path == evaluations.judged(collection),
                "epoch": step if record.epoch is None else record.epoch,
                "step": step,
                "measure": metric,
                "value": float(value),
                "n": record.n_queries or 0,
            }


def _reading_rows(run: Run) -> Iterator[dict[str, Any]]:
    for measure, name in READINGS.items():
        found = run.readings(name)
        moment = "step" if len(found) and found["epoch"].isna().any() else "epoch"
        for reading in found.drop_duplicates(moment, keep="last").to_dict("records"):
            yield {
                "collection": "",
                "path": "",
                "evaluated_path": False,
                "epoch": int(reading[moment]),
                "step": int(reading["step"]),
                "measure": measure,
                "value": float(reading["value"]),
                "n": int(reading["n"]),
            }
