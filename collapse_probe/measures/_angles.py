"""Angles between embeddings of different texts: anisotropy and uniformity. Blind to scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._checks import matrix, nan_from, unit_rows

__all__ = ["mean_cosine", "uniformity"]


def mean_cosine(z: Tensor) -> Tensor:
    """Return the mean cosine over all pairs of different rows (anisotropy; Ethayarajh 2019).

    Computed as (N ||m||^2 - 1) / (N - 1) with m the mean of the unit rows, in O(N D). Raw encoders differ
    widely (0.05 to 0.5 on unrelated sentences), so read its change against the raw encoder.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[-1 / (N - 1), 1]``: near 0 isotropic, 1 all in one direction; 0 for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> mean_cosine(torch.eye(3)).abs().item() < 1e-6
    True
    """
    z = matrix("mean_cosine", z)
    n = len(z)
    if n < 2:
        return nan_from(z, z.new_zeros(()))
    unit = unit_rows(z)
    cosine = (unit.sum(dim=0).square().sum() - unit.square().sum()) / (n * (n - 1))
    return cosine.clamp(-1 / (n - 1), 1.0)


def uniformity(z: Tensor, *, t: float = 2.0) -> Tensor:
    """Return log E exp(-t ||x - y||^2) over pairs of different unit rows (Wang & Isola 2020).

    Costs O(N^2 D) time and N^2 memory: for samples of some thousands. Blind to scale by construction.

    Args:
        z: ``[N, D]``.
        t: Temperature of the Gaussian potential.

    Returns:
        A scalar of at most 0: 0 at total collapse, about -2 t for a uniform sphere of many dimensions;
        0 for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 4)
    -8.0
    """
    z = matrix("uniformity", z)
    n = len(z)
    if n < 2:
        return nan_from(z, z.new_zeros(()))
    unit = unit_rows(z)
    norms = unit.square().sum(dim=1)
    # In place: at some thousand rows every further matrix costs as much as the product itself.
    exponents = (unit @ unit.T).mul_(2 * t).sub_(t * norms).sub_(t * norms[:, None]).clamp_(max=0)
    exponents.fill_diagonal_(-math.inf)
    largest = exponents.amax()
    potential = torch.log(exponents.sub_(largest).exp_().sum()) + largest
    return (potential - math.log(n * (n - 1))).clamp(max=0)
