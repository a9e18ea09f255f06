"""Moments and histograms against numpy, and merging against taking in at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe.recording._accumulators import LinearHistogram, LogHistogram, Moments
from collapse_probe.recording._running import RunningValues


def values(seed: int = 0) -> torch.Tensor:
    return torch.randn(500, 3, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.booleans(), st.integers(0, 1000))
def test_moments_are_numpys_in_any_grouping(sizes, merged, seed):
    z = torch.randn(sum(sizes), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 7
    moments = Moments()
    for batch in z.split(sizes):
        part = Moments() if merged else moments
        part.update(batch)
        if merged:
            moments.merge(part)
    assert moments.n == len(z)
    np.testing.assert_allclose(moments.mean.numpy(), z.numpy().mean(0), rtol=1e-12)
    expected = np.cov(z.numpy().T) if len(z) > 1 else np.zeros((4, 4))
    np.testing.assert_allclose(moments.covariance().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_moments_survive_a_mean_ten_thousand_times_the_deviation():
    z = (1e4 + torch.randn(600, 3, generator=torch.Generator().manual_seed(0))).float()
    moments = Moments()
    for batch in z.split(64):
        moments.update(batch)
    np.testing.assert_allclose(moments.covariance().numpy(), np.cov(z.double().numpy().T), rtol=1e-7, atol=1e-9)
    naive = z.square().mean(0) - z.mean(0).square()
    assert not torch.allclose(naive.double(), moments.covariance().diagonal(), rtol=0.05)


def test_merging_leaves_the_other_moments_alone():
    first, second = Moments(), Moments()
    second.update(values())
    first.merge(second)
    first.update(values(1))
    assert (first.n, second.n) == (1000, 500)
    assert torch.equal(second.mean, values().double().mean(0))
    second.merge(Moments())
    assert second.n == 500


def test_moments_say_what_is_missing():
    moments = Moments()
    with pytest.raises(ValueError, match="no rows"):
        moments.covariance()
    with pytest.raises(ValueError, match="no rows"):
        _ = moments.mean
    moments.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="3 dimensions met 4"):
        moments.update(torch.ones(2, 4))


@pytest.mark.parametrize("make", [Moments, lambda: LogHistogram(low=1e-3, high=1.0, bins=4)])
def test_taking_in_waits_for_no_device(make):
    """A meta tensor has no values, so reading one on the host raises."""
    stream = make()
    for _ in range(2):
        stream.update(torch.empty(5, 3, device="meta"))


def test_linear_counts_are_numpys():
    histogram = LinearHistogram(low=-1.0, high=2.0, bins=7)
    histogram.update(values())
    below, *counts, above = histogram.counts().tolist()
    x = values().numpy()
    assert counts == np.histogram(x[x < 2.0], bins=histogram.edges.numpy())[0].tolist()
    assert (below, above) == ((x < -1).sum(), (x >= 2).sum())


def test_log_counts_are_numpys_of_absolute_values():
    histogram = LogHistogram(low=1e-3, high=1.0, bins=9)
    histogram.update(values())
    below, *counts, above = histogram.counts().tolist()
    x = np.abs(values().double().numpy())
    assert counts == np.histogram(x[x < 1.0], bins=histogram.edges.numpy())[0].tolist()
    assert (below, above) == ((x < 1e-3).sum(), (x >= 1).sum())


@pytest.mark.parametrize("kind", [LinearHistogram, LogHistogram])
def test_merging_is_counting_at_once(kind):
    whole, first, second = (kind(low=0.1, high=3.0, bins=5) for _ in range(3))
    whole.update(torch.cat([values(0), values(1)]))
    first.update(values(0))
    second.update(values(1))
    first.merge(second)
    assert torch.equal(first.counts(), whole.counts())


def test_zeros_and_values_that_are_not_finite():
    histogram = LogHistogram(low=1e-3, high=1.0, bins=2)
    histogram.update(torch.tensor([0.0, float("nan"), float("inf"), 0.5]))
    assert histogram.counts().tolist() == [1, 0, 1, 1]


def test_other_bins_are_not_merged():
    with pytest.raises(ValueError, match="same bins"):
        LinearHistogram(low=0, high=1, bins=2).merge(LinearHistogram(low=0, high=1, bins=3))


@pytest.mark.parametrize("bad", [{"low": 1.0, "high": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0}])
def test_edges_without_meaning_are_refused(bad):
    with pytest.raises(ValueError, match="needs"):
        LogHistogram(**bad, bins=3)


def test_running_values_summarise_each_name():
    running = RunningValues()
    for step in (3.0, 1.0, 5.0):
        running.update(("a", "b"), torch.tensor([step, -step]), n=2)
    assert running.summary() == {
        "a": {"first": 3.0, "last": 5.0, "mean": 3.0, "max": 5.0},
        "b": {"first": -3.0, "last": -5.0, "mean": -3.0, "max": -1.0},
    }
    assert running.rows == 6
    assert RunningValues().summary() == {}


def test_running_values_keep_full_precision():
    running = RunningValues()
    for _ in range(1000):
        running.update(("a",), torch.tensor([1e-9], dtype=torch.float64), n=1)
    assert running.summary()["a"]["mean"] == pytest.approx(1e-9, rel=1e-12)
