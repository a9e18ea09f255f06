"""Isotropy terms: what keeps embeddings from collapsing, or is meant to."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ._batch import Batch

_KNOTS = 17
_VICREG_EPSILON = 1e-4
_KOLEO_EPSILON = 1e-8


class Isotropy(nn.Module):
    """The founding covariance penalty ``||C - var I||_F / D`` over queries and documents together.

    C is the covariance of the 2N embeddings of the batch and var the variance of all their entries
    flattened. Two blind spots: it is homogeneous of degree 2 in the embeddings, so shrinking them to zero
    satisfies it (no scale anchor), and the flattened variance ignores a common shift along the all-ones
    vector. It is 0.0000 to four decimals for any embedding of tiny scale, isotropic or not; at unit
    variance its floor for r = 2N - 1 samples is sqrt(1/r - 1/D), about 0.08 at N = 64, D = 768.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the penalty, a scalar of at least 0."""
        both = torch.cat([batch.query, batch.document])
        covariance = torch.cov(both.T)
        dimension = both.shape[1]
        target = both.var() * torch.eye(dimension, device=both.device, dtype=both.dtype)
        return torch.linalg.matrix_norm(covariance - target) / dimension


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation: the Epps-Pulley statistic averaged over random directions.

    Balestriero & LeCun 2025 (LeJEPA). N times the weighted squared distance between the empirical characteristic
    function of a projection and that of N(0, 1). Two conventions go under the name: ``lejepa``, the authors'
    repository (t from 0 to 3, an even integrand counted twice, 1,024 directions), and ``paper``, Algorithm 1 (t from
    -5 to 5, 256 directions). Their values differ; both are of the form N integral |phi - exp(-t^2/2)|^2 exp(-t^2/2).
    phi keeps its phase, cosines and sines apart: its modulus alone would hide a shift of the mean.

    It sees scale, mean and rank. At N(0, I) its expectation does not depend on N (:func:`noise_floor`, 1.06 for the
    whole line); with all rows at zero it is 0.409 N. Its gradient vanishes there, d/dsigma = -3.24 sigma N as sigma
    goes to 0: it does not lift embeddings that have collapsed to a point.

    Under torch.distributed the sums of cosines and sines and the number of rows are added over processes before
    squaring, with an all_reduce that autograd knows: a plain one has the right value and gradients too small by the
    number of processes. Directions depend on ``step`` alone, so that every process and a resumed run draw the same.

    Args:
        convention: ``lejepa`` or ``paper``.
        slices: Random directions; the convention's own number where None.
        seed: Seed of the directions.

    Attributes:
        step: Set by the training loop before every step.
    """

    def __init__(self, *, convention: Literal["lejepa", "paper"], slices: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.convention = convention
        self.slices = slices or (1024 if convention == "lejepa" else 256)
        self.seed = seed
        self.step = 0

    def forward(self, batch: Batch) -> Tensor:
        """Return the statistic, a scalar of at least 0."""
        z = _both(batch)
        points, weights = (part.to(z) for part in _grid(self.convention))
        projected = z @ self._directions(z.shape[1]).to(z)
        angles = projected[:, :, None] * points
        sums = torch.stack([angles.cos().sum(dim=0), angles.sin().sum(dim=0)])
        sums, rows = _over_processes(sums, len(z))
        mean_cosine, mean_sine = sums / rows
        distance = (mean_cosine - torch.exp(-points.square() / 2)).square() + mean_sine.square()
        return rows * (distance @ weights).mean()

    def _directions(self, dimension: int) -> Tensor:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.step)
        directions = torch.randn(dimension, self.slices, generator=generator)
        return directions / directions.norm(dim=0)


