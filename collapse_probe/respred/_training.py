"""One training run: from prepared vectors to a journal, checkpoints and a saved model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from torch import Tensor
from transformers import PrinterCallback, ProgressCallback

from ..errors import InputError
from ..journal import JournalWriter, Run
from ..recording import Probe, Recorder, Snapshots
from ._callback import EpochScores, Listener, Progress, RunCallback, make_taps
from ._evaluation import EvaluationSet, evaluate_raw, record_evaluation
from ._recipe import Recipe
from ._state import last_checkpoint
from ._trainer import make_trainer
from .losses import build_loss
from .modules import build_head

PROBE_SET_SIZE = 2048
"""Training pairs in the fixed probe set: more than five times the dimension of a small encoder."""

Status = Literal["completed", "interrupted", "failed"]


@dataclass(frozen=True)
class TrainingData:
    """Encoder vectors of the pairs, float32 ``[P, D]``: those trained on and those held out."""

    query: Tensor
    document: Tensor
    validation_query: Tensor
    validation_document: Tensor

    @property
    def dimension(self) -> int:
        """D."""
        return self.query.shape[1]

    def probe_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return the same training pairs for every epoch, drawn by a generator of their own."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self.query), generator=generator)[:PROBE_SET_SIZE]
        return self.query[chosen], self.document[chosen]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: ``completed``, ``interrupted`` or ``failed`` (a loss that was not finite).
        message: One line on why it did not complete; empty where it did.
        step: Optimiser steps done.
        head: The head as training left it; None where nothing was trained.
    """

    status: Status
    message: str
    step: int
    head: Router | None


