"""The results of an ablation, read-only: its cells as runs, and every measure of theirs in one tidy table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..diagnosis import collections, evaluated_path, evaluation_records
from ..errors import InputError
from ..journal import Run

CONTROL = "control"
"""Name of the run's own configuration among the interventions."""

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


class Ablation:
    """A read-only view of an ablation's folder.

    Args:
        folder: The folder.
        config: The content of ``ablation.json``.
        cells: The finished cells.
    """

    def __init__(self, folder: Path, *, config: dict[str, Any], cells: list[CellRun]) -> None:
        self.folder = folder
        self.config = config
        self.cells = cells

    @classmethod
    def load(cls, folder: str | Path) -> Ablation:
        """Read an ablation's folder.

        Raises:
            InputError: it is none, or comes from a newer version.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / "ablation.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{folder}: no ablation.json in it; give a folder that `collapse-probe ablate` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / 'ablation.json'}: cannot be read ({error})") from None
        if not isinstance(config, dict) or config.get("schema") != 1:
            raise InputError(f"{folder / 'ablation.json'}: schema is not 1; upgrade collapse-probe to read it")
        known = [entry["name"] for entry in config["interventions"]]
        cells = []
        for path in sorted((folder / "cells").glob("*/cell.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            if path.parent.name in config["cells"]:
                cells.append(CellRun(record["intervention"], int(record["seed"]), Run.load(path.parent)))
        return cls(folder, config=config, cells=sorted(cells, key=lambda c: (known.index(c.intervention), c.seed)))

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

    def tests(self, intervention: str) -> str:
        """Return what an intervention decides, in words."""
        return str(self._entry(intervention).get("tests", ""))

    def runs(self, intervention: str) -> dict[int, Run]:
        """Return the finished runs of an intervention by seed."""
        return {cell.seed: cell.run for cell in self.cells if cell.intervention == intervention}

    def completed(self, intervention: str) -> dict[int, Run]:
        """Return those of its runs whose training came to its end, by seed."""
        return {seed: run for seed, run in self.runs(intervention).items() if run.status == "completed"}

    @property
    def collections(self) -> list[str]:
        """Labels of the scored collections."""
        return list(dict.fromkeys(label for cell in self.cells for label in collections(cell.run)))

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
        return [{**common, **row} for row in (*_score_rows(cell.run), *_reading_rows(cell.run))]


def _score_rows(run: Run) -> Iterator[dict[str, Any]]:
    chosen = evaluated_path(run)
    for (collection, path, epoch), record in evaluation_records(run).items():
        for metric, value in record["metrics"].items():
            yield {
                "collection": collection,
                "path": path,
                "evaluated_path": path == chosen,
                "epoch": epoch,
                "step": int(record["step"]),
                "measure": metric,
                "value": float(value),
                "n": int(record["n_queries"]),
            }


def _reading_rows(run: Run) -> Iterator[dict[str, Any]]:
    for measure, name in READINGS.items():
        for reading in run.readings(name).drop_duplicates("epoch", keep="last").to_dict("records"):
            yield {
                "collection": "",
                "path": "",
                "evaluated_path": False,
                "epoch": int(reading["epoch"]),
                "step": int(reading["step"]),
                "measure": measure,
                "value": float(reading["value"]),
                "n": int(reading["n"]),
            }
