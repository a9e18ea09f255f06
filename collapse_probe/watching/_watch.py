"""``watch``: one line that gives somebody's own training a journal, a judgement and a report."""

from __future__ import annotations

import atexit
import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..journal import JournalWriter, LiveRun, ReferenceInfo, RunConfig, Start, Store, StreamInfo, now, write_config
from ..journal.vocabulary import Role, Similarity
from ..recording import (
    Budget,
    Cadence,
    Containment,
    Place,
    Recorder,
    Replay,
    Tap,
    WeightReader,
    Wishes,
    call,
    checked_role,
    checked_stream,
    find,
    group_parameters,
    input,
    output,
    total_norm,
    why_unread,
)
from ._attach import Attachments
from ._calls import CallListener
from ._dispatch import trainer_of, watch_trainer
from ._finder import Finder
from ._folder import choose_folder, command, is_main_process, model_name, module_infos, versions
from ._handed import named, numbers, scores
from ._optimizers import ClipListener, StepListener, as_optimizers, describe, parameters_of, rates
from ._options import Options
from ._references import ReferenceReader
from ._rules import Choice
from ._terms import LossListener
from ._text_pairs import TextPairs
from ._verdicts import Verdicts

OnCollapse = Literal["ignore", "warn", "stop"] | Callable[[Any], None]

HEARD_BY = 20
"""The step by which queries and documents should have been heard."""

_BY_HAND = "observe()"

WINDOW = 100
"""Steps of a window, where the run names no epochs."""