def split_pairs(count: int, *, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the row numbers to train on and to hold out, at most 1,000 of them held out.

    Args:
        count: Number of pairs.
        share: Share to hold out, in [0, 0.5].
        seed: Seed of the draw; it draws from a generator of its own.
    """
    held_out = min(1000, max(2, round(share * count))) if share > 0 else 0
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[held_out:].sort().values, order[:held_out].sort().values


def train(
    recipe: Recipe,
    *,
    folder: Path,
    data: TrainingData | None,
    evaluations: Sequence[EvaluationSet],
    probes: Sequence[Probe],
    seed: int,
    device: str,
    precision: str,
    listener: Listener,
    resume: bool = False,
) -> Outcome:
    """Run a recipe over stored features and write everything into a run folder.

    Args:
        recipe: What to train; one that trains nothing is only evaluated.
        folder: The run folder, with its ``run.json`` written.
        data: Vectors of the pairs; None only for a recipe that trains nothing.
        evaluations: Collections to score at step 0 and after every epoch.
        probes: What to watch.
        seed: Seed of the weights, the batches and dropout.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        listener: What is told how far the run is.
        resume: Go on from the last complete checkpoint in the folder.

    Raises:
        InputError: a recipe that trains, without pairs.
    """
    with JournalWriter(folder / "journal.jsonl") as journal:
        checkpoint = last_checkpoint(folder / "checkpoints") if resume else None
        if resume:
            _journal_resumption(journal, checkpoint)
        if checkpoint is None:
            journal.append("start", {"recipe": recipe.name, "trains": recipe.trains})
            _evaluate_raw(recipe, folder, evaluations, journal, listener, device=device)
        if not recipe.trains:
            journal.append("end", {"status": "completed", "step": 0, "epoch": 0, "message": ""})
            return Outcome("completed", "", 0, None)
        if data is None:
            raise InputError(f"recipe {recipe.name} trains: it needs pairs (--pairs FILE)")
        return _train(
            recipe,
            folder=folder,
            data=data,
            evaluations=evaluations,
            probes=probes,
            seed=seed,
            device=device,
            precision=precision,
            listener=listener,
            journal=journal,
            checkpoint=checkpoint,
        )


def save_model(head: Router, encoder: SentenceTransformer, recipe: Recipe, folder: Path) -> None:
    """Save encoder and head as one sentence-transformers model.

    ``encode_query`` and ``encode_document`` of the saved model give what the run evaluated on the recipe's
    scoring path, and its ``similarity`` scores as the run did.
    """
    modules = [*encoder.children(), head.cpu()]
    model = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name=recipe.similarity)
    model.save(str(folder), create_model_card=False)


def _train(
    recipe: Recipe,
    *,
    folder: Path,
    data: TrainingData,
    evaluations: Sequence[EvaluationSet],
    probes: Sequence[Probe],
    seed: int,
    device: str,
    precision: str,
    listener: Listener,
    journal: JournalWriter,
    checkpoint: Path | None,
) -> Outcome:
    head = build_head(recipe, data.dimension, seed=seed)
    model = SentenceTransformer(modules=[head], device=device)
    loss = build_loss(recipe, model)
    progress = Progress()
    recorder = Recorder(
        journal,
        probes=probes,
        taps=make_taps(loss, head),
        similarity=recipe.similarity,
    )
    norms = _reference_norms(folder) if checkpoint is not None else None
    snapshots = Snapshots(journal, probes=probes, reference_norms=norms)
    callback = RunCallback(
        recipe,
        head=head,
        loss=loss,
        recorder=recorder,
        snapshots=snapshots,
        journal=journal,
        folder=folder,
        evaluations=evaluations,
        probe_set=data.probe_set(seed),
        validation=(data.validation_query, data.validation_document),
        listener=listener,
        device=device,
        progress=progress,
    )
    trainer = make_trainer(
        recipe,
        model,
        loss,
        query=data.query,
        document=data.document,
        seed=seed,
        precision=precision,
        device=device,
        checkpoints=folder / "checkpoints",
        callbacks=[callback],
    )
    _silence(trainer)
    callback.trainer = trainer
    status: Status = "completed"
    message = ""
    try:
        if checkpoint is None:
            query, document = data.probe_set(seed)
            snapshots.record_raw(query=query, document=document)
            callback.measure(step=0, epoch=0)
        with recorder:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except KeyboardInterrupt:
        status, message = "interrupted", f"interrupted after step {progress.step}"
        journal.event("interrupted", message, step=progress.step, epoch=progress.epoch)
    if progress.bad_step is not None:
        status, message = "failed", f"the total loss is not finite at step {progress.bad_step}"
    end = {"status": status, "step": progress.step, "epoch": progress.epoch, "message": message}
    journal.append("end", end)
    return Outcome(status, message, progress.step, head)


def _evaluate_raw(
    recipe: Recipe,
    folder: Path,
    evaluations: Sequence[EvaluationSet],
    journal: JournalWriter,
    listener: Listener,
    *,
    device: str,
) -> None:
    results: list[EpochScores] = []
    for data in evaluations:
        scores = evaluate_raw(data, similarity=recipe.similarity, device=device)
        record_evaluation(journal, folder, data, scores, path="raw", step=0, epoch=0)
        results.append(EpochScores(data.collection.name, {"raw": scores}))
    empty: Mapping[str, float] = {}
    listener.epoch(epoch=-1, epochs=recipe.epochs, values=empty, scores=results)


def _journal_resumption(journal: JournalWriter, checkpoint: Path | None) -> None:
    if checkpoint is None:
        journal.event("resumed", "from the beginning: there is no complete checkpoint", step=-1, epoch=0)
        return
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    step, epoch = int(state["global_step"]), round(state["epoch"])
    journal.event("resumed", f"from step {step}", step=step, epoch=epoch)


def _reference_norms(folder: Path) -> dict[str, float]:
    readings = Run.load(folder).readings()
    norms = {}
    for tap in ("query", "document", "raw_query", "raw_document"):
        first = readings[(readings["name"] == f"{tap}/norm_mean") & (readings["step"] == 0)]
        if len(first):
            norms[tap] = float(first["value"].iloc[0])
    return norms


def _silence(trainer) -> None:
    """Take away what the library prints: the listener shows how far the run is."""
    for handler in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(handler)
