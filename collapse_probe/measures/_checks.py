"""Shape checks and the working precision of measures."""

from __future__ import annotations

import torch
from torch import Tensor

from ._shared import shared


def wide(device: torch.device) -> torch.dtype:
    """Return the widest floating type that a device has: float64, but float32 on Apple's.

    >>> wide(torch.device("cpu")), wide(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


def widened(z: Tensor) -> Tensor:
    """Return ``z`` in the widest type of its device."""
    dtype = wide(z.device)
    return z if z.dtype is dtype else _converted(z, dtype)


@shared
def _converted(z: Tensor, dtype: torch.dtype) -> Tensor:
    return z.to(dtype)


def matrix(name: str, z: Tensor, *, hint: str = "one embedding a row") -> Tensor:
    """Return ``z`` in at least float32 after checking that it is ``[N, D]`` with rows and columns.

    Raises:
        ValueError: another shape, or nothing in it.
    """
    if z.ndim != 2 or z.shape[0] == 0 or z.shape[1] == 0:
        raise ValueError(f"{name} needs [N, D], got {tuple(z.shape)}: pass {hint}")
    return at_least_float32(z)


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


def spectrum_of(name: str, spectrum: Tensor) -> Tensor:
    """Return checked singular values ``[K]``.

    Raises:
        ValueError: not a vector.
    """
    if spectrum.ndim != 1 or len(spectrum) == 0:
        raise ValueError(f"{name} needs [K], got {tuple(spectrum.shape)}: pass spectrum(covariance(z), n=len(z))")
    return spectrum


def square(name: str, covariance: Tensor) -> Tensor:
    """Return a checked ``[D, D]`` matrix in at least float32.

    Raises:
        ValueError: not square.
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or covariance.shape[0] == 0:
        raise ValueError(f"{name} needs [D, D], got {tuple(covariance.shape)}: pass torch.cov(z.T)")
    return at_least_float32(covariance)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return numerator / denominator, and 0 where the denominator is 0."""
    zero = denominator == 0
    return (numerator / denominator.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)


def norm(z: Tensor) -> Tensor:
    """Return the L2 norm of all entries in the widest type.

    Squares of float32 entries overflow from 1e19 on and vanish below 1e-23: exploded or collapsed embeddings
    would read inf / inf or 0.
    """
    return torch.linalg.vector_norm(widened(z))


@shared
def row_norms(z: Tensor) -> Tensor:
    """Return the L2 norms ``[..., N]`` of the rows in the widest type, for the reason given at :func:`norm`."""
    return torch.linalg.vector_norm(widened(z), dim=-1)


@shared
def unit_rows(z: Tensor) -> Tensor:
    """Return rows divided by their norms; a row of norm 0 stays 0."""
    norms = row_norms(z).to(z.dtype)[:, None]
    return z / norms.where(norms > 0, norms.new_ones(()))


@shared
def centred(z: Tensor) -> Tensor:
    """Return rows minus their mean in the widest type, exactly 0 where all rows are equal.

    The first row goes first: the rounded mean of equal rows need not equal them, and what is left would read
    as variance at total collapse.
    """
    shifted = widened(z) - widened(z[0])
    return shifted - shifted.mean(dim=0)


@shared
def centred_squares(z: Tensor) -> Tensor:
    """Return the squared entries of :func:`centred`."""
    return centred(z).square()


@shared
def scatter_trace(z: Tensor) -> Tensor:
    """Return the sum of the squared entries of :func:`centred`, N - 1 times the trace of the covariance."""
    return centred_squares(z).sum()


def nan_from(source: Tensor, value: Tensor) -> Tensor:
    """Return a value that was made by comparing, or NaN where its source has one: no comparison with NaN holds."""
    return value.masked_fill(has_nan(source), torch.nan)


@shared
def has_nan(source: Tensor) -> Tensor:
    """Return whether any entry is NaN, as a scalar on the device: the largest is, where one is."""
    return source.amax().isnan() if source.numel() else source.new_zeros((), dtype=torch.bool)


def at_least_float32(z: Tensor) -> Tensor:
    """Return ``z``, and halves and integers as float32."""
    return z if z.dtype.itemsize >= 4 and z.is_floating_point() else _converted(z, torch.float32)
