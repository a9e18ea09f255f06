"""What happens around the trainer's steps: evaluation, choosing, stopping on a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from sentence_transformers.base.modules import Router
from torch import Tensor, nn
from transformers import TrainerCallback

from ...journal import JournalWriter, Readings
from ...journal.vocabulary import Role
from ...measures import Sample
from ...recording import Call, Recorder, Tap, item
from ...retrieval import Scores
from ...watching import Watch
from ..losses import WeightedTerms, make_batch
from ..modules import ResidualPredictor, head_parts
from ..recipes import Recipe, head_modules
from ._counterfactuals import delta_counterfactuals, graft_counterfactuals, record_counterfactuals
from ._evaluation import EvaluationSet, embed, record_evaluation, score_embedded
from ._selection import should_stop
from ._vectors import Vectors


class Listener(Protocol):
    """What the command line shows while a run goes on."""

    def step(self, *, step: int, steps: int, epoch: int) -> None:
        """Hear that a step is done."""

    def epoch(self, *, epoch: int, epochs: int, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        """Hear what an epoch ended with; epoch 0 is before training."""

    def between(self, *, t: float, scores: Sequence[EpochScores]) -> None:
        """Hear how the model scores that lies a share of the way between step 0 and the end."""


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


def make_taps(head: Router) -> list[Tap]:
    """Return the taps of a head: its queries before any predictor, its documents, and what a predictor adds."""
    taps = [
        Tap(stream="query", at=head, take=_query, role=Role.query),
        Tap(stream="document", at=head, take=_document, role=Role.document),
    ]
    predictor = head_parts(head).predictor
    if isinstance(predictor, ResidualPredictor):
        taps.append(Tap(stream="delta", at=predictor, take=item("delta"), role=Role.correction))
        taps.append(Tap(stream="alpha", at=predictor.scale, role=Role.gate))
    return taps


def _query(call: Call) -> Tensor | None:
    output = call.output
    return None if output.get("task") == "document" else output.get("query_embedding", output["sentence_embedding"])


def _document(call: Call) -> Tensor | None:
    return call.output["sentence_embedding"] if call.output.get("task") == "document" else None


class TermListener:
    """Hears every raw term with its weight, once a micro-batch.

    Args:
        loss: The losses.
        recorder: What they are told to.
    """

    def __init__(self, loss: WeightedTerms, recorder: Recorder) -> None:
        self._weights = loss.weights
        self._recorder = recorder
        self._raw: dict[str, Tensor] = {}
        self._handles = [term.register_forward_hook(self._keep(name)) for name, term in loss.terms.items()]
        self._handles.append(loss.register_forward_hook(self._tell))

    def close(self) -> None:
        """Listen no more."""
        while self._handles:
            self._handles.pop().remove()

    def _keep(self, name: str) -> Callable[..., None]:
        def keep(module: nn.Module, arguments: Any, output: Tensor) -> None:
            self._raw[name] = output

        return keep

    def _tell(self, module: nn.Module, arguments: Any, output: Mapping[str, Tensor]) -> None:
        raw, self._raw = self._raw, {}
        if torch.is_grad_enabled():
            self._recorder.forces(raw, weights=self._weights)
        # The total as the trainer adds it up, so that its bits are the training's own.
        total = torch.stack([value.detach() for value in output.values()]).sum()
        self._recorder.containment.run("terms", self._recorder.terms, raw, weights=self._weights, total=total)


@dataclass(frozen=True)
class ReferencePairs:
    """The same training pairs every time, through a head in evaluation mode; the first of them if a part is enough."""

    head: Router
    vectors: Vectors
    recipe: Recipe
    device: str
    in_parts: bool = True

    def __call__(self, most: int | None = None) -> Sample:
        """Return what the head makes of them."""
        return reference_sample(self.head, self.vectors.probe_set(most), self.recipe, self.device)


class EvaluationCallback(TrainerCallback):
    """Evaluates at step 0 and at every epoch's end, and stops where the loss is not finite.

    Args:
        recipe: The recipe that is trained.
        head: The head that is trained.
        initial_head: The same at step 0, to put modules back to; None where no counterfactual is scored.
        loss: Its losses, for the validation loss.
        watch: What watches the training.
        folder: The run folder.
        vectors: Collections, reference pairs and held-out pairs under the encoder as it is.
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
        watch: Watch,
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
        self._watch = watch
        self._folder = folder
        self._vectors = vectors
        self._development = development
        self._initial_head = initial_head
        self._modules = [module.name for module in head_modules(recipe) if module.trained]
        self._listener = listener
        self._device = device
        self._progress = progress

    @property
    def _journal(self) -> JournalWriter:
        return self._watch.recorder.journal

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the epoch's number."""
        self._progress.epoch = int((state.epoch or 0) + 1e-6) + 1
        self._watch.recorder.epoch = self._progress.epoch

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the losses which step it is."""
        self._loss.set_step(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop where the loss is not finite."""
        self._progress.step = state.global_step
        self._stop_if_bad(control)
        self._listener.step(step=state.global_step, steps=state.max_steps, epoch=self._progress.epoch)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the epoch's summaries, evaluate, and keep a bad model from being saved."""
        self._watch.recorder.flush()
        self._stop_if_bad(control)
        if self._progress.bad_step is not None:
            self._watch.recorder.window(epoch=self._progress.epoch)
            control.should_save = False
            return
        self._watch.window(epoch=self._progress.epoch)
        self._watch.recorder.epoch = self._progress.epoch
        self.measure(step=state.global_step, epoch=self._progress.epoch)
        if self._recipe.early_stop != "none" and should_stop(self._development, patience=self._recipe.patience):
            best = max(self._development)
            message = f"{self._recipe.early_stop} on the development split has not risen above {best:.4f}"
            self._watch.recorder.event("early_stop", message)
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write that a checkpoint is complete."""
        self._watch.recorder.artifact("checkpoint", f"checkpoints/checkpoint-{state.global_step}")

    def measure(self, *, step: int, epoch: int) -> None:
        """Record the validation loss, retrieval and counterfactuals; step 0 is before training."""
        losses, rows = validation_losses(self._head, self._loss, self._vectors.validation(), self._recipe, self._device)
        where = {"step": step, "epoch": epoch, "on": "reference"}
        self._journal.write(Readings(values=losses, n=rows, dimension=1, dtype="float32", **where))  # type: ignore[arg-type]
        sets = self._vectors.initial if epoch == 0 else self._vectors.evaluations()
        scores = [
            self._evaluate(initial, data, step=step, epoch=epoch)
            for initial, data in zip(self._vectors.initial, sets, strict=True)
        ]
        values = {**losses, **self._delta_values()}
        self._listener.epoch(epoch=epoch, epochs=self._recipe.epochs, values=values, scores=scores)

    def _delta_values(self) -> dict[str, float]:
        run = self._watch.live
        names = {"delta": "delta/mean_abs", "alpha": "alpha/value", "correction": "delta/correction_max_abs"}
        found = {key: run.series(name, on="reference").last for key, name in names.items()}
        return {key: value for key, value in found.items() if value is not None} if None not in found.values() else {}

    def _evaluate(self, initial: EvaluationSet, data: EvaluationSet, *, step: int, epoch: int) -> EpochScores:
        where: dict[str, Any] = {"similarity": self._recipe.similarity, "device": self._device}
        parts = head_parts(self._head)
        embedded = embed(parts, data, device=self._device)
        by_path = score_embedded(embedded, data, queries=embedded.paths(), **where)
        for path, result in by_path.items():
            judged = path == self._recipe.scoring_path
            about: dict[str, Any] = {"variant": path, "step": step, "epoch": epoch, "judged": judged}
            record_evaluation(self._journal, self._folder, data, result, **about)
        if data.role == "development":
            self._development.append(by_path[self._recipe.scoring_path].mean["ndcg@10"])
        elif self._initial_head is not None and data.changed:
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
        bad = self._watch.recorder.first_bad_step
        if bad is None or self._progress.bad_step is not None:
            return
        self._progress.bad_step = bad
        control.should_training_stop = True
        control.should_save = False


@torch.no_grad()
def reference_sample(head: Router, pairs: tuple[Tensor, Tensor], recipe: Recipe, device: str) -> Sample:
    """Return pairs through a head in evaluation mode; the head's mode is left as it was."""
    training = head.training
    head.eval()
    try:
        query = head({"sentence_embedding": pairs[0].to(device)}, task="query")
        document = head({"sentence_embedding": pairs[1].to(device)}, task="document")
    finally:
        head.train(training)
    batch = make_batch(query, document)
    streams, roles = (
        {"query": batch.query, "document": batch.document},
        {"query": Role.query, "document": Role.document},
    )
    predictor = head_parts(head).predictor
    if isinstance(predictor, ResidualPredictor) and batch.delta is not None:
        streams |= {"delta": batch.delta, "alpha": predictor.scale.detach()}
        roles |= {"delta": Role.correction, "alpha": Role.gate}
    return Sample(streams=streams, roles=roles, similarity=recipe.similarity)


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