class VICReg(nn.Module):
    """The variance and covariance terms of VICReg (Bardes et al. 2022); its invariance term is the predictive one.

    25 v + c with v = mean_j relu(1 - sqrt(Var_j + 1e-4)) and c = sum of squared off-diagonal covariances / D, over
    queries and documents together; the public code takes both for each branch and halves the variance term alone.
    v anchors the scale at 1; its hinge has the derivative -sigma / sqrt(sigma^2 + 1e-4), so it too is weak far
    below sigma = 0.01. c alone is homogeneous of degree 4 and satisfied by shrinking. At N(0, I) c is about
    (D - 1) / (n - 1), not 0, and 25 v about 25 / sqrt(4 pi (n - 1)): half of the sampled deviations fall below 1.

    Args:
        variance_weight: Of v.
        covariance_weight: Of c.
    """

    def __init__(self, *, variance_weight: float = 25.0, covariance_weight: float = 1.0) -> None:
        super().__init__()
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted terms, a scalar of at least 0."""
        covariance = torch.cov(_both(batch).T)
        variances = covariance.diagonal()
        hinge = nn.functional.relu(1 - torch.sqrt(variances + _VICREG_EPSILON)).mean()
        off_diagonal = (covariance.square().sum() - variances.square().sum()) / len(covariance)
        return self.variance_weight * hinge + self.covariance_weight * off_diagonal


class KoLeo(nn.Module):
    """The Kozachenko-Leonenko spread term, -mean log of the distance to the nearest neighbour (Sablayrolles 2018).

    On unit vectors, so blind to scale. log is of the distance + 1e-8, as in DINOv2's code: two equal rows give
    a large value. Their gradient is finite but 0, by the epsilon inside the distance: it does not part duplicates.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the term; about 17.7 at total collapse, negative where neighbours are more than 1 apart."""
        x = nn.functional.normalize(_both(batch), dim=1)
        with torch.no_grad():
            products = x @ x.T
            nearest = products.fill_diagonal_(-2.0).argmax(dim=1)
        squared = (x - x[nearest]).square().sum(dim=1)
        distance = torch.sqrt(squared + _KOLEO_EPSILON**2)
        return -torch.log(distance + _KOLEO_EPSILON).mean()


class Uniformity(nn.Module):
    """log of the mean over pairs of exp(-t ||x - y||^2) on unit vectors (Wang & Isola 2020); blind to scale.

    0 at total collapse, to zero as well; about -2 t + 2 t^2 / D for uniform ones.

    Args:
        t: Sharpness of the kernel.
    """

    def __init__(self, *, t: float = 2.0) -> None:
        super().__init__()
        self.t = t

    def forward(self, batch: Batch) -> Tensor:
        """Return the term, a scalar in [-4 t, 0]."""
        x = nn.functional.normalize(_both(batch), dim=1)
        rows, columns = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
        products = x @ x.T
        norms = products.diagonal()  # not 2 - 2 x.y: rows of zeros stay zeros, and would be told as far apart
        squared = (norms[rows] + norms[columns] - 2 * products[rows, columns]).clamp(min=0)
        return torch.logsumexp(-self.t * squared, dim=0) - math.log(len(rows))


ISOTROPY: dict[str, Callable[[], nn.Module]] = {
    "covariance": Isotropy,
    "sigreg": partial(SIGReg, convention="lejepa"),
    "sigreg_paper": partial(SIGReg, convention="paper"),
    "vicreg": VICReg,
    "koleo": KoLeo,
    "uniformity": Uniformity,
}
"""Every isotropy term by its name in a recipe."""


def noise_floor(name: str, *, n: int, dimension: int) -> float | None:
    """Return what a term is worth for n draws of N(0, I): its expectation, or close to it; None where unknown.

    Exact for SIGReg on its own grid. The covariance penalty's is leading order in 1 / n, uniformity's in 1 / D.
    VICReg's is its covariance term's, exact and a lower bound: left out is the hinge on sampled variances, about
    25 / sqrt(4 pi (n - 1)), 0.63 at n = 128, which is most of the whole where D is well below 25 sqrt(n / 4 pi).

    Args:
        name: A key of :data:`ISOTROPY`.
        n: Rows, queries and documents together.
        dimension: D.

    >>> round(noise_floor("sigreg_paper", n=128, dimension=768), 3)
    1.059
    """
    if name in ("sigreg", "sigreg_paper"):
        points, weights = _grid("lejepa" if name == "sigreg" else "paper")
        return float(((1 - torch.exp(-points.square())) * weights).sum())
    if name == "covariance":
        return math.sqrt((dimension + 1) / ((n - 1) * dimension))
    if name == "vicreg":
        return (dimension - 1) / (n - 1)
    if name == "uniformity":
        return -4 + 8 / dimension
    return None


def collapse_value(name: str, *, n: int) -> float:
    """Return a term's value where all rows are zero; all but SIGReg have the same at any other single point.

    Args:
        name: A key of :data:`ISOTROPY`.
        n: Rows, queries and documents together.

    >>> round(collapse_value("sigreg_paper", n=128), 1), collapse_value("covariance", n=128)
    (52.3, 0.0)
    """
    if name in ("sigreg", "sigreg_paper"):
        points, weights = _grid("lejepa" if name == "sigreg" else "paper")
        return n * float(((1 - torch.exp(-points.square() / 2)).square() * weights).sum())
    if name == "vicreg":
        return 25 * (1 - math.sqrt(_VICREG_EPSILON))
    if name == "koleo":
        return -math.log(2 * _KOLEO_EPSILON)
    return 0.0


def _both(batch: Batch) -> Tensor:
    return torch.cat([batch.query, batch.document])


def _grid(convention: str) -> tuple[Tensor, Tensor]:
    """Return the points ``[T]`` and their weights, the window exp(-t^2/2) in them, float64."""
    low, high, sides = (0.0, 3.0, 2.0) if convention == "lejepa" else (-5.0, 5.0, 1.0)
    points = torch.linspace(low, high, _KNOTS, dtype=torch.float64)
    weights = torch.full((_KNOTS,), sides * (high - low) / (_KNOTS - 1), dtype=torch.float64)
    weights[[0, -1]] /= 2
    return points, weights * torch.exp(-points.square() / 2)


def _over_processes(sums: Tensor, rows: int) -> tuple[Tensor, Tensor | int]:
    """Return sums and rows added over all processes; what was given where there is one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return sums, rows
    if torch.distributed.get_world_size() == 1:
        return sums, rows
    count = torch.tensor(rows, device=sums.device)
    torch.distributed.all_reduce(count)
    return _SummedOverProcesses.apply(sums), count


class _SummedOverProcesses(torch.autograd.Function):
    """A sum over processes whose gradient is summed over processes, too."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total
