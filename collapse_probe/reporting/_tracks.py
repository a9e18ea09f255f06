"""Series as a figure shows them: with what they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from ..diagnosis import Finding
from ..diagnosis.screen import metric
from ..journal import Series
from ..journal.vocabulary import MEASURES, Band
from ._facts import Facts
from ._moments import called

MOST = 4
"""Lines of one figure."""

_LABELS = {one.name: one.label for one in MEASURES.values()}


@dataclass(frozen=True)
class Track:
    """A series and its references.

    Attributes:
        label: What a legend calls it.
        steps: ``[K]``.
        values: ``[K]``.
        baseline: The raw encoder's, or that of step 0 or the first model; None where unknown.
        against: Which of them.
        band: What isotropic vectors read; None where there is no formula.
    """

    label: str
    steps: np.ndarray
    values: np.ndarray
    baseline: float | None = None
    against: str = ""
    band: Band | None = None


def track_of(facts: Facts, reading: str, *, on: str | None = None, label: str = "") -> Track | None:
    """Return a reading as it is drawn; None where it was never read."""
    evidence = facts.evidence
    series = evidence.series(reading, on=on)
    if not len(series):
        return None
    stream, _, measure = reading.rpartition("/")
    raw = evidence.series(reading, on="raw").finite() if on != "batch" else series.where(np.zeros(len(series), bool))
    baseline, against = None, ""
    if len(raw) and series.on == "reference":
        baseline, against = float(raw.values[0]), "the raw encoder"
    elif series.on == "reference" and series.steps[0] == 0 and np.isfinite(series.values[0]):
        baseline, against = float(series.values[0]), called(facts, 0)
    shown = label or f"{stream} {_LABELS.get(measure, measure)}"
    return Track(shown, series.steps, series.values, baseline, against, band_of(series, measure))


def band_of(series: Series, measure: str) -> Band | None:
    """Return the null band of a measure at a series' latest rows and dimension."""
    entry = MEASURES.get(measure)
    n, dimension = (int(series.n[-1]), int(series.dimension[-1])) if len(series) else (0, 0)
    if entry is None or entry.null is None or n < 2 or dimension < 1:
        return None
    return entry.null(n, dimension)


def tracks_of(facts: Facts, finding: Finding, *alike: Finding) -> list[Track]:
    """Return what findings rest on, as it is drawn: the curve of a collection, else their readings in turn."""
    curve = next((one for one in facts.evidence.curves if one.name == finding.subject), None)
    if curve is not None:
        raw, start = curve.against("raw"), curve.against("start")
        against = "the raw encoder" if raw is not None else called(facts, 0)
        label = f"{curve.name}, {metric(curve.metric)}"
        known = raw or start
        baseline = known.before if known is not None else None
        return [Track(label, np.array(curve.steps), np.array(curve.values), baseline, against)]
    in_turn = chain.from_iterable(zip_longest(*(one.evidence for one in (finding, *alike))))
    names = [name for name in dict.fromkeys(in_turn) if name and name.rpartition("/")[0]]
    found = [track_of(facts, name) for name in names]
    if finding.judgement is not None and finding.judgement.of_batches:
        found = [track_of(facts, name, on="batch", label=f"{name}, batches") for name in names] + found
    return [one for one in found if one is not None][:MOST]
