"""The closed form of the penalised correction, against gradients, least squares and training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from collapse_probe.measures import explained_residual, penalty_ratio, ridge_correction, shrinkage


def pairs(n: int = 400, d: int = 6, noise: float = 0.5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(n, d, generator=generator, dtype=torch.float64)
    w = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return q, q + q @ w + 0.3 + noise * torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", [0.0, 1e-3, 0.1])
def test_the_gradient_is_zero_at_the_forecast(reduction, weight):
    """At delta = s m / alpha the gradient over any affine delta vanishes, for both reductions."""
    alpha, weight_predictive = 0.1, 1.2
    q, d = pairs()
    dimension = q.shape[1]
    mu = penalty_ratio(
        lambda_residual=weight, lambda_predictive=weight_predictive, dimension=dimension, reduction=reduction
    )
    best = ridge_correction(q, d)
    delta = (shrinkage(alpha, mu) / alpha * best).requires_grad_()
    squared = delta.square().sum(dim=1) if reduction == "sum" else delta.square().mean(dim=1)
    loss = weight_predictive * (q + alpha * delta - d).square().mean() + weight * squared.mean()
    (gradient,) = torch.autograd.grad(loss, delta)
    design = torch.cat([q, torch.ones(len(q), 1, dtype=q.dtype)], dim=1)
    assert (design.T @ gradient).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("weight", "reduction", "alpha", "expected"),
    [
        (0.01, "sum", 0.1, 0.00156),
        (0.01, "sum", 0.0772, 0.00093),
        (0.01, "mean", 0.1, 0.545),
        (1e-4, "sum", 0.1, 0.135),
    ],
)
def test_the_founding_documents_shares(weight, reduction, alpha, expected):
    mu = penalty_ratio(lambda_residual=weight, lambda_predictive=1.2, dimension=768, reduction=reduction)
    assert shrinkage(alpha, mu) == pytest.approx(expected, rel=6e-3)


def test_edge_cases_of_the_forecast():
    assert shrinkage(0.0, 0.0) == 1.0
    assert shrinkage(0.0, 1.0) == 0.0
    assert shrinkage(-0.1, 6.4) == shrinkage(0.1, 6.4)
    assert penalty_ratio(lambda_residual=1.0, lambda_predictive=0.0, dimension=4, reduction="sum") == math.inf
    assert penalty_ratio(lambda_residual=0.0, lambda_predictive=0.0, dimension=4, reduction="sum") == 0.0


def test_ridge_is_numpys_least_squares():
    q, d = pairs()
    design = np.hstack([q.numpy(), np.ones((len(q), 1))])
    expected = design @ np.linalg.lstsq(design, (d - q).numpy(), rcond=None)[0]
    np.testing.assert_allclose(ridge_correction(q, d).numpy(), expected, atol=1e-10)


def test_ridge_survives_a_query_that_does_not_vary():
    q = torch.ones(20, 3)
    d = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    expected = (d - q).double().mean(dim=0).expand(20, 3)
    torch.testing.assert_close(ridge_correction(q, d), expected)


def test_explained_residual_knows_signal_from_noise():
    q, d = pairs(noise=0.0)
    assert explained_residual(q, d) > 0.999
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(q.shape, generator=generator, dtype=q.dtype)
    assert abs(float(explained_residual(q, q + noise))) < 0.1
    assert explained_residual(q, q) == 0


def test_explained_residual_is_the_share_that_was_planted():
    """A correction of variance 1 under noise of variance 1 explains a half."""
    generator = torch.Generator().manual_seed(2)
    q = torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    d = 2 * q + torch.randn(q.shape, generator=generator, dtype=q.dtype)
    assert float(explained_residual(q, d)) == pytest.approx(0.5, abs=0.02)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="explained_residual needs at least 8 rows, got 7: pass more pairs"):
        explained_residual(torch.zeros(7, 2), torch.zeros(7, 2))


@pytest.mark.parametrize("alpha", [0.1, 0.3])
@pytest.mark.parametrize(("weight", "reduction"), [(1e-3, "sum"), (1e-1, "mean"), (1e-2, "sum")])
def test_training_to_convergence_gives_the_forecast(alpha, weight, reduction):
    """The recipe's own losses over its own predictor on a frozen projection, within 15 %."""
    from sentence_transformers import SentenceTransformer
    from tests_support import toy_data

    from collapse_probe.respred import Recipe
    from collapse_probe.respred.losses import Batch, build_loss
    from collapse_probe.respred.modules import build_head, head_parts

    recipe = Recipe(
        freeze_projection=True,
        delta="linear",
        tanh=False,
        dropout=0.0,
        alpha=alpha,
        alpha_learnable=False,
        lambda_residual=weight,
        residual_reduction=reduction,
    )
    data = toy_data()
    head = build_head(recipe, 16, seed=0).double()
    parts = head_parts(head)
    with torch.no_grad():
        q = parts.query_projection({"sentence_embedding": data.query.double()})["sentence_embedding"]
        d = parts.document_projection({"sentence_embedding": data.document.double()})["sentence_embedding"]
    loss = build_loss(recipe, SentenceTransformer(modules=[head], device="cpu"))
    weights = [p for p in parts.predictor.parameters() if p.requires_grad]
    optimiser = torch.optim.LBFGS(
        weights,
        max_iter=800,
        history_size=50,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimiser.zero_grad()
        delta = parts.predictor.delta(q)
        batch = Batch(q, d, q + parts.predictor.scale * delta, delta)
        total = sum(loss.weights[name] * loss.terms[name](batch) for name in ("predictive", "residual"))
        (1e3 * total).backward()
        return 1e3 * total

    optimiser.step(closure)
    with torch.no_grad():
        correction = parts.predictor.scale * parts.predictor.delta(q)
    mu = penalty_ratio(lambda_residual=weight, lambda_predictive=1.2, dimension=16, reduction=reduction)
    measured = float(correction.norm() / ridge_correction(q, d).norm())
    assert measured == pytest.approx(shrinkage(alpha, mu), rel=0.15)
