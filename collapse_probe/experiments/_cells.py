"""The cells of an ablation: a configuration and a seed each, run anywhere, kept whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, setting
from ..journal import RANKS, atomic_write_text
from ._interventions import Intervention, plain

RECORD = "ablation.json"
CELLS = "cells"
CELL_RECORD = "cell.json"
ERROR = "error.json"
"""In the folder of a cell whose training raised: what it raised, ``{"error": one line}``."""

Files = dict[str, bytes]
"""A finished cell: path within its folder to content."""


@dataclass(frozen=True)
class Cell:
    """One training run of an ablation.

    Attributes:
        intervention: What is changed.
        configuration: The run's configuration with the change.
        seed: Seed of the run.
    """

    intervention: Intervention
    configuration: Any
    seed: int

    @property
    def name(self) -> str:
        """The cell's folder."""
        kept = "".join(c if c.isalnum() or c in "._=" else "-" for c in self.intervention.name)
        return f"{kept}-{_digest(self._content)[:8]}-seed-{self.seed}"

    @property
    def _content(self) -> dict[str, Any]:
        settings = self.intervention.settings
        return {**plain(self.configuration), **({"settings": settings} if settings else {})}

    def fingerprint(self, inputs: Mapping[str, Any]) -> str:
        """Return what the cell's result depends on: its configuration and seed, and what all cells read.

        Args:
            inputs: What identifies the data and whatever else the cells share.
        """
        return _digest({**inputs, "recipe": self._content, "seed": self.seed})


Train = Callable[[Cell, Any, Path], None]
"""Trains a cell from the material that all cells read, into a run folder; for processes an importable function."""


def make_cells(interventions: Sequence[Intervention], configuration: Any, *, seeds: Sequence[int]) -> list[Cell]:
    """Return every intervention with every seed; seed by seed, so that partial results are balanced."""
    return [Cell(one, one.apply(configuration), seed) for seed in seeds for one in interventions]


def run_cell(train: Train, cell: Cell, material: Any) -> Files:
    """Train one cell in a folder of its own, and return its run folder's files but for checkpoints and rankings."""
    with tempfile.TemporaryDirectory(prefix="collapse-probe-cell-") as temporary:
        folder = Path(temporary)
        train(cell, material, folder)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).parts[0] != "checkpoints" and not path.name.endswith(RANKS)
        }


def finished(folder: Path, cell: Cell, inputs: Mapping[str, Any]) -> bool:
    """Return whether a cell's result is there, of the same configuration and data, and its training did not raise."""
    if (folder / CELLS / cell.name / ERROR).exists():
        return False
    try:
        record = json.loads((folder / CELLS / cell.name / CELL_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("fingerprint") == cell.fingerprint(inputs)


def keep(folder: Path, cell: Cell, files: Files, inputs: Mapping[str, Any]) -> Path:
    """Write a finished cell beside its place and rename it: a half one is never seen. Return its run folder."""
    place = folder / CELLS / cell.name
    place.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "intervention": cell.intervention.name,
        "changes": cell.intervention.all_changes,
        "seed": cell.seed,
        "fingerprint": cell.fingerprint(inputs),
    }
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".cell-") as temporary:
        built = Path(temporary) / cell.name
        for name, content in {**files, CELL_RECORD: (json.dumps(record, indent=1) + "\n").encode()}.items():
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            (built / name).write_bytes(content)
        if place.exists():
            # The result of other data or another configuration; `check_folder` has refused a user's own folder.
            os.replace(place, Path(temporary) / "stale")
        os.replace(built, place)
    return place


def check_folder(folder: Path, owner: str, *, elsewhere: str = "") -> None:
    """Look whether an ablation may be written into a folder.

    Args:
        folder: The folder.
        owner: What is ablated: a run's ``identity``, or a training function's name.
        elsewhere: What to do where that is refused.

    Raises:
        InputError: the folder holds something else, or the ablation of another run.
    """
    elsewhere = elsewhere or f"give another {setting('name')} or {setting('out')}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, where a folder is needed; {elsewhere}")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        schema, found = content.get("schema"), content.get("run")
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{folder}: holds something that is no ablation; {elsewhere}") from None
    if schema != 1:
        raise InputError(f"{folder / RECORD}: schema is not 1; upgrade collapse-probe to go on with it")
    if found != owner:
        raise InputError(f"{folder}: is the ablation of {found}, not of {owner}; {elsewhere}")


def write_record(
    folder: Path,
    *,
    name: str,
    run: str,
    plan: str,
    interventions: Sequence[Intervention],
    seeds: Sequence[int],
    cells: Sequence[str],
) -> None:
    """Write what an ablation consists of, for whoever reads its results."""
    content = {
        "schema": 1,
        "name": name,
        "run": run,
        "plan": plan,
        "seeds": list(seeds),
        "cells": list(cells),
        "interventions": [
            {
                "name": one.name,
                "changes": one.all_changes,
                "claim": one.claim,
                "tests": one.tests,
                "by_construction": one.by_construction,
                "trains_less": one.trains_less,
            }
            for one in interventions
        ],
    }
    atomic_write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
