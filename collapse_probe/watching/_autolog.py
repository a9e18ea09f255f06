"""Watching every trainer that a program makes from now on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from torch import Tensor, nn

from ..imported import WhenImported
from ..journal import Run
from ..journal.vocabulary import Similarity
from ..recording import Tap
from ._declared import checked_probes
from ._dispatch import watch_trainer
from ._options import OnCollapse, Options, Probes
from ._watch import _watched

_PLACES = {
    "transformers.trainer": "Trainer",
    "sentence_transformers.base.trainer": "BaseTrainer",
    "sentence_transformers.trainer": "SentenceTransformerTrainer",
}
"""Modules and the classes of theirs whose making is heard, once they are imported."""

_log = logging.getLogger("collapse_probe")
_current: list[Autolog] = []


class Autolog:
    """What :func:`autolog` returns: :meth:`close` undoes it, for trainers that are made from then on."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._undo: list[Callable[[], None]] = []
        self._making: set[int] = set()
        self._finder = WhenImported(_PLACES, self._patch)
        self._finder.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave trainers that are made from now on alone; may be called twice."""
        self._finder.close()
        while self._undo:
            self._undo.pop()()
        if self in _current:
            _current.remove(self)

    def _patch(self, module: ModuleType) -> None:
        kind = getattr(module, _PLACES[module.__name__], None)
        if kind is None or "__init__" not in vars(kind):
            return
        inner = kind.__init__

        @functools.wraps(inner)
        def __init__(trainer: Any, *args: Any, **kwargs: Any) -> None:
            outermost = id(trainer) not in self._making
            self._making.add(id(trainer))
            try:
                inner(trainer, *args, **kwargs)
            finally:
                if outermost:
                    self._making.discard(id(trainer))
            if outermost:
                self._watch(trainer)

        kind.__init__ = __init__

        def undo() -> None:
            if kind.__init__ is __init__:
                kind.__init__ = inner

        self._undo.append(undo)

    def _watch(self, trainer: Any) -> None:
        # Our failures must not reach a program that did not ask for this trainer to be watched.
        try:
            if self in _current and trainer not in _watched:
                watch_trainer(trainer, self._options, automatic=True)
        except Exception as error:
            _log.warning("collapse-probe: this %s is not watched (%s)", type(trainer).__name__, error)


def autolog(
    *,
    run: str | Path | Run | bool | None = None,
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
) -> Autolog:
    """Watch every trainer of transformers or sentence-transformers that the program makes from now on.

    Takes the arguments of :func:`watch` but for ``target``, ``optimizer`` and ``loss``; each trainer gets a run folder
    of its own. Called again, the new arguments hold.

    Returns:
        What undoes it, by ``close()`` or as a context manager.
    """
    while _current:
        _current[-1].close()
    made = Autolog(
        Options(
            run=run,
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
            probes=checked_probes(probes),
            texts=texts,
            on_collapse=on_collapse,
        )
    )
    _current.append(made)
    return made
