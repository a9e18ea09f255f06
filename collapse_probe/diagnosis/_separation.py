"""Separation from readings: where no reference pair was scored by itself, and from the batches alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..journal import Series
from ..statistics import normal_p
from ._contract import Interval
from ._curves import SMALLEST, SMALLEST_FROM_BEST, Change, Curve
from ._onset import change_point
from ._status import CRITICAL_P

D_PRIME = "pairs/d_prime"
RANK = "pairs/mrr"

COSINES = ("pairs/cosine_mean", "pairs/cosine_random_mean")

_EQUAL = 1e-5
"""Distance of a mean cosine from 1 up to which vectors are equal but for rounding (own choice)."""

SAME_GAP = 1e-3
"""Gap between the means of two sides up to which a batch's sides are the same vectors (own choice)."""

_EASY = 0.9
"""Mean reciprocal rank above which equal pairs are easy: where all texts are nearly equal, they are not (own cut)."""

BATCH = "batch pairs"
"""The name of the batches' own pairs."""

SATURATED = 0.95
"""Reciprocal rank above which it cannot show a fall: d' decides there. Measured on two towers under a squared error: d'
4.7 to 2.5, the rank among 512 pairs 1.000 to .999."""

D_PRIME_FALL = 0.25
"""Relative fall of d' that counts: none of 99 trainings whose retrieval held fell so far on its batches."""

FEWEST_PAIRS = 32
"""Reference pairs below which nothing is told: at 8, one place in eight is an eighth of the whole (own choice)."""

_Z = 4.0
_FEWEST = 6
_POOLED = 3


def reference_curve(rank: Series, d_prime: Series, raw: dict[str, float], *, seen: bool) -> Curve | None:
    """Return separation on the reference pairs: the reciprocal rank, or d' where the rank is above .95 or missing.

    Without the pairs' own ranks an interval takes the largest variance that such a mean can have, so a fall is
    called late rather than wrongly.

    Args:
        rank: ``pairs/mrr`` on the reference pairs.
        d_prime: ``pairs/d_prime`` on them.
        raw: What the raw encoder has, by reading.
        seen: Whether the pairs are trained on.
    """
    rank, d_prime = equal_n(rank.finite()), d_prime.finite()
    saturated = not len(rank) or float(rank.values[0]) > SATURATED
    series, relative = (d_prime, True) if saturated and len(d_prime) > 1 else (rank, False)
    if len(series) < 2:
        return None
    start = [("start", float(series.values[0]))]
    against = start + ([("raw", raw[series.reading])] if series.reading in raw else [])
    changes = tuple(_of_reference(series, name, before, relative=relative) for name, before in against)
    if relative and len(rank) and float(rank.values[-1]) > SATURATED and changes[0].rose:
        # Pairs that are nearly all found, and further apart than at step 0, need not be as far as a good encoder's.
        changes = tuple(replace(one, fell=False) if one.against == "raw" else one for one in changes)
    return _curve("reference pairs", series, changes, d_prime, seen=seen)


def part_curve(rank: Series, d_prime: Series, *, seen: bool) -> Curve | None:
    """Return separation on the part of the reference pairs that is read often, against its best stretch.

    Three readings pooled, at least .02, four errors; without the pairs' own ranks an error takes the largest variance
    that such a mean can have. None for fewer than six readings.

    Args:
        rank: ``pairs/mrr`` of one number of pairs.
        d_prime: ``pairs/d_prime`` of the same.
        seen: Whether the pairs are trained on.
    """
    rank = rank.finite()
    if len(rank) < _FEWEST:
        return None
    pooled = np.convolve(rank.values, np.ones(_POOLED) / _POOLED, mode="valid")
    best, after, n = float(pooled[:-_POOLED].max()), float(pooled[-1]), int(rank.n[-1])
    error = math.sqrt(sum(max(0.0, one * (1 - one)) for one in (best, after)) / max(n, 1))
    p = normal_p(_Z)
    change = _tested("best", best, after, error, n=n, cut=-SMALLEST_FROM_BEST, relative=False, p=p)
    return _curve("reference pairs", rank, (change,), d_prime.finite(), seen=seen)


