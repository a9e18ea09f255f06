"""What the user of a watch hands over and calls, each contained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from ..errors import InputError
from ..journal.vocabulary import Role
from ..recording import Recorder
from ._references import ReferenceReader
from ._terms import LossListener
from ._verdicts import Verdicts

_log = logging.getLogger("collapse_probe")


class ByHand:
    """The calls of a watch with which a loop says what hooks do not hear."""

    recorder: Recorder
    _optimizers: Sequence[Optimizer]
    _loss: LossListener
    _reference: ReferenceReader
    _verdicts: Verdicts
    _closed: bool
    _said: set[str]
    _touch: Callable[[], None]
    _before_step: Callable[[], None]
    _after_step: Callable[[], None]
    _windows_by_hand = False
    _epochs = 0

    def observe(self, stream: str, tensor: Tensor, role: Role | str | None = None) -> None:
        """Hand over a stream of the step in progress, before the optimiser's step.

        Args:
            stream: Its name; ``query`` and ``document`` have these roles.
            tensor: ``[n, D]``.
            role: Its role.
        """
        self._do(f"stream {stream}", self._observe, stream, tensor, role)

    def terms(
        self,
        mapping: Mapping[str, Tensor | float] | None = None,
        /,
        *,
        total: Tensor | float | None = None,
        weights: Mapping[str, float] | None = None,
        **terms: Tensor | float,
    ) -> None:
        """Hand over what adds up to the loss, once a micro-batch, before the optimiser's step.

        Args:
            mapping: Name to scalar.
            total: The loss; the sum of the weighted terms if None. What the terms leave of it is ``loss/rest``.
            weights: Weights of the terms; 1 if None.
            terms: Further terms.
        """
        self._do("terms", self._terms, {**(mapping or {}), **terms}, total, weights)

    def monitor(self, mapping: Mapping[str, Tensor | float] | None = None, /, **values: Tensor | float) -> None:
        """Hand over numbers that are no part of the loss."""
        found = {f"monitor/{name}": value for name, value in {**(mapping or {}), **values}.items()}
        for name, value in found.items():
            self._do(name, self.recorder.scalars, {name: value})

    def step(self) -> None:
        """Say that one optimiser step is done; nothing where the optimiser is watched and says so itself."""
        if self._optimizers:
            self._say("step", "the optimiser is watched, so step() does nothing; leave it out")
            return
        self._do("before the step", self._before_step)
        self._do("after the step", self._after_step)

    def window(self, *, epoch: int | None = None) -> None:
        """Say that an epoch, or another stretch of steps, has ended.

        Args:
            epoch: Its number, from 1; counted if None.
        """
        self._windows_by_hand = True
        self._epochs += 1
        self._do("window", self._end_window, epoch or self._epochs)

    def evaluation(
        self,
        collection: str,
        metrics: Mapping[str, float],
        *,
        step: int | None = None,
        variant: str = "model",
        per_query: Mapping[str, Mapping[str, float]] | None = None,
        domain: Literal["in", "out"] | None = None,
    ) -> None:
        """Hand over retrieval scores.

        Args:
            collection: What was searched.
            metrics: Metric to its mean over queries.
            step: Optimiser steps done; those done now if None, 0 before the first.
            variant: What was scored; ``raw`` is the encoder before any module of yours.
            per_query: Metric to query id to value: without it no change can be resolved.
            domain: ``in`` or ``out`` of the domain that is trained on; None if unknown.
        """
        self._do("evaluation", self._evaluation, collection, metrics, step, variant, per_query, domain)

    def _observe(self, stream: str, tensor: Tensor, role: Role | str | None) -> None:
        known = self.recorder.streams.get(stream)
        if role is None and known is None and stream in set(Role):
            role = stream
        self._touch()
        if not isinstance(tensor, Tensor) or tensor.ndim not in (0, 2):
            found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            self._say(f"stream {stream}", f"stream {stream!r} is {found}, where [n, D] is needed: it is not read")
            self.recorder.declare(stream).why = f"its value is {found}, where [n, D] is needed"
            return
        self.recorder.observe(stream, tensor, role=None if role is None else Role(role))
        if known is None or not known.where:
            self.recorder.declare(stream, where="observe()", rule="declared")

    def _terms(self, terms: Mapping[str, Any], total: Any, weights: Mapping[str, float] | None) -> None:
        self._touch()
        self._loss.by_hand = True
        fit = {}
        for name, value in terms.items():
            try:
                self._loss.check(name, value)
            except InputError as error:
                self._say(f"term {name}", str(error))
            else:
                fit[name] = value
        self.recorder.terms(fit, weights=weights, total=total)

    def _end_window(self, epoch: int) -> None:
        self._reference.full()
        self.recorder.window(epoch=epoch)
        self._verdicts.judge()
        self.recorder.epoch = epoch + 1

    def _evaluation(
        self,
        collection: str,
        metrics: Mapping[str, float],
        step: int | None,
        variant: str,
        per_query: Mapping[str, Mapping[str, float]] | None,
        domain: str | None,
    ) -> None:
        self._reference.full()
        self.recorder.evaluation(collection, metrics, step=step, variant=variant, per_query=per_query, domain=domain)
        self._verdicts.judge()

    def _do(self, probe: str, function: Callable[..., None], *args: Any) -> None:
        if self._closed:
            self._say("closed", "this watch is closed: nothing more is recorded; call watch() again for another run")
            return
        self.recorder.containment.run(probe, function, *args)

    def _say(self, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            _log.warning("collapse-probe: %s", message)
            if not self._closed:
                self.recorder.containment.run("writing", self.recorder.event, "note", message, subject=key)
