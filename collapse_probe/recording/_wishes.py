"""What watched probes ask for, all together."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from ..journal.vocabulary import MEASURES, modern_reading, split_reading
from ._cadence import Cadence
from ._declarations import Probe

_OF_BATCHES = ("common_share", "norm_median", "radial", "teaching")
_PAIRS_OF_BATCHES = ("d_prime", "mrr", "auc", "negative_auc", "pull", "push", "push_all", "near_own", "tied_share")
_OF_REFERENCE = ("common_share", "norm_median", "participation_ratio_corrected", "dead_dimensions")
_PAIRS_OF_REFERENCE = (
    *("d_prime", "mrr", "mrr_cosine", "mrr_centred", "auc"),
    *("side_gap", "hub_occurrence", "neighbour_overlap", "answer_overlap", "tied_share"),
)


@dataclass(frozen=True)
class Wishes:
    """What is read of which streams; the defaults read everything that the streams' roles allow.

    Attributes:
        batch: Names of readings on batches; None for all.
        reference: Names of readings on reference pairs; None for all.
        asked: Names of readings on batches that a probe asks for by name: every due step has them, whatever they cost.
        every_step: Streams that are read on every step, for the summaries of a window.
        histograms: Streams whose absolute entries are counted over a window, where they are read, and of the reference
            pairs ``pairs/distance``, ``pairs/cosine``, ``pairs/distance_random``, ``pairs/cosine_random``.
    """

    batch: Collection[str] | None = None
    reference: Collection[str] | None = None
    asked: Collection[str] = ()
    every_step: Collection[str] = ()
    histograms: Collection[str] = ()


def wishes_of(probes: Iterable[Probe]) -> Wishes:
    """Return what is read for the probes: their readings on batches and on reference pairs, and their histograms.

    Corrections and gates that a probe reads on batches are read on every step, for the summaries of a window. Whether
    what is read is finite comes with every stream.
    """
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
        asked=frozenset(batch),
        reference=frozenset(reference),
        every_step=frozenset(every_step),
        histograms=frozenset(name.removesuffix("/abs") for name in histograms),
    )


def judged_wishes(wishes: Wishes) -> Wishes:
    """Return wishes with the readings of pairs and embeddings that kinds and causes are told by."""
    batch = {f"{stream}/{name}" for stream in ("query", "document") for name in _OF_BATCHES}
    batch |= {f"pairs/{name}" for name in _PAIRS_OF_BATCHES}
    reference = {f"{stream}/{name}" for stream in ("query", "document") for name in _OF_REFERENCE}
    reference |= {"delta/pass_through", *(f"pairs/{name}" for name in _PAIRS_OF_REFERENCE)}
    return replace(wishes, batch={*(wishes.batch or ()), *batch}, reference={*(wishes.reference or ()), *reference})


def added_wishes(probes: Iterable[Probe]) -> Wishes:
    """Return what is read for the probes beside all that the streams' roles allow."""
    return replace(wishes_of(probes), batch=None, reference=None)


def cadence_of(probes: Iterable[Probe], *, every: int | None = None) -> Cadence:
    """Return when readings on batches are due: as often as the most frequent of the probes, and where any has powers.

    Args:
        probes: Any.
        every: Steps between two due ones that somebody asks for besides.

    Raises:
        InputError: ``every`` is below 1.
    """
    probes = list(probes)
    asked = [] if every is None else [Cadence(every=every).every]
    intervals = [probe.schedule.interval for probe in probes if probe.schedule.interval is not None]
    bases = {probe.schedule.base for probe in probes if probe.schedule.base is not None}
    return Cadence(every=min([*asked, *intervals], default=10), bases=tuple(sorted(bases)))
