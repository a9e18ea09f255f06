"""Measures against slow references in float64, their invariances, and planted collapse."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe import measures as m

seeds = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def sample(seed: int, rows: int = 40, dimension: int = 6) -> torch.Tensor:
    """Return anisotropic embeddings with a mean, in float64."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.2, 3.0, size=dimension)
    return torch.tensor(rng.normal(size=(rows, dimension)) * scales + rng.normal(size=dimension))


def rotation(seed: int, dimension: int = 6) -> torch.Tensor:
    return torch.linalg.qr(sample(seed, rows=dimension, dimension=dimension)).Q


def slow_covariance(z: np.ndarray) -> np.ndarray:
    n, dimension = z.shape
    mean = [math.fsum(z[:, j]) / n for j in range(dimension)]
    pair = lambda j, k: math.fsum((z[i, j] - mean[j]) * (z[i, k] - mean[k]) for i in range(n)) / (n - 1)  # noqa: E731
    return np.array([[pair(j, k) for k in range(dimension)] for j in range(dimension)])


@few
@given(seeds)
def test_covariance_is_the_double_loop(seed):
    z = sample(seed, rows=9, dimension=3)
    np.testing.assert_allclose(m.covariance(z).numpy(), slow_covariance(z.numpy()), rtol=1e-10, atol=1e-12)


def test_covariance_survives_a_mean_ten_thousand_times_the_deviation():
    z = 1e4 + torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variances = m.covariance(z.float()).diagonal()
    np.testing.assert_allclose(variances.numpy(), np.var(z.float().numpy().astype(float), axis=0, ddof=1), rtol=1e-9)
    naive = z.float().square().mean(0) - z.float().mean(0).square()
    assert not torch.allclose(naive.double(), variances, rtol=0.05)


@few
@given(seeds)
def test_ranks_equal_numpys_on_the_gram_matrix(seed):
    z = sample(seed)
    centred = z.numpy() - z.numpy().mean(0)
    eigenvalues = np.linalg.eigvalsh(centred @ centred.T)[::-1][:6].clip(0) / (len(z) - 1)
    c = m.covariance(z)
    assert m.participation_ratio(c).item() == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    singular = m.spectrum(c, n=len(z))
    np.testing.assert_allclose(singular.numpy(), np.linalg.svd(centred, compute_uv=False), rtol=1e-9)
    assert m.top_share(singular).item() == pytest.approx(eigenvalues[0] / eigenvalues.sum())
    p = np.sqrt(eigenvalues) / np.sqrt(eigenvalues).sum()
    assert m.effective_rank(singular).item() == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert m.spread(z).item() == pytest.approx(eigenvalues.sum() / 6)
    corrected = m.participation_ratio_corrected(c, n=len(z)).item()
    assert m.isoscore_corrected(c, n=len(z)).item() == pytest.approx((corrected - 1) / 5)


@few
@given(seeds)
def test_with_few_rows_the_gram_matrix_gives_what_the_covariance_gives(seed):
    z = sample(seed, rows=5, dimension=11)
    small, large = m.scatter(z), m.covariance(z)
    assert len(small) == 5 and len(large) == 11
    for measure in (
        m.participation_ratio,
        lambda c: m.participation_ratio_corrected(c, n=5, dimension=11),
        lambda c: m.isoscore_corrected(c, n=5, dimension=11),
        lambda c: m.effective_rank(m.spectrum(c, n=5)),
    ):
        assert measure(small).item() == pytest.approx(measure(large).item(), rel=1e-6)
    uncentred = m.participation_ratio(z.T @ z / 5)
    assert m.participation_ratio_uncentred(z).item() == pytest.approx(uncentred.item())


def effective_rank(z: torch.Tensor) -> torch.Tensor:
    return m.effective_rank(m.spectrum(m.scatter(z), n=len(z)))


@few
@given(seeds, st.floats(1e-6, 1e6))
def test_ranks_and_angles_are_blind_to_scale_and_rotation(seed, scale):
    z = sample(seed)
    moved = scale * z @ rotation(seed + 1)
    for measure in (effective_rank, m.mean_cosine, m.uniformity, m.participation_ratio_uncentred):
        assert measure(moved).item() == pytest.approx(measure(z).item(), rel=1e-6, abs=1e-9)
    assert m.participation_ratio(m.covariance(moved)).item() == pytest.approx(
        m.participation_ratio(m.covariance(z)).item(), rel=1e-6
    )


