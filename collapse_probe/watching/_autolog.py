"""Watching every trainer that a program makes from now on."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from torch import Tensor, nn

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
        self._finder = _Finder(self._patch)
        sys.meta_path.insert(0, self._finder)
        for name in _PLACES:
            if name in sys.modules:
                self._patch(sys.modules[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave trainers that are made from now on alone; may be called twice."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
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


class _Finder(importlib.abc.MetaPathFinder):
    """Calls back when one of the places is imported."""

    def __init__(self, imported: Callable[[ModuleType], None]) -> None:
        self._imported = imported
        self._looking = False

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the place's own spec, whose loader tells when the module is there."""
        if name not in _PLACES or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            load = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                self._imported(module)

            loader.exec_module = exec_module
        return spec


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
