"""What happens around the trainer's steps: recording, evaluation, stopping on a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from sentence_transformers.base.modules import Router
from torch import Tensor, nn
from transformers import TrainerCallback

from ..journal import FoundingWriter
from ..recording import FoundingRecorder, FoundingTap, Sample, Snapshots
from ..retrieval import Scores
from ._counterfactuals import delta_counterfactuals, graft_counterfactuals, record_counterfactuals
from ._evaluation import EvaluationSet, embed, record_evaluation, score_embedded
from ._recipe import Recipe, head_modules
from ._selection import should_stop
from ._vectors import Vectors
from .losses import WeightedTerms, make_batch
from .modules import ResidualPredictor, head_parts


class Listener(Protocol):
    """What the command line shows while a run goes on."""

    def step(self, *, step: int, steps: int, epoch: int) -> None:
        """Hear that a step is done."""

    def epoch(self, *, epoch: int, epochs: int, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        """Hear what an epoch ended with; epoch 0 is before training."""


@dataclass(frozen=True)
class EpochScores:
    """The scores of one collection on every path, and the group of collections that it is a part of."""

    collection: str
    by_path: Mapping[str, Scores]
    group: str | None = None


@dataclass
class Progress:
    """Where a training run stands, shared by the callback and its caller."""

    step: int = 0
    epoch: int = 0
    bad_step: int | None = None
    stopped: bool = field(default=False)


def make_taps(loss: WeightedTerms, head: Router) -> list[FoundingTap]:
    """Return the taps of a head and its losses, under the names that the recorder expects."""
    predictor = head_parts(head).predictor
    taps = [FoundingTap("loss", loss, _weighted_losses), FoundingTap("embeddings", head, _embeddings)]
    taps += [FoundingTap(f"loss/{name}", term, _raw_loss(name)) for name, term in loss.terms.items()]
    if isinstance(predictor, ResidualPredictor):
        taps.append(FoundingTap("delta", predictor, _delta))
    return taps


def _weighted_losses(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> dict[str, Tensor]:
    weighted = {f"loss/{name}_weighted": value for name, value in output.items()}
    return {**weighted, "loss/total": torch.stack(list(output.values())).sum()}


def _raw_loss(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], dict[str, Tensor]]:
    return lambda module, arguments, output: {f"loss/{name}": output}


def _embeddings(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> dict[str, Tensor]:
    if output.get("task") == "document":
        return {"document": output["sentence_embedding"]}
    return {"query": output.get("query_embedding", output["sentence_embedding"])}


def _delta(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> dict[str, Tensor]:
    assert isinstance(module, ResidualPredictor)
    # The optimiser changes alpha in place right after the step that is being recorded.
    return {"delta": output["delta"], "alpha": module.scale.detach().clone()}


class RunCallback(TrainerCallback):
    """Feeds the recorder on every step, and evaluates at step 0 and at every epoch's end.

    Args:
        recipe: The recipe that is trained.
        head: The head that is trained.
        initial_head: The same at step 0, to put modules back to; None where no counterfactual is scored.
        loss: Its losses, for the validation loss.
        recorder: Open recorder of the training steps.
        snapshots: FoundingRecorder of the fixed probe set.
        journal: Open journal.
        folder: The run folder.
        vectors: Collections, probe set and held-out pairs under the encoder as it is.
        development: nDCG@10 on the development split so far, step 0 first; what comes is appended.
        listener: What is told how far it is.
        device: ``cpu`` or ``cuda``.
        progress: Updated as the run goes on.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        head: Router,
        initial_head: Router | None,
        loss: WeightedTerms,
        recorder: FoundingRecorder,
        snapshots: Snapshots,
        journal: FoundingWriter,
        folder: Path,
        vectors: Vectors,
        development: list[float],
        listener: Listener,
        device: str,
        progress: Progress,
    ) -> None:
        self._recipe = recipe
        self._head = head
        self._loss = loss
        self._recorder = recorder
        self._snapshots = snapshots
        self._journal = journal
        self._folder = folder
        self._vectors = vectors
        self._development = development
        self._initial_head = initial_head
        self._modules = [name for name, module in head_modules(recipe).items() if module["trained"]]
        self._listener = listener
        self._device = device
        self._progress = progress
        self._check_every = 1 if device == "cpu" else 10
        self.trainer: Any = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the epoch's number."""
        self._progress.epoch = int((state.epoch or 0) + 1e-6) + 1

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the losses which step it is."""
        self._loss.set_step(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the step; stop where the loss is not finite."""
        step, epoch = state.global_step - 1, self._progress.epoch
        self._recorder.after_step(step=step, epoch=epoch, gradient_norm=self.trainer.gradient_norm)
        self._progress.step = state.global_step
        if state.global_step % self._check_every == 0:
            self._stop_if_bad(control)
        self._listener.step(step=state.global_step, steps=state.max_steps, epoch=epoch)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the epoch's summaries, evaluate, and keep a bad model from being saved."""
        self._stop_if_bad(control)
        self._recorder.end_epoch(step=state.global_step, epoch=self._progress.epoch)
        if self._progress.bad_step is not None:
            control.should_save = False
            return
        self.measure(step=state.global_step, epoch=self._progress.epoch)
        if self._recipe.early_stop != "none" and should_stop(self._development, patience=self._recipe.patience):
            best = max(self._development)
            message = f"{self._recipe.early_stop} on the development split has not risen above {best:.4f}"
            self._journal.event("early_stop", message, step=state.global_step, epoch=self._progress.epoch)
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write that a checkpoint is complete."""
        message = f"checkpoints/checkpoint-{state.global_step}"
        self._journal.event("checkpoint", message, step=state.global_step, epoch=self._progress.epoch)

    def measure(self, *, step: int, epoch: int) -> None:
        """Record the probe set, the validation loss, retrieval and counterfactuals; step 0 is before training."""
        sample = probe_sample(self._head, self._vectors.probe_set(), self._recipe, self._device)
        self._snapshots.record(sample, step=step, epoch=epoch)
        losses, rows = validation_losses(self._head, self._loss, self._vectors.validation(), self._recipe, self._device)
        self._journal.readings(losses, step=step, epoch=epoch, n=rows, dimension=1, dtype="float32")
        sets = self._vectors.initial if epoch == 0 else self._vectors.evaluations()
        scores = [
            self._evaluate(initial, data, step=step, epoch=epoch)
            for initial, data in zip(self._vectors.initial, sets, strict=True)
        ]
        values = {**losses, **_delta_values(sample)}
        self._listener.epoch(epoch=epoch, epochs=self._recipe.epochs, values=values, scores=scores)

    def _evaluate(self, initial: EvaluationSet, data: EvaluationSet, *, step: int, epoch: int) -> EpochScores:
        where: dict[str, Any] = {"similarity": self._recipe.similarity, "device": self._device}
        parts = head_parts(self._head)
        embedded = embed(parts, data, device=self._device)
        by_path = score_embedded(embedded, data, queries=embedded.paths(), **where)
        for path, result in by_path.items():
            record_evaluation(self._journal, self._folder, data, result, path=path, step=step, epoch=epoch)
        if data.role == "development":
            self._development.append(by_path[self._recipe.scoring_path].mean["ndcg@10"])
        elif self._initial_head is not None:
            found = delta_counterfactuals(embedded, data, **where)
            if epoch > 0:
                found += graft_counterfactuals(
                    head_parts(self._initial_head),
                    parts,
                    modules=self._modules,
                    initial_data=initial,
                    data=data,
                    **where,
                )
            record_counterfactuals(self._journal, self._folder, data, found, step=step, epoch=epoch)
        return EpochScores(data.shown, by_path, data.collection.group)

    def _stop_if_bad(self, control: Any) -> None:
        bad = self._recorder.first_bad_step()
        if bad is None or self._progress.bad_step is not None:
            return
        self._progress.bad_step = bad
        message = f"the total loss is not finite at step {bad}; training stopped"
        self._recorder.flush()
        self._journal.event("nan_loss", message, step=bad, epoch=self._progress.epoch)
        control.should_training_stop = True
        control.should_save = False


@torch.no_grad()
def probe_sample(head: Router, pairs: tuple[Tensor, Tensor], recipe: Recipe, device: str) -> Sample:
    """Return the fixed probe set through a head in evaluation mode; the head's mode is left as it was."""
    training = head.training
    head.eval()
    try:
        query = head({"sentence_embedding": pairs[0].to(device)}, task="query")
        document = head({"sentence_embedding": pairs[1].to(device)}, task="document")
    finally:
        head.train(training)
    batch = make_batch(query, document)
    predictor = head_parts(head).predictor
    alpha = predictor.scale.detach() if isinstance(predictor, ResidualPredictor) else None
    return Sample(
        query=batch.query,
        document=batch.document,
        delta=batch.delta,
        alpha=alpha,
        similarity=recipe.similarity,
    )