@few
@given(seeds)
def test_row_order_changes_nothing(seed):
    z = sample(seed)
    shuffled = z[torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))]
    for name in ("norm_mean", "norm_spread", "std_mean", "mean_cosine", "uniformity", "grand_mean_fraction"):
        measure = m.FUNCTIONS[name]
        assert measure(shuffled).item() == pytest.approx(measure(z).item(), rel=1e-9, abs=1e-12)


@few
@given(seeds, st.integers(1, 5))
def test_a_planted_rank_collapse_scores_lower(seed, kept):
    z = sample(seed)
    flat = z.clone()
    flat[:, kept:] *= 1e-6
    assert m.participation_ratio(m.covariance(flat)) <= kept + 1e-6
    assert m.top_share(m.spectrum(m.covariance(flat), n=len(z))) >= 1 / kept - 1e-6
    assert effective_rank(flat) < effective_rank(z)


def test_the_finite_sample_correction_recovers_known_dimensions():
    """PR_corr is 758 for N(0, I) at n = 128, D = 768, and 27.0 against 26.0 on a 1/i spectrum (simulated)."""
    rng = torch.Generator().manual_seed(0)
    white = [torch.randn(128, 768, generator=rng, dtype=torch.float64) for _ in range(4)]
    corrected = [m.participation_ratio_corrected(m.covariance(z), n=128).item() for z in white]
    assert np.mean(corrected) == pytest.approx(758, rel=0.03)
    assert m.participation_ratio(m.covariance(white[0])).item() == pytest.approx(128 * 768 / 896, rel=0.02)
    spectrum = 1 / torch.arange(1, 769, dtype=torch.float64)
    truth = (spectrum.sum() ** 2 / (spectrum**2).sum()).item()
    coloured = [z * spectrum.sqrt() for z in white]
    estimates = [m.participation_ratio_corrected(m.covariance(z), n=128).item() for z in coloured]
    assert np.mean(estimates) == pytest.approx(truth, rel=0.15)


@few
@given(seeds)
def test_mean_cosine_and_uniformity_equal_the_pair_loops(seed):
    z = sample(seed, rows=8).numpy()
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    cosines = [unit[i] @ unit[j] for i, j in pairs]
    assert m.mean_cosine(torch.tensor(z)).item() == pytest.approx(np.mean(cosines), abs=1e-12)
    potential = np.log(np.mean([np.exp(-2 * ((unit[i] - unit[j]) ** 2).sum()) for i, j in pairs]))
    assert m.uniformity(torch.tensor(z)).item() == pytest.approx(potential, abs=1e-9)


def test_uniformity_is_zero_at_collapse_and_near_minus_four_on_the_sphere():
    rng = torch.Generator().manual_seed(0)
    assert m.uniformity(torch.ones(10, 5) * 3).item() == pytest.approx(0, abs=1e-6)
    assert m.uniformity(torch.randn(400, 768, generator=rng)).item() == pytest.approx(-3.99, abs=0.02)


def test_the_founding_collapse_directions_are_seen():
    rng = torch.Generator().manual_seed(0)
    to_ones = 5 + 0.01 * torch.randn(50, 16, generator=rng)
    assert m.grand_mean_fraction(to_ones) > 0.99
    assert m.mean_cosine(to_ones) > 0.99
    dead = torch.randn(50, 16, generator=rng)
    dead[:, :4] = 1.0
    assert m.dead_dimensions(dead).item() == pytest.approx(0.25)


