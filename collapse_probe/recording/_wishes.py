"""What watched probes ask for, all together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..journal.vocabulary import MEASURES, modern_reading, split_reading
from ._cadence import Cadence
from ._declarations import Probe

if TYPE_CHECKING:
    from ._recorder import Wishes


def wishes_of(probes: Iterable[Probe]) -> Wishes:
    """Return what is read for the probes: their readings on batches and on reference pairs, and their histograms.

    Corrections and gates that a probe reads on batches are read on every step, for the summaries of a window. Whether
    what is read is finite comes with every stream.
    """
    from ._recorder import Wishes

    probes = list(probes)
    batch, reference, every_step = set(), set(), set()
    for name in (name for probe in probes for name in probe.readings):
        reading, on = modern_reading(name)
        stream, measure = split_reading(reading)
        if measure not in MEASURES:
            continue
        if on == "batch" and "batch" in MEASURES[measure].on:
            batch.add(reading)
            if MEASURES[measure].every_step and MEASURES[measure].subject in ("correction", "gate"):
                every_step.add(stream)
        elif on != "batch" and "reference" in MEASURES[measure].on:
            reference.add(reading)
    histograms = {name for probe in probes for name in probe.histograms}
    return Wishes(
        batch=frozenset(batch),
        reference=frozenset(reference),
        every_step=frozenset(every_step),
        histograms=frozenset(name.removesuffix("/abs") for name in histograms),
    )


def cadence_of(probes: Iterable[Probe]) -> Cadence:
    """Return when the probes' readings on batches are due: as often as the most frequent of them."""
    intervals = [probe.schedule.interval for probe in probes if probe.schedule.interval is not None]
    return Cadence(every=min(intervals, default=10))
