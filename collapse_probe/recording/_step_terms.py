"""The scalars of the step in progress: terms of its loss, norms, rates; and the data sets that its batches are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ._handed import scalar


class StepTerms:
    """What a step's scalars are, by their full names.

    Attributes:
        terms: Name to the values of the step's micro-batches.
        scalars: Name to the latest value.
        datasets: Data sets that the batches are of.
        rates: Name to the learning rate or weight decay that was last heard, over all steps.
    """

    def __init__(self) -> None:
        self.terms: dict[str, list[Tensor | float]] = {}
        self.scalars: dict[str, Tensor | float] = {}
        self.datasets: set[str] = set()
        self.rates: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self.terms or self.scalars)

    def add(
        self,
        terms: Mapping[str, Tensor | float],
        weights: Mapping[str, Tensor | float] | None,
        total: Any,
        *,
        whole: bool,
    ) -> None:
        """Take in the terms of a micro-batch: see :meth:`Recorder.terms`."""
        weighted = []
        for name, value in terms.items():
            number = scalar(f"term {name!r}", value)
            weight = 1.0 if weights is None else weights.get(name, 1.0)
            plain = not isinstance(weight, Tensor) and weight == 1.0
            weighted.append(number if plain else weight * number)
            self._add(f"loss/{name}", number)
            if weights is not None:
                self._add(f"loss/{name}_weighted", weighted[-1])
        explained = sum(weighted[1:], weighted[0]) if weighted else None
        if total is not None:
            loss = scalar("total", total)
            self._add("loss/total", loss)
            if explained is not None and "rest" not in terms:
                self._add("loss/rest", loss - explained)
        elif explained is not None and whole:
            self._add("loss/total", explained)

    def set(self, values: Mapping[str, Tensor | float]) -> None:
        """Take in scalars."""
        for name, value in values.items():
            self.scalars[name] = scalar(name, value)

    def set_rates(self, values: Mapping[str, float]) -> None:
        """Take in rates: those that changed are scalars of the step."""
        changed = {name: value for name, value in values.items() if self.rates.get(name) != value}
        self.rates.update(changed)
        self.set(changed)

    def values(self) -> dict[str, Tensor | float]:
        """Return each term's mean over the micro-batches, and the scalars."""
        return {**{name: _average(values) for name, values in self.terms.items()}, **self.scalars}

    @property
    def dataset(self) -> str | None:
        """The data sets by name; None where no name was heard."""
        return " + ".join(sorted(self.datasets)) or None

    def clear(self) -> None:
        """Begin another step."""
        self.terms, self.scalars = {}, {}
        self.datasets.clear()

    def _add(self, name: str, value: Tensor | float) -> None:
        self.terms.setdefault(name, []).append(value)


def _average(values: Sequence[Tensor | float]) -> Tensor | float:
    return values[0] if len(values) == 1 else sum(values[1:], values[0]) / len(values)
