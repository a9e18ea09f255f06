"""Separation against loops over pairs, its chance levels, collapse, several documents a query, and memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe import measures as m
from collapse_probe.journal.vocabulary import Role
from collapse_probe.measures import Sample, _scores

SIMILARITIES = ("cosine", "dot", "euclidean")
few = settings(max_examples=15, deadline=None)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_score(a: np.ndarray, b: np.ndarray, similarity: str) -> float:
    if similarity == "euclidean":
        return -math.dist(a, b)
    return float(a @ b) / (1 if similarity == "dot" else math.sqrt(a @ a) * math.sqrt(b @ b))


def slow(q: torch.Tensor, d: torch.Tensor, own: list[int], similarity: str) -> dict[str, float]:
    """Return every measure of separation by loops over scores."""
    table = [[slow_score(a, b, similarity) for b in d.numpy()] for a in q.numpy()]
    mine = [row[column] for row, column in zip(table, own, strict=True)]
    rest = [[s for j, s in enumerate(row) if j != column] for row, column in zip(table, own, strict=True)]
    everything = [s for row in rest for s in row]
    return {
        "d_prime": (np.mean(mine) - np.mean(everything))
        / math.sqrt((np.var(mine, ddof=1) + np.var(everything, ddof=1)) / 2),
        "mrr": np.mean([1 / (1 + sum(s >= o for s in row)) for o, row in zip(mine, rest, strict=True)]),
        "auc": np.mean([np.mean([(s < o) + 0.5 * (s == o) for s in row]) for o, row in zip(mine, rest, strict=True)]),
        "margin": np.mean([o - max(row) for o, row in zip(mine, rest, strict=True)]),
        "accuracy": np.mean([o > max(row) for o, row in zip(mine, rest, strict=True)]),
    }


@few
@given(st.integers(0, 10_000), st.sampled_from(SIMILARITIES), st.integers(1, 4))
def test_separation_equals_the_loops_however_many_documents_a_query_has(seed, similarity, each):
    q, noise = drawn(9, 5, seed=seed), drawn(9 * each, 5, seed=seed + 1)
    d = 0.7 * q.repeat_interleave(each, dim=0) + noise
    own = torch.arange(9).flip(0) * each
    expected = slow(q, d, own.tolist(), similarity)
    for name, value in expected.items():
        assert m.FUNCTIONS[name](q, d, similarity=similarity, own=own).item() == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("each", [1, 3])
def test_negatives_are_the_rows_that_are_nobodys_own(each, blocks):
    """Each query's first negative, of one or of three a query, in either order, in the place of its own document."""
    q, own, others = drawn(9, 5), drawn(9, 5, seed=1), drawn(9, each, 5, seed=2)
    others[:, 0] = 0.7 * q + others[:, 0]
    further = (others.transpose(0, 1) if blocks else others).reshape(-1, 5)
    sample = Sample(
        streams={"q": q, "d": own, "n": further}, roles={"q": Role.query, "d": Role.document, "n": Role.document}
    )
    first = [9 + (row if blocks else each * row) for row in range(9)]
    expected = slow(q, torch.cat([own, further]), first, "cosine")["auc"]
    found = m.read(sample, on="batch", wanted=["pairs/negative_auc", "pairs/auc"])
    assert found["pairs/negative_auc"].item() == pytest.approx(expected, abs=1e-9) and expected > 0.6
    alone = Sample(streams={"q": q, "d": own}, roles={"q": Role.query, "d": Role.document})
    assert "pairs/negative_auc" not in m.read(alone, on="batch")