_log = logging.getLogger("collapse_probe")
_watched: weakref.WeakKeyDictionary[Any, weakref.ref[Watch]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Prepared:
    """A run that somebody else has begun: its configuration is written and its journal is open.

    Attributes:
        config: What the run is.
        journal: Its journal.
        wishes: What is read.
        done: Optimiser steps that were done before: of a run that is resumed.
    """

    config: RunConfig
    journal: JournalWriter
    wishes: Wishes
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a trainer knows of its run, and a plain loop would have to say.

    Attributes:
        batch: Examples of a step, over all processes.
        reference: What the reference pairs are, where the trainer has them.
        containment: What contains failures, where something of ours ran before the run began.
        epoch: Epoch of the first step, from 1; None in a run without epochs.
        seed: Of weights and batches.
        precision: Compute precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    batch: int | None = None
    reference: ReferenceInfo | None = None
    containment: Containment | None = None
    epoch: int | None = None
    seed: int | None = None
    precision: str = ""


class Watch:
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
        on_collapse: OnCollapse = "ignore",
        session: Mapping[str, Any] | None = None,
        searching: bool = True,
        prepared: Prepared | None = None,
        known: Known | None = None,
    ) -> None:
        known = known or Known()
        self._check(target, similarity, trained_by, on_collapse)
        optimizers = as_optimizers(optimizer)
        declared, places = _declared(target, query, document, taps)
        groups = group_parameters(target, _read_weights(optimizers))
        cadence = Cadence(every=every)
        pairs = _reference(reference, target)
        if loss is not None and not isinstance(loss, nn.Module):
            raise InputError(f"loss is a {type(loss).__name__}: give a module, or hand terms over, w.terms(name=value)")
        if raw is not None and not callable(raw):
            raise InputError(f"raw is a {type(raw).__name__}: give a function that returns (queries, documents)")
        budget = Budget(every=reference_every, batch=known.batch)
        self._target = target
        self._optimizers = optimizers
        self._closed = False
        self._said: set[str] = set()
        self.stop = False
        if prepared is None:
            self.run, said = choose_folder(run, name=model_name(target))
            if said:
                _log.warning("collapse-probe: %s", said)
        else:
            self.run = prepared.journal.folder
        replayed = reference is None and not callable(reference)
        source = None if reference is False else "replayed" if replayed else "given"
        about = ReferenceInfo(source=source, seen=replayed, declared=not replayed) if source is not None else None
        config = RunConfig(
            name=self.run.name if self.run is not None else model_name(target),
            seed=known.seed,
            precision=known.precision,
            similarity=similarity,
            trained_by=trained_by or similarity,
            streams=declared,
            modules=module_infos(target, list(groups)),
            reference=known.reference or about,
            examples=examples,
            versions=versions(),
            command=command(),
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
        wishes = None if prepared is None else prepared.wishes
        self.live = LiveRun(config, store, folder=self.run)
        self.recorder = Recorder(
            journal, cadence=cadence, similarity=similarity, wishes=wishes, containment=known.containment
        )
        self.recorder.epoch = known.epoch
        self._windows_by_hand = known.epoch is not None
        containment = self.recorder.containment
        self._attachments = Attachments(containment)
        self._parameters = parameters_of(optimizers)
        self._gates = [place for place in places if place.parameter is not None]
        self._touched = -1
        self._weights = containment.run("weights", WeightReader, groups) if groups else None
        self._calls = CallListener(self.recorder, self._attachments, touch=self._touch, unread=self._unread)
        self._clip = ClipListener(containment=containment, attachments=self._attachments)
        self._loss = LossListener(self.recorder, self._attachments)
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
        )
        self._replays = source == "replayed"
        if searching and not any(stream.role in ("query", "document") for stream in declared):
            self._finder = Finder(target, self.recorder, self._attachments, loss=self._loss, found=self._found)
        elif self._replays:
            self._replay_declared(places)
        self._listen_to(optimizers)
        _watched[target] = weakref.ref(self)
        if prepared is not None:
            self._windows_by_hand = True
            self.recorder.done = prepared.done
            self.recorder.epoch = 0
        if self.recorder.done == 0:
            self._reference.start()
        else:
            self.recorder.go_on(rates(optimizers))
        atexit.register(self._at_exit)

    # What the user calls

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

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

    def close(self, error: BaseException | None = None) -> None:
        """Take everything off, read the reference pairs once more, and end the journal; may be called twice.

        Args:
            error: What ended the training, where something did.
        """
        if self._closed:
            return
        if error is None:
            self.recorder.containment.run("reference pairs", self._reference.full)
        self.detach()
        self.end(*_status(error))

    def detach(self) -> None:
        """Take everything off; the journal stays open until :meth:`end`."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        containment = self.recorder.containment
        self._attachments.close()
        containment.run("coverage", self._explain)
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
        if optimizers:
            StepListener(
                optimizers,
                before=self._before_step,
                after=self._after_step,
                containment=self.recorder.containment,
                attachments=self._attachments,
            )

    def _pause(self, paused: bool) -> None:
        self._calls.paused = paused
        if self._finder is not None:
            self._finder.paused = paused
        self._loss.paused = paused

    def _touch(self) -> None:
        """Read gates before the optimiser changes them: once in every step that is due."""
        if self._touched != self.recorder.current and not self._calls.paused:
            self._touched = self.recorder.current
            for place in self._gates:
                assert place.parameter is not None
                role = None if place.tap.role is None else Role(place.tap.role)
                self.recorder.observe(place.tap.stream, place.parameter, role=role)

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
        if known is None or known.where != _BY_HAND:
            known = self.recorder.declare(stream, role=role, where=_BY_HAND, rule="declared")
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

    def _before_step(self) -> None:
        due = self.recorder.due
        norm = total_norm(self._parameters) if self._parameters else None
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
            self.recorder.containment.run("coverage", self._cover)
        if step == HEARD_BY - 1:
            self.recorder.containment.run("finding streams", self._look_for_silent)
        if step == HEARD_BY:
            self.recorder.containment.run("coverage", self._warn_unheard)
        if not self._windows_by_hand and step % WINDOW == 0:
            self.recorder.window()
        self._verdicts.after_step(step)

    _windows_by_hand = False
    _epochs = 0

    def _cover(self) -> None:
        if self.recorder.layout.unfit is not None:
            self._explain()
        self.recorder.cover()

    def _end_window(self, epoch: int) -> None:
        self._reference.full()
        self.recorder.window(epoch=epoch)
        self._verdicts.judge()
        self.recorder.epoch = epoch + 1

    def _evaluation(self, collection: Any, metrics: Any, step: Any, variant: Any, per_query: Any, domain: Any) -> None:
        self._reference.full()
        about = {"step": step, "variant": variant, "per_query": per_query, "domain": domain}
        found = scores(collection, metrics, **about, say=self._say)
        if found is not None:
            self.recorder.evaluation(collection, **found)
        self._verdicts.judge()

    # What was found

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

    def _silent(self) -> list[str]:
        """Return the queries and documents that should have been heard by now and were not."""
        streams = self.recorder.streams.values()
        if self._finder is not None and not self._looking_for_silent:
            return [] if any(stream.steps for stream in streams) else ["query", "document"]
        sides = [stream for stream in streams if stream.role in (Role.query, Role.document)]
        heard = any(stream.steps for stream in sides)
        return [stream.stream for stream in sides if not stream.steps and (stream.declared or not heard)]

    def _look_for_silent(self) -> None:
        """Where what was declared is silent, look at one step for what could be meant."""
        if self._finder is None and self._silent():
            self._looking_for_silent = True
            self._finder = Finder(self._target, self.recorder, self._attachments, loss=self._loss, found=None)

    def _warn_unheard(self) -> None:
        silent = self._silent()
        heard = self._finder.candidates() if self._finder is not None else []
        for stream in silent:
            side = None if stream in self.recorder.streams else Role(stream)
            self.recorder.declare(stream, role=side, candidates=heard[:10])
        self._explain()
        if silent:
            whys = dict.fromkeys(self.recorder.streams[stream].why for stream in silent)
            what = f"heard instead: {', '.join(heard[:6])}" if heard else "nothing else was heard that could be meant"
            self._say(
                "unheard",
                f"no {' and no '.join(silent)} was heard in {HEARD_BY} steps: {'; '.join(whys)}; {what}. "
                "Give query= and document= (module paths), or hand them over: w.observe('query', q)",
            )
        self.recorder.cover()

    _looking_for_silent = False

    def _explain(self) -> None:
        for stream in self.recorder.streams.values():
            if not stream.steps and not stream.why:
                stream.why = self._why_unheard(stream.stream, stream.where)
        if self.recorder.layout.unfit is not None:
            rows, many = self.recorder.layout.unfit
            why = f"{many} documents are no multiple of {rows} queries"
            self.recorder.declare("pairs", where=f"{rows} queries and {many} documents", rule="rows", why=why)
            self._say("pairs", f"batches are not read as pairs: {why}")

    def _why_unheard(self, stream: str, where: str) -> str:
        calls = self._calls.called[stream]
        if calls:
            return f"no backward came through any of its {calls} calls"
        if where == _BY_HAND:
            return "observe() was never called with it"
        if not where:
            return "nothing that was called could be it"
        return "no call of it was heard (a model that is compiled after watch() is not: compile it before)"

    # How it is kept safe

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


def _declared(
    target: nn.Module, query: Any, document: Any, taps: Sequence[Tap]
) -> tuple[tuple[StreamInfo, ...], list[Place]]:
    """Return the streams that the user named, and their places."""
    named = []
    if query is not None and document is not None and _same(target, query, document):
        named = [
            Tap(stream="query", at=query, take=call(0), role=Role.query),
            Tap(stream="document", at=document, take=call(1), role=Role.document),
            Tap(stream="negative", at=document, take=call(2), role=Role.document),
        ]
    else:
        for stream, at in (("query", query), ("document", document)):
            if at is not None:
                named.append(Tap(stream=stream, at=at, take=output, role=Role(stream)))
    places = []
    for tap in (*named, *taps):
        if not isinstance(tap, Tap):
            raise InputError(f"taps holds a {type(tap).__name__}: give Tap(stream='name', at='module.path')")
        found = find(tap, target) or [Place(tap, "")]
        if tap in named and found[0].parameter is not None:
            raise InputError(f"{tap.stream}={tap.at!r} names a parameter: give a module, or Tap(stream='name', at=...)")
        places += found
    names = [place.tap.stream for place in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two taps are called {twice!r}: give each stream a name of its own")
    infos = tuple(
        StreamInfo(
            name=place.tap.stream,
            role=None if place.tap.role is None else str(place.tap.role),
            where=_where(place),
            declared=place.tap.stream != "negative" or place.tap not in named,
        )
        for place in places
        if place.tap.stream != "negative" or place.tap not in named
    )
    return infos, places


def _read_weights(optimizers: Sequence[Optimizer]) -> list[nn.Parameter]:
    return [one for one in parameters_of(optimizers) if one.requires_grad and not one.is_complex()]


def _where(place: Place) -> str:
    if place.module is None and place.parameter is None:
        return _BY_HAND
    kind = "parameter" if place.module is None else "module"
    return f"{kind} {place.path}" if place.path else "the model"


def _same(target: nn.Module, query: Any, document: Any) -> bool:
    both = [find(Tap(stream="x", at=at), target)[0] for at in (query, document)]
    return both[0].module is not None and both[0].module is both[1].module


def _reference(reference: Any, target: nn.Module) -> Callable[[], Any] | None:
    if reference is None or reference is False:
        return None
    if callable(reference):
        return reference
    pairs = _texts(reference)
    if not hasattr(target, "encode"):
        raise InputError(
            f"reference holds texts, and a {type(target).__name__} has no encode(): give a function that returns "
            "(queries, documents), both [n, D]"
        )
    return TextPairs(target, [query for query, _ in pairs], [document for _, document in pairs])


def _texts(reference: Any) -> list[tuple[str, str]]:
    if isinstance(reference, str | Path):
        from ..retrieval import read_pairs

        found = read_pairs(Path(reference))
        return list(zip(found.queries, found.documents, strict=True))
    try:
        pairs = [tuple(pair) for pair in reference]
    except TypeError:
        pairs = []
    if len(pairs) < 2 or any(len(pair) != 2 or not all(isinstance(text, str) for text in pair) for pair in pairs):
        raise InputError(
            "reference is none: give a function that returns (queries, documents), a list of (query, document) texts, "
            "a pairs file, or False"
        )
    return pairs  # type: ignore[return-value]


def _status(error: BaseException | None) -> tuple[str, str]:
    if error is None:
        return "completed", ""
    message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed"), message


def watch(
    target: Any,
    *,
    run: str | Path | bool | None = None,
    optimizer: Any = None,
    loss: nn.Module | None = None,
    query: str | nn.Module | None = None,
    document: str | nn.Module | None = None,
    taps: Sequence[Tap] = (),
    reference: Any = None,
    raw: Callable[[], tuple[Tensor, Tensor]] | None = None,
    similarity: Similarity = "cosine",
    trained_by: Similarity | None = None,
    examples: int | None = None,
    every: int = 10,
    reference_every: int | None = None,
    baseline: bool | None = None,
    on_collapse: OnCollapse = "ignore",
) -> Watch:
    """Watch a training: the loop itself stays as it is.

    Raises:
        InputError: something given cannot be used; nothing is attached then.
    """
    trainer = trainer_of(target)
    if trainer is not None:
        options = Options(
            run=run,
            loss=loss,
            query=query,
            document=document,
            taps=taps,
            reference=reference,
            raw=raw,
            similarity=similarity,
            trained_by=trained_by,
            examples=examples,
            every=every,
            reference_every=reference_every,
            baseline=baseline,
            on_collapse=on_collapse,
        )
        return watch_trainer(trainer, options)
    return Watch(
        target,
        run=run,
        optimizer=optimizer,
        loss=loss,
        query=query,
        document=document,
        taps=taps,
        reference=reference,
        raw=raw,
        similarity=similarity,
        trained_by=trained_by,
        examples=examples,
        every=every,
        reference_every=reference_every,
        on_collapse=on_collapse,
    )
