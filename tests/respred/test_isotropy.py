"""Isotropy terms against slow references, at N(0, I) and at total collapse, and over processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes_support import start
from scipy import integrate
from sigreg_support import as_batch, sigreg_case, sigreg_in_one_of_two

from collapse_probe.respred._batch import make_batch
from collapse_probe.respred._isotropy import ISOTROPY, KoLeo, SIGReg, Uniformity, VICReg, collapse_value, noise_floor
from collapse_probe.respred.losses import WeightedTerms

N, D = 40, 6


def gaussian(n: int = N, d: int = D, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_sigreg(z: np.ndarray, directions: np.ndarray, points: np.ndarray, sides: float) -> float:
    """The same sum by loops over directions and points, with complex exponentials."""
    step = points[1] - points[0]
    total = 0.0
    for a in directions.T:
        for k, t in enumerate(points):
            phi = np.mean([np.exp(1j * t * (row @ a)) for row in z])
            weight = sides * step * (0.5 if k in (0, len(points) - 1) else 1.0)
            total += weight * math.exp(-(t**2) / 2) * abs(phi - math.exp(-(t**2) / 2)) ** 2
    return len(z) * total / directions.shape[1]


@pytest.mark.parametrize(("convention", "low", "high", "sides"), [("lejepa", 0, 3, 2.0), ("paper", -5, 5, 1.0)])
def test_sigreg_is_the_slow_one(convention, low, high, sides):
    term = SIGReg(convention=convention, slices=5)
    z = 0.7 * gaussian() + 0.2
    directions = term._directions(D).double().numpy()
    expected = slow_sigreg(z.numpy(), directions, np.linspace(low, high, 17), sides)
    assert float(term(as_batch(z))) == pytest.approx(expected, rel=1e-10)


def test_sigreg_is_the_integral_over_the_line():
    """Algorithm 1's grid against adaptive quadrature; its step of 0.625 errs where projections are near 10 apart."""
    term = SIGReg(convention="paper", slices=1)
    z = gaussian(n=60)
    x = (z @ term._directions(D).double())[:, 0].numpy()

    def integrand(t: float) -> float:
        gap = np.exp(1j * t * x).mean() - math.exp(-(t**2) / 2)
        return abs(gap) ** 2 * math.exp(-(t**2) / 2)

    expected = len(x) * integrate.quad(integrand, -12, 12, limit=200)[0]
    assert float(term(as_batch(z))) == pytest.approx(expected, rel=1e-3)


def test_the_two_conventions_have_their_own_grid_and_slices():
    assert SIGReg(convention="lejepa").slices == 1024
    assert SIGReg(convention="paper").slices == 256
    # One cuts the integral at 3, which leaves out sqrt(2 pi) * 2 * 0.00135 = 0.007, the other at 5.
    assert noise_floor("sigreg_paper", n=10, dimension=2) == pytest.approx(
        math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3)), rel=1e-3
    )
    assert noise_floor("sigreg", n=10, dimension=2) == pytest.approx(1.059, rel=0.01)


@pytest.mark.parametrize("name", ["sigreg", "sigreg_paper"])
def test_sigreg_at_normal_embeddings_has_its_floor_whatever_n(name):
    """The expectation is exact; one draw has a deviation of 0.09 to 0.12, the mean of 20 one of 0.027: 4 of those."""
    for n in (32, 128):
        found = [float(ISOTROPY[name]()(as_batch(gaussian(n=n, d=64, seed=s)))) for s in range(20)]
        assert np.mean(found) == pytest.approx(noise_floor(name, n=n, dimension=64), rel=0.1)


@pytest.mark.parametrize("name", ISOTROPY)
def test_total_collapse_has_its_closed_form(name):
    for point in (0.0,) if name.startswith("sigreg") else (0.0, 1.0):
        z = torch.full((N, D), point, dtype=torch.float64)
        assert float(ISOTROPY[name]()(as_batch(z))) == pytest.approx(collapse_value(name, n=N), abs=1e-6)


def test_the_shrinking_force_on_sigreg_vanishes_at_collapse():
    """EP / N of N(0, s^2) is sqrt(2 pi) [(1 + 2 s^2)^(-1/2) - 2 (2 + s^2)^(-1/2) + 3^(-1/2)]; its slope is -3.24 s."""
    z = gaussian(n=4000, d=8)
    term = SIGReg(convention="paper", slices=64)

    def value(s: float) -> float:
        return float(term(as_batch(s * z))) / len(z)

    def closed(s: float) -> float:
        return math.sqrt(2 * math.pi) * ((1 + 2 * s**2) ** -0.5 - 2 * (2 + s**2) ** -0.5 + 3**-0.5)

    for s in (0.05, 0.3, 0.6):
        assert value(s) == pytest.approx(closed(s), rel=0.03)
    slope = (value(0.02) - value(0.01)) / 0.01
    assert slope == pytest.approx(-3.24 * 0.015, rel=0.1)


def test_directions_depend_on_the_step_alone():
    term, other = SIGReg(convention="paper", slices=4), SIGReg(convention="paper", slices=4)
    state = torch.get_rng_state()
    assert torch.equal(term._directions(3), other._directions(3))
    term.step = 1
    assert not torch.equal(term._directions(3), other._directions(3))
    first, second = (float(sigreg(as_batch(gaussian(d=3)))) for sigreg in (term, other))
    assert first != second
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(term._directions(3).norm(dim=0), torch.ones(4))


