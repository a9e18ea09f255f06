"""Series as lines of a screen: what it was, its course as blocks, and what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._evidence import Evidence
from ._paper import INDENT, Page
from ._spark import sparkline
from ._words import clean, metric, number

_CURVES = (
    ("common_share", "common share"),
    ("mean_cosine", "mean cosine"),
    ("norm_median", "norm"),
    ("norm_mean", "norm"),
)
_SPREAD = (("std_mean", "spread (std)"), ("spread", "spread"), ("norm_median", "norm"))
"""What is shown of how far texts lie apart, the first that was read."""

_TERMS, _COLLECTIONS = 4, 3
"""Loss terms with their total, and collections, that are shown while a run goes on."""


def until(steps: Sequence[int], dead: int | None) -> str:
    """Return the step until which a series was finite, in words; empty where it is to the end."""
    return f"until step {dead:,}" if dead is not None and steps[-1] < dead else ""


def curves(page: Page, evidence: Evidence, dead: int | None) -> list[str]:
    """Return the curves of the first screen: separation, and what changes where texts fall together."""
    lines = separation(page, evidence, dead)
    return [*lines, *of_streams(page, evidence, dead, _CURVES)[: 5 - len(lines)]]


def live_curves(page: Page, evidence: Evidence, dead: int | None) -> list[str]:
    """Return the curves that are looked at while a run goes on: geometry, the loss with its terms, retrieval.

    Numbers as they were read, without a comparison, so that they cost milliseconds.
    """
    found = []
    pairs = [evidence.series("pairs/d_prime", on=on).finite() for on in ("reference", "batch")]
    whole = [one.where(one.n == one.n.max()) for one in pairs if len(one)]
    shown = next((one for one in whole if len(one) > 1), None)
    if shown is not None:
        found.append(curve_line(page, "separation (d')", shown.steps, shown.values, dead))
    for measures in (_SPREAD, (("common_share", "common share"),)):
        found += of_streams(page, evidence, dead, measures)[:2]
    names = dict.fromkeys(name for name, on, _ in evidence.run.keys if name.startswith("loss/") and on == "batch")
    raw = sorted((one for one in names if not one.endswith("_weighted")), key=lambda one: one != "loss/total")
    for name in raw[:_TERMS]:
        series = evidence.series(name, on="batch")
        label = "loss" if name == "loss/total" else f"loss: {clean(name.partition('/')[2], length=18)}"
        found.append(curve_line(page, label, series.steps, series.values, dead))
    return [line for line in [*found, *_retrieval(page, evidence, dead)] if line]


def _retrieval(page: Page, evidence: Evidence, dead: int | None) -> list[str]:
    lines = []
    for name, collection, variant in evidence.evaluations.subjects:
        measured = evidence.evaluations.metric(collection, variant)
        scored = [one for one in evidence.evaluations.of(collection, variant) if measured in one.metrics]
        if measured is not None and len(scored) > 1:
            steps, values = (
                np.array([one.step for one in scored]),
                np.array([one.metrics[measured] for one in scored]),
            )
            lines.append(curve_line(page, f"{clean(name, length=16)} {metric(measured)}", steps, values, dead))
    return lines[:_COLLECTIONS]


def separation(page: Page, evidence: Evidence, dead: int | None) -> list[str]:
    """Return the line of d', of the reference pairs where there are any; none where it was not read twice."""
    curve = next((one for one in evidence.curves if one.metric == "d_prime"), None)
    if curve is not None:
        found = [(np.array(curve.steps), np.array(curve.values))]
    else:
        read = (evidence.series("pairs/d_prime", on=on) for on in ("reference", "batch"))
        found = [(one.steps, one.values) for one in read if len(one) > 1]
    lines = [curve_line(page, "separation (d')", steps, values, dead) for steps, values in found[:1]]
    return [one for one in lines if one]


def of_streams(page: Page, evidence: Evidence, dead: int | None, measures: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of measures, of two streams each; of a stream's measures that stand in for another, the first.

    Args:
        page: What it is laid out on.
        evidence: The run.
        dead: The step from which the run is not finite.
        measures: ``(measure, label)``.
    """
    roles = ("query", "document", "embedding", "hidden")
    streams = sorted((one for one in evidence.streams if one.role in roles), key=lambda one: one.role == "hidden")
    lines: list[str] = []
    for measure, label in measures:
        for subject in streams[:2]:
            track = evidence.track(subject.name, measure)
            known = any(label in line for line in lines if clean(subject.name) in line)
            if track is not None and track.reading.endswith(measure) and not known:
                named = f"{clean(subject.name, length=12)} {label}"
                lines.append(curve_line(page, named, track.series.steps, track.series.values, dead))
    return [line for line in lines if line]


def curve_line(page: Page, label: str, steps: np.ndarray, values: np.ndarray, dead: int | None) -> str:
    """Return one series: its first value, its course, its last; empty for fewer than two finite values."""
    narrow = page.width < 80
    blocks, finite = sparkline(steps, values, width=8 if narrow else 13), np.isfinite(values)
    if not blocks:
        return ""
    first, last = (number(float(values[finite][at])) for at in (0, -1))
    line = f"{'':<{2 if narrow else INDENT}}{label:<26} {first:>8}  {blocks:<{8 if narrow else 13}}  {last}"
    return f"{line}  {until(steps[finite], dead)}".rstrip()
