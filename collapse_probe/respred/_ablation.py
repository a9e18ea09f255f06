"""What a cell of an ablation is in the founding system: a recipe, trained over the run's own inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..experiments import Cell
from ..journal import RunConfig, write_config
from ..recording import Probe, load_watched
from ..retrieval import Prompts
from .recipes import Similarity
from .session import Quiet, recipe_config
from .training import EvaluationSet, Side, training_split


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


def cell_inputs(config: RunConfig) -> dict[str, Any]:
    """Return what a cell's result depends on beside its recipe and seed: the data, the encoder, the device."""
    plain = config.to_json()
    inputs = {key: plain[key] for key in ("collections", "development", "precision", "device")}
    inputs |= {key: config.session.get(key) for key in ("encoder", "pairs", "vectors")}
    return {"inputs": inputs, "share": (config.session.get("options") or {}).get("validation_share")}


def train_cell(cell: Cell, material: Material, folder: Path) -> None:
    """Train and score one cell into a run folder.

    Raises:
        InputError: a recipe that the data cannot train.
    """
    import torch

    from .training import train_recipe

    torch.set_num_threads(material.threads)
    probes = load_watched((), watch_delta=True)
    data = training_split(material.pairs, material.validation, share=material.share, seed=material.config.seed or 0)
    write_config(folder, _cell_config(cell, material, probes))
    train_recipe(
        cell.configuration,
        folder=folder,
        data=data,
        evaluations=material.evaluations,
        probes=probes,
        seed=cell.seed,
        device=material.device,
        precision=_precision(cell, material),
        listener=Quiet(),
        encoder=_encoder(material) if cell.configuration.trains_from_text else None,
        raw_similarity=material.raw_similarity,
        checkpoints=False,
    )


def _precision(cell: Cell, material: Material) -> str:
    return cell.intervention.settings.get("precision") or material.config.precision or "fp32"


def _cell_config(cell: Cell, material: Material, probes: Sequence[Probe]) -> RunConfig:
    kept = {
        name: material.config.session.get(name) for name in ("encoder", "raw_similarity", "pairs", "embedded", "git")
    }
    session = {
        **{name: value for name, value in kept.items() if value is not None},
        "recipe": cell.configuration.as_dict(),
        "watch": [probe.name for probe in probes],
        "preflight": [],
        "options": {"intervention": cell.intervention.name, "changes": cell.intervention.all_changes},
    }
    return replace(
        material.config,
        name=cell.name,
        **recipe_config(cell.configuration),
        seed=cell.seed,
        device=material.device,
        precision=_precision(cell, material),
        threads=material.threads,
        probes={probe.name: probe.as_dict() for probe in probes},
        command="",
        session=session,
    )


def _encoder(material: Material):
    from ..retrieval import open_encoder

    name, cache, prompts = material.encoder
    return open_encoder(name, device=material.device, cache=cache, prompts=prompts, full_precision=True)