def test_vicreg_is_the_slow_one():
    z = (0.6 * gaussian()).numpy()
    mean = [sum(row[j] for row in z) / N for j in range(D)]
    c = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in z) / (N - 1) for j in range(D)] for i in range(D)]
    v = sum(max(0.0, 1 - math.sqrt(c[j][j] + 1e-4)) for j in range(D)) / D
    off = sum(c[i][j] ** 2 for i in range(D) for j in range(D) if i != j) / D
    assert float(VICReg()(as_batch(torch.from_numpy(z)))) == pytest.approx(25 * v + off, rel=1e-10)


@pytest.mark.parametrize("name", ["covariance", "vicreg", "uniformity"])
def test_normal_embeddings_have_about_the_floor(name):
    """One draw's deviation is 2 % at most (VICReg's c), the mean of five 0.9 %: 5 % is beyond five of those."""
    n, d = 128, 256
    term = VICReg(variance_weight=0.0) if name == "vicreg" else ISOTROPY[name]()
    found = np.mean([float(term(as_batch(gaussian(n=n, d=d, seed=s)))) for s in range(5)])
    assert found == pytest.approx(noise_floor(name, n=n, dimension=d), rel=0.05)


@pytest.mark.parametrize(("n", "d"), [(128, 16), (128, 256)])
def test_the_floor_of_vicreg_leaves_out_the_sampled_hinge(n, d):
    """E relu(1 - s) is 1 / sqrt(4 pi (n - 1)) to leading order; one draw deviates by 0.05 at D = 256, 0.2 at 16."""
    found = np.mean([float(VICReg()(as_batch(gaussian(n=n, d=d, seed=s)))) for s in range(40)])
    whole = noise_floor("vicreg", n=n, dimension=d) + 25 / math.sqrt(4 * math.pi * (n - 1))
    assert found == pytest.approx(whole, abs=0.1)


def test_koleo_is_the_slow_one():
    z = gaussian().numpy()
    x = [row / math.sqrt(sum(v * v for v in row)) for row in z]
    nearest = [min(math.dist(a, b) for j, b in enumerate(x) if j != i) for i, a in enumerate(x)]
    expected = -sum(math.log(r + 1e-8) for r in nearest) / N
    assert float(KoLeo()(as_batch(torch.from_numpy(z)))) == pytest.approx(expected, rel=1e-6)


def test_uniformity_is_the_slow_one():
    z = gaussian().numpy()
    x = [row / math.sqrt(sum(v * v for v in row)) for row in z]
    kernel = [math.exp(-2 * math.dist(x[i], x[j]) ** 2) for i in range(N) for j in range(i)]
    expected = math.log(sum(kernel) / len(kernel))
    assert float(Uniformity()(as_batch(torch.from_numpy(z)))) == pytest.approx(expected, rel=1e-9)


@given(st.floats(1e-3, 1e3), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_terms_on_the_sphere_cannot_see_scale(factor, seed):
    z = gaussian(seed=seed)
    for term in (KoLeo(), Uniformity()):
        assert float(term(as_batch(factor * z))) == pytest.approx(float(term(as_batch(z))), rel=1e-6)


@pytest.mark.parametrize("name", ["sigreg", "sigreg_paper", "vicreg"])
def test_anchored_terms_rise_when_everything_shrinks(name):
    term, z = ISOTROPY[name](), gaussian(n=128, d=16)
    assert float(term(as_batch(0.1 * z))) > 2 * float(term(as_batch(z)))


@pytest.mark.parametrize("name", ISOTROPY)
def test_rows_have_no_order(name):
    z = gaussian()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    term = ISOTROPY[name]()
    assert float(term(as_batch(z[order]))) == pytest.approx(float(term(as_batch(z))), rel=1e-9)


@pytest.mark.parametrize("name", ISOTROPY)
@pytest.mark.parametrize("point", [0.0, 1.0])
def test_gradients_are_finite_at_collapse(name, point):
    z = torch.full((N, D), point, requires_grad=True)
    ISOTROPY[name]()(as_batch(z)).backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", ISOTROPY)
def test_gradients_are_finite_at_duplicates(name):
    z = gaussian().float()
    z[[3, 30]] = z[11].clone()
    z.requires_grad_()
    ISOTROPY[name]()(as_batch(z)).backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", [name for name in ISOTROPY if name != "covariance"])
def test_autocast_and_half_inputs_do_not_round_the_terms(name):
    """Near total collapse, where a bfloat16 Gram matrix would call different rows equal; as training computes them."""
    z = 1 + 0.01 * gaussian().float()
    term = ISOTROPY[name]()
    loss = WeightedTerms(torch.nn.Identity(), {"isotropy": term}, {"isotropy": 1.0})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss.weighted(as_batch(z))["isotropy"]
    assert torch.equal(found, term(as_batch(z)))
    half = z.bfloat16()
    sides = [{"sentence_embedding": side} for side in half.chunk(2)]
    assert torch.equal(loss.weighted(make_batch(*sides))["isotropy"], term(as_batch(half.float())))


@pytest.mark.parametrize("name", ISOTROPY)
def test_terms_come_in_the_inputs_precision(name):
    for dtype in (torch.float32, torch.float64):
        assert ISOTROPY[name]()(as_batch(gaussian().to(dtype))).dtype == dtype


def test_two_processes_have_the_gradient_of_one(tmp_path):
    """A plain all_reduce makes gradients too small by the number of processes; a mean of means weighs few rows more."""
    assert start(sigreg_in_one_of_two, 2, tmp_path) == [0, 0]
    model, rows = sigreg_case()
    loss = SIGReg(convention="paper", slices=16)(as_batch(model(rows)))
    loss.backward()
    for first in (12, 16):
        found = np.load(tmp_path / f"found-{first}.npy")
        np.testing.assert_allclose(found[:-1], model.weight.grad.flatten().numpy(), rtol=1e-9, atol=1e-12)
        assert found[-1] == pytest.approx(loss.item(), rel=1e-12)