@torch.no_grad()
def validation_losses(
    head: Router, loss: WeightedTerms, pairs: tuple[Tensor, Tensor], recipe: Recipe, device: str
) -> tuple[dict[str, float], int]:
    """Return ``validation/NAME`` of every raw term and the weighted total, and the number of pairs used.

    Pairs go through in whole batches of the training size, since the isotropy term depends on it; what does
    not fill a batch is left out, unless there is no whole one.
    """
    queries, documents = pairs
    size = min(recipe.batch_size, len(queries))
    batches = len(queries) // size
    training = head.training
    head.eval()
    try:
        sums: dict[str, float] = {}
        for start in range(0, batches * size, size):
            features = [
                {"sentence_embedding": rows[start : start + size].to(device), "task": task}
                for rows, task in ((queries, "query"), (documents, "document"))
            ]
            batch = make_batch(head(features[0]), head(features[1]))
            terms = {name: float(term(batch)) for name, term in loss.terms.items()}
            terms["total"] = math.fsum(loss.weights[name] * value for name, value in terms.items())
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
    finally:
        head.train(training)
    return {f"validation/{name}": value / batches for name, value in sums.items()}, batches * size


def _delta_values(sample: Sample) -> dict[str, float]:
    if sample.delta is None or sample.alpha is None:
        return {}
    alpha = float(sample.alpha)
    return {
        "delta": float(sample.delta.abs().mean()),
        "alpha": alpha,
        "correction": abs(alpha) * float(sample.delta.abs().max()),
    }
