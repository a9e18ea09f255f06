"""Programs that train the way people do, with what they are: a kind, its causes, or healthy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One training that is right or wrong in a known way.

    Attributes:
        name: Its name.
        train: Trains in a run of the loop.
        kind: The kind of failure; None for a healthy one.
        causes: Slugs of its causes, any of which is a right answer.
        source: Where people met it.
        world: Where it is tried first.
    """

    name: str
    train: Callable[..., None]
    kind: str | None
    causes: tuple[str, ...] = ()
    source: str = ""
    world: str = "minilm/medquad/scifact"


REGISTRY: dict[str, dict[str, Program]] = {}


def program(
    group: str, kind: str | None, *causes: str, source: str = "", world: str = "minilm/medquad/scifact"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a program under its own name."""

    def register(train: Callable[..., None]) -> Callable[..., None]:
        found = REGISTRY.setdefault(group, {})
        if train.__name__ in found:
            raise ValueError(f"two programs called {train.__name__!r}")
        found[train.__name__] = Program(train.__name__, train, kind, causes, source, world)
        return train

    return register
