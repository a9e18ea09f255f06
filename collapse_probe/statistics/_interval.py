"""A number with its interval: what every comparison of this layer comes down to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

ROUNDING = 1e-12
"""Relative size below which differences of equal numbers are rounding."""

_Z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end; NaN where the sample gives none.
        high: Upper end.
        p: Two-sided p of the value 0; NaN where the sample gives none.
    """

    value: float
    low: float
    high: float
    p: float

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def t_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean of independent values with its t interval and p (scipy's one-sample t-test).

    Args:
        values: ``[n]``, at least one; NaN ends for one value, an interval without width where all are equal.

    Raises:
        ValueError: no value.

    >>> t_interval([1.0, 1.0, 1.0])
    Interval(value=1.0, low=1.0, high=1.0, p=0.0)
    """
    found = np.asarray(values, dtype=float)
    if not found.size:
        raise ValueError("t_interval needs at least one value, got none")
    return from_error(float(found.mean()), standard_error(found), len(found) - 1)


def from_error(value: float, error: float, df: float) -> Interval:
    """Return the t interval of an estimate.

    Args:
        value: The estimate.
        error: Its standard error, at least 0; NaN where it is unknown.
        df: Degrees of freedom of the error, above 0.
    """
    if math.isnan(error):
        return Interval(value, math.nan, math.nan, math.nan)
    if error == 0:
        return Interval(value, value, value, 1.0 if value == 0 else 0.0)
    # scipy.stats takes longer to import than all that reads a journal.
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(df, 0.975)) * error
    return Interval(value, value - half, value + half, 2 * float(stdtr(df, -abs(value) / error)))


def normal_p(z: float) -> float:
    """Return the two-sided p of a normal deviate.

    >>> round(normal_p(-1.96), 4)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of a mean; 0 where the values are equal but for rounding, NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    spread = float(values.std(ddof=1))
    return 0.0 if spread <= ROUNDING * np.abs(values).max() else spread / math.sqrt(len(values))


def resolvable(error: float) -> float:
    """Return the true difference that is resolved in 80 % of cases at 5 % two-sided: 2.80 standard errors."""
    return _Z * error
