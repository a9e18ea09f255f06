"""A callback for people who can only add one: it hears less than ``watch(trainer)``, and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..journal import Run
from ..journal.vocabulary import Similarity
from ..recording import Tap
from ._attach import Attachments
from ._options import Facts, OnCollapse, Options, Probes
from ._trainer import TrainerWatch
from .sentence_transformers import SentenceTransformersSource
from .transformers import Ended, Events, TransformersSource

_LESS = "a callback sees no trainer: exceptions and names of data sets are not heard; give watch(trainer) where you can"
_NO_LOSS = "a callback sees no loss: hand it over, WatchCallback(loss=...), so that its terms are heard"


class WatchCallback(Events):
    """Watches the training of the trainer that it is added to.

    Takes the arguments of :func:`watch` but for ``target`` and ``optimizer``, and those that read otherwise here:

    Args:
        loss: The trainer's loss module: without it the loss is not heard, and a sentence-transformers model's
            embeddings are heard at its output alone.
        evaluator: The trainer's evaluator: without it rankings are not heard.

    Attributes:
        watch: The watch.

    Raises:
        InputError: something given cannot be used.
    """

    def __init__(
        self,
        *,
        run: str | Path | Run | bool | None = None,
        loss: nn.Module | None = None,
        evaluator: Any = None,
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
        probes: Probes = None,
        texts: bool = True,
        on_collapse: OnCollapse = "ignore",
    ) -> None:
        options = Options(
            run=run,
            loss=loss,
            evaluator=evaluator,
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
            probes=probes,
            texts=texts,
            on_collapse=on_collapse,
        )
        self._source = CallbackSource(options)
        self._ended = Ended("add another WatchCallback")
        super().__init__(TrainerWatch(self._source, options))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin."""
        if self.watch.closed:
            self._ended.on_train_begin(args, state, control)
            return
        self.watch.contained("beginning", self._source.receive, args, kwargs)
        super().on_train_begin(args, state, control, **kwargs)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation is done."""
        if not self.watch.begun and not self.watch.closed:
            self.watch.contained("evaluation", self._source.receive, args, kwargs)
        super().on_evaluate(args, state, control, **kwargs)


class Handed:
    """What a trainer hands to its callbacks, in the places where a trainer has it."""

    def __init__(self) -> None:
        self.args: Any = None
        self.model: nn.Module | None = None
        self.optimizer: Any = None
        self.train_dataset: Any = None


class CallbackSource:
    """A trainer that is known by what it hands to its callbacks alone.

    Args:
        options: What the user said.
    """

    trainer: Any = None

    def __init__(self, options: Options) -> None:
        self._options = options
        self._handed = Handed()
        encodes = options.evaluator is not None or hasattr(options.loss, "model")
        self._inner: TransformersSource | None = self._of_sentences() if encodes else None

    @property
    def model(self) -> nn.Module | None:
        """The model; None before training begins."""
        return self._handed.model

    @property
    def optimizer(self) -> Any:
        """The optimiser."""
        return self._handed.optimizer

    @property
    def loads_best(self) -> bool:
        """Whether the best checkpoint is loaded when training ends."""
        return self._inner is not None and self._inner.loads_best

    def receive(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Take what a trainer hands over; setfit's own model and arguments are none of a trainer's."""
        handed = self._handed
        handed.args = kwargs.get("st_args") or args
        model = kwargs.get("st_model") or kwargs.get("model")
        handed.model = model if isinstance(model, nn.Module) else getattr(model, "model_body", None)
        handed.optimizer = kwargs.get("optimizer")
        handed.train_dataset = getattr(kwargs.get("train_dataloader"), "dataset", None)
        if self._inner is None:
            encodes = hasattr(handed.model, "encode")
            self._inner = self._of_sentences() if encodes else TransformersSource(handed)

    def facts(self, options: Options) -> Facts:
        """Say what is known, and what is not."""
        assert self._inner is not None
        facts = self._inner.facts(options)
        less = [_LESS] if options.loss is not None else [_LESS, _NO_LOSS]
        notes = {**facts.notes, **{one[:40]: one for one in less}}
        return replace(facts, notes=notes, session={**facts.session, "trainer": "a callback"})

    def attach(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what is known already: the evaluator."""
        if self._inner is not None:
            self._inner.attach(watch, attachments)

    def listen(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what hears training."""
        assert self._inner is not None
        self._inner.listen(watch, attachments)

    def baseline(self, watch: TrainerWatch) -> None:
        """Evaluate before the first step, where that is asked for or cheap."""
        assert self._inner is not None
        self._inner.baseline(watch)

    def evaluated(self, watch: TrainerWatch, metrics: Mapping[str, Any]) -> None:
        """Hear the metrics of an evaluation."""
        assert self._inner is not None
        self._inner.evaluated(watch, metrics)

    def ended(self) -> None:
        """The callback stays, and says itself that a further training is not watched."""

    def _of_sentences(self) -> SentenceTransformersSource:
        return SentenceTransformersSource(self._handed, self._options)
