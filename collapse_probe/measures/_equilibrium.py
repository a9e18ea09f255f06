"""What a penalised residual predictor converges to, in closed form and by ridge regression."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ._checks import centred, pair, wide, widened
from ._shared import shared, sharing

_FOLDS = 2
_PENALTIES = tuple(10.0**power for power in range(-8, 3))


def penalty_ratio(
    *, lambda_residual: float, lambda_predictive: float, dimension: int, reduction: Literal["sum", "mean"]
) -> float:
    """Return mu, the l2 penalty on delta in units of the predictive term.

    The predictive term is a mean over D, so a penalty that is a sum over D counts D times.

    Args:
        lambda_residual: Weight of E||delta||^2.
        lambda_predictive: Weight of the mean squared error of q + alpha delta.
        dimension: D.
        reduction: Of the penalty over dimensions.

    Returns:
        Of at least 0; infinite where only the penalty has a weight, 0 where neither has one.

    >>> round(penalty_ratio(lambda_residual=0.01, lambda_predictive=1.2, dimension=768, reduction="sum"), 6)
    6.4
    """
    factor = dimension if reduction == "sum" else 1
    if lambda_predictive == 0:
        return math.inf if lambda_residual > 0 else 0.0
    return lambda_residual * factor / lambda_predictive


def shrinkage(alpha: float, mu: float) -> float:
    """Return s = alpha^2 / (alpha^2 + mu): at the optimum alpha delta = s times the best correction.

    The optimum of lambda_predictive E||alpha delta - r||^2 / D + lambda_residual E||delta||^2 over all functions of q
    (and over all linear ones) is a uniform shrinkage of E[r | q] (of the best linear correction): the direction stays.

    Args:
        alpha: The scale of delta; its sign does not matter.
        mu: From :func:`penalty_ratio`.

    Returns:
        In ``[0, 1]``; 1 without a penalty.

    >>> round(shrinkage(0.1, 6.4), 5)
    0.00156
    """
    if mu == 0:
        return 1.0
    return alpha**2 / (alpha**2 + mu)


def ridge_correction(query: Tensor, document: Tensor, *, penalty: float = 0.0) -> Tensor:
    """Return the best affine correction of the queries, m(q) = a + W q, fitted to d - q by ridge regression.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``.
        penalty: On ||W||^2, in units of the mean variance of a query dimension.

    Returns:
        ``[N, D]``, in the widest type, for the rows that it was fitted on.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> q = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> torch.allclose(ridge_correction(q, 3 * q), 2 * q)
    True
    """
    query, document = pair("ridge_correction", query, document)
    fit = _fit(query, document, penalty)
    return _apply(fit, query)


def explained_residual(query: Tensor, document: Tensor) -> Tensor:
    """Return the share of d - q that a ridge regression on q explains on rows that it was not fitted on.

    1 - E||d - q - m(q)||^2 / E||d - q||^2 for the best affine m: no limit on what another correction can gain. Two
    folds; each fold's penalty is chosen on a part of the rows that it is fitted on.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``.

    Returns:
        A scalar of at most 1; 0 or less where nothing can be predicted, 0 where d = q.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``, or fewer than 8 rows.

    >>> q = torch.randn(400, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> explained_residual(q, 2 * q).item() > 0.999
    True
    """
    query, document = pair("explained_residual", query, document)
    if len(query) < 8:
        raise ValueError(f"explained_residual needs at least 8 rows, got {len(query)}: pass more pairs")
    order = torch.randperm(len(query), generator=torch.Generator().manual_seed(0)).to(query.device)
    error = query.new_zeros((), dtype=wide(query.device))
    size = query.new_zeros((), dtype=wide(query.device))
    for fold in range(_FOLDS):
        held_out, rest = order[fold::_FOLDS], torch.cat([order[i::_FOLDS] for i in range(_FOLDS) if i != fold])
        fit = _fit(query[rest], document[rest], _best_penalty(query[rest], document[rest]))
        residual = widened(document[held_out] - query[held_out])
        error += (residual - _apply(fit, query[held_out])).square().sum()
        size += residual.square().sum()
    return 1 - error / size if size > 0 else size


_Fit = tuple[Tensor, Tensor, Tensor]


def _fit(query: Tensor, document: Tensor, penalty: float) -> _Fit:
    """Return weights ``[D, D]`` and the two means."""
    residual = widened(document) - widened(query)
    x, y = centred(query), centred(residual)
    strength = penalty * x.square().sum() / x.shape[1]
    values, vectors = _decomposed(query)
    floor = values[-1].clamp(min=0) * x.shape[1] * torch.finfo(x.dtype).eps
    kept = values > floor
    inverse = torch.where(kept, 1 / torch.where(kept, values + strength, 1.0), 0.0)
    return vectors @ (inverse[:, None] * (vectors.T @ (x.T @ y))), widened(query).mean(dim=0), residual.mean(dim=0)


@shared
def _decomposed(query: Tensor) -> tuple[Tensor, Tensor]:
    x = centred(query)
    return tuple(torch.linalg.eigh(x.T @ x))


def _apply(fit: _Fit, query: Tensor) -> Tensor:
    weights, query_mean, residual_mean = fit
    return residual_mean + (widened(query) - query_mean) @ weights


def _best_penalty(query: Tensor, document: Tensor) -> float:
    cut = max(1, len(query) // 4)
    residual = widened(document[:cut] - query[:cut])
    fitted, target = query[cut:], document[cut:]
    with sharing():  # one decomposition for all penalties
        fits = {penalty: _fit(fitted, target, penalty) for penalty in _PENALTIES}
    errors = {penalty: float((residual - _apply(fit, query[:cut])).square().sum()) for penalty, fit in fits.items()}
    return min(errors, key=lambda penalty: errors[penalty])