def test_a_negative_that_is_the_query_itself_counts_for_nothing():
    q, d = drawn(8, 5), drawn(16, 5, seed=1)
    d[8:12] = q[:4]
    negative = torch.arange(8, 16)[None]
    rest = m.negative_auc(q[4:], torch.cat([d[:12], d[12:]]), negative[:, 4:], similarity="cosine")
    assert m.negative_auc(q, d, negative, similarity="cosine").item() == pytest.approx(rest.item())
    assert m.negative_auc(q, torch.cat([d[:8], q]), negative, similarity="cosine").item() == 0.5


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_blocks_change_nothing(similarity, monkeypatch):
    q, d = drawn(20, 6), drawn(31, 6, seed=1)
    whole = m.compare(q, d, similarity=similarity)
    monkeypatch.setattr(_scores, "_BLOCK_BYTES", 8 * 31 * 3)
    parts = m.compare(q, d, similarity=similarity)
    for name in ("own", "best", "above", "tied", "mean", "scatter"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("n", [7, 64, 257])
def test_total_collapse_is_the_worst_separation_and_not_luck(similarity, n):
    """A product adds columns at the edge of a tile in another order, and broke ties of equal float32 rows."""
    point = drawn(1, 48).float().expand(n, -1)
    q, d = point * 1.0, point * 1.0
    assert m.mrr(q, d, similarity=similarity).item() == pytest.approx(1 / n)
    assert m.accuracy(q, d, similarity=similarity).item() == 0
    assert m.auc(q, d, similarity=similarity).item() == 0.5
    assert m.d_prime(q, d, similarity=similarity).item() == 0
    assert m.mrr_centred(q, d).item() == pytest.approx(1 / n)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_collapse_that_float32_resolves_keeps_its_ranks(similarity):
    q = drawn(40, 16)
    d = q + 0.3 * drawn(40, 16, seed=1)
    near = m.mrr((1 + 1e-3 * q).float(), (1 + 1e-3 * d).float(), similarity="euclidean")
    assert near.item() == pytest.approx(m.mrr(q, d, similarity="euclidean").item(), abs=0.02)
    assert m.mrr(1e-20 * q, 1e-20 * d, similarity=similarity).item() == m.mrr(q, d, similarity=similarity).item()


def test_what_brings_it_back_tells_a_cone_from_norms():
    q = drawn(200, 32)
    d = q + 2 * drawn(200, 32, seed=1)
    raw = m.mrr(q, d, similarity="dot").item()
    cone = (q + 100 * drawn(1, 32, seed=2), d + 100 * drawn(1, 32, seed=2))
    assert m.mrr(*cone, similarity="cosine") < 0.9 * m.mrr_centred(*cone)
    norms = torch.linspace(0, 6, 200, dtype=torch.float64).exp()[:, None]
    assert m.mrr(q, norms * d, similarity="dot") < 0.5 * raw
    assert m.mrr_cosine(q, norms * d).item() == pytest.approx(m.mrr_cosine(q, d).item())
    apart = (q, d + 100 * drawn(1, 32, seed=3))
    assert m.side_gap(*apart) > 10 * m.side_gap(q, d)


def test_more_documents_of_a_query_are_no_own_ones_of_others():
    q = drawn(6, 4)
    blocks = torch.stack([q, -q], dim=1).reshape(12, 4)
    rows = torch.arange(6) * 2
    assert m.accuracy(q, blocks, similarity="cosine", own=rows).item() == 1
    assert m.accuracy(q, blocks, similarity="cosine").item() < 1
    torch.testing.assert_close(m.cosine_mean(q, blocks, own=rows), m.cosine_mean(q, q))
    torch.testing.assert_close(m.distance_random_mean(q, blocks, own=rows), m.distance_random_mean(q, q))


def slow_copies(q: torch.Tensor, d: torch.Tensor, own: list[int]) -> float:
    """Return the mean number of near-copies of own documents, by loops over pairs of documents."""
    units = [row / np.linalg.norm(row) for row in d.numpy()]
    apart = [[float(((a - b) ** 2).sum()) for b in units] for a in units]
    far = np.mean(apart)
    return float(np.mean([sum(1e-4 < one < 0.05 * far for one in apart[column]) for column in own]))


@few
@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_near_copies_equal_the_loops_and_do_not_see_scale(seed, noise):
    d = torch.cat([drawn(6, 8, seed=seed), drawn(6, 8, seed=seed) + noise * drawn(6, 8, seed=seed + 1)])
    own = torch.tensor([3, 1, 5, 0])
    value = m.near_own(drawn(4, 8), d, own=own).item()
    assert value == pytest.approx(slow_copies(drawn(4, 8), d, own.tolist()))
    assert m.near_own(drawn(4, 8), 1e4 * d, own=own).item() == value


def test_near_copies_are_neither_equal_documents_nor_a_cone():
    d = drawn(32, 16)
    copies = [d, *(d + 0.05 * drawn(32, 16, seed=at) for at in range(1, 4))]
    assert m.near_own(d, torch.cat(copies)).item() == 3.0
    assert m.near_own(d, torch.cat([d, d])).item() == 0.0, "equal documents hardly harm a softmax"
    assert m.near_own(d, d + 20).item() == 0.0, "all cosines above .95, and texts as far apart as before"
    assert m.near_own(d, torch.ones(32, 16)).item() == 0.0


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_four_thousand_pairs_need_no_square_of_scores(similarity):
    """The largest tensor that is made is what counts; all scores at once would be 134 MB each."""
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                largest = max(largest, made.nbytes)
            return made

    with Sizes():
        m.mrr_centred(*(torch.empty(4096, 384, device="meta") for _ in "qd"))
    assert largest <= 20 * 2**20
