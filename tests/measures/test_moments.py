"""Moments merge in any split to what one update gives, and both are numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe import measures as m
from collapse_probe.measures import Moments

few = settings(max_examples=30, deadline=None)


def rows(seed: int, n: int, dimension: int = 4) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, dimension)) * rng.uniform(0.1, 3, dimension) + 1e4 * rng.normal())


@few
@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans(), st.randoms())
def test_any_split_in_any_order_is_one_update_and_numpys(seed, sizes, full, random):
    z = rows(seed, sum(sizes))
    parts = [Moments.start(4, full=full).update(part) for part in z.split(sizes)]
    random.shuffle(parts)
    merged = Moments.start(4, full=full)
    while parts:
        merged = parts.pop().merge(merged)
    once = Moments.start(4, full=full).update(z)
    assert merged.n == once.n == len(z)
    for found in (merged, once):
        np.testing.assert_allclose(found.mean.numpy(), np.mean(z.numpy(), axis=0), rtol=1e-12)
        slow = np.cov(z.numpy(), rowvar=False, bias=True) * len(z)
        np.testing.assert_allclose(found.second.numpy(), slow if full else slow.diagonal(), rtol=1e-5, atol=1e-5)


@few
@given(st.integers(0, 10_000), st.integers(3, 20))
def test_what_follows_from_moments_is_what_the_measures_read(seed, n):
    z = rows(seed, n)
    finished = Moments.start(4, full=True).update(z[:1]).update(z[1:]).finish()
    c = m.covariance(z)
    expected = {name: m.FUNCTIONS[name](z) for name in ("spread", "common_share", "std_mean", "std_min")}
    expected["dead_dimensions"] = m.dead_dimensions(z)
    expected["participation_ratio"] = m.participation_ratio(c)
    expected["participation_ratio_corrected"] = m.participation_ratio_corrected(c, n=n)
    assert finished.keys() == expected.keys()
    for name, value in expected.items():
        assert finished[name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_equal_rows_in_several_parts_do_not_vary_at_all():
    point = torch.randn(1, 48, generator=torch.Generator().manual_seed(0)).expand(100, -1)
    finished = Moments.start(48).update(point[:37]).update(point[37:]).finish()
    assert finished["spread"].item() == 0 and finished["dead_dimensions"].item() == 1


def test_what_is_not_finite_is_not_merged_away():
    bad = torch.ones(3, 2)
    bad[1, 0] = math.nan
    finished = Moments.start(2, full=True).update(torch.randn(5, 2)).update(bad).update(torch.randn(5, 2)).finish()
    assert all(torch.isnan(value) for value in finished.values())


def test_moments_wait_for_no_device():
    """A meta tensor has no values, so reading one on the host raises."""
    state = Moments.start(3, full=True, device="meta")
    state = state.update(torch.empty(5, 3, device="meta")).merge(state)
    assert {value.device.type for value in state.finish().values()} == {"meta"}


def test_no_rows_have_no_measures_and_other_shapes_do_not_merge():
    assert Moments.start(3).finish() == {}
    assert Moments.start(3).merge(Moments.start(3)).n == 0
    with pytest.raises(ValueError, match="use one dimension and full= for both"):
        Moments.start(3).merge(Moments.start(3, full=True))
    with pytest.raises(ValueError, match=r"Moments needs \[N, D\]"):
        Moments.start(3).update(torch.ones(3))
