"""Histograms against numpy, and merging against taking in at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse_probe.recording._accumulators import LinearHistogram, LogHistogram
from collapse_probe.recording._window import WindowSummary


def values(seed: int = 0) -> torch.Tensor:
    return torch.randn(500, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "make", [lambda: LinearHistogram(low=0.0, high=1.0, bins=4), lambda: LogHistogram(low=1e-3, high=1.0, bins=4)]
)
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


def test_a_window_summarises_each_reading_though_they_come_and_go():
    summary = WindowSummary()
    for step in (3.0, 1.0, 5.0):
        values = {"a/x": torch.tensor(step)}
        summary.update(values if step == 1.0 else {**values, "b/x": torch.tensor(-step)}, n=2)
    found = {name: {part: float(value) for part, value in parts.items()} for name, parts in summary.finish().items()}
    assert found == {
        "a/x": {"first": 3.0, "last": 5.0, "mean": 3.0, "max": 5.0},
        "b/x": {"first": -3.0, "last": -5.0, "mean": -4.0, "max": -3.0},
    }
    assert summary.rows == 6
    assert WindowSummary().finish() == {}


def test_windows_merge_to_what_one_would_have_seen():
    values = [0.5, -2.0, 7.0, 1.0, 3.0]
    whole, parts = WindowSummary(), [WindowSummary(), WindowSummary()]
    for index, value in enumerate(values):
        for summary in (whole, parts[index > 1]):
            summary.update({"a/x": torch.tensor(value)}, n=3)
    parts[0].merge(parts[1])
    assert parts[0].rows == whole.rows
    assert all(torch.equal(parts[0].finish()["a/x"][part], value) for part, value in whole.finish()["a/x"].items())


def test_windows_keep_full_precision():
    summary = WindowSummary()
    for _ in range(1000):
        summary.update({"a/x": torch.tensor(1e-9, dtype=torch.float64)})
    assert float(summary.finish()["a/x"]["mean"]) == pytest.approx(1e-9, rel=1e-12)
