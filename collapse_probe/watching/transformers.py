"""Watching a trainer of transformers: where its parts are, and its events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers.trainer_callback import TrainerCallback

from ._attach import Attachments
from ._options import Facts, Options
from ._reporting import Reports
from ._trainer import TrainerWatch

_log = logging.getLogger("collapse_probe")

_NO_METRICS = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "model_preparation_time")


class Events(TrainerCallback):
    """Tells a watch what happens in training; demands nothing of what a trainer hands to its callbacks.

    Args:
        watch: The watch.
        state: Gives the trainer's own state; what the event brings is not always it.
        reports: What hands on to where the trainer reports to; None where it is not known.
    """

    def __init__(
        self, watch: TrainerWatch, state: Callable[[], Any] | None = None, reports: Reports | None = None
    ) -> None:
        self.watch = watch
        self._state = state
        self._reports = reports

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin."""
        self.watch.train_begins(self._of(state))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step of the optimiser is done."""
        self.watch.step_ends(self._of(state), control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An epoch is done."""
        self.watch.epoch_ends(self._of(state))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation is done."""
        self.watch.evaluated(kwargs.get("metrics"))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint is written."""
        self.watch.saves()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Hand on what was read; the last log of a training comes when it is done and programs still take numbers."""
        reports = self._reports
        if reports is None or not self.watch.begun or self.watch.closed or not reports.programs:
            return
        own = self._of(state)
        last = isinstance(logs, Mapping) and "train_runtime" in logs
        if last:
            self.watch.train_ends(own, early=True)
        self.watch.contained("report_to", reports.send, self.watch.live, own, control)
        if last:
            self.watch.contained("report_to", reports.verdict, self.watch.live, own, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training is done."""
        self.watch.train_ends(self._of(state))

    def _of(self, state: Any) -> Any:
        return state if self._state is None else self._state()


class Ended(TrainerCallback):
    """Says once that a further training of a trainer is not watched; does nothing else."""

    def __init__(self, again: str = "call watch(trainer) again") -> None:
        self._again = again
        self._said = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say it."""
        if not self._said:
            self._said = True
            _log.warning("collapse-probe: the watch of this trainer ended with its first training: %s", self._again)


class TransformersSource:
    """A ``transformers.Trainer``: streams by the rules of plain loops, the loss from ``compute_loss``.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    @property
    def model(self) -> nn.Module | None:
        """The model, without what wraps it."""
        return self.trainer.model

    @property
    def optimizer(self) -> Any:
        """The optimiser, once training begins."""
        return self.trainer.optimizer

    @property
    def loads_best(self) -> bool:
        """Whether the best checkpoint is loaded when training ends."""
        return bool(getattr(self.trainer.args, "load_best_model_at_end", False))

    def facts(self, options: Options) -> Facts:
        """Say what the trainer knows of its run."""
        arguments = self.trainer.args
        return Facts(
            similarity=options.similarity,
            examples=rows(self.trainer.train_dataset),
            batch=batch_size(arguments),
            seed=getattr(arguments, "seed", None),
            precision=getattr(getattr(self.trainer, "accelerator", None), "mixed_precision", None) or "",
            session={"trainer": type(self.trainer).__name__},
        )

    def attach(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach events, evaluations that are no training, and exceptions."""
        trainer = self.trainer
        if hasattr(trainer, "add_callback"):
            _take_off(trainer, Ended)
            events = Events(watch, state=lambda: trainer.state, reports=Reports(trainer))
            trainer.add_callback(events)
            attachments.add(lambda: _take_off(trainer, events))
            attachments.wrap(trainer, "train", probe="training", failed=watch.failed)
        for name in ("evaluate", "predict"):
            if not hasattr(trainer, name):
                continue
            attachments.wrap(
                trainer,
                name,
                probe="pausing",
                before=lambda args, kwargs: watch.pause(True),
                after=lambda args, kwargs, result: watch.pause(False),
                failed=lambda error: watch.pause(False),
            )

    def listen(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what hears the loss and the norm before clipping."""
        self._listen_to_clipping(watch, attachments)
        entries: dict[str, Tensor] = {}

        def outputs(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if not watch.paused:
                watch.recorder.containment.run("loss", _keep_losses, entries, output)

        def loss(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            found, whole = dict(entries), result[0] if isinstance(result, tuple) else result
            entries.clear()
            if not watch.paused and isinstance(whole, Tensor):
                for name, value in found.items():
                    watch.loss.hear(name, value)
                watch.loss.total("loss", whole)

        if hasattr(self.trainer, "compute_loss"):
            watch.loss.leave(watch._target)
            attachments.forward_hook(watch._target, outputs)
            attachments.wrap(self.trainer, "compute_loss", probe="loss", after=loss)

    def baseline(self, watch: TrainerWatch) -> None:
        """No evaluation of this trainer is known to be cheap."""

    def evaluated(self, watch: TrainerWatch, metrics: Mapping[str, Any]) -> None:
        """Hear the metrics of an evaluation."""
        found = plain_metrics(metrics)
        if found:
            watch.evaluation("evaluation", found)

    def ended(self) -> None:
        """Leave a callback that says, when the trainer trains again, that this is not watched."""
        if hasattr(self.trainer, "add_callback"):
            _take_off(self.trainer, Ended)
            self.trainer.add_callback(Ended())

    def _listen_to_clipping(self, watch: TrainerWatch, attachments: Attachments) -> None:
        accelerator = getattr(self.trainer, "accelerator", None)
        if accelerator is not None:
            watch.clipping.listen(accelerator, attachments)


def _take_off(trainer: Any, callback: TrainerCallback | type[TrainerCallback]) -> None:
    """Take a callback, or those of a class, off a trainer; one that is calling its callbacks leaves out no other."""
    handler = trainer.callback_handler
    gone = callback if isinstance(callback, type) else None
    handler.callbacks = [
        one for one in handler.callbacks if one is not callback and (gone is None or not isinstance(one, gone))
    ]


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return an evaluation's metrics without the trainer's prefix and its timings.

    >>> plain_metrics({"eval_loss": 0.5, "eval_runtime": 3.0, "epoch": 1.0})
    {'loss': 0.5}
    """
    found = {name.removeprefix("eval_"): value for name, value in metrics.items() if name != "epoch"}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not name.endswith(_NO_METRICS)
    }


def batch_size(arguments: Any) -> int | None:
    """Return the examples of one optimiser step over all processes, from training arguments."""
    try:
        own = arguments.per_device_train_batch_size * max(1, arguments.n_gpu)
        return own * arguments.gradient_accumulation_steps * max(1, arguments.world_size)
    except (AttributeError, TypeError):
        return None


def rows(dataset: Any) -> int | None:
    """Return how many examples a data set, or a dictionary of some, has; None where it does not say."""
    parts = list(dataset.values()) if isinstance(dataset, Mapping) else [dataset]
    try:
        return sum(len(part) for part in parts)
    except TypeError:
        return None


def _keep_losses(entries: dict[str, Tensor], output: Any) -> None:
    if not isinstance(output, Mapping):
        return
    for name, value in output.items():
        if "loss" in str(name) and name != "loss" and isinstance(value, Tensor) and value.numel() == 1:
            entries[str(name)] = value
