"""``examine``: no journal at all; finished models judged against what they began as."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..retrieval import Collection, Pairs, make_pairs
from ._examination import Examination
from ._examine import Asked, examine_asked


class _Nobody:
    """Told, and keeps nothing."""

    def say(self, line: str) -> None:
        """Ignore."""

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Ignore."""
        return nullcontext(lambda done, total: None)


def examine(
    base: str | os.PathLike[str],
    *models: str | os.PathLike[str],
    collections: Sequence[str | Collection] = (),
    pairs: Any = None,
    run: str | os.PathLike[str] | None = None,
    queries: int | None = None,
    documents: int | None = None,
    between: bool = True,
) -> Examination:
    """Judge finished models against what they began as, and write that as a run; minutes where texts have no vectors.

    Args:
        base: What the others began as: a model's folder, or its name.
        models: Models in the order of their training, or folders of a trainer's checkpoints. The last one is judged.
        collections: Paths or BEIR names of collections.
        pairs: Held-out pairs of the domain that was trained on: a file, or a list of (query, document).
        run: The run folder; None for ``runs/examine-MODEL``. One that exists is left alone, and a new name is chosen.
        queries: Most queries of each collection and of the pairs; all if None.
        documents: Most documents of each beside the relevant ones; all if None.
        between: Whether models between the first and the last are scored.

    Returns:
        The examination, with its run folder and its diagnosis.

    Raises:
        InputError: something cannot be used; the message says what, and what to give.
    """
    asked = Asked(
        base=str(base),
        models=tuple(map(str, models)),
        collections=tuple(one if isinstance(one, Collection) else str(one) for one in collections),
        pairs=_pairs(pairs),
        run=None if run is None else Path(run),
        queries=queries,
        documents=documents,
        between=between,
    )
    return examine_asked(asked, _Nobody())


def _pairs(given: Any) -> Path | Pairs | None:
    """Return pairs as they are read.

    Raises:
        InputError: neither a path nor a list of (query, document).
    """
    if given is None or isinstance(given, Pairs):
        return given
    if isinstance(given, str | os.PathLike):
        return Path(given)
    try:
        rows = [(query, [document], []) for query, document in given]
    except (TypeError, ValueError):
        rows = []
    if not rows or not all(isinstance(text, str) for query, (document,), _ in rows for text in (query, document)):
        raise InputError(f"pairs is a {type(given).__name__}: give a file, or a list of (query, document) texts")
    return make_pairs(rows, source="pairs")
