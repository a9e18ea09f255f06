"""What is left of several processes' rows gives the measures of all rows together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from collapse_probe.journal.vocabulary import MEASURES
from collapse_probe.measures import FUNCTIONS, RowState, scatter
from collapse_probe.measures._row_state import FULL


def directly(name: str, z: Tensor) -> Tensor:
    """Return a measure of rows as its own function reads it."""
    given = {"z": z, "values": z, "covariance": scatter(z) / (len(z) - 1)}
    (need,) = MEASURES[name].needs
    return FUNCTIONS[name](**{need: given[need]}, **({"n": len(z)} if name.endswith("_corrected") else {}))


@pytest.mark.parametrize("dimension", [6, FULL + 1])
def test_merged_rows_read_as_all_rows_do(dimension):
    z = torch.randn(30, dimension, generator=torch.Generator().manual_seed(1)) + 2
    z[7] *= 100
    parts = [RowState.of(rows) for rows in z.split([1, 5, 24])]
    sent = [
        RowState.from_vector(part.vector(), n=part.moments.n, dimension=dimension)
        for part in parts
        if len(part.vector()) == RowState.size(part.moments.n, dimension)
    ]
    found = sent[0].merge(sent[1]).merge(sent[2]).finish()
    assert set(found) == set(RowState.measures(z))
    for name, value in found.items():
        torch.testing.assert_close(value, directly(name, z).double(), rtol=2e-5, atol=1e-9, msg=name)


def test_what_is_not_finite_in_one_process_is_not_finite_in_all():
    good, bad = torch.randn(4, 3), torch.tensor([[1.0, float("nan"), 0.0]])
    found = RowState.of(good).merge(RowState.of(bad)).finish()
    assert found["finite_share"].item() == pytest.approx(14 / 15)
    assert all(found[name].isnan() for name in ("norm_mean", "spread", "mean_cosine", "common_share"))


def test_gathered_rows_are_known_as_the_same():
    z = torch.randn(8, 3)
    assert RowState.of(z).same_rows(RowState.of(z.clone()))
    assert not RowState.of(z).same_rows(RowState.of(z.flip(0) + 1e-3))
    assert not RowState.of(z).same_rows(RowState.of(z[:4]))
