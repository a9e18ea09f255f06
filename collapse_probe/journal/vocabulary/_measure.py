"""What is known of a measure without computing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

On = Literal["batch", "reference"]
"""On what a measure is read: a batch in training, or the reference pairs in evaluation mode."""

BOTH: frozenset[On] = frozenset({"batch", "reference"})
REFERENCE: frozenset[On] = frozenset({"reference"})

_ARGUMENTS = {
    "values": "stream",
    "z": "stream",
    "covariance": "stream",
    "spectrum": "stream",
    "gate": "gate",
    "correction": "correction",
    "applied": "correction",
    "query": "pairs",
    "document": "pairs",
    "negative": "pairs",
    "neighbours": "pairs",
    "earlier": "pairs",
    "force": "pairs",
    "gradient": "stream",
}


@dataclass(frozen=True)
class Band:
    """The values that a measure takes where nothing is to be seen; outside is rarer than 1 in 1,000."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure; the function of its name is in :mod:`collapse_probe.measures`.

    Attributes:
        name: The function's name, and the second half of its readings' names.
        needs: The function's arguments without which there is no value. ``values``: a stream of any shape; ``z``: a
            stream ``[N, D]``, ``covariance`` and ``spectrum``: made of one; ``query``, ``document``: pairs,
            ``negative``: rows of the documents that are no query's own; ``neighbours``: who is near whom among them,
            ``earlier``: who was, under the raw encoder; ``force``: the loss's gradients at them, ``gradient``: at one
            stream; ``correction``: a stream of that role, ``applied``: the same times its gate; ``gate``.
        label: A few letters for a figure's axis.
        about: One sentence.
        on: What it may be read on. A rank of one batch says more about the batch than about the model.
        scale_blind: Unchanged where all embeddings are multiplied by one number: never to stand alone.
        every_step: Cheap enough for every step; summarised over a window.
        seldom: Costs so much that after the first steps every second due step has it.
        null: From rows and dimensions to the band for isotropic vectors (of pairs: that know nothing of each other).

    Raises:
        ValueError: needs that no sample can meet, or nothing that it may be read on.
    """

    name: str
    needs: tuple[str, ...]
    label: str
    about: str
    on: frozenset[On] = BOTH
    scale_blind: bool = False
    every_step: bool = False
    seldom: bool = False
    null: Callable[[int, int], Band] | None = None

    def __post_init__(self) -> None:
        unknown = [need for need in self.needs if need not in _ARGUMENTS]
        if unknown or not self.needs or not self.on:
            raise ValueError(f"{self.name} needs {self.needs} on {sorted(self.on)}: known are {', '.join(_ARGUMENTS)}")

    @cached_property
    def subject(self) -> Literal["stream", "pairs", "correction", "gate"]:
        """Whose readings it makes: any stream's, the pairs', a correction's or a gate's."""
        kinds = {_ARGUMENTS[need] for need in self.needs}
        return next(kind for kind in ("correction", "gate", "pairs", "stream") if kind in kinds)
