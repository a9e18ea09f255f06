"""What each term of the loss does to the embeddings, and to a correction or a gate."""

from __future__ import annotations

import numpy as np

from .._facts import Facts
from .._text import Table, md, number

_MEASURES = ("pull", "push", "radial", "share", "conflict")

_LAST = 8
"""Readings at the end whose median is shown, as mechanisms read them."""


def forces(facts: Facts) -> list[str]:
    """Return a table of the forces of the loss's terms with what its columns mean; nothing where none were read."""
    evidence = facts.evidence
    streams = ["", *(one.name for one in evidence.streams if evidence.terms_at(one.name))]
    rows = [_row(facts, term, stream) for stream in streams for term in evidence.terms_at(stream)]
    if not rows:
        return []
    headers = ["force of", "at", *_MEASURES, "n steps"]
    note = (
        "Median of the first 20 steps -> of the last readings. Pull: below 0 own pairs come closer; push: above 0 near "
        "others move apart, both on unit vectors; radial: -1 does nothing but shrink; share: of the sum of the terms' "
        "gradients, weighted; conflict: cosine with the whole loss's gradient, below 0 works against it. Forces "
        "suspect, and decide nothing."
    )
    return [Table(headers, rows, words=["at"]).markdown, note]


def _row(facts: Facts, term: str, stream: str) -> list[str]:
    subject = f"force/{term}@{stream}" if stream else f"force/{term}"
    cells = [_moved(facts, f"{subject}/{name}") for name in _MEASURES]
    n = len(facts.evidence.series(f"{subject}/share", on="batch"))
    return [md(term), md(stream) if stream else "embeddings", *cells, f"{n:,}"]


def _moved(facts: Facts, reading: str) -> str:
    series = facts.evidence.series(reading, on="batch").finite()
    if not len(series):
        return "-"
    early = series.values[series.steps <= max(20, int(series.steps[0]))]
    first, last = (float(np.median(part)) for part in (early, series.values[-_LAST:]))
    return f"{number(round(first, 2))} -> {number(round(last, 2))}"
