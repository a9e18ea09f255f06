"""``watch``: one line that gives somebody's own training a journal, a judgement and a report."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..journal import Evaluation, LiveRun, ReferenceInfo, Run, RunConfig
from ..journal.vocabulary import Role, Similarity, split_dimension
from ..recording import (
    Budget,
    Recorder,
    Tap,
    WeightReader,
    added_wishes,
    cadence_of,
    group_parameters,
    is_sharded,
    processes,
)
from ._agreed import Agreed
from ._attach import Attachments
from ._begin import begin, check_given, go_on
from ._by_hand import ByHand
from ._calls import CallListener
from ._coverage import Coverage
from ._declared import asked_streams, declared_probes, declared_streams, reference_pairs
from ._delivered import WeightsLeft, beside
from ._finder import Finder
from ._folder import command, continue_run, is_main_process, model_name, module_infos, versions
from ._kept_gradients import KeptGradients
from ._left_out import LeftOut
from ._lifetime import Lifetime
from ._no_steps import NoSteps
from ._optimizers import ClipListener, StepListener, as_optimizers, describe, parameters_of, rates
from ._options import Known, OnCollapse, Prepared, Probes
from ._path import ScoredPath
from ._product_taps import ProductTaps
from ._references import NAME, ReferenceReader
from ._scoring import compares_by, own_similarity
from ._searching import Searching
from ._stepping import Stepping
from ._terms import LossListener, of_others
from ._verdicts import Verdicts

REPLICATED = (
    "the model runs as replicas in threads (DataParallel), in which nothing is heard but what the whole of it returns: "
    "start it by torchrun, which gives each device a process of its own"
)
"""What is said of a model whose parts of a batch run beside each other."""

_log = logging.getLogger("collapse_probe")
_watched: weakref.WeakKeyDictionary[Any, weakref.ref[Watch]] = weakref.WeakKeyDictionary()


def open_watches() -> list[Watch]:
    """Return the watches of this process that have not ended: of models, and of trainers that train."""
    found = [known() for known in list(_watched.values())]
    return [one for one in found if one is not None and hasattr(one, "live") and not one._closed]


class Watch(Lifetime, ByHand, Stepping, Searching):
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
        self._kept = KeptGradients(self._parameters) if optimizers and first and not self._in_parts else None
        if self._kept is not None:
            self._attachments.add(self._kept.close)
        self._gates = [place for place in places if place.parameter is not None]
        self._touched = -1
        self._roots: int | None = 0
        tables = [one.weight for one in target.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)]
        self._weights = containment.run("weights", WeightReader, groups, tables) if groups else None
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
        self._padding = self._new_padding_check(places) if first and not self.recorder.done else None
        if searching and not any(stream.role in ("query", "document") for stream in declared):
            hears = {"loss": self._loss, "padding": self._padding}
            self._finder = Finder(target, self.recorder, self._attachments, found=self._found, **hears)
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