def test_every_row_the_same_point_reads_as_total_collapse():
    """In float32 the mean of 100 equal rows is not the row: 21 % of the dimensions read as dead, not all."""
    for dtype in (torch.float32, torch.float64):
        point = torch.randn(1, 48, generator=torch.Generator().manual_seed(0), dtype=dtype).expand(100, -1)
        assert m.dimension_std(point).max() == 0
        assert m.dead_dimensions(point) == 1
        assert effective_rank(point) == m.participation_ratio(m.covariance(point)) == 0
        assert m.accuracy(point, point, similarity="euclidean") == 0
        assert m.mean_cosine(point) <= 1


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_float32_neither_overflows_nor_vanishes_in_squares(scale):
    """Exploded embeddings read inf / inf = NaN, and collapsed ones 0, where float32 entries were squared."""
    rng = torch.Generator().manual_seed(0)
    q, d, delta = (torch.randn(40, 6, generator=rng) for _ in range(3))
    blind = {
        "norm_spread": lambda s: m.norm_spread(s * q),
        "mean_cosine": lambda s: m.mean_cosine(s * q),
        "uniformity": lambda s: m.uniformity(s * q),
        "dead_dimensions": lambda s: m.dead_dimensions(s * q),
        "grand_mean_fraction": lambda s: m.grand_mean_fraction(s * q),
        "relative_size": lambda s: m.correction_over_residual(s * delta, s * q, s * d),
        "identity_gain": lambda s: m.identity_gain(s * delta, s * q, s * d),
        "constancy": lambda s: m.constancy(s * delta),
        "alignment_above_chance": lambda s: m.alignment_above_chance(s * delta, s * q, s * d),
        "accuracy": lambda s: m.accuracy(s * q, s * (q + 0.5 * d), similarity="euclidean"),
        "pair_cosine": lambda s: m.pair_cosine(s * q, s * d).mean(),
    }
    for name, measure in blind.items():
        assert measure(scale).item() == pytest.approx(measure(1.0).item(), rel=1e-4, abs=1e-5), name
    proportional = {
        "norm_median": m.norm_median(scale * q) / m.norm_median(q),
        "norm_mean": m.norm_mean(scale * q) / m.norm_mean(q),
        "std_mean": m.std_mean(scale * q) / m.std_mean(q),
        "distance": m.pair_distance(scale * q, scale * d).mean() / m.pair_distance(q, d).mean(),
        "margin": m.margin(scale * q, scale * d, similarity="euclidean") / m.margin(q, d, similarity="euclidean"),
    }
    for name, share in proportional.items():
        assert share.item() == pytest.approx(scale, rel=1e-4), name
    assert torch.isfinite(m.margin(scale * q, scale * d, similarity="dot"))


@few
@given(seeds, st.integers(2, 30))
def test_readings_stay_in_their_documented_ranges(seed, rows):
    q, d, delta = (sample(seed + k, rows=rows) for k in range(3))
    c = m.covariance(q)
    ranges = {
        "corrected": (m.participation_ratio_corrected(c, n=rows), 1, 6),
        "participation": (m.participation_ratio(c), 1, min(rows - 1, 6)),
        "top": (m.top_share(m.spectrum(c, n=rows)), m.participation_ratio(c).item() ** -1, 1),
        "effective": (effective_rank(q), 1, min(rows - 1, 6)),
        "isoscore": (m.isoscore_corrected(c, n=rows), 0, 1),
        "common share": (m.common_share(q), 0, 1),
        "pass-through": (m.pass_through(delta.tanh()), 0, 1),
        "mean cosine": (m.mean_cosine(q), -1 / (rows - 1), 1),
        "uniformity": (m.uniformity(q), -8, 0),
        "grand mean": (m.grand_mean_fraction(q), 0, 1),
        "dead": (m.dead_dimensions(q), 0, 1),
        "constancy": (m.constancy(delta), 0, 1),
        "alignment": (m.alignment_above_chance(delta, q, d), -2, 2),
        "gain": (m.identity_gain(delta, q, d), -math.inf, 1),
        "accuracy": (m.accuracy(q, d, similarity="cosine"), 0, 1),
        "saturation": (m.saturation(delta.tanh()), 0, 1),
    }
    for name, (value, low, high) in ranges.items():
        assert low - 1e-9 <= value.item() <= high + 1e-9, name


def test_alignment_above_chance_over_some_shifts_is_close_to_all_of_them():
    rng = torch.Generator().manual_seed(0)
    q, d = (torch.randn(64, 384, generator=rng) for _ in range(2))
    delta = d - q + torch.randn(64, 384, generator=rng)
    exact = m.alignment_above_chance(delta, q, d, shifts=63)
    assert m.alignment_above_chance(delta, q, d).item() == pytest.approx(exact.item(), abs=0.01)


