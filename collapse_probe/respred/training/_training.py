"""One training run: from prepared vectors to a journal, checkpoints and a saved model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from torch import nn
from transformers import PrinterCallback, ProgressCallback

from ...errors import InputError, setting
from ...journal import Event, JournalWriter, Run, Start, Store, now
from ...recording import Probe, cadence_of, judged_wishes, wishes_of
from ...retrieval import Encoder
from ...watching import Known, Prepared, Watch
from ..losses import build_loss
from ..modules import build_head
from ..recipes import Recipe, Similarity
from ._callback import (
    EpochScores,
    EvaluationCallback,
    Listener,
    Progress,
    ReferencePairs,
    TermListener,
    make_taps,
)
from ._encoder_layers import encoder_modules, unfreeze_top
from ._evaluation import EvaluationSet, evaluate_raw, record_evaluation
from ._held_out import MOST_ENCODED, held_out_pairs
from ._interpolations import Ends, score_interpolations, trained_weights
from ._saved import sound_checkpoint
from ._selection import development_history
from ._trainer import make_trainer, planned_steps
from ._vectors import LiveVectors, StoredVectors, TrainingData, Vectors

REFERENCE_EVERY = 25
"""Steps between two readings of a part of the reference pairs, where their vectors are stored."""

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


def train_recipe(
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
    finish: Callable[[], None] | None = None,
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
        finish: What is still to be done after a training that completed, and before the journal says so.

    Raises:
        InputError: a recipe that trains, without pairs.
    """
    inside = None if data is None or not recipe.trains else _inside(recipe, data)
    evaluations = [*evaluations, *([] if inside is None else [inside])]
    with JournalWriter(folder, store=Store()) as journal:
        checkpoint = None
        if resume:
            dimension = 0 if data is None else data.dimension
            checkpoint, damaged = sound_checkpoint(folder / "checkpoints", recipe, dimension)
            _journal_resumption(journal, checkpoint, damaged)
        if checkpoint is None:
            planned = None if data is None or not recipe.trains else planned_steps(recipe, len(data.query))
            journal.write(Start(time=now(), steps=planned))
            similarity = raw_similarity or recipe.similarity
            _evaluate_raw(recipe, folder, evaluations, journal, listener, similarity=similarity, device=device)
        if not recipe.trains:
            journal.end("completed", step=0, epoch=0)
            return Outcome("completed", "", 0, None)
        if data is None:
            raise InputError(f"recipe {recipe.name} trains: it needs pairs ({setting('pairs', 'FILE')})")
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
            raw_similarity=raw_similarity,
            journal=journal,
            checkpoint=checkpoint,
            finish=finish,
        )


