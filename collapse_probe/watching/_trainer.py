"""A watch on a trainer: it begins and ends with the training."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..journal import JournalWriter, Run
from ..journal.vocabulary import Similarity
from ..recording import Cadence, Containment, added_wishes
from ._attach import Attachments
from ._calls import CallListener
from ._declared import declared_probes, declared_streams, reference_pairs
from ._folder import (
    IN_MEMORY,
    choose_folder,
    in_short,
    is_main_process,
    model_name,
    output_of,
    release,
    run_of_output,
)
from ._optimizers import ClipListener, as_optimizers
from ._options import Known, Options, Prepared
from ._references import ReferenceReader
from ._scoring import own_similarity
from ._source import Source
from ._terms import LossListener
from ._watch import Watch, _watched

_log = logging.getLogger("collapse_probe")


class TrainerWatch(Watch):
    """What listens to a trainer. It begins when training does; what is evaluated before is kept for step 0.

    Args:
        source: The trainer.
        options: What the user said.
        automatic: Whether it gives way to a watch that the user asks for.

    Raises:
        InputError: something given cannot be used; nothing is attached then.
    """

    def __init__(self, source: Source, options: Options, *, automatic: bool = False) -> None:
        self._give_way(source.trainer)
        model = source.model
        if model is not None:
            about = {"examples": options.examples}
            self._check(model, options.similarity, options.trained_by, options.on_collapse, **about)
            declared, _ = declared_streams(model, options.query, options.document, options.taps)
            reference_pairs(options.reference, model)
        self._probes = declared_probes(options.probes, declared if model is not None else ())
        Cadence(every=options.every)
        self.automatic = automatic
        self.begun = False
        self.stop = False
        self.run: Path | None = None
        self._source = source
        self._options = options
        self._output = output_of(source.trainer)
        self._closed = False
        self._said: set[str] = set()
        self._pauses = 0
        self._before: list[tuple[Any, ...]] = []
        self.evaluated_before = False
        self._best: int | None = None
        self._early = False
        self._failures: list[tuple[str, str]] = []
        self._containment = Containment(self._report, messages=options.texts)
        self._choose()
        self._outer = Attachments(self._containment)
        self._attachments = Attachments(self._containment)
        if source.trainer is not None:
            _watched[source.trainer] = weakref.ref(self)
        source.attach(self, self._outer)

    @property
    def paused(self) -> bool:
        """Whether what runs now is no training: an evaluation, or our own forward passes."""
        return self._pauses > 0

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    @property
    def shows_texts(self) -> bool:
        """Whether a text of a query or document may be written."""
        return self._options.texts

    @property
    def scores_by(self) -> Similarity:
        """How the model scores, also before training begins."""
        return self.recorder.similarity if self.begun else own_similarity(self._source.model, self._options.similarity)

    @property
    def loss(self) -> LossListener:
        """What hears loss terms."""
        return self._loss

    @property
    def clipping(self) -> ClipListener:
        """What hears the gradient norm before clipping."""
        return self._clip

    @property
    def calls(self) -> CallListener:
        """What hears the calls of modules."""
        return self._calls

    @property
    def pairs(self) -> ReferenceReader:
        """What reads the reference pairs."""
        return self._reference

    # What the trainer's events call

    def train_begins(self, state: Any) -> None:
        """Begin, or go on after the trainer began again."""
        if not self._closed:
            self._containment.run("beginning", self._try_to_begin, int(getattr(state, "global_step", 0) or 0), state)

    def step_ends(self, state: Any, control: Any) -> None:
        """Note steps that the optimiser left out, and ask the trainer to stop where that was asked for."""
        if self.begun and not self._closed:
            self._containment.run("steps", self._catch_up, int(state.global_step))
            if self.stop:
                control.should_training_stop = True

    def epoch_ends(self, state: Any) -> None:
        """End the window of an epoch."""
        if self.begun and not self._closed:
            self.window(epoch=max(1, math.ceil(float(getattr(state, "epoch", 0) or 0) - 1e-6)))

    def evaluated(self, metrics: Mapping[str, Any] | None) -> None:
        """Hear the metrics of an evaluation."""
        if metrics and not self._closed:
            self._containment.run("evaluation", self._source.evaluated, self, metrics)

    def ranked_evaluation(self, collection: str, metrics: Mapping[str, float], *about: Any) -> None:
        """Hear an evaluator's scores: by query, the domain, and what was ranked with the texts; also before training.

        ``about`` is ``per_query``, ``domain``, the pair of rankings and texts, and further fields of the record.
        """
        self._do("evaluation", self._evaluation, collection, metrics, None, "model", *about)

    def saves(self) -> None:
        """A checkpoint is written."""
        if self.begun and not self._closed:
            self._note_weights()

    def train_ends(self, state: Any, *, early: bool = False) -> None:
        """End, and say which weights the training leaves.

        Args:
            state: The trainer's.
            early: Whether the best weights are still to be loaded, if they are.
        """
        self._best, self._early = self._step_of_best(state), early
        self.close()

    def failed(self, error: BaseException) -> None:
        """End after an exception."""
        self.close(error)

    def contained(self, probe: str, function: Callable[..., None], *args: Any) -> None:
        """Run something of ours that may fail."""
        self._containment.run(probe, function, *args)

    def pause(self, paused: bool) -> None:
        """Say that what comes now is no training, or is again."""
        self._containment.run("pausing", self._pause, paused)

    # What a watch on a plain loop does otherwise

    def close(self, error: BaseException | None = None) -> None:
        """Take everything off, and end the journal if training has begun; may be called twice.

        Args:
            error: What ended the training, where something did.
        """
        if self.begun:
            if not self._closed:
                self._containment.run("a further training", self._source.ended)
            super().close(error)
        elif not self._closed:
            self._closed = True
            self._outer.close()
            if self.run is not None:
                release(self.run, self)
                if self.run.is_dir() and not any(self.run.iterdir()):
                    self.run.rmdir()
        if self._source.trainer is not None:
            _watched.pop(self._source.trainer, None)

    def detach(self) -> None:
        """Take everything off; the journal stays open until :meth:`end`."""
        super().detach()
        self._outer.close()

    def _do(self, probe: str, function: Callable[..., None], *args: Any) -> None:
        if self.begun or self._closed:
            super()._do(probe, function, *args)
        elif probe == "evaluation":
            self._before.append(args)
        else:
            self._say("early", "training has not begun: only evaluations can be handed over before it does")

    def _say(self, key: str, message: str) -> None:
        if self.begun:
            super()._say(key, message)
        elif key not in self._said and is_main_process():
            self._said.add(key)
            _log.warning("collapse-probe: %s", message)

    def _pause(self, paused: bool) -> None:
        self._pauses = max(0, self._pauses + (1 if paused else -1))
        if hasattr(self, "_finder"):
            super()._pause(self.paused)

    # How it begins

    @staticmethod
    def _give_way(trainer: Any) -> None:
        known = None if trainer is None else (_watched.get(trainer) or (lambda: None))()
        if isinstance(known, TrainerWatch) and known.automatic and not known.begun:
            known.close()
        elif known is not None:
            where = in_short(known.run) if known.run else "a run in memory"
            raise InputError(f"this trainer is watched already ({where}): close that watch first, or go on with it")

    def _choose(self) -> None:
        """Choose the folder now, unless it holds a run that may be gone on with, or is named by an unknown model."""
        asked, model = self._options.run, self._source.model
        if isinstance(asked, Run):
            if asked.folder is None:
                raise InputError(IN_MEMORY)
            asked = asked.folder
        if isinstance(asked, str | Path) and (Path(asked) / "run.json").is_file():
            self.run = run_of_output(self._output, Path(asked).absolute()) if is_main_process() else None
        elif asked is not None or model is not None:
            self.run, said = choose_folder(asked, name="run" if model is None else model_name(model), owner=self)
            if said:
                self._say("folder", said)

    def _to_write(self) -> Any:
        """Return what a new journal is written to: the chosen folder, or the next one if another run is there now."""
        if isinstance(self._options.run, Run):
            return self._options.run
        if self.run is None:
            self._choose()
        if self.run is None:
            return False
        release(self.run, self)
        return self.run

    def _try_to_begin(self, step: int, state: Any) -> None:
        try:
            self._begin(step, state)
        except InputError as error:
            self._say("beginning", f"this training is not watched: {error}")

    def _begin(self, step: int, state: Any) -> None:
        if self.begun:
            self._begin_again(step)
            return
        try:
            self._open(step, state)
        except BaseException:
            self._attachments.close()
            raise
        self.begun = True
        for probe, message in self._failures:
            self.recorder.event("error", message, subject=probe)
        before, self._before = self._before, []
        self.evaluated_before = bool(before)
        for args in before:
            super()._do("evaluation", self._evaluation, *args)
        self._containment.run("listening", self._source.listen, self, self._attachments)
        if step == 0:
            self._containment.run("baseline", self._source.baseline, self)

    def _open(self, step: int, state: Any) -> None:
        options = self._options
        model = self._source.model
        if model is None:
            raise InputError("the trainer has no model")
        facts = self._source.facts(options)
        called: Any = getattr(self._source.trainer, "model_wrapped", None)
        if facts.searching and getattr(called, "_orig_mod", None) is model:
            model = called  # what the trainer compiled is heard at its call
        prepared = self._prepared(step)
        precision = {"no": "fp32"}.get(facts.precision, facts.precision)
        super().__init__(
            model,
            run=self._to_write() if prepared is None else None,
            optimizer=self._source.optimizer,
            loss=options.loss if facts.searching else None,
            query=options.query,
            document=options.document,
            taps=options.taps,
            reference=facts.reference if options.reference is None else options.reference,
            raw=options.raw,
            similarity=facts.similarity,
            trained_by=options.trained_by or facts.trained_by,
            examples=options.examples or facts.examples,
            every=options.every,
            reference_every=options.reference_every,
            probes=self._probes,
            texts=options.texts,
            on_collapse=options.on_collapse,
            session={**facts.session, "output": self._output},
            searching=facts.searching,
            prepared=prepared,
            known=Known(
                batch=facts.batch,
                reference=facts.about if options.reference is None else None,
                containment=self._containment,
                epoch=int(getattr(state, "epoch", 0) or 0) + 1,
                seed=facts.seed,
                precision=precision,
                dimensions=facts.dimensions,
            ),
        )
        if prepared is not None:
            self.recorder.event("resumed", f"from step {step}", step=step)
            self._go_on_with_reference()
        elif step:
            self.recorder.rewind(step)
            self._note("resumed", f"training goes on from step {step}, whose journal was not given: this is a new one")
        for about, note in facts.notes.items():
            self._note(about, note)

    def _note(self, key: str, message: str) -> None:
        self._said.add(key)
        if self.recorder.first:
            _log.warning("collapse-probe: %s", message)
        self.recorder.event("note", message, subject=key[:40])

    def _prepared(self, step: int) -> Prepared | None:
        """Return the given run to go on with, if the trainer resumes and it is one."""
        folder = self.run
        if not step or folder is None or not (folder / "run.json").is_file():
            return None
        run = Run.load(folder)
        own = isinstance(self._options.run, Run) or run.config.session.get("output") in (None, self._output)
        if run.steps < step or not own:
            return None  # another training's
        journal = JournalWriter(folder, store=run.store, lasting=True)
        return Prepared(run.config, journal, added_wishes(self._probes), done=step)

    def _begin_again(self, step: int) -> None:
        """The trainer's loop starts anew, as it does where it looks for a batch size that fits."""
        self.recorder.rewind(step)
        optimizers = as_optimizers(self._source.optimizer)
        new = [one for one in optimizers if all(one is not known for known in self._optimizers)]
        if new:
            self._optimizers = optimizers
            self._listen_to(new)

    def _catch_up(self, step: int) -> None:
        while self.recorder.done < step:
            if self._optimizers:
                self.recorder.event("skipped", f"the optimiser left out step {self.recorder.current}")
            else:
                self._before_step()
            self._after_step()

    def _deliver(self, named: int | None = None, *, early: bool = False) -> bool:
        return super()._deliver(self._best, early=self._early)

    def _step_of_best(self, state: Any) -> int | None:
        checkpoint = getattr(state, "best_model_checkpoint", None)
        step = str(checkpoint or "").rpartition("-")[2]
        return int(step) if step.isdigit() and self._source.loads_best else None

    def _report(self, probe: str, message: str) -> None:
        if hasattr(self, "recorder"):
            self.recorder.event("error", message, subject=probe)
        else:
            self._failures.append((probe, message))