def test_integers_are_measured_as_numbers():
    assert m.norm_mean(torch.tensor([[3, 4]])).item() == 5


def test_scale_drift_is_log10_with_a_floor():
    one = torch.tensor(1.0)
    assert m.scale_drift(torch.tensor(0.01), one).item() == pytest.approx(-2)
    assert m.scale_drift(torch.tensor(0.0), one).item() == pytest.approx(-38)
    assert m.scale_drift(one, torch.tensor(0.0)).item() == 0


def test_most_dimensions_dead_are_counted_although_the_median_is():
    """The plain median is next to 0 once half are dead, and then nothing was below 1 % of it."""
    z = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    z[:, :12] = 1 + 1e-7 * z[:, :12]
    assert m.dead_dimensions(z).item() == pytest.approx(12 / 16)


def test_what_no_tanh_bounds_is_not_saturated():
    z = torch.tensor([[0.99, 0.0], [0.5, -0.98]])
    assert m.saturation(z).item() == pytest.approx(0.5)
    assert m.pass_through(z).item() == pytest.approx(1 - z.square().mean().item())
    assert m.saturation(3 * z).item() == 0 and m.pass_through(3 * z).item() == 1


@few
@given(seeds)
def test_norm_is_spread_and_mean(seed):
    """mean ||z||^2 = D spread (n - 1) / n + ||mean||^2, so a norm that holds while the spread dies is a cone."""
    z = sample(seed)
    square = z.square().sum(dim=1).mean()
    assert (1 - m.common_share(z)).item() == pytest.approx((6 * m.spread(z) * 39 / 40 / square).item())


def test_no_measure_names_a_type_that_a_device_may_lack():
    for path in Path(m.__file__).parent.glob("*.py"):
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith((">>>", "(torch"))]
        found = [line for line in code if ".double()" in line or "torch.float64" in line]
        allowed = {"_checks.py": 1, "_spectrum.py": 1}.get(path.name, 0)
        assert len(found) == allowed, (path.name, found)


@few
@given(seeds)
def test_alignment_above_chance_equals_the_loop(seed):
    q, d, delta = (sample(seed + k, rows=7) for k in range(3))
    cosine = lambda a, b: float(a @ b / (a.norm() * b.norm()))  # noqa: E731
    own = np.mean([cosine(delta[i], d[i] - q[i]) for i in range(7)])
    others = np.mean([cosine(delta[i], d[j] - q[i]) for i in range(7) for j in range(7) if i != j])
    assert m.alignment_above_chance(delta, q, d).item() == pytest.approx(own - others, abs=1e-9)


def test_pulling_towards_the_origin_is_not_counted_as_knowing_the_document():
    rng = torch.Generator().manual_seed(0)
    q, d = (torch.randn(200, 32, generator=rng) for _ in range(2))
    naive = torch.nn.functional.cosine_similarity(-q, d - q).mean()
    assert naive > 0.5
    assert abs(m.alignment_above_chance(-q, q, d)) < 0.02
    assert m.alignment_above_chance(d - q, q, d) > 0.2


@few
@given(seeds, st.floats(0, 1))
def test_identity_gain_of_a_partial_step_is_its_parabola(seed, share):
    q, d = sample(seed), sample(seed + 1)
    assert m.identity_gain(share * (d - q), q, d).item() == pytest.approx(share * (2 - share), abs=1e-9)
    assert m.correction_over_residual(share * (d - q), q, d).item() == pytest.approx(share, abs=1e-9)
    assert m.correction_over_query(share * q, q).item() == pytest.approx(share, abs=1e-9)


def test_constancy_tells_a_bias_from_a_function_of_the_query():
    rng = torch.Generator().manual_seed(0)
    bias = torch.randn(1, 32, generator=rng).expand(100, -1)
    assert m.constancy(bias) == pytest.approx(1)
    assert m.constancy(torch.randn(100, 32, generator=rng)) < 0.05


def test_distances_survive_a_collapse_that_cancels_in_the_expansion():
    rng = torch.Generator().manual_seed(0)
    q = 1000 + 1e-3 * torch.randn(20, 8, generator=rng, dtype=torch.float64)
    d = q + 1e-3
    assert m.pair_distance(q, d).tolist() == pytest.approx([1e-3 * math.sqrt(8)] * 20, rel=1e-6)


