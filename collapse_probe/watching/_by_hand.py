"""What the user of a watch hands over and calls, each contained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from ..errors import InputError
from ..journal.vocabulary import Role
from ..recording import Recorder, checked_role, checked_stream, why_unread
from ._declared import BY_HAND
from ._delivered import Left, WeightsLeft
from ._handed import named, numbers, scores
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
    _left: WeightsLeft | None
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

        Of two or more terms that are handed over with their graphs before the backward, each one's forces at the
        embeddings are read on steps that are due.

        Args:
            mapping: Name to scalar.
            total: The loss; the sum of the weighted terms if None. What the terms leave of it is ``loss/rest``.
            weights: Weights of the terms; 1 if None.
            terms: Further terms.
        """
        self._do("terms", self._terms, mapping, terms, total, weights)

    def monitor(self, mapping: Mapping[str, Tensor | float] | None = None, /, **values: Tensor | float) -> None:
        """Hand over numbers that are no part of the loss."""
        self._do("monitor", self._monitor, mapping, values)

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
        if epoch is not None and (isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1):
            self._say("epoch", f"window(epoch={epoch!r}): a whole number of at least 1 is needed; epochs are counted")
            epoch = None
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

    def _observe(self, stream: Any, tensor: Any, role: Any) -> None:
        try:
            known = self.recorder.streams.get(checked_stream(stream))
            role = checked_role(role) if role is not None else None
        except InputError as error:
            self._say(f"stream {stream}", f"observe(): {error}; it is not read")
            return
        if role is None and (known is None or known.role is None) and stream in set(Role):
            role = Role(stream)
        self._touch()
        if known is None or known.where != BY_HAND:
            known = self.recorder.declare(stream, role=role, where=BY_HAND, rule="declared")
        why = why_unread(tensor, gate=(role or known.role) is Role.gate)
        if why is not None:
            self._unread(stream, why)
        else:
            self.recorder.observe(stream, tensor, role=role)

    def _unread(self, stream: str, why: str) -> None:
        """Say once why a value of a stream is not read; training goes on."""
        self._say(f"stream {stream}", f"stream {stream!r} is not read: {why}")
        known = self.recorder.declare(stream)
        known.why = known.why or why

    def _terms(self, mapping: Any, further: Mapping[str, Any], total: Any, weights: Any) -> None:
        self._touch()
        self._loss.by_hand = True
        terms = named(mapping, further, method="terms", say=self._say)
        whole = total if total is not None else terms.pop("total", None)
        sums = {} if whole is None else {"total": whole}
        if weights is None or isinstance(weights, Mapping):
            self.recorder.forces(terms, weights=weights)
        self.recorder.terms(
            numbers(terms, what="term", say=self._say),
            weights=numbers(named(weights, {}, method="weights", say=self._say), what="weight of", say=self._say)
            if weights is not None
            else None,
            total=numbers(sums, what="term", say=self._say).get("total"),
        )

    def _monitor(self, mapping: Any, further: Mapping[str, Any]) -> None:
        found = numbers(named(mapping, further, method="monitor", say=self._say), what="monitor", say=self._say)
        self.recorder.scalars({f"monitor/{name}": value for name, value in found.items()})

    def _end_window(self, epoch: int) -> None:
        self._read_pairs()
        self.recorder.window(epoch=epoch)
        self._verdicts.judge()
        self.recorder.epoch = epoch + 1

    def _evaluation(
        self,
        collection: Any,
        metrics: Any,
        step: Any,
        variant: Any,
        per_query: Any,
        domain: Any,
        ranked: Any = None,
        further: Mapping[str, Any] | None = None,
    ) -> None:
        if not self.recorder.first:
            return
        left = self._read_pairs()
        if step is None and left is not None:
            step = left.step
        about = {"step": step, "variant": variant, "per_query": per_query, "domain": domain}
        found = scores(collection, metrics, **about, say=self._say)
        if found is not None:
            self.recorder.evaluation(collection, **found, ranked=ranked, **(further or {}))
        self._verdicts.judge()

    def _read_pairs(self) -> Left | None:
        """Read the reference pairs, and keep whose weights these are; return whose if earlier ones have been put back.

        What is read then would be none of the last step's. Weights of no step, as a moving average of them, are read.
        """
        if self._left is not None and self._left.loaded:
            left = self.recorder.containment.run("delivered weights", self._left.found)
            if left is not None and left.step not in (None, self.recorder.done):
                return left
        self._reference.full()
        self._note_weights()
        return None

    def _note_weights(self) -> None:
        if self._left is not None:
            self.recorder.containment.run("delivered weights", self._left.note)

    def _do(self, probe: str, function: Callable[..., None], *args: Any) -> None:
        if self._closed:
            self._say("closed", "this watch is closed: nothing more is recorded; call watch() again for another run")
            return
        self.recorder.containment.run(probe, function, *args)

    def _say(self, key: str, message: str) -> None:
        if key not in self._said and self.recorder.first:
            self._said.add(key)
            _log.warning("collapse-probe: %s", message)
            if not self._closed:
                self.recorder.containment.run("writing", self.recorder.event, "note", message, subject=key)
