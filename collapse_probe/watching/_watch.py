"""``watch``: one line that gives somebody's own training a journal, a judgement and a report."""

from __future__ import annotations

import atexit
import logging
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from ..errors import InputError
from ..journal import Evaluation, JournalWriter, LiveRun, ReferenceInfo, Run, RunConfig, Start, Store, now, write_config
from ..journal.vocabulary import Role, Similarity
from ..recording import (
    Budget,
    Place,
    Recorder,
    Replay,
    Tap,
    WeightReader,
    added_wishes,
    cadence_of,
    group_parameters,
    in_one_line,
    input,
    is_left_out,
    total_norm,
)
from ._attach import Attachments
from ._by_hand import ByHand
from ._calls import CallListener
from ._coverage import HEARD_BY, Coverage
from ._declared import asked_streams, declared_probes, declared_streams, reference_pairs
from ._finder import Finder
from ._folder import choose_folder, command, continue_run, is_main_process, model_name, module_infos, versions
from ._optimizers import ClipListener, StepListener, as_optimizers, describe, parameters_of, rates
from ._options import Known, OnCollapse, Prepared, Probes
from ._path import ScoredPath
from ._references import NAME, ReferenceReader
from ._rules import Choice
from ._scoring import compares_by, own_similarity
from ._terms import LossListener
from ._verdicts import Verdicts

WINDOW = 100
"""Steps of a window, where the run names no epochs."""

_log = logging.getLogger("collapse_probe")
_watched: weakref.WeakKeyDictionary[Any, weakref.ref[Watch]] = weakref.WeakKeyDictionary()


