"""What several measures need of one tensor, computed once while a sample is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_made: ContextVar[dict[Any, tuple[Any, Any]] | None] = ContextVar("made", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Keep what :func:`shared` functions return until the end of this, for further calls with the same objects."""
    if _made.get() is not None:
        yield
        return
    token = _made.set({})
    try:
        yield
    finally:
        _made.reset(token)


def shared(function: Callable[P, R]) -> Callable[P, R]:
    """Compute once for the same objects inside of :func:`sharing`; nobody may change what is returned in place."""

    @wraps(function)
    def once(*args: P.args, **kwargs: P.kwargs) -> R:
        made = _made.get()
        if made is None:
            return function(*args, **kwargs)
        key: Any = (function, *map(id, args))
        if kwargs:
            key = (*key, *((name, id(value)) for name, value in sorted(kwargs.items())))
        found = made.get(key)
        if found is None:
            # The arguments are kept as well: while they live, nothing else has their identity.
            found = made[key] = ((args, kwargs), function(*args, **kwargs))
        return found[1]

    return once
