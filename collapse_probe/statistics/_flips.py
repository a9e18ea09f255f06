"""Sign flips of whole queries: randomisation tests of one difference, and of several of one run together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from ._interval import ROUNDING, Interval, standard_error

DRAWS = 10_000
"""Draws of every randomisation test."""

_SEED = 20_251_118
_BLOCK = 2**22


def randomisation_p(differences: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided p of the sign-flip randomisation test of a mean difference.

    Every query's difference keeps or changes its sign at random. p = (1 + draws at least as extreme) / (1 + draws),
    so it is never 0; 1 where all differences are 0, NaN where one is NaN.

    Args:
        differences: ``[Q]``.
    """
    return max_t_p(np.asarray(differences, dtype=float)[:, None])[0]


def max_t_p(differences: np.ndarray, *, draws: int = DRAWS) -> list[float]:
    """Return the p of several mean differences of the same queries, judged together as in :func:`max_t`.

    Args:
        differences: ``[Q, E]``: of every query, for every evaluation.
        draws: How many; no p is below 1 / (1 + draws).
    """
    unit = _unit(np.asarray(differences, dtype=float))
    observed = np.abs(unit.sum(axis=0))
    # Sums of the same values in another order differ by rounding: an equal one has to count as extreme.
    slack = ROUNDING * np.abs(unit).sum(axis=0)
    extreme = np.zeros(unit.shape[1])
    for largest in _largest(unit, draws):
        extreme += np.sum(largest[:, None] >= observed - slack, axis=0)
    p_values = (1 + extreme) / (1 + draws)
    p_values[np.isnan(observed)] = math.nan
    return p_values.tolist()


def max_t(differences: np.ndarray) -> list[Interval]:
    """Return several mean differences of the same queries, judged together (Westfall and Young 1993).

    The signs of whole queries are flipped, the same for all evaluations, and each is compared with the largest
    statistic of any: p is adjusted for how many there are, and less severe than Holm's the more they resemble one
    another. The intervals hold all at once in 95 % of cases; they are of the same kind, over sign-flipped residuals.

    Args:
        differences: ``[Q, E]``: of every query, for every evaluation.

    Returns:
        An interval for each evaluation, with its adjusted p. NaN ends for one query, or where a difference is NaN;
        infinite ends where there are too few queries for 95 %.

    Raises:
        ValueError: not two-dimensional, or empty.
    """
    found = np.asarray(differences, dtype=float)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"max_t needs [Q, E], got {found.shape}")
    means, p_values = found.mean(axis=0), max_t_p(found)
    errors = np.array([standard_error(column) for column in found.T])
    half = errors * _critical(found - means, errors > 0)
    # An interval of equal differences has no width, whatever the critical value.
    half[errors == 0] = 0.0
    ends = zip(means.tolist(), half.tolist(), p_values, strict=True)
    return [Interval(mean, mean - width, mean + width, p) for mean, width, p in ends]


def _critical(residuals: np.ndarray, varied: np.ndarray) -> float:
    """Return the t value that the largest of the flipped residuals' statistics stays below in 95 % of draws."""
    if not varied.any():
        return 0.0
    n = len(residuals)
    largest = np.quantile(np.concatenate(list(_largest(_unit(residuals[:, varied]), DRAWS))), 0.95)
    # sum / norm and Student's t are monotone in each other: t^2 = (n - 1) u^2 / (n - u^2).
    rest = n - largest**2
    return math.sqrt((n - 1) * largest**2 / rest) if rest > ROUNDING * n else math.inf


def _unit(differences: np.ndarray) -> np.ndarray:
    """Return columns of length 1, so that no evaluation weighs more than another; a column of zeros stays."""
    norm = np.linalg.norm(differences, axis=0)
    return differences / np.where(norm == 0, 1.0, norm)


def _largest(unit: np.ndarray, draws: int) -> Iterator[np.ndarray]:
    """Yield the largest absolute sum over columns of every draw, in blocks of bounded memory."""
    known = unit[:, ~np.isnan(unit).any(axis=0)]
    known = known[np.any(known != 0, axis=1)] if known.size else known
    size = max(1, min(draws, _BLOCK // max(1, *known.shape)))
    for signs in _signs(len(known), draws, size) if size < draws else _kept_signs(len(known), draws):
        yield np.abs(signs @ known).max(axis=1, initial=0.0)


def _signs(n: int, draws: int, size: int) -> Iterator[np.ndarray]:
    """Yield the same signs ``[size, n]`` every time, until there are so many draws."""
    generator = np.random.default_rng(_SEED)
    for start in range(0, draws, size):
        shape = (min(size, draws - start), n)
        yield generator.integers(0, 2, size=shape, dtype=np.int8) * 2.0 - 1.0


@lru_cache(maxsize=2)
def _kept_signs(n: int, draws: int) -> tuple[np.ndarray, ...]:
    """Return the signs that one block holds; a report tests the same queries, and those that changed, many times."""
    return tuple(_signs(n, draws, draws))
