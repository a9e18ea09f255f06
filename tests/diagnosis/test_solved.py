"""A loss that is solved from a start at chance: nothing can fall, so nothing has to be brought back."""

from __future__ import annotations

import pytest
from journals_support import made, ramp

from collapse_probe.diagnosis import Status, diagnose


def solved(folder, *, left: float, d_prime: float, rank: float, loss: float = 1e-3):
    """Return the diagnosis of a run from chance whose loss is solved, with a share of its spread left at the end."""
    shares = {f"{one}/common_share": ramp(0.4, 1 - 0.6 * left) for one in ("query", "document")}
    pairs = {"pairs/d_prime": ramp(0.1, d_prime), **dict.fromkeys(("pairs/mrr", "pairs/mrr_centred"), ramp(0.03, rank))}
    ranks = {**shares, **pairs, "loss/total": ramp(1.0, loss)}
    return diagnose(made(folder, ranks, noise=0.005))


@pytest.mark.parametrize(("left", "code"), [(0.3, "CP421"), (0.15, "CP421"), (0.05, "CP410")])
def test_every_cone_under_a_solved_loss_is_found(tmp_path, left, code):
    found = solved(tmp_path, left=left, d_prime=1.3, rank=0.17)
    assert found.status is Status.CRITICAL
    assert {(one.code, one.subject) for one in found.kinds} == {(code, "query"), (code, "document")}


@pytest.mark.parametrize(
    "healthy",
    [
        {"left": 0.3, "d_prime": 3.6, "rank": 0.9},
        {"left": 0.3, "d_prime": 1.3, "rank": 0.17, "loss": 0.5},
        {"left": 0.8, "d_prime": 1.3, "rank": 0.17},
    ],
)
def test_separated_unsolved_or_spread_out_it_is_healthy(tmp_path, healthy):
    assert solved(tmp_path, **healthy).status is Status.HEALTHY
