"""What the user declares: streams by their places, and reference pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import InputError
from ..journal import StreamInfo
from ..journal.vocabulary import MEASURES, NOT_STREAMS, Role, modern_reading, split_reading
from ..recording import Place, Probe, Tap, call, find, load_probes, output
from ._options import Probes
from ._text_pairs import TextPairs

BY_HAND = "observe()"
"""Where a stream comes from that the loop hands over."""


def declared_streams(
    target: nn.Module, query: Any, document: Any, taps: Sequence[Tap]
) -> tuple[tuple[StreamInfo, ...], list[Place]]:
    """Return the streams that the user named, and their places."""
    named = []
    if query is not None and document is not None and _same(target, query, document):
        named = [
            Tap(stream="query", at=query, take=call(0), role=Role.query),
            Tap(stream="document", at=document, take=call(1), role=Role.document),
            Tap(stream="negative", at=document, take=call(2, further=True), role=Role.document),
        ]
    else:
        for stream, at in (("query", query), ("document", document)):
            if at is not None:
                named.append(Tap(stream=stream, at=at, take=output, role=Role(stream)))
    places = []
    for tap in (*named, *taps):
        if not isinstance(tap, Tap):
            raise InputError(f"taps holds a {type(tap).__name__}: give Tap(stream='name', at='module.path')")
        found = find(tap, target) or [Place(tap, "")]
        if tap in named and found[0].parameter is not None:
            raise InputError(f"{tap.stream}={tap.at!r} names a parameter: give a module, or Tap(stream='name', at=...)")
        places += found
    names = [place.tap.stream for place in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two taps are called {twice!r}: give each stream a name of its own")
    infos = tuple(
        StreamInfo(
            name=place.tap.stream,
            role=None if place.tap.role is None else str(place.tap.role),
            where=_where(place),
            declared=place.tap.stream != "negative" or place.tap not in named,
        )
        for place in places
        if place.tap.stream != "negative" or place.tap not in named
    )
    return infos, places


def _where(place: Place) -> str:
    if place.module is None and place.parameter is None:
        return BY_HAND
    kind = "parameter" if place.module is None else "module"
    return f"{kind} {place.path}" if place.path else "the model"


def _same(target: nn.Module, query: Any, document: Any) -> bool:
    both = [find(Tap(stream="x", at=at), target)[0] for at in (query, document)]
    return both[0].module is not None and both[0].module is both[1].module


def checked_probes(probes: Probes) -> list[Probe]:
    """Return the probes that the user named, before it is known what they are for.

    Raises:
        InputError: no such probe, a declaration that cannot be used, or a detector or a cut that there is not.
    """
    found = load_probes(probes)
    if any(probe.detectors for probe in found):
        from ..diagnosis import check_declared

        check_declared({probe.name: probe.as_dict() for probe in found})
    return found


def declared_probes(probes: Probes, streams: Sequence[StreamInfo]) -> list[Probe]:
    """Return the probes that the user named.

    Raises:
        InputError: as :func:`checked_probes`, or a reading that a tap cannot have: some are of reference pairs alone.
    """
    found = checked_probes(probes)
    taps = {one.name for one in streams if one.role not in (Role.query, Role.document)}
    for probe in found:
        for name in probe.readings:
            stream, measure = split_reading(modern_reading(name)[0])
            if stream in taps and measure in MEASURES and "batch" not in MEASURES[measure].on:
                raise InputError(
                    f"{probe.source}: {name} cannot be read: {measure} is of the reference pairs' queries and "
                    f"documents alone, and {stream!r} is a tap"
                )
    return found


def asked_streams(probes: Iterable[Probe]) -> dict[str, str]:
    """Return the streams that probes ask for, each with the names of these probes."""
    found: dict[str, dict[str, None]] = {}
    for probe in probes:
        names = [modern_reading(name)[0] for name in probe.readings]
        for name in (*names, *(name for name in probe.histograms if not name.startswith("pairs/"))):
            stream = name.rpartition("/")[0]
            if stream.partition("/")[0] not in NOT_STREAMS:
                found.setdefault(stream, {})[probe.name] = None
    return {stream: ", ".join(names) for stream, names in found.items()}


def reference_pairs(reference: Any, target: nn.Module) -> Callable[[], Any] | None:
    """Return what gives the reference pairs that the user named; None where there are none."""
    if reference is None or reference is False:
        return None
    if callable(reference):
        return reference
    pairs = _texts(reference)
    if not hasattr(target, "encode"):
        raise InputError(
            f"reference holds texts, and a {type(target).__name__} has no encode(): give a function that returns "
            "(queries, documents), both [n, D]"
        )
    return TextPairs(target, [query for query, _ in pairs], [document for _, document in pairs])


def _texts(reference: Any) -> list[tuple[str, str]]:
    if isinstance(reference, str | Path):
        from ..retrieval import read_pairs

        found = read_pairs(Path(reference))
        return list(zip(found.queries, found.documents, strict=True))
    try:
        pairs = [() if isinstance(pair, str) else tuple(pair) for pair in reference]
    except TypeError:
        pairs = []
    if len(pairs) < 2 or any(len(pair) != 2 or not all(isinstance(text, str) for text in pair) for pair in pairs):
        raise InputError(
            f"reference is {_arrived(reference, pairs)}: give a function that returns (queries, documents) as the "
            "model embeds them now, lambda: (model(q), model(d)); a list of at least 2 (query, document) texts; a "
            "pairs file; or False"
        )
    return pairs  # type: ignore[return-value]


def _arrived(reference: Any, pairs: Sequence[tuple]) -> str:
    """Return in words what was given as the reference."""
    parts = [type(reference).__name__]
    if isinstance(reference, list | tuple):
        parts.append(f"of length {len(reference)}")
        inner = {type(one).__name__ for pair in pairs for one in pair if not isinstance(one, str)}
        parts += [f"with {', '.join(sorted(inner))} in it"] if inner else []
    return " ".join(parts)
