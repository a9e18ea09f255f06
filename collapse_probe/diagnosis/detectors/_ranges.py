"""Ranges that a user declares for readings in a probe's TOML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...journal import Series
from .._contract import Bounds, Detector, Judgement, NotApplicable, Remedy, Subject
from .._evidence import Evidence
from .._onset import crossing
from .._status import beyond


def declared(evidence: Evidence) -> list[Subject]:
    """Return every declared range, with its probe's name."""
    found = []
    for probe, content in evidence.config.probes.items():
        entries = content.get("expected") if isinstance(content, Mapping) else None
        for entry in entries if isinstance(entries, list | tuple) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("reading"), str):
                found.append(Subject(entry["reading"], role=probe, entry=entry))
    return found


def _judge(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    entry: Mapping[str, Any] = subject.entry or {}
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    stream = subject.name.partition("/")[0].removesuffix("_eval")
    known = {one.name for one in evidence.streams}
    if stream in ("delta", "alpha") and stream not in known and evidence.config.streams:
        raise NotApplicable(f"the run has no {stream}")
    relative = entry.get("relative_to")
    names = (subject.name, *([str(relative)] if relative else []))
    series, reference = evidence.series(subject.name), _reference(evidence, relative)
    if not len(series) or reference is None:
        return Judgement(value=None, evidence=names)
    values = series.values / reference
    return judged(series, values, _sides(entry), evidence=names)


def judged(series: Series, values: np.ndarray, sides: tuple[Bounds, ...], *, evidence: tuple[str, ...]) -> Judgement:
    """Return a series against its bounds: the latest value, and since when it is outside, from the same numbers."""
    value = float(values[-1])
    bounds = next((one for one in sides if beyond(value, _nearest(one), above=one.above)), None)
    outside = np.isnan(values)
    for one in sides:
        cut = _nearest(one)
        if cut is not None:
            outside |= values > cut if one.above else values < cut
    onset = crossing(series.steps, outside)
    return Judgement(
        value=value,
        bounds=bounds or min(sides, key=lambda one: abs(value - (_nearest(one) or 0.0))),
        onset=onset,
        outside=tuple(int(step) for step in series.steps[series.steps >= onset.step]) if onset else (),
        before=bool(outside.any()),
        evidence=evidence,
        n=int(series.n[-1]) if series.n[-1] > 0 else None,
    )


def _sides(entry: Mapping[str, Any]) -> tuple[Bounds, ...]:
    """Return the declared bounds below and above; those of schema 2 said "collapsed" for "critical"."""
    found = []
    for above, warning, name in ((False, "min", "below"), (True, "max", "above")):
        critical = entry.get(f"critical_{name}", entry.get(f"collapsed_{name}"))
        one = Bounds(warning=_number(entry.get(warning)), critical=_number(critical), above=above)
        if _nearest(one) is not None:
            found.append(one)
    return tuple(found) or (Bounds(),)


def _nearest(bounds: Bounds) -> float | None:
    return bounds.critical if bounds.warning is None else bounds.warning


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _reference(evidence: Evidence, name: Any) -> float | None:
    if not name:
        return 1.0
    values = evidence.series(str(name)).values
    return float(values[0]) if len(values) and values[0] != 0 and math.isfinite(values[0]) else None


RANGES = (
    Detector(
        code="CP101",
        kind="range",
        title="a declared range",
        reads=("READING",),
        per="range",
        formula="The latest reading, or its ratio to the first value of `relative_to`, against the `min`, `max`, "
        "`critical_below` and `critical_above` of an [[expected]] entry of a probe.",
        thresholds={},
        judge=_judge,
        why="The reading left the range that the run's own declaration gives it.",
        remedies=(Remedy(change={"model": "what the declaration says: its `remedy`"}, reading="READING"),),
    ),
)
