"""When the reference pairs are read, and what is written of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from .. import measures
from ..errors import InputError
from ..journal import Evaluation
from ..journal.vocabulary import Role, at_dimension
from ..measures import Sample
from ..recording import (
    PART,
    REPLAYED_PAIRS,
    REPLAYED_STEPS,
    Budget,
    Recorder,
    Replay,
    StartWeights,
    check_pairs,
    cuts_of,
    dimension_of,
)
from ._path import ScoredPath
from ._reference_samples import Quiet, equal, first_part, metrics_of, reciprocal_ranks

NAME = "reference pairs"
"""The collection that their reciprocal ranks are written under."""

_AGREE = 1e-3
"""Relative difference up to which two readings by the same weights are those of the same pairs."""


class ReferenceReader:
    """Reads fixed pairs through the path that is scored: all at step 0, at evaluations and at the end, a part between.

    Args:
        recorder: Where readings go.
        modules: What is put into evaluation mode meanwhile.
        pairs: Gives queries and documents; None for no reference pairs, or until a replay is there.
        raw: The same through the encoder before any module of the user's.
        budget: When a part may be read in between.
        pause: Called with True before and False after our own forward passes.
        say: Says something once: by its key, in one line.
        replays: Whether pairs may be made of the first steps' inputs.
        variant: What is written as the variant that their ranks belong to.
        path: What hears which modules the pairs go through.

    Attributes:
        replay: Pairs that are made of the first steps' inputs.
        read: Whether any pairs have been read.
        collection: What their ranks are written under: a further name where a run goes on with other pairs.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        modules: list[nn.Module],
        pairs: Callable[[], Any] | None,
        raw: Callable[[], Any] | None,
        budget: Budget,
        pause: Callable[[bool], None],
        say: Callable[[str, str], None],
        replays: bool = False,
        variant: str = "model",
        path: ScoredPath | None = None,
    ) -> None:
        self._path = path
        self._variant = variant
        self.replays = replays
        self.replay: Replay | None = None
        self.read = False
        self.collection = NAME
        self._recorder = recorder
        self._modules = modules
        self._pairs = pairs
        self._raw = raw
        self._budget = budget
        self._pause = pause
        self._say = say
        self._start: StartWeights | None = None
        self._again = False
        self._last = -1
        self._part_at = -1
        self._rows = 0
        self._earlier: measures.Neighbours | None = None

    def start(self) -> None:
        """Read all pairs at step 0, where they are given."""
        if self.replays:
            self._start = self._recorder.containment.run("reference pairs", StartWeights, self._modules[0])
        if self._raw is not None:
            self._contained(self._full, self._raw, 0, True)
        if self._pairs is not None:
            self._contained(self._full, self._pairs, 0)
        if (apart := getattr(self._pairs, "apart", None)) is not None:
            self._contained(self._read_apart, apart)

    def go_on(self, earlier: Mapping[str, Evaluation | None]) -> None:
        """Find out whether the pairs are those of a run that goes on.

        Pairs are compared with themselves alone: where they are others, their ranks are a further collection, whose
        start is now, and nothing else is read of them.

        Args:
            earlier: The latest evaluation of each collection of reference pairs; None for pairs that cannot come again.
        """
        if self._pairs is not None and earlier:
            self._contained(self._recognise, earlier)

    def step_begins(self) -> None:
        """Keep the weights of step 0 for pairs that are only being made, or may be; before they change."""
        if self._start is not None and self._recorder.done == 0:
            self._recorder.containment.run("reference pairs", self._start.take)

    def after_step(self) -> None:
        """Read a part, if it is due."""
        step = self._recorder.done
        if step == 1:
            rows = [one.n for one in self._recorder.streams.values() if one.role is Role.query]
            self._budget.batch_is(sum(rows))
        if self.replay is not None and self._start is not None:
            self.replay.start_from(self._start)
            self._start = None
        if self.replay is not None and self._pairs is None and (self.replay.complete or step >= REPLAYED_STEPS):
            self._contained(self._complete_or_go_on)
        if self.replay is not None and self.replay.again and not self._again:
            # These pairs beside the last ones that were new, by about the same weights.
            self._again = True
            self.full()
        elif self._pairs is not None and self.collection == NAME and self._budget.due(step):
            self._contained(self._part)

    def give_up(self, why: str) -> None:
        """Make no pairs of the first steps' inputs, and say why."""
        self._say_none(why)
        self.replay = self._start = None

    def full(self) -> None:
        """Read all pairs now, if they have not been at this step."""
        if self.replay is not None and self._pairs is None and self.replay.rows >= 2:
            self._contained(self._complete)
        if self._pairs is not None and self._last != self._recorder.done:
            self._contained(self._full, self._pairs, self._recorder.done)

    def given(self, *vectors: Tensor) -> None:
        """Read all pairs from what the training's own evaluation has just made of them, as a call of them gives it."""
        if self._recorder.first and self._last != self._recorder.done:
            self._contained(self._full, lambda: vectors, self._recorder.done)

    def _recognise(self, earlier: Mapping[str, Evaluation | None]) -> None:
        assert self._pairs is not None
        step = self._recorder.done
        with self._quietly():
            sample = self._sample(self._pairs())
        self._rows = len(sample.streams["query"])
        latest = max(one.step for one in earlier.values() if one is not None) if any(earlier.values()) else step
        known = [one for one in earlier.values() if one is not None and self._are_of(one, sample, latest)]
        if known:
            self.collection = max(known, key=lambda one: one.step).collection
            return
        self.collection = f"{NAME}#{len(earlier) + 1}"
        self._say(
            "other pairs",
            f"the reference pairs, or the model's weights, are not those that this run had at step {step}: their ranks "
            f"are a collection of their own from now on, {self.collection}, and all else is read on batches",
        )
        self._write(sample, step=step)
        self._last = step

    def _are_of(self, one: Evaluation, sample: Sample, latest: int) -> bool:
        """Return whether an evaluation was of these pairs: by their texts, or by the reading of the same weights.

        Where neither is there, of pairs that are no texts and were read at an earlier step, the latest that were as
        many are taken for them.
        """
        own = self._fingerprint
        if own is not None and one.fingerprint is not None:
            return own == one.fingerprint
        numbers = [len(sample.streams[name]) for name in ("query", "document")]
        if numbers != [one.n_queries, one.n_documents]:
            return False
        if latest != self._recorder.done:
            return True
        metrics = metrics_of(sample)
        return one.step == latest and all(
            name in metrics and math.isclose(metrics[name], value, rel_tol=_AGREE)
            for name, value in one.metrics.items()
            if math.isfinite(value)
        )

    @property
    def _fingerprint(self) -> str | None:
        found = getattr(self._pairs, "fingerprint", None)
        return found if isinstance(found, str) else None

    def _complete_or_go_on(self) -> None:
        """Take the replayed pairs as the reference, unless repeats among them leave room for more."""
        assert self.replay is not None
        repeats = self._leave_out(self.replay)
        if repeats and self._recorder.done < REPLAYED_STEPS and self.replay.rows < REPLAYED_PAIRS:
            self.replay.complete = False
            return
        self._complete()

    def _complete(self) -> None:
        """Take the replayed pairs as the reference, and read them by the weights of step 0."""
        replay = self.replay
        assert replay is not None
        replay.complete = True
        replay.order = self._recorder.layout.told() or replay.order
        self._leave_out(replay)
        repeats = replay.offered - replay.rows
        if replay.rows < 2:
            why = "the inputs of the first steps could not be kept: too large, or not of both sides at once"
            self._say_none(f"all {replay.offered} pairs of the first steps are the same one" if repeats else why)
            self.replay = None
            return
        if repeats:
            why = (
                "repeat a query of these, or the loss moves them apart" if replay.graded else "repeat a query of these"
            )
            text = f"{replay.rows} distinct pairs: {repeats} of the first steps' {replay.offered} {why}"
            self._recorder.event("note", text, subject="reference pairs")
        self._pairs = replay
        self._start_of_replay()

    def _leave_out(self, replay: Replay) -> int:
        replay.graded = self._recorder.layout.graded.settle() or replay.graded
        return replay.leave_out_repeats()

    def _start_of_replay(self) -> None:
        assert self.replay is not None
        with self._quietly():
            apart = self.replay.apart_at_start()
            found = self.replay.at_start()
            known = found is not None
            sample = self._sample(found if found is not None else self.replay())
        step = 0 if known else self._recorder.done
        self._write(sample, step=step)
        if apart is not None:
            self._recorder.reference(self._sample(apart), apart=True, step=step)
        if not known:
            self._last = step
            self._say_none(
                f"the weights of step 0 were too large to keep: the pairs are read from step {step} on", some=True
            )

    def _say_none(self, why: str, *, some: bool = False) -> None:
        """Journal why there are no reference pairs, or not all of their readings."""
        own = "the batches' own separation is read"
        if self.replay is not None and self.replay.graded:
            own = "batches of rows with labels are no pairs: give reference= of rows that belong together"
        text = why if some else f"no reference pairs: {why}; {own}"
        self._recorder.event("note", text, subject="reference pairs")

    def _contained(self, function: Callable[..., None], *args: Any) -> None:
        self._recorder.containment.run("reference pairs", self._tried, function, *args)

    def _tried(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function that reads pairs; what cannot be read is said, and not read again."""
        try:
            function(*args)
        except InputError as error:
            self._pairs = self.replay = self._raw = None
            self._say("reference pairs", f"no reference pairs from step {self._recorder.done} on: {error}")

    def _quietly(self, *, raw: bool = False) -> Any:
        return Quiet(self._pause if raw else self._pause_scored, self._modules)

    def _pause_scored(self, paused: bool) -> None:
        self._pause(paused)
        if self._path is not None:
            self._path.scoring = paused

    def _full(self, pairs: Callable[[], Any], step: int, raw: bool = False) -> None:
        with self._quietly(raw=raw):
            sample = self._sample(pairs())
        self._write(sample, step=step, raw=raw)
        self._last = step if not raw else self._last

    def _read_apart(self, pairs: Callable[[], Any]) -> None:
        with self._quietly():
            sample = self._sample(pairs())
        self._recorder.reference(sample, apart=True, step=self._recorder.done)

    def _write(self, sample: Sample, *, step: int, raw: bool = False) -> None:
        recorder = self._recorder
        query = sample.streams["query"]
        if self._rows and len(query) != self._rows:
            self._say(
                "number of pairs",
                f"the reference pairs are {len(query)} at step {step}, and were {self._rows} before: ranks among other "
                "numbers of pairs are not compared",
            )
        if not self.read and not raw:
            self._check_first(sample, step)
        self._rows = len(query)
        if self._earlier is None and self._raw is not None and not raw:
            # Of a run that goes on: the raw encoder's readings are there, its neighbours are not.
            with self._quietly():
                self._earlier = measures.neighbours_of(self._sample(self._raw()))
        if self._earlier is not None:
            sample = replace(sample, earlier=self._earlier)
        elif raw or step == 0:
            self._earlier = measures.neighbours_of(sample)
        if self.collection == NAME:
            # What was read of this step in between is not read twice.
            fresh = raw or self._part_at != step
            if not raw and len(query) > PART and fresh:
                recorder.reference(first_part(sample), step=step, part=True)
            if fresh or len(query) > PART:
                recorder.reference(sample, raw=raw, step=step)
        self._score(sample, self.collection, step=step, raw=raw)
        for cut in cuts_of(sample, recorder.dimensions):
            self._score(cut, at_dimension(self.collection, dimension_of(cut) or 0), step=step, raw=raw)
        self.read = True

    def _score(self, sample: Sample, collection: str, *, step: int, raw: bool) -> None:
        metrics = metrics_of(sample)
        scores = measures.scores(sample)
        values = {} if scores is None else {str(query): rank for query, rank in enumerate(reciprocal_ranks(scores))}
        if len(values) and metrics:
            self._recorder.evaluation(
                collection,
                metrics,
                step=step,
                variant="raw" if raw else self._variant,
                per_query={"mrr": values},
                domain="in",
                role="reference",
                n_documents=sum(len(sample.streams[name]) for name in sample.of_role(Role.document)),
                similarity=sample.similarity,
                fingerprint=self._fingerprint,
            )

    def _check_first(self, sample: Sample, step: int) -> None:
        """Refuse pairs of which a side is one vector, unless the raw encoder tells them apart: then the model does it.

        Raises:
            InputError: they are equal.
        """
        for name in ("query", "document"):
            rows = sample.streams[name]
            if len(rows) > 1 and equal(rows) and not self._told_apart_by_raw(name):
                raise InputError(
                    f"all {len(rows)} {name} embeddings are equal at step {step}: are they one text, or does what "
                    "scores them lose it? give pairs of different texts"
                )

    def _told_apart_by_raw(self, name: str) -> bool:
        if self._raw is None:
            return False
        with self._quietly(raw=True):
            return not equal(self._sample(self._raw()).streams[name])

    def _part(self) -> None:
        assert self._pairs is not None
        with self._quietly():
            whole = self._sample(self._pairs(PART) if getattr(self._pairs, "in_parts", False) else self._pairs())
        read = len(whole.streams["query"])
        self._recorder.reference(first_part(whole), part=max(read, self._rows) > PART)
        self._part_at = self._recorder.done
        self._budget.spend(read)

    def _sample(self, found: Any) -> Sample:
        if isinstance(found, Sample):
            return found
        own: Tensor | None = None
        if isinstance(found, tuple) and len(found) == 3:
            query, document, own = found
        else:
            query, document = check_pairs(found)
        streams = {"query": query, "document": document}
        roles = {"query": Role.query, "document": Role.document}
        return Sample(streams=streams, roles=roles, similarity=self._recorder.similarity, own=own)
