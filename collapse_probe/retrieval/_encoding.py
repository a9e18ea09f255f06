"""From texts to stored vectors: encoded once, then kept, while somebody is told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ._collections import Collection
from ._features import Features
from .encoders import TASKS, Task


class Told(Protocol):
    """Who is told."""

    def say(self, line: str) -> None:
        """Take one line of plain text."""

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return a context that gives the function to call with (done, total)."""
        ...


def texts_of(collection: Collection) -> dict[Task, list[str]]:
    """Return the texts of a collection by task."""
    return {"query": list(collection.queries.values()), "document": list(collection.documents.values())}


def encode_missing(features: Features, sources: Sequence[dict[Task, list[str]]], audience: Told) -> None:
    """Verify the stores, then encode the texts that they lack; an interruption keeps what is done."""
    said = features.verify(*sources)
    # Of an encoder that is not here, what it is was said to be unverified.
    for line in said if features.encoder.is_here else ():
        audience.say(f"vectors {line}")
    texts: dict[Task, list[str]] = {task: [text for part in sources for text in part[task]] for task in TASKS}
    missing = features.missing(texts)
    count = sum(map(len, missing.values()))
    if not count:
        return
    if features.encoder.is_here:
        audience.say(f"encoding {count:,} texts once with {features.encoder.name}; they are kept for every later run")
    try:
        with audience.counting("encoding") as update:
            features.add(missing, progress=update)
    except KeyboardInterrupt:
        left = sum(map(len, features.missing(missing).values()))
        audience.say(f"interrupted: {count - left:,} of {count:,} texts are encoded and kept")
        raise
