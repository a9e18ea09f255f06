"""``watch``: one line that gives somebody's own training a journal, a judgement and a report."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ..journal import Evaluation, LiveRun, ReferenceInfo, Run, RunConfig
from ..journal.vocabulary import Role, Similarity, split_dimension
from ..recording import (
    Budget,
    Place,
    Recorder,
    Replay,
    Tap,
    WeightReader,
    added_wishes,
    cadence_of,
    canonical,
    group_parameters,
    input,
    is_left_out,
    is_sharded,
    processes,
    total_norm,
    why_unread,
)
from ._agreed import Agreed
from ._attach import Attachments, compiled_inside
from ._begin import begin, check_given, go_on
from ._by_hand import ByHand
from ._calls import CallListener
from ._coverage import HEARD_BY, Coverage, one_matrix
from ._declared import asked_streams, declared_probes, declared_streams, reference_pairs
from ._delivered import WeightsLeft, beside
from ._finder import Finder
from ._folder import command, continue_run, is_main_process, model_name, module_infos, versions
from ._left_out import LeftOut
from ._lifetime import Lifetime
from ._no_steps import NoSteps
from ._optimizers import ClipListener, StepListener, as_optimizers, describe, parameters_of, rates
from ._options import Known, OnCollapse, Prepared, Probes
from ._path import ScoredPath
from ._product_taps import ProductTaps
from ._references import NAME, ReferenceReader
from ._rules import LOSS, SINGLE, STORED, Choice
from ._scoring import compares_by, own_similarity
from ._terms import LossListener, of_others
from ._verdicts import Verdicts

INSIDE_COMPILED = (
    "off, since it lies inside of compiled code, where a hook would change what is compiled, and so the weights: tap "
    "what is compiled itself, an argument of the loss, or hand it over, w.observe(...)"
)
"""Why a tap hears nothing."""

REPLICATED = (
    "the model runs as replicas in threads (DataParallel), in which nothing is heard but what the whole of it returns: "
    "start it by torchrun, which gives each device a process of its own"
)
"""What is said of a model whose parts of a batch run beside each other."""

_PAIRED, _LABELLED = (Role.query, Role.document), (Role.left, Role.right)
"""The two sides of reference pairs, and of rows with labels, of which those that the loss pulls together are pairs."""

WINDOW = 100
"""Steps of a window, where the run names no epochs."""

_log = logging.getLogger("collapse_probe")
_watched: weakref.WeakKeyDictionary[Any, weakref.ref[Watch]] = weakref.WeakKeyDictionary()


def open_watches() -> list[Watch]:
    """Return the watches of this process that have not ended: of models, and of trainers that train."""
    found = [known() for known in list(_watched.values())]
    return [one for one in found if one is not None and hasattr(one, "live") and not one._closed]


class Watch(Lifetime, ByHand):
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
        self._check(target, similarity, trained_by, on_collapse, loss=loss, raw=raw, examples=examples)
        # Of several processes the first one writes: the others read no more than what is merged with its own.
        first = known.alone or is_main_process()
        if not first:
            reference, raw, on_collapse = False, None, "stop" if on_collapse == "stop" else "ignore"
            done, run = (run.steps if isinstance(run, Run) else 0), False
        optimizers = as_optimizers(optimizer)
        declared, places = declared_streams(target, query, document, taps)
        groups = group_parameters(target, _read_weights(optimizers)) if first else {}
        read = declared_probes(probes, declared)
        cadence = cadence_of(read, every=every)
        pairs = reference_pairs(reference, target)
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
        replayed = reference is None and not callable(reference)
        source = None if reference is False or (replayed and continued) else "replayed" if replayed else "given"
        about = ReferenceInfo(source=source, seen=replayed, declared=not replayed) if source is not None else None
        config = RunConfig(
            name=model_name(target),
            seed=known.seed,
            precision=known.precision,
            processes=processes(),
            similarity=similarity,
            trained_by=trained_by,
            streams=declared,
            modules=module_infos(target, list(groups), scored=places),
            reference=known.reference or about,
            dimensions=list(known.dimensions),
            examples=examples,
            probes={probe.name: probe.as_dict() for probe in read},
            versions=versions(),
            command=command(arguments=texts),
            session={"program": "watch", "optimizers": describe(optimizers), **(session or {})},
        )
        begun = begin(run, config, wishes=added_wishes(read)) if prepared is None else go_on(prepared)
        self.run, config, journal = begun.folder, begun.config, begun.journal
        if prepared is not None:
            asked, similarity = similarity, config.similarity or similarity
        self.live = LiveRun(config, begun.store, folder=self.run)
        self.recorder = Recorder(
            journal,
            cadence=cadence,
            similarity=similarity,
            wishes=begun.wishes,
            containment=known.containment,
            name=None if known.alone else model_name(target),
            first=first,
            dimensions=config.dimensions,
        )
        if not first:
            self.recorder.done = done
        self.recorder.epoch = known.epoch
        self._windows_by_hand = known.epoch is not None
        containment = self.recorder.containment
        containment.messages = self._texts = texts
        self._attachments = Attachments(containment)
        self._attachments.replicated = lambda: self._say("replicas", REPLICATED)
        self._parameters = parameters_of(optimizers)
        self._in_parts = any(map(is_sharded, self._parameters))
        self._left_out = LeftOut(target, self._parameters) if optimizers and first else None
        self._gates = [place for place in places if place.parameter is not None]
        self._touched = -1
        self._roots: int | None = 0
        self._weights = containment.run("weights", WeightReader, groups) if groups else None
        self._left = containment.run(
            "delivered weights",
            WeightsLeft,
            target,
            self._parameters,
            self.recorder,
            self._attachments,
            before_loading=lambda: self._reference.full(),
        )
        self._calls = CallListener(
            self.recorder,
            self._attachments,
            touch=self._touch,
            unread=self._unread,
            no_replay=lambda why: self._reference.give_up(why),
        )
        self._clip = ClipListener(self._parameters, containment=containment, attachments=self._attachments)
        self._loss = LossListener(
            self.recorder, self._attachments, parameters=lambda: [*target.parameters(), *self._parameters]
        )
        for stream in declared:
            self.recorder.declare(
                stream.name, role=None if stream.role is None else Role(stream.role), where=stream.where, declared=True
            )
            self.recorder.streams[stream.name].rule = "declared"
        places = self._outside_compiled(places)
        self._calls.listen(places)
        if loss is not None:
            self._loss.listen(loss)
            self.trains_beside([loss])
        self._finder: Finder | None = None
        self._products: ProductTaps | None = None
        self._agreed = Agreed(self.recorder, asked=on_collapse == "stop", say=self._say)
        self._verdicts = Verdicts(
            self.live, self.recorder, on_collapse=on_collapse if first else "ignore", stop=self._stop
        )
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
        if not optimizers:
            NoSteps(target, self.recorder, self._attachments, say=self._say)
        _watched[target] = weakref.ref(self)
        self._begin_reading(prepared, said_by=asked, continued=continued, reference=reference)
        atexit.register(self._at_exit)

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """The optimisers whose steps are counted."""
        return self._optimizers

    @property
    def no_sides(self) -> frozenset[int]:
        """Ids of modules whose outputs are known to be neither queries nor documents, though they look like them."""
        return frozenset() if self._finder is None else self._finder.no_sides

    def trains_beside(self, losses: Sequence[nn.Module]) -> None:
        """Note which parts of losses are trained with the model and are no part of it."""
        names = self.recorder.containment.run("delivered weights", beside, self._target, losses, self._parameters)
        if names:
            said = f"trained, and no part of the model that is saved: {', '.join(names[:5])}"
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self.recorder.event("note", said + more, subject="trained beside")

    # How it begins and ends

    def _begin_reading(self, prepared: Prepared | None, *, said_by: str, continued: bool, reference: Any) -> None:
        """Read the reference pairs before the first step, or go on where a run was left."""
        if prepared is not None:
            self._windows_by_hand = prepared.epoch is not None
            self.recorder.done = prepared.done
            self.recorder.epoch = prepared.epoch
        if self.recorder.done == 0:
            self._reference.start()
            if not self._optimizers:
                self._step_begins()
        else:
            self.recorder.go_on(rates(self._optimizers))
        similarity = self.recorder.similarity
        if similarity != said_by:
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

    def _go_on_with_reference(self) -> None:
        """Compare the reference pairs with those of the run that goes on; replayed ones cannot come again."""
        config = self.live.config
        replayed = config.reference is not None and config.reference.source == "replayed"
        found = [one for one in self.live.of(Evaluation) if (one.role, one.variant) == ("reference", config.judged)]
        found = [one for one in found if split_dimension(one.collection)[1] is None]
        self._reference.go_on({one.collection: None if replayed and one.collection == NAME else one for one in found})

    def _forget_target(self) -> None:
        _watched.pop(self._target, None)

    # What happens in a step

    def _listen_to(self, optimizers: Sequence[Optimizer]) -> None:
        if self._steps is not None:
            self._steps.leave()
        if optimizers:
            self._steps = StepListener(
                optimizers,
                begins=self._step_begins,
                before=self._before_step,
                after=self._after_step,
                containment=self.recorder.containment,
                attachments=self._attachments,
                modules=[self._target, *self._target.children()],
            )

    def begins_backward(self, loss: Tensor) -> None:
        """Hear the loss that a backward begins from, where no module and nobody else says what it is.

        Only where a step has one backward: several are of parts, or of what stands for a loss.
        """
        if self._roots is None or self._closed or self._loss.paused:
            return
        if len(open_watches()) > 1 and of_others(loss, [*self._target.parameters(), *self._parameters]):
            return
        self._roots += 1
        if self._roots > 1:
            self._loss.forget(0)
            self._roots = None
        elif self._loss.heard or self._loss.by_hand:
            self._roots = None
        elif loss.numel() == 1 and loss.requires_grad:
            self.recorder.containment.run("loss", self._loss.total, "loss", loss)

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
                if (why := why_unread(place.parameter, gate=True)) is None:
                    self.recorder.observe(place.tap.stream, place.parameter, role=role)
                else:
                    self._unread(place.tap.stream, why)

    def _step_begins(self) -> None:
        self._reference.step_begins()
        if self._left is not None:
            self.recorder.containment.run("delivered weights", self._left.begins)

    def _before_step(self) -> None:
        due = self.recorder.due
        if not (due or self.recorder.first):
            return
        if self._left_out is not None and self.recorder.done in (0, HEARD_BY - 1):
            self.recorder.containment.run("parameters left out", self._left_out.before_step)
        self.recorder.scalars(self._gradient_norms(due=due))
        if self._optimizers:
            self.recorder.rates(rates(self._optimizers))
        if due and self.recorder.first:
            self._touch()
            if self._weights is not None:
                self._weights.before()

    def _gradient_norms(self, *, due: bool) -> dict[str, Tensor]:
        before = self._clip.take()
        if self._in_parts:
            self._say("gradient norm", "gradient/norm is not measured: the gradients lie in parts on several processes")
            return {}
        if due and any(one.grad is not None and is_left_out(one.grad) for one in self._parameters):
            self._say("sparse", "gradient/norm leaves sparse gradients out: adding them up would wait")
        # Whoever clips has measured the norm: that after clipping is read on due steps alone.
        after = total_norm(self._parameters) if due or before is None else None
        named = {"gradient/norm": after if before is None else before}
        if before is not None:
            named["gradient/clipped_norm"] = after
        return {name: norm for name, norm in named.items() if norm is not None}

    def _say_left_out(self) -> None:
        assert self._left_out is not None
        for module, count in self._left_out.found().items():
            parameters = "1 parameter has" if count == 1 else f"{count} parameters have"
            message = f"{module}: {parameters} a gradient, and no optimiser holds them"
            self.recorder.event("left_out", message, subject=module)

    def _say_batch_norm(self) -> None:
        names = [canonical(name) for name, one in self._target.named_modules() if isinstance(one, _BatchNorm)]
        if names:
            message = f"{', '.join(names[:3])}: in training mode a vector depends on its batch"
            self.recorder.event("batch_norm", message, subject=names[0])

    def _after_step(self) -> None:
        if self._products is not None:
            self._products.step_ended()
        self._stepped()
        if self._finder is not None:
            self.recorder.containment.run("products", self._finder.step_begins)
        if self._products is not None:
            self.recorder.containment.run("products", self._products.step_begins)

    def _stepped(self) -> None:
        due = self.recorder.due
        if due and self._weights is not None:
            read = self.recorder.containment.run("weights", self._weights.read)
            self.recorder.scalars(read or {})
        if self._finder is not None:
            self.recorder.containment.run("finding streams", self._finder.end_step)
        self.recorder.containment.run("replayed pairs", self._calls.end_step)
        self._loss.end_step()
        if self._left is not None:
            self.recorder.containment.run("delivered weights", self._left.after_step)
        self._roots = None if self._roots is None else 0
        self.recorder.step()
        step = self.recorder.done
        if self._agreed.after_step(due=due):
            self.stop = True
        if not self.recorder.first:
            if not self._windows_by_hand and step % WINDOW == 0:
                self.recorder.window()
            if step == HEARD_BY - 1:
                self.recorder.containment.run("finding streams", self._look_for_silent)
            return
        self._reference.after_step()
        if step == 1:
            self.recorder.containment.run("coverage", self._coverage.cover)
            self.recorder.containment.run("batch norm", self._say_batch_norm)
        if step == HEARD_BY and self._left_out is not None:
            self.recorder.containment.run("parameters left out", self._say_left_out)
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
        if chosen.meetings:
            roles = {stream: role for _, stream, role in chosen.streams}
            about = {"paused": lambda: self._calls.paused}
            self._products = ProductTaps(self._target, self.recorder, chosen.meetings, roles, **about)
            self._attachments.add(self._products.step_ended)
        if chosen.rule == SINGLE and chosen.streams[0][2] is None:
            self._say("one matrix", one_matrix(chosen.streams[0][0].said))
        elif not self._replays:
            return
        elif chosen.rule not in (LOSS, STORED) and not chosen.meetings:
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

    def _outside_compiled(self, places: Sequence[Place]) -> list[Place]:
        """Return what can be heard, and say of the rest why it is off: it lies inside of compiled code."""
        inside = compiled_inside(self._target)
        off = [one for one in places if one.module is not None and id(one.module) in inside]
        for stream in (one.tap.stream for one in off if one.tap.stream in self.recorder.streams):
            self.recorder.declare(stream, why=INSIDE_COMPILED)
        if off:
            names = ", ".join(dict.fromkeys(one.tap.stream for one in off if one.tap.stream in self.recorder.streams))
            self._say("compiled", f"{names}: {INSIDE_COMPILED}")
        return [one for one in places if one not in off]

    def _replay_declared(self, places: Iterable[Place]) -> None:
        by_role = {place.tap.role: place for place in reversed(list(places)) if place.module is not None}
        labelled = Role.left in by_role
        query, document = (by_role.get(one) for one in (_LABELLED if labelled else _PAIRED))
        if query is None or document is None or input in (query.tap.take, document.tap.take):
            self._say(
                "replay",
                "no reference pairs can be made of the first batches, since query and document are not both a module's "
                "output: the batches' own pairs are read alone; give reference= for fixed ones",
            )
            return
        takes = [getattr(place.tap.take, "take", place.tap.take) for place in (query, document)]
        replay = Replay(query.module, document.module, *takes, graded=labelled)  # type: ignore[arg-type]
        self._calls.replay = self._reference.replay = replay
        self._calls.keep_inputs(query, document)

    # How it is kept safe

    def _stop(self) -> None:
        self.stop = self._agreed.ask()

    @staticmethod
    def _check(
        target: Any,
        similarity: str,
        trained_by: str | None,
        on_collapse: Any,
        *,
        loss: Any = None,
        raw: Any = None,
        examples: Any = None,
    ) -> None:
        known = _watched.get(target) if isinstance(target, nn.Module) else None
        about = {"similarity": similarity, "trained_by": trained_by, "on_collapse": on_collapse}
        check_given(
            target, **about, loss=loss, raw=raw, examples=examples, open_watch=None if known is None else known()
        )


def _read_weights(optimizers: Sequence[Optimizer]) -> list[nn.Parameter]:
    return [
        one for one in parameters_of(optimizers) if one.requires_grad and not one.is_complex() and not is_sharded(one)
    ]
