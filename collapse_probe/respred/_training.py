"""One training run: from prepared vectors to a journal, checkpoints and a saved model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from torch import nn
from transformers import PrinterCallback, ProgressCallback

from ..errors import InputError
from ..journal import JournalWriter, Run
from ..recording import Probe, Recorder, Snapshots
from ..retrieval import Encoder
from ._callback import EpochScores, Listener, Progress, RunCallback, make_taps
from ._encoder_layers import encoder_modules, unfreeze_top
from ._evaluation import EvaluationSet, evaluate_raw, record_evaluation
from ._recipe import Recipe, Similarity
from ._saved import sound_checkpoint
from ._selection import development_history
from ._trainer import make_trainer
from ._vectors import LiveVectors, StoredVectors, TrainingData, Vectors
from .losses import build_loss
from .modules import build_head

Status = Literal["completed", "interrupted", "failed"]


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
    encoder: Encoder | None = None,
    counterfactuals: bool = True,
    checkpoints: bool = True,
    raw_similarity: Similarity | None = None,
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
        encoder: The encoder, for a recipe that trains layers of it; None for others.
        counterfactuals: Score changed versions of the model at every evaluation.
        checkpoints: Keep the state of every epoch, to resume from and to choose among.
        raw_similarity: What the raw encoder is scored by; the recipe's similarity where None.
        resume: Go on from the last complete checkpoint in the folder.

    Raises:
        InputError: a recipe that trains, without pairs.
    """
    with JournalWriter(folder / "journal.jsonl") as journal:
        checkpoint = None
        if resume:
            dimension = 0 if data is None else data.dimension
            checkpoint, damaged = sound_checkpoint(folder / "checkpoints", recipe, dimension)
            _journal_resumption(journal, checkpoint, damaged)
        if checkpoint is None:
            journal.append("start", {"recipe": recipe.name, "trains": recipe.trains})
            similarity = raw_similarity or recipe.similarity
            _evaluate_raw(recipe, folder, evaluations, journal, listener, similarity=similarity, device=device)
        if not recipe.trains:
            journal.append("end", {"status": "completed", "step": 0, "epoch": 0, "message": ""})
            return Outcome("completed", "", 0, None)
        if data is None:
            raise InputError(f"recipe {recipe.name} trains: it needs pairs (--pairs FILE)")
        if recipe.trains_from_text and (encoder is None or data.texts is None):
            raise InputError(f"recipe {recipe.name} trains encoder layers: it needs the encoder and the pairs' texts")
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
            encoder=encoder,
            counterfactuals=counterfactuals,
            checkpoints=checkpoints,
            journal=journal,
            checkpoint=checkpoint,
        )


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
    encoder: Encoder | None,
    counterfactuals: bool,
    checkpoints: bool,
    journal: JournalWriter,
    checkpoint: Path | None,
) -> Outcome:
    head = build_head(recipe, data.dimension, seed=seed)
    model, vectors, frozen = _model(recipe, head, data, evaluations, encoder, seed=seed, device=device)
    loss = build_loss(recipe, model)
    progress = Progress()
    before = Run.load(folder) if checkpoint is not None else None
    recorder = Recorder(journal, probes=probes, taps=make_taps(loss, head), similarity=recipe.similarity)
    snapshots = Snapshots(journal, probes=probes, reference_norms=_reference_norms(before))
    callback = RunCallback(
        recipe,
        head=head,
        initial_head=build_head(recipe, data.dimension, seed=seed).to(device) if counterfactuals else None,
        loss=loss,
        recorder=recorder,
        snapshots=snapshots,
        journal=journal,
        folder=folder,
        vectors=vectors,
        development=development_history(before, recipe) if before else [],
        listener=listener,
        device=device,
        progress=progress,
    )
    trainer = make_trainer(
        recipe,
        model,
        loss,
        data=data,
        frozen=frozen,
        prompts=("", "") if encoder is None else encoder.applied_prompts(),
        seed=seed,
        precision=precision,
        device=device,
        checkpoints=folder / "checkpoints",
        keep_checkpoints=checkpoints,
        callbacks=[callback],
    )
    _silence(trainer)
    callback.trainer = trainer
    status: Status = "completed"
    message = ""
    try:
        if checkpoint is None:
            query, document = vectors.probe_set()
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


def _model(
    recipe: Recipe,
    head: Router,
    data: TrainingData,
    evaluations: Sequence[EvaluationSet],
    encoder: Encoder | None,
    *,
    seed: int,
    device: str,
) -> tuple[SentenceTransformer, Vectors, list[nn.Module]]:
    """Return the model that is trained, what it is scored on, and the modules to keep in evaluation mode."""
    if not recipe.trains_from_text or encoder is None or data.texts is None:
        return SentenceTransformer(modules=[head], device=device), StoredVectors(data, evaluations, seed=seed), []
    frozen = unfreeze_top(encoder.model, recipe.unfreeze_layers)
    model = SentenceTransformer(modules=[*encoder_modules(encoder), head], device=device)
    return model, LiveVectors(data.texts, evaluations, encode=encoder.encode, seed=seed), frozen


def _evaluate_raw(
    recipe: Recipe,
    folder: Path,
    evaluations: Sequence[EvaluationSet],
    journal: JournalWriter,
    listener: Listener,
    *,
    similarity: Similarity,
    device: str,
) -> None:
    results: list[EpochScores] = []
    for data in evaluations:
        scores = evaluate_raw(data, similarity=similarity, device=device)
        record_evaluation(journal, folder, data, scores, path="raw", step=0, epoch=0)
        results.append(EpochScores(data.shown, {"raw": scores}, data.collection.group))
    empty: Mapping[str, float] = {}
    listener.epoch(epoch=-1, epochs=recipe.epochs, values=empty, scores=results)


def _journal_resumption(journal: JournalWriter, checkpoint: Path | None, damaged: Sequence[str]) -> None:
    more = "".join(f"; {line}" for line in damaged)
    if checkpoint is None:
        journal.event("resumed", f"from the beginning: there is no complete checkpoint{more}", step=-1, epoch=0)
        return
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    step, epoch = int(state["global_step"]), round(state["epoch"])
    journal.event("resumed", f"from step {step}{more}", step=step, epoch=epoch)


def _reference_norms(run: Run | None) -> dict[str, float] | None:
    if run is None:
        return None
    readings = run.readings()
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