def batch_curve(rank: Series, d_prime: Series) -> Curve | None:
    """Return separation within batches, pooled over windows; None for too few readings.

    The last tenth of the readings against steps 1 to 3 and against the best stretch before. d' counts from a fall
    of a quarter on, the reciprocal rank from .02. The noise is that of neighbouring readings.
    """
    found = []
    for series, relative in ((d_prime.finite(), True), (rank.finite(), False)):
        if len(series) >= _FEWEST:
            changes = _of_batches(series, relative=relative)
            found.append(_curve(BATCH, series, changes, series, seen=True))
    return next((one for one in found if one.fell), found[0] if found else None)


def same_vectors(rank: Series, own: Series, others: Series) -> bool:
    """Return whether own pairs are one vector each and others are not: retrieval among such pairs cannot fall.

    Args:
        rank: ``pairs/mrr``.
        own: ``pairs/cosine_mean``.
        others: ``pairs/cosine_random_mean``.
    """
    rank, own, others = rank.finite(), own.finite(), others.finite()
    if not len(own) or not len(others) or (len(rank) and rank.values.min() <= _EASY):
        return False
    return float(own.values.min()) > 1 - _EQUAL > float(others.values.min())


def equal_n(series: Series) -> Series:
    """Return the part of a series that was read on as many rows as its first: ranks at other n are not compared."""
    return series.where(series.n == series.n[0]) if len(series) else series


def _curve(name: str, series: Series, changes: tuple[Change, ...], onsets: Series, *, seen: bool) -> Curve:
    curve = Curve(
        name=name,
        collection=name,
        metric=series.reading.partition("/")[2],
        inside=True,
        seen=seen,
        steps=tuple(int(step) for step in series.steps),
        values=tuple(float(value) for value in series.values),
        changes=changes,
    )
    if not curve.fell:
        return curve
    onset = change_point(onsets.steps, onsets.values) or change_point(series.steps, series.values)
    since = onset.step if onset else curve.steps[-1]
    return replace(curve, onset=onset, outside=tuple(step for step in curve.steps if step >= since))


def _of_reference(series: Series, against: str, before: float, *, relative: bool) -> Change:
    after, n = float(series.values[-1]), int(series.n[-1])
    if n < 2:
        value = (after - before) / abs(before) if relative and before else after - before
        return Change(against=against, before=before, after=after, value=value, interval=None, fell=None)
    if relative:
        error = math.sqrt((2 + (before**2 + after**2) / 2) / n)
    else:
        error = math.sqrt(sum(max(0.0, one * (1 - one)) for one in (before, after)) / n)
    cut = -D_PRIME_FALL if relative else -SMALLEST
    return _tested(against, before, after, error, n=n, cut=cut, relative=relative, p=CRITICAL_P)


def _of_batches(series: Series, *, relative: bool) -> tuple[Change, ...]:
    values, count = series.values, len(series)
    width = max(3, min(20, count // 10))
    noise = max(float(np.std(np.diff(values))) / math.sqrt(2), 1e-3 * abs(float(values[0])))
    after, n = float(values[-width:].mean()), int(series.n[-1])
    cut = -D_PRIME_FALL if relative else -SMALLEST_FROM_BEST
    first = values[series.steps <= max(3, int(series.steps[0]))]
    error = noise * math.sqrt(1 / len(first) + 1 / width)
    p = normal_p(_Z)
    found = [_tested("start", float(first.mean()), after, error, n=n, cut=cut, relative=relative, p=p)]
    earlier = np.convolve(values, np.ones(width) / width, mode="valid")[: count - 2 * width + 1]
    if len(earlier):
        # The best of many windows is above the rest by chance alone.
        luck = noise / math.sqrt(width) * math.sqrt(2 * math.log(max(len(earlier) / width, 1.0)) + 1e-9)
        best = float(earlier.max()) - luck
        error = noise * math.sqrt(2 / width)
        found.append(_tested("best", best, after, error, n=n, cut=cut, relative=relative, p=p))
    return tuple(found)


def _tested(
    against: str, before: float, after: float, error: float, *, n: int, cut: float, relative: bool, p: float
) -> Change:
    unit = abs(before) if relative and before else 1.0
    value, spread = (after - before) / unit, error / unit
    found = 1.0 if after == before else 0.0 if spread == 0 else normal_p(value / spread)
    interval = Interval(low=value - 1.96 * spread, high=value + 1.96 * spread, p=found, n=n)
    fell = value <= cut and found <= p
    return Change(against=against, before=before, after=after, value=value, interval=interval, fell=fell, cut=cut)
