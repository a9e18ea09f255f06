"""A run's records as of vectors' first columns alone, as if these were the vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ._readings import Coverage
from ._scored import Evaluation
from ._store import Key, Series, Store
from .vocabulary import SCALARS, at_dimension, split_dimension

R = TypeVar("R")


class CutStore:
    """Records in which ``query@128`` stands as ``query``, and nothing of the full vectors; scalars are the run's.

    Args:
        store: All records.
        dimension: How many columns.
    """

    def __init__(self, store: Store, dimension: int) -> None:
        self._store = store
        self._dimension = dimension

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def keys(self) -> list[Key]:
        """``(reading, on, dataset)`` of every series, in the order of their first appearance."""
        found = []
        for reading, on, dataset in self._store.keys:
            name, dimension = (reading, self._dimension) if _is_scalar(reading) else split_dimension(reading)
            if dimension == self._dimension:
                found.append((name, on, dataset))
        return found

    def series(self, reading: str, *, on: str | None = None, dataset: str | None = None) -> Series:
        """Return one reading by step, as :meth:`Store.series` does."""
        name = reading if _is_scalar(reading) else at_dimension(reading, self._dimension)
        return replace(self._store.series(name, on=on, dataset=dataset), reading=reading)

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of a kind; of coverage, those of the full vectors say what a stream is."""
        found: list[Any] = self._store.of(kind)
        if kind is Evaluation:
            known = [(split_dimension(one.collection), one) for one in found]
            return [replace(one, collection=name) for (name, cut), one in known if cut == self._dimension]
        if kind is Coverage:
            known = [(split_dimension(one.stream), one) for one in found]
            return [replace(one, stream=name) for (name, cut), one in known if cut in (None, self._dimension)]
        return found


def _is_scalar(reading: str) -> bool:
    return reading.partition("/")[0] in SCALARS
