"""Programs that train the way people do, with what they are: a kind, its causes, or healthy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature

WORLD = "minilm/medquad/scifact"


@dataclass(frozen=True)
class Program:
    """One training that is right or wrong in a known way.

    Attributes:
        name: Its name.
        train: Trains in a run of the loop.
        kind: The kind of failure; None for a healthy one.
        causes: Slugs of its causes, any of which is a right answer.
        source: Where people met it.
        worlds: Where it is tried: encoder, pairs and collection of each.
        twin: Trains the same without what is planted; None where there is no such training.
        onset: The step from which on the mistake acts, 0 before the first; None where it is not planted at a step.
    """

    name: str
    train: Callable[..., None]
    kind: str | None
    causes: tuple[str, ...] = ()
    source: str = ""
    worlds: tuple[str, ...] = (WORLD,)
    twin: Callable[..., None] | None = None
    onset: int | None = None


REGISTRY: dict[str, dict[str, Program]] = {}


def program(
    group: str,
    kind: str | None,
    *causes: str,
    source: str = "",
    world: str | Sequence[str] = WORLD,
    twin: Callable[..., None] | None = None,
    onset: int | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a program under its own name.

    Args:
        group: Of programs.
        kind: As of :class:`Program`, like all that follows.
        causes: Of the failure.
        source: Where people met it.
        world: Where it is tried; several of them where it is tried on several.
        twin: The training without the mistake; of a function with an argument ``planted`` itself with False.
        onset: The step of the mistake.
    """

    def register(train: Callable[..., None]) -> Callable[..., None]:
        found = REGISTRY.setdefault(group, {})
        if train.__name__ in found:
            raise ValueError(f"two programs called {train.__name__!r}")
        other = partial(train, planted=False) if twin is None and "planted" in signature(train).parameters else twin
        worlds = (world,) if isinstance(world, str) else tuple(world)
        found[train.__name__] = Program(train.__name__, train, kind, causes, source, worlds, other, onset)
        return train

    return register
