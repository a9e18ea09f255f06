"""Bands for isotropic vectors at n rows and D dimensions: what a measure reads where there is nothing to see.

Formulas, not simulations; each is 4 standard deviations wide, about 1 in 10,000, and a test draws samples against it.
For pairs, queries and documents know nothing of each other.
"""

from __future__ import annotations

import math

from ._measure import Band

_Z = 4.0


def mean_cosine(n: int, dimension: int) -> Band:
    """N ||m||^2 is chi-square over D, with m the mean of unit rows."""
    low, high = _chi_square(dimension)
    return Band((low - 1) / max(n - 1, 1), min((high - 1) / max(n - 1, 1), 1.0))


def common_share(n: int, dimension: int) -> Band:
    """The mean of n rows has 1 / n of a row's square, times chi-square over D."""
    low, high = _chi_square(dimension)
    return Band(low / n, min(high / n, 1.0))


def grand_mean_fraction(n: int, dimension: int) -> Band:
    """The cosine of a random direction with a fixed one."""
    return Band(0.0, min(_Z / math.sqrt(dimension), 1.0))


def participation_ratio(n: int, dimension: int) -> Band:
    """With U = D / PR - 1, v U - D is normal with mean 1 and variance 4 (John's statistic; Ledoit & Wolf 2002)."""
    return _participation(n - 1, dimension)


def participation_ratio_uncentred(n: int, dimension: int) -> Band:
    """As :func:`participation_ratio`, without the degree of freedom that the mean costs."""
    return _participation(n, dimension)


def participation_ratio_corrected(n: int, dimension: int) -> Band:
    """The same statistic put into the corrected ratio; D itself is its upper clamp."""
    v = n - 1
    if v < 2:
        return Band(0.0, float(dimension))
    factor = v**2 / ((v - 1) * (v + 2))
    return Band(max(1.0, dimension / (factor * (1 + (1 + 2 * _Z) / v))), float(dimension))


def isoscore_corrected(n: int, dimension: int) -> Band:
    """(PR - 1) / (D - 1) of the corrected ratio."""
    ranks, others = participation_ratio_corrected(n, dimension), max(dimension - 1, 1)
    return Band(max(ranks.low - 1, 0.0) / others, max(ranks.high - 1, 0.0) / others)


def top_share(n: int, dimension: int) -> Band:
    """The largest eigenvalue is Tracy-Widom about its edge (Johnstone 2001), over the trace v D."""
    v = n - 1
    if min(v, dimension) < 2:
        return Band(0.0, 1.0)
    edge = (math.sqrt(v - 1) + math.sqrt(dimension)) ** 2
    width = math.sqrt(edge) * (1 / math.sqrt(v - 1) + 1 / math.sqrt(dimension)) ** (1 / 3)
    trace = v * dimension
    spread = _Z * math.sqrt(2 / trace)
    low, high = (edge - 5.5 * width) / trace * (1 - spread), (edge + 5.0 * width) / trace * (1 + spread)
    return Band(max(low, 1 / min(v, dimension)), min(high, 1.0))


def uniformity(n: int, dimension: int) -> Band:
    """The moments of exp(4 cos) on the sphere are Bessel series, and cosines are independent pair by pair."""
    mean, second = _bessel(4.0, dimension), _bessel(8.0, dimension)
    pairs = max(n * (n - 1) / 2, 1)
    spread = _Z * math.sqrt(max(second - mean**2, 0.0) / pairs)
    return Band(math.log(max(mean - spread, math.exp(-4.0))) - 4, min(math.log(mean + spread) - 4, 0.0))


def pair_cosine(n: int, dimension: int) -> Band:
    """The mean of n cosines, each of variance 1 / D."""
    return _around(0.0, 1 / math.sqrt(n * dimension), low=-1.0)


def alignment(n: int, dimension: int) -> Band:
    """The difference of a mean of n cosines and one of n times 8 others."""
    return _around(0.0, math.sqrt(1.25 / (n * dimension)), low=-2.0, high=2.0)


def d_prime(n: int, dimension: int) -> Band:
    """A mean of n own scores against all others, in units of their deviation."""
    return _around(0.0, 1 / math.sqrt(max(n - 1, 1)), low=-math.inf, high=math.inf)


def accuracy(n: int, dimension: int) -> Band:
    """A share of n queries, each right by 1 in n."""
    return _around(1 / n, math.sqrt((1 - 1 / n) / n / n) * 1.5)


def mrr(n: int, dimension: int) -> Band:
    """The mean of 1 / rank, the rank even among n."""
    mean = math.fsum(1 / rank for rank in range(1, n + 1)) / n
    second = math.fsum(1 / rank**2 for rank in range(1, n + 1)) / n
    return _around(mean, math.sqrt(max(second - mean**2, 0.0) / n) * 1.25)


def auc(n: int, dimension: int) -> Band:
    """The mean of n even shares."""
    return _around(0.5, 1 / math.sqrt(12 * n))


def side_gap(n: int, dimension: int) -> Band:
    """The square of the difference of two means is 2 / n of the variance, times chi-square over D."""
    low, high = _chi_square(dimension)
    return Band(math.sqrt(2 / n * low) / 1.1, math.sqrt(2 / n * high) * 1.1)


def _around(middle: float, deviation: float, *, low: float = 0.0, high: float = 1.0) -> Band:
    return Band(max(middle - _Z * deviation, low), min(middle + _Z * deviation, high))


def _participation(v: int, dimension: int) -> Band:
    if v < 1:
        return Band(0.0, 1.0)
    low, high = (dimension / (1 + max(dimension + 1 + sign * 2 * _Z, 0.0) / v) for sign in (1, -1))
    limit = float(min(v, dimension))
    return Band(min(max(low, 1.0), limit), min(max(high, 1.0), limit))


def _chi_square(dimension: int) -> tuple[float, float]:
    """The ends of chi-square over its degrees of freedom (Wilson & Hilferty 1931)."""
    part = 2 / (9 * dimension)
    low, high = (max(1 - part + sign * _Z * math.sqrt(part), 0.0) ** 3 for sign in (-1, 1))
    return low, high


def _bessel(kappa: float, dimension: int) -> float:
    """E exp(kappa cos) for the cosine of a random direction: the series 0F1(D / 2; kappa^2 / 4)."""
    total, term = 1.0, 1.0
    for k in range(1, 200):
        term *= kappa**2 / 4 / (k * (dimension / 2 + k - 1))
        total += term
    return total
