"""Which streams the calls of a tap are: one, several of a micro-batch, or the two sides of one matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..journal.vocabulary import Role
from ._forces import ADDED, EMBEDDED
from ._heard import Heard
from ._stacked import Stacking
from ._streams import StreamCoverage


class Naming:
    """The streams of a run, and which of them each tap's calls are.

    Attributes:
        streams: Name to what is known of a stream.
    """

    def __init__(self) -> None:
        self.streams: dict[str, StreamCoverage] = {}
        self._split: dict[str, dict[str, tuple[int, bool]]] = {}
        self._stacked: dict[str, Stacking] = {}
        self._roles: dict[str, Role | None] = {}

    def declare(self, stream: str, **about: Any) -> StreamCoverage:
        """Make a stream known, or more known: its role, where it comes from, by which rule."""
        known = self.streams.setdefault(stream, StreamCoverage(stream))
        for name, value in about.items():
            if value is not None:
                setattr(known, name, value)
        return known

    def of(self, key: str) -> tuple[str, ...]:
        """Return the streams that a tap's calls are."""
        return tuple(self._split.get(key, (key,)))

    def is_split(self, key: str) -> bool:
        """Return whether a tap's calls are streams of other names."""
        return key in self._split

    def split(
        self, key: str, streams: Mapping[str, tuple[int, bool]], roles: Mapping[str, Role | None] | None = None
    ) -> None:
        """Make one tap's calls several streams: see :meth:`Recorder.split`."""
        self._split[key] = dict(streams)
        self._roles.update(roles or {})

    def unstack(self, key: str, stacking: Stacking, sides: Mapping[str, Role]) -> None:
        """Make one tap's matrix two streams: see :meth:`Recorder.unstack`."""
        self._stacked[key] = stacking
        self.split(key, dict.fromkeys(sides, (0, True)), dict(sides))

    def first_heard(self, stream: str) -> StreamCoverage:
        """Return what is known of a stream, which is declared with the role that its tap gave it if it is new."""
        return self.streams.get(stream) or self.declare(stream, role=self._roles.get(stream))

    def named(self, calls: Sequence[Heard]) -> list[Heard]:
        """Return the calls under their streams' names, counted anew within each micro-batch."""
        named, count = [], Counter[tuple[str, int, bool]]()
        for one in calls:
            key = (one.stream, one.micro, one.by_hand)
            place = count[key]
            count[key] += 1
            parts = self._unstacked(one)
            streams = self._split.get(one.stream, {one.stream: (0, True)})
            for at, (stream, (first, further)) in enumerate(streams.items()):
                if parts and (place == first or (further and place > first)):
                    named.append(replace(parts[at % len(parts)], stream=stream, index=place - first))
        # What the user hands over is the stream, whatever else was taken for it.
        handed = {one.stream for one in named if one.by_hand}
        return [one for one in named if one.by_hand or one.stream not in handed]

    def sides(self, key: str) -> int:
        """Return how many sides of a pair a tap's calls are: those of a chunked batch are put together again."""
        if key in self._split and key not in self._stacked:
            return 2
        known = self.streams.get(key)
        return 1 if known is not None and known.role in (Role.query, Role.document) else 0

    def needed(self, key: str) -> int:
        """Return how many calls of a micro-batch a tap's streams are taken from, at least."""
        return 1 + max((first for first, _ in self._split.get(key, {}).values()), default=0)

    def role_of_force(self, key: str) -> Role | bool | None:
        """Return the role of a tap's calls where forces are read at them, False where not."""
        for stream in self.of(key):
            known = self.streams.get(stream)
            if known is not None and (known.role in (*EMBEDDED, *ADDED) or stream == "embedding"):
                return known.role
        return False

    def _unstacked(self, one: Heard) -> list[Heard]:
        """Return a call, or each side of its matrix; none where it cannot be divided."""
        stacking = self._stacked.get(one.stream)
        if stacking is None:
            return [one]
        return [stacking.part(one, which) for which in range(len(stacking.sides))] if stacking.fits(one) else []
