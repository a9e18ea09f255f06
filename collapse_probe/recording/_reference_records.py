"""Reference pairs as records: readings, spectra, and histograms of their distances."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .. import measures
from ..journal import Histogram, Readings, Spectrum
from ..journal.vocabulary import MEASURES, Role, split_reading
from ..measures import Sample
from ._accumulators import pair_histograms
from ._cuts import cuts_of, read_cut
from ._outbox import floats
from ._reader import by_sample, shape_of
from ._wishes import Wishes


def reference_records(
    sample: Sample, wishes: Wishes, *, part: bool, where: Mapping[str, Any], dimensions: Sequence[int] = ()
) -> Iterator[Readings | Histogram | Spectrum]:
    """Yield what is written of reference pairs. Waits for the device.

    Args:
        sample: What the model made of them.
        wishes: What is read.
        part: A part of the pairs, between full readings: spectra and histograms are left out.
        where: What the pairs were read on, step and epoch.
        dimensions: Numbers of first columns that are read by themselves, too.
    """
    values = measures.read(sample, on="reference", wanted=_wanted(sample, wishes.reference, part=part))
    for tensor, found in by_sample(values, sample):
        yield Readings(values=floats(found), **where, **shape_of(tensor))
    for cut in cuts_of(sample, dimensions):
        for tensor, found in by_sample(read_cut(cut, on="reference", wanted=wishes.reference), cut):
            yield Readings(values=floats(found), **where, **shape_of(tensor))
    if part:
        return
    yield from _pair_histograms(sample, wishes.histograms, where)
    for name, tensor in sample.streams.items():
        spectrum = _spectrum(sample, name, wishes.reference)
        if spectrum is not None:
            yield Spectrum(name=f"{name}/singular_values", values=spectrum, **where, **shape_of(tensor))


def negatives_record(sample: Sample, *, where: Mapping[str, Any]) -> Readings:
    """Return how pairs that the loss moves apart are told apart. Waits for the device."""
    values = floats(measures.read(sample, on="reference", wanted=["pairs/auc"]))
    named = {f"pairs/negative_{split_reading(name)[1]}": value for name, value in values.items()}
    return Readings(values=named, **where, **shape_of(next(iter(sample.streams.values()))))


def _wanted(sample: Sample, wanted: Collection[str] | None, *, part: bool) -> Collection[str] | None:
    if not part:
        return wanted
    cheap = [one.name for one in MEASURES.values() if not {"covariance", "spectrum", "neighbours"} & set(one.needs)]
    names = {f"{stream}/{name}" for stream in (*sample.streams, "pairs") for name in cheap}
    return {name for name in names if "reference" in MEASURES[split_reading(name)[1]].on} & set(wanted or names)


def _pair_histograms(sample: Sample, wished: Collection[str], where: Mapping[str, Any]) -> Iterator[Histogram]:
    wanted = [name for name in wished if name.startswith("pairs/")]
    named = {role: sample.streams[name] for name, role in sample.roles.items()}
    if not wanted or where["on"] == "raw" or not {Role.query, Role.document} <= set(named):
        return
    for name, histogram, n in pair_histograms(named[Role.query], named[Role.document]):
        if name in wanted:
            yield Histogram(name=name, n=n, dimension=1, **where, **histogram.as_dict())  # type: ignore[arg-type]


def _spectrum(sample: Sample, name: str, wanted: Collection[str] | None) -> list[float] | None:
    if wanted is not None and not any(one.startswith(f"{name}/") for one in wanted):
        return None
    if sample.streams[name].ndim != 2 or sample.roles.get(name) in (Role.gate, Role.correction):
        return None
    values = measures.singular_values(sample, name)
    found = [] if values is None else values.tolist()
    return found if found and all(math.isfinite(value) for value in found) else None
