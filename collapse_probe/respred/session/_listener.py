"""What a session tells while it works: lines, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..training import EpochScores, Listener


class Audience(Protocol):
    """Who is told; :class:`Quiet` keeps nothing, the command line prints."""

    def say(self, line: str) -> None:
        """Take one line of plain text."""

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return a context that gives the function to call with (done, total)."""
        ...

    def training(self) -> AbstractContextManager[Listener]:
        """Return a context that gives what is told of every step and every evaluation."""
        ...


class Quiet:
    """An audience, and a listener of a training, that keeps nothing."""

    def say(self, line: str) -> None:
        """Ignore."""

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Ignore."""
        return nullcontext(lambda done, total: None)

    def training(self) -> AbstractContextManager[Listener]:
        """Ignore."""
        return nullcontext(self)

    def step(self, *, step: int, steps: int, epoch: int) -> None:
        """Ignore."""

    def epoch(self, *, epoch: int, epochs: int, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        """Ignore."""

    def between(self, *, t: float, scores: Sequence[EpochScores]) -> None:
        """Ignore."""
