"""The cells of an ablation: a configuration and a seed each, run anywhere, kept whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..journal import RunConfig, atomic_write_text, write_config
from ..recording import Probe, load_watched
from ..retrieval import Prompts
from ._plans import Intervention
from .recipes import Recipe, Similarity
from .session import Quiet, recipe_config
from .training import EvaluationSet, Side, training_split

RECORD = "ablation.json"
CELLS = "cells"
CELL_RECORD = "cell.json"


@dataclass(frozen=True)
class Cell:
    """One training run of an ablation.

    Attributes:
        intervention: What is changed.
        recipe: The run's recipe with the change.
        seed: Seed of weights, batches and the held-out pairs.
    """

    intervention: Intervention
    recipe: Recipe
    seed: int

    @property
    def name(self) -> str:
        """The cell's folder."""
        kept = "".join(c if c.isalnum() or c in "._=" else "-" for c in self.intervention.name)
        return f"{kept}-{_digest(self.recipe.as_dict())[:8]}-seed-{self.seed}"

    def fingerprint(self, config: RunConfig) -> str:
        """Return what the cell's result depends on: its recipe and seed, and the data, encoder and device."""
        plain = config.to_json()
        inputs = {key: plain[key] for key in ("collections", "development", "precision", "device")}
        inputs |= {key: config.session.get(key) for key in ("encoder", "pairs", "vectors")}
        share = (config.session.get("options") or {}).get("validation_share")
        return _digest({"recipe": self.recipe.as_dict(), "seed": self.seed, "inputs": inputs, "share": share})


@dataclass(frozen=True)
class Material:
    """What every cell reads, sent to a worker once.

    Attributes:
        config: Configuration of the run that is ablated; its session has ``vectors``, the digest of the pairs' vectors.
        pairs: All training pairs.
        validation: Held-out pairs of their own, or None.
        share: Share of the pairs to hold out where there are none of their own.
        evaluations: Collections with their vectors.
        device: ``cpu`` or ``cuda``.
        threads: Threads of each worker.
        encoder: Name or folder of the encoder, the cache it is looked up in, and prompts in place of its own, for
            recipes that train layers of it.
        raw_similarity: What the raw encoder is scored by; the recipe's similarity where None.
    """

    config: RunConfig
    pairs: Side
    validation: Side | None
    share: float
    evaluations: Sequence[EvaluationSet]
    device: str
    threads: int
    encoder: tuple[str | None, Path, Prompts]
    raw_similarity: Similarity | None = None


Files = dict[str, bytes]
"""A finished cell: path within its folder to content."""


def make_cells(interventions: Sequence[Intervention], recipe: Recipe, *, seeds: Sequence[int]) -> list[Cell]:
    """Return every intervention with every seed; seed by seed, so that partial results are balanced."""
    return [Cell(one, one.apply(recipe), seed) for seed in seeds for one in interventions]


def run_cell(cell: Cell, material: Material) -> Files:
    """Train and score one cell, and return its run folder's files but for checkpoints.

    Raises:
        InputError: a recipe that the data cannot train.
    """
    import torch

    from .training import train_recipe

    torch.set_num_threads(material.threads)
    probes = load_watched((), watch_delta=True)
    data = training_split(material.pairs, material.validation, share=material.share, seed=cell.seed)
    with tempfile.TemporaryDirectory(prefix="collapse-probe-cell-") as temporary:
        folder = Path(temporary)
        write_config(folder, _cell_config(cell, material, probes))
        train_recipe(
            cell.recipe,
            folder=folder,
            data=data,
            evaluations=material.evaluations,
            probes=probes,
            seed=cell.seed,
            device=material.device,
            precision=material.config.precision or "fp32",
            listener=Quiet(),
            encoder=_encoder(material) if cell.recipe.trains_from_text else None,
            raw_similarity=material.raw_similarity,
            checkpoints=False,
        )
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).parts[0] != "checkpoints"
        }


def _cell_config(cell: Cell, material: Material, probes: Sequence[Probe]) -> RunConfig:
    kept = {
        name: material.config.session.get(name) for name in ("encoder", "raw_similarity", "pairs", "embedded", "git")
    }
    session = {
        **{name: value for name, value in kept.items() if value is not None},
        "recipe": cell.recipe.as_dict(),
        "watch": [probe.name for probe in probes],
        "preflight": [],
        "options": {"intervention": cell.intervention.name, "changes": cell.intervention.changes},
    }
    return replace(
        material.config,
        name=cell.name,
        **recipe_config(cell.recipe),
        seed=cell.seed,
        device=material.device,
        threads=material.threads,
        probes={probe.name: probe.as_dict() for probe in probes},
        command="",
        session=session,
    )


def finished(folder: Path, cell: Cell, config: RunConfig) -> bool:
    """Return whether a cell's result is there, and is that of the same configuration and data."""
    try:
        record = json.loads((folder / CELLS / cell.name / CELL_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("fingerprint") == cell.fingerprint(config)


def keep(folder: Path, cell: Cell, files: Files, config: RunConfig) -> Path:
    """Write a finished cell beside its place and rename it: a half one is never seen. Return its run folder."""
    place = folder / CELLS / cell.name
    place.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "intervention": cell.intervention.name,
        "changes": cell.intervention.changes,
        "seed": cell.seed,
        "fingerprint": cell.fingerprint(config),
    }
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".cell-") as temporary:
        built = Path(temporary) / cell.name
        for name, content in {**files, CELL_RECORD: (json.dumps(record, indent=1) + "\n").encode()}.items():
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            (built / name).write_bytes(content)
        if place.exists():
            # The result of other data or another configuration; `open_ablation` has refused a user's own folder.
            os.replace(place, Path(temporary) / "stale")
        os.replace(built, place)
    return place


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
        "interventions": [{"name": i.name, "changes": i.changes, "tests": i.tests} for i in interventions],
    }
    atomic_write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")


def _encoder(material: Material):
    from ..retrieval import open_encoder

    name, cache, prompts = material.encoder
    return open_encoder(name, device=material.device, cache=cache, prompts=prompts, full_precision=True)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