class Watch(ByHand):
    """What listens to one training; made by :func:`watch`, and a context manager.

    What fails of ours is switched off, journalled and said once; the training goes on. Leaving the ``with`` block,
    :meth:`close`, or the end of the program takes every hook off and ends the journal.

    Attributes:
        run: The run folder; None for a run that is kept in memory.
        live: The run so far, for :func:`diagnose`.
        stop: Whether a finding asks the training to stop (``on_collapse="stop"``).
        recorder: What writes the journal.
    """

    def __init__(
        self,
        target: nn.Module,
        *,
        run: Any = None,
        optimizer: Any = None,
        loss: nn.Module | None = None,
        query: Any = None,
        document: Any = None,
        taps: Sequence[Tap] = (),
        reference: Any = None,
        raw: Any = None,
        similarity: Similarity = "cosine",
        trained_by: Similarity | None = None,
        examples: int | None = None,
        every: int = 10,
        reference_every: int | None = None,
        probes: Probes = None,
        texts: bool = True,
        on_collapse: OnCollapse = "ignore",
        session: Mapping[str, Any] | None = None,
        searching: bool = True,
        prepared: Prepared | None = None,
        known: Known | None = None,
    ) -> None:
        known = known or Known()
        self._check(target, similarity, trained_by, on_collapse)
        optimizers = as_optimizers(optimizer)
        declared, places = declared_streams(target, query, document, taps)
        groups = group_parameters(target, _read_weights(optimizers))
        read = declared_probes(probes, declared)
        cadence = cadence_of(read, every=every)
        pairs = reference_pairs(reference, target)
        if loss is not None and not isinstance(loss, nn.Module):
            raise InputError(f"loss is a {type(loss).__name__}: give a module, or hand terms over, w.terms(name=value)")
        if raw is not None and not callable(raw):
            raise InputError(f"raw is a {type(raw).__name__}: give a function that returns (queries, documents)")
        asked, similarity = similarity, own_similarity(target, similarity)
        trained_by = trained_by or (None if loss is None else compares_by(loss)) or similarity
        budget = Budget(every=reference_every, batch=known.batch)
        self._target = target
        self._optimizers = optimizers
        self._steps: StepListener | None = None
        self._closed = False
        self._said: set[str] = set()
        self.stop = False
        continued = isinstance(run, Run)
        if isinstance(run, Run):
            prepared = continue_run(run, added_wishes(read))
        if prepared is None:
            self.run, said = choose_folder(run, name=model_name(target))
            if said:
                _log.warning("collapse-probe: %s", said)
        else:
            self.run = prepared.journal.folder
        replayed = reference is None and not callable(reference)
        source = None if reference is False or (replayed and continued) else "replayed" if replayed else "given"
        about = ReferenceInfo(source=source, seen=replayed, declared=not replayed) if source is not None else None
        config = RunConfig(
            name=self.run.name if self.run is not None else model_name(target),
            seed=known.seed,
            precision=known.precision,
            similarity=similarity,
            trained_by=trained_by,
            streams=declared,
            modules=module_infos(target, list(groups), scored=places),
            reference=known.reference or about,
            examples=examples,
            probes={probe.name: probe.as_dict() for probe in read},
            versions=versions(),
            command=command(arguments=texts),
            session={"program": "watch", "optimizers": describe(optimizers), **(session or {})},
        )
        if prepared is None:
            store = Store()
            if self.run is not None:
                write_config(self.run, config)
            journal = JournalWriter(self.run, store=store if is_main_process() else None)
            journal.write(Start(time=now()))
        else:
            config, journal = prepared.config, prepared.journal
            store = journal.store or Store()
            asked, similarity = similarity, config.similarity or similarity
        wishes = added_wishes(read) if prepared is None else prepared.wishes
        self.live = LiveRun(config, store, folder=self.run)
        self.recorder = Recorder(
            journal, cadence=cadence, similarity=similarity, wishes=wishes, containment=known.containment
        )
        self.recorder.epoch = known.epoch
        self._windows_by_hand = known.epoch is not None
        containment = self.recorder.containment
        containment.messages = self._texts = texts
        self._attachments = Attachments(containment)
        self._parameters = parameters_of(optimizers)
        self._gates = [place for place in places if place.parameter is not None]
        self._touched = -1
        self._weights = containment.run("weights", WeightReader, groups) if groups else None
        self._calls = CallListener(self.recorder, self._attachments, touch=self._touch, unread=self._unread)
        self._clip = ClipListener(self._parameters, containment=containment, attachments=self._attachments)
        self._loss = LossListener(
            self.recorder, self._attachments, parameters=lambda: [*target.parameters(), *self._parameters]
        )
        for stream in declared:
            self.recorder.declare(
                stream.name, role=None if stream.role is None else Role(stream.role), where=stream.where, declared=True
            )
            self.recorder.streams[stream.name].rule = "declared"
        self._calls.listen(places)
        if loss is not None:
            self._loss.listen(loss)
        self._finder: Finder | None = None
        self._verdicts = Verdicts(self.live, self.recorder, on_collapse=on_collapse, stop=self._stop)
        self._path = ScoredPath(target, [one.name for one in config.modules], self.recorder, self._attachments)
        self._reference = ReferenceReader(
            self.recorder,
            modules=[target, *([loss] if loss is not None else [])],
            pairs=pairs,
            raw=raw,
            budget=budget,
            pause=self._pause,
            say=self._say,
            replays=source == "replayed",
            variant=config.judged,
            path=self._path,
        )
        self._replays = source == "replayed"
        if searching and not any(stream.role in ("query", "document") for stream in declared):
            self._finder = Finder(target, self.recorder, self._attachments, loss=self._loss, found=self._found)
        elif self._replays:
            self._replay_declared(places)
        self._coverage = Coverage(
            self.recorder,
            self._calls,
            self._finder,
            say=self._say,
            asked=asked_streams(read),
            read=lambda: [name for name, _, _ in self.live.keys],
        )
        self._listen_to(optimizers)
        _watched[target] = weakref.ref(self)
        if prepared is not None:
            self._windows_by_hand = prepared.epoch is not None
            self.recorder.done = prepared.done
            self.recorder.epoch = prepared.epoch
        if self.recorder.done == 0:
            self._reference.start()
        else:
            self.recorder.go_on(rates(optimizers))
        if similarity != asked:
            whose = "model scores" if prepared is None else "run that goes on is judged"
            self._say("similarity", f"the {whose} by {similarity}, and so it is judged here")
        if continued:
            self.recorder.event("resumed", f"from step {self.recorder.done}")
            self._go_on_with_reference()
            if reference is None:
                self._say(
                    "reference pairs",
                    "the first steps' pairs are not made again where a run goes on, and the batches' own separation is "
                    "read; give reference= for fixed pairs",
                )
        atexit.register(self._at_exit)

    # How it begins and ends

    def _go_on_with_reference(self) -> None:
        """Compare the reference pairs with those of the run that goes on; replayed ones cannot come again."""
        config = self.live.config
        replayed = config.reference is not None and config.reference.source == "replayed"
        found = [one for one in self.live.of(Evaluation) if (one.role, one.variant) == ("reference", config.judged)]
        self._reference.go_on({one.collection: None if replayed and one.collection == NAME else one for one in found})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Take everything off, read the reference pairs once more, and end the journal; may be called twice.

        Args:
            error: What ended the training, where something did.
        """
        if self._closed:
            return
        self._end_open_step()
        if error is None:
            self.recorder.containment.run("reference pairs", self._reference.full)
        self.detach()
        self.end(*_status(error, messages=self._texts))

    def detach(self) -> None:
        """Take everything off; the journal stays open until :meth:`end`."""
        if self._closed:
            return
        self._end_open_step()
        self._closed = True
        atexit.unregister(self._at_exit)
        containment = self.recorder.containment
        containment.run("coverage", self._path.tell)
        self._attachments.close()
        containment.run("coverage", self._coverage.explain)
        containment.run("writing", self.recorder.flush)
        containment.run("verdict", self._verdicts.judge)
        _watched.pop(self._target, None)

    def end(self, status: str, message: str = "") -> None:
        """Write the end record, after everything else of the run is saved.

        Args:
            status: ``completed``, ``interrupted`` or ``failed``.
            message: Why it did not complete.
        """
        self.recorder.close(status, message)

    # What happens in a step

    def _listen_to(self, optimizers: Sequence[Optimizer]) -> None:
        if self._steps is not None:
            self._steps.leave()
        if optimizers:
            self._steps = StepListener(
                optimizers,
                before=self._before_step,
                after=self._after_step,
                containment=self.recorder.containment,
                attachments=self._attachments,
                modules=[self._target, *self._target.children()],
            )

    def _end_open_step(self) -> None:
        if self._steps is not None:
            self._steps.end()

    def _pause(self, paused: bool) -> None:
        self._calls.paused = paused
        if self._finder is not None:
            self._finder.paused = paused
        self._loss.paused = self._path.paused = paused

    def _touch(self) -> None:
        """Read gates before the optimiser changes them: once in every step that is due."""
        if self._touched != self.recorder.current and not self._calls.paused:
            self._touched = self.recorder.current
            for place in self._gates:
                assert place.parameter is not None
                role = None if place.tap.role is None else Role(place.tap.role)
                self.recorder.observe(place.tap.stream, place.parameter, role=role)

    def _before_step(self) -> None:
        due = self.recorder.due
        norm = total_norm(self._parameters) if self._parameters else None
        if due and any(one.grad is not None and is_left_out(one.grad) for one in self._parameters):
            self._say("sparse", "gradient/norm leaves sparse gradients out: adding up their rows would wait")
        before = self._clip.take()
        if norm is not None:
            found = (
                {"gradient/norm": norm} if before is None else {"gradient/norm": before, "gradient/clipped_norm": norm}
            )
            self.recorder.scalars(found)
        if self._optimizers:
            self.recorder.rates(rates(self._optimizers))
        if due:
            self._touch()
            if self._weights is not None:
                self._weights.before()
        self._reference.before_step()

    def _after_step(self) -> None:
        due = self.recorder.due
        if due and self._weights is not None:
            read = self.recorder.containment.run("weights", self._weights.read)
            self.recorder.scalars(read or {})
        if self._finder is not None:
            self.recorder.containment.run("finding streams", self._finder.end_step)
        self.recorder.containment.run("replayed pairs", self._calls.end_step)
        self._loss.end_step()
        self.recorder.step()
        step = self.recorder.done
        self._reference.after_step()
        if step == 1:
            self.recorder.containment.run("coverage", self._coverage.cover)
        if step == HEARD_BY - 1:
            self.recorder.containment.run("finding streams", self._look_for_silent)
        if step == HEARD_BY:
            self.recorder.containment.run("coverage", self._coverage.warn_unheard)
            self.recorder.containment.run("coverage", self._path.tell)
        if not self._windows_by_hand and step % WINDOW == 0:
            self.recorder.window()
        self._verdicts.after_step(step)

    # What was found

    def _look_for_silent(self) -> None:
        """Where what was declared is silent, look at one step for what could be meant."""
        if self._finder is None and self._coverage.silent():
            self._finder = Finder(self._target, self.recorder, self._attachments, loss=self._loss, found=None)
            self._coverage.looked_with(self._finder)

    def _found(self, chosen: Choice) -> None:
        """Take the streams that the finder found."""
        self._calls.listen(chosen.places)
        if not self._replays:
            return
        if chosen.rule != "loss module":
            self._replay_declared(chosen.places)
        elif chosen.replay is not None:
            self._replay_declared(chosen.replay)
            self._calls.listen_for_replay(chosen.replay)
        else:
            self.recorder.event(
                "note",
                "no reference pairs: queries or documents are no module's output; the batches' own separation is read",
                subject="reference pairs",
            )

    def _replay_declared(self, places: Iterable[Place]) -> None:
        by_role = {place.tap.role: place for place in reversed(list(places)) if place.module is not None}
        query, document = by_role.get(Role.query), by_role.get(Role.document)
        if query is None or document is None or input in (query.tap.take, document.tap.take):
            self._say(
                "replay",
                "no reference pairs can be made of the first batches, since query and document are not both a module's "
                "output: the batches' own pairs are read alone; give reference= for fixed ones",
            )
            return
        takes = [getattr(place.tap.take, "take", place.tap.take) for place in (query, document)]
        replay = Replay(query.module, document.module, *takes)  # type: ignore[arg-type]
        self._calls.replay = self._reference.replay = replay
        self._calls.keep_inputs(query, document)

    # How it is kept safe

    def _stop(self) -> None:
        self.stop = True

    def _at_exit(self) -> None:
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self.close(error if isinstance(error, BaseException) else None)

    @staticmethod
    def _check(target: Any, similarity: str, trained_by: str | None, on_collapse: Any) -> None:
        if not isinstance(target, nn.Module):
            raise InputError(
                f"watch() was given a {type(target).__name__}: give a torch module, or a trainer of transformers or "
                "sentence-transformers"
            )
        open_watch = (_watched.get(target) or (lambda: None))()
        if open_watch is not None:
            where = open_watch.run or "a run in memory"
            raise InputError(f"this model is watched already ({where}): close that watch first, or go on with it")
        for name, value in (("similarity", similarity), ("trained_by", trained_by or similarity)):
            if value not in ("cosine", "dot", "euclidean"):
                raise InputError(f"{name}={value!r}: give 'cosine', 'dot' or 'euclidean'")
        if not callable(on_collapse) and on_collapse not in ("ignore", "warn", "stop"):
            raise InputError(
                f"on_collapse={on_collapse!r}: give 'ignore', 'warn', 'stop', or a function of the finding"
            )


def _read_weights(optimizers: Sequence[Optimizer]) -> list[nn.Parameter]:
    return [one for one in parameters_of(optimizers) if one.requires_grad and not one.is_complex()]


def _status(error: BaseException | None, *, messages: bool) -> tuple[str, str]:
    if error is None:
        return "completed", ""
    message = in_one_line(error, messages=messages)[:300]
    return ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed"), message