OF_NEIGHBOURS = ("hub_occurrence", "neighbour_overlap", "answer_overlap")
"""What is never NaN: there are no neighbours of what is not finite."""


def arguments(name: str, z: torch.Tensor) -> dict[str, object]:
    """Return arguments for any measure, made of one sample."""
    made = {"covariance": z.T @ z, "spectrum": z[0].abs(), "n": len(z), "similarity": "euclidean", "force": (z, z)}
    rows = torch.zeros(len(z), 10, dtype=torch.long, device=z.device)
    made["neighbours"] = made["earlier"] = m.Neighbours(answers=rows, documents=rows, distinct=rows[:, 0])
    made["negative"] = torch.arange(len(z), device=z.device).flip(0)[None]
    names = inspect.signature(m.FUNCTIONS[name]).parameters
    needed = [part for part in names if names[part].default is inspect.Parameter.empty]
    return {part: made.get(part, z) for part in needed}


@pytest.mark.parametrize("name", m.FUNCTIONS)
@pytest.mark.parametrize(
    "z",
    [
        pytest.param(torch.zeros(5, 4), id="all zero"),
        pytest.param(torch.ones(5, 4), id="one point"),
        pytest.param(torch.full((5, 4), 1e-30), id="tiny"),
        pytest.param(torch.randn(1, 4, generator=torch.Generator().manual_seed(0)), id="one row"),
        pytest.param(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).bfloat16(), id="bfloat16"),
    ],
)
def test_degenerate_inputs_give_finite_values(name, z):
    assert torch.isfinite(m.FUNCTIONS[name](**arguments(name, z))).all()


@pytest.mark.parametrize("name", m.FUNCTIONS)
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_no_measure_waits_for_a_device(name, rows):
    """A meta tensor has no values, so reading one on the host raises."""
    result = m.FUNCTIONS[name](**arguments(name, torch.empty(rows, 4, device="meta")))
    assert result.device.type == "meta"


@pytest.mark.parametrize("name", sorted(m.FUNCTIONS.keys() - {"finite_share", *OF_NEIGHBOURS}))
def test_nan_is_never_turned_into_a_healthy_number(name):
    """Dead dimensions, identity gain, saturation and effective rank once read 0 for embeddings that were NaN."""
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    z[0] = math.nan
    assert torch.isnan(m.FUNCTIONS[name](**arguments(name, z))).any()
    assert torch.isnan(m.FUNCTIONS[name](**arguments(name, z[:1]))).any(), "one row"


@pytest.mark.parametrize("name", m.FUNCTIONS)
def test_every_measure_has_an_example_that_is_run(name):
    assert ">>>" in (m.FUNCTIONS[name].__doc__ or "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: m.participation_ratio(torch.ones(64, 768)), r"needs \[D, D\], got \(64, 768\): pass torch.cov\(z.T\)"),
        (lambda: m.norm_mean(torch.ones(3)), r"norm_mean needs \[N, D\], got \(3,\)"),
        (lambda: m.norm_mean(torch.ones(0, 3)), r"norm_mean needs \[N, D\], got \(0, 3\)"),
        (lambda: m.pair_cosine(torch.ones(2, 3), torch.ones(3, 3)), r"one shape, got \(2, 3\) and \(3, 3\)"),
        (lambda: m.margin(torch.eye(2), torch.eye(2), similarity="l1"), r"unknown similarity 'l1'"),
        (lambda: m.effective_rank(torch.eye(2)), r"effective_rank needs \[K\], got \(2, 2\)"),
        (lambda: m.mrr_cosine(torch.ones(3, 2), torch.ones(2, 2)), r"3 queries and 2 documents: pass own="),
        (lambda: m.mrr_cosine(torch.eye(2), torch.eye(3)), r"needs \[Q, D\] and \[M, D\], got \(2, 2\) and \(3, 3\)"),
        (lambda: m.mrr_cosine(torch.eye(2), torch.eye(2), own=torch.ones(2)), r"own as 2 integers"),
    ],
)
def test_wrong_shapes_say_what_arrived_and_what_to_pass(call, message):
    with pytest.raises(ValueError, match=message):
        call()