def _inside(recipe: Recipe, data: TrainingData) -> EvaluationSet | None:
    return held_out_pairs(data, most=MOST_ENCODED) if recipe.trains_from_text else held_out_pairs(data)


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
    raw_similarity: Similarity | None,
    journal: JournalWriter,
    checkpoint: Path | None,
    finish: Callable[[], None] | None,
) -> Outcome:
    head = build_head(recipe, data.dimension, seed=seed)
    model, vectors, frozen = _model(recipe, head, data, evaluations, encoder, seed=seed, device=device)
    loss = build_loss(recipe, model)
    progress = Progress()
    before = Run.load(folder) if checkpoint is not None else None
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
        callbacks=[],
    )
    _silence(trainer)
    wishes = wishes_of(probes)
    watching = bool("delta" in wishes.every_step or wishes.reference)
    wishes = judged_wishes(wishes) if watching else wishes
    watch = Watch(
        model,
        optimizer=trainer.optimizer,
        taps=make_taps(head) if wishes.batch or watching else (),
        reference=ReferencePairs(head, vectors, recipe, device) if watching else False,
        raw=vectors.probe_set if watching else None,
        similarity=recipe.similarity,
        every=cadence_of(probes).every,
        probes=list(probes),
        reference_every=None if recipe.trains_from_text else REFERENCE_EVERY,
        searching=False,
        prepared=Prepared(
            Run.load(folder).config, journal, wishes, done=0 if checkpoint is None else _steps_of(checkpoint)
        ),
        known=Known(alone=True),
    )
    terms = TermListener(loss, watch.recorder)
    callback = EvaluationCallback(
        recipe,
        head=head,
        initial_head=build_head(recipe, data.dimension, seed=seed).to(device) if counterfactuals else None,
        loss=loss,
        watch=watch,
        folder=folder,
        vectors=vectors,
        development=development_history(before, recipe) if before else [],
        listener=listener,
        device=device,
        progress=progress,
    )
    trainer.add_callback(callback)
    status: Status = "completed"
    message = ""
    ends = _ends(
        recipe,
        head,
        data,
        evaluations,
        encoder,
        seed=seed,
        raw=raw_similarity,
        counterfactuals=counterfactuals and checkpoints,
    )
    try:
        if checkpoint is None:
            callback.measure(step=0, epoch=0)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if ends is not None and progress.bad_step is None:
            where = {"dimension": data.dimension, "device": device}
            for t, scores in score_interpolations(ends, vectors, journal, folder, **where):
                listener.between(t=t, scores=scores)
        if finish is not None and progress.bad_step is None:
            finish()
    except KeyboardInterrupt:
        status, message = "interrupted", f"interrupted after step {progress.step}"
        watch.recorder.flush()
        watch.recorder.event("interrupted", message)
    finally:
        terms.close()
        watch.detach()
    if progress.bad_step is not None:
        status, message = "failed", f"the total loss is not finite at step {progress.bad_step}"
    watch.end(status, message)
    return Outcome(status, message, progress.step, head)


def _ends(
    recipe: Recipe,
    head: Router,
    data: TrainingData,
    evaluations: Sequence[EvaluationSet],
    encoder: Encoder | None,
    *,
    seed: int,
    raw: Similarity | None,
    counterfactuals: bool,
) -> Ends | None:
    """Return the model at step 0, to interpolate from at the end; None where no interpolation is scored.

    Over stored vectors it takes seconds. Where encoder layers are trained, every text is encoded again for each, so
    it is done only where there is a development split to choose by.
    """
    chooses = any(one.role == "development" for one in evaluations)
    if not (chooses if recipe.trains_from_text else chooses or counterfactuals):
        return None
    module = encoder.model if recipe.trains_from_text and encoder is not None else None
    initial = build_head(recipe, data.dimension, seed=seed)
    weights = {} if module is None else trained_weights(module)
    return Ends(recipe, initial, head, module, weights)


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
        return SentenceTransformer(modules=[head], device=device), StoredVectors(data, evaluations), []
    frozen = unfreeze_top(encoder.model, recipe.unfreeze_layers)
    model = SentenceTransformer(modules=[*encoder_modules(encoder), head], device=device)
    return model, LiveVectors(data.texts, evaluations, encode=encoder.encode), frozen


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
        record_evaluation(journal, folder, data, scores, variant="raw", step=0, epoch=0)
        results.append(EpochScores(data.shown, {"raw": scores}, data.collection.group))
    empty: Mapping[str, float] = {}
    listener.epoch(epoch=-1, epochs=recipe.epochs, values=empty, scores=results)


def _journal_resumption(journal: JournalWriter, checkpoint: Path | None, damaged: Sequence[str]) -> None:
    more = "".join(f"; {line}" for line in damaged)
    if checkpoint is None:
        message = f"from the beginning: there is no complete checkpoint{more}"
        journal.write(Event(name="resumed", message=message, step=-1, epoch=0))
        return
    step = _steps_of(checkpoint)
    journal.write(Event(name="resumed", message=f"from step {step}{more}", step=step))


def _steps_of(checkpoint: Path) -> int:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return int(state["global_step"])


def _silence(trainer) -> None:
    """Take away what the library prints: the listener shows how far the run is."""
    for handler in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(handler)
