"""Shape checks and the working precision of measures."""

from __future__ import annotations

from torch import Tensor


def matrix(name: str, z: Tensor, *, hint: str = "one embedding a row") -> Tensor:
    """Return ``z`` in at least float32 after checking that it is ``[N, D]`` with rows and columns.

    Raises:
        ValueError: another shape, or nothing in it.
    """
    if z.ndim != 2 or z.shape[0] == 0 or z.shape[1] == 0:
        raise ValueError(f"{name} needs [N, D], got {tuple(z.shape)}: pass {hint}")
    return z if z.dtype.itemsize >= 4 else z.float()


def pair(name: str, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return two checked matrices of one shape.

    Raises:
        ValueError: their shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"{name} needs two tensors of one shape, got {tuple(first.shape)} and {tuple(second.shape)}: "
            "pass row i of the one for row i of the other"
        )
    return matrix(name, first), matrix(name, second)


def square(name: str, covariance: Tensor) -> Tensor:
    """Return a checked ``[D, D]`` matrix in at least float32.

    Raises:
        ValueError: not square.
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or covariance.shape[0] == 0:
        raise ValueError(f"{name} needs [D, D], got {tuple(covariance.shape)}: pass torch.cov(z.T)")
    return covariance if covariance.dtype.itemsize >= 4 else covariance.float()


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return numerator / denominator, and 0 where the denominator is 0."""
    safe = denominator.where(denominator != 0, denominator.new_ones(()))
    return (numerator / safe).where(denominator != 0, numerator.new_zeros(()))


def unit_rows(z: Tensor) -> Tensor:
    """Return rows divided by their norms; a row of norm 0 stays 0."""
    norms = z.norm(dim=1, keepdim=True)
    return z / norms.where(norms > 0, norms.new_ones(()))
