"""Separation of own pairs from others: d' and the reciprocal rank, within batches and on the reference pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import _figures
from .._facts import Facts, Section
from .._moments import called, onset_of, places
from .._style import saved
from .._text import Table, number
from .._tracks import track_of

_MEASURES = {"d_prime": "d'", "mrr": "MRR", "mrr_centred": "MRR, centred", "auc": "AUC", "side_gap": "side gap"}
_SAMPLES = {"reference": "reference pairs", "batch": "pairs of a batch"}


def _applies(facts: Facts) -> bool:
    return any(len(facts.evidence.series(f"pairs/{name}", on=on)) for name in ("d_prime", "mrr") for on in _SAMPLES)


def _write(facts: Facts) -> list[str]:
    rows = []
    for on, sample in _SAMPLES.items():
        for name, label in _MEASURES.items():
            series = facts.evidence.series(f"pairs/{name}", on=on)
            if len(series):
                ends = [number(series.first), number(series.last)]
                steps = f"{int(series.steps[0]):,} to {int(series.steps[-1]):,}"
                rows.append([sample, label, *ends, steps, f"{int(series.n[-1]):,}"])
    table = Table(["read on", "measure", "first", "last", "steps", "n pairs"], rows, words=["measure"])
    note = (
        "d' is the mean own score minus the mean other score over their pooled standard deviation. A reciprocal rank "
        "depends on how many documents it is among: compare only rows of the same n."
    )
    return [table.markdown, note, facts.figure("separation")]


def _draw(facts: Facts, path: Path) -> str | None:
    panels = []
    for name, label in (("d_prime", "d'"), ("mrr", "reciprocal rank")):
        found = [track_of(facts, f"pairs/{name}", on=on, label=sample) for on, sample in _SAMPLES.items()]
        tracks = [one for one in found if one is not None]
        if any(np.isfinite(one.values).any() for one in tracks):
            panels.append((tracks, label))
    if not panels:
        return None
    fallen = facts.evidence.fallen
    onset = facts.evidence.separation_onset or (fallen.onset if fallen is not None and fallen.inside else None)
    onset = onset_of(facts, onset)
    with saved(path, rows=len(panels), height=2.8) as axes:
        for axis, (tracks, label) in zip(axes, panels, strict=True):
            _figures.tracks(axis, tracks, models=places(facts), onset=onset, ylabel=label)
    marked = "" if onset is None else f" Vertical line: separation fell since {called(facts, onset.step)}."
    return f"Separation of own pairs from others. Grey: pairs that know nothing of each other.{marked}"


SEPARATION = Section(title="Separation", applies=_applies, write=_write, figures={"separation": _draw})
