"""The order of an exact search on vectors that float32 cannot order, against a reference in extended precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse_probe.retrieval import _exactly, _products, exact_search

Q, N, D, K = 12, 700, 24, 20
SIMILARITIES = ("cosine", "dot", "euclidean")


def normal(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, D))


def near_ties() -> tuple[np.ndarray, np.ndarray]:
    """Documents that differ in the last bits of float32 from one of a few."""
    few = normal(7, 1)[np.random.default_rng(2).integers(7, size=N)].astype(np.float32)
    return normal(Q), few * (1 + np.float32(2**-23) * np.random.default_rng(3).integers(0, 3, size=few.shape))


def duplicates() -> tuple[np.ndarray, np.ndarray]:
    return normal(Q), normal(9, 1)[np.random.default_rng(2).integers(9, size=N)]


def with_outliers() -> tuple[np.ndarray, np.ndarray]:
    d = normal(N, 1)
    d[[3, 100]] *= 1e6
    return normal(Q), d


HARD = {
    "near ties": near_ties,
    "duplicates": duplicates,
    "outliers": with_outliers,
    "a common component": lambda: (100 * normal(1, 9) + normal(Q), 100 * normal(1, 9) + normal(N, 1)),
    "collapsed to a point": lambda: (normal(1, 9) + 1e-5 * normal(Q), normal(1, 9) + 1e-5 * normal(N, 1)),
    "documents collapsed to a point": lambda: (normal(1, 9) + normal(Q), normal(1, 9) + 1e-5 * normal(N, 1)),
    "offset on the documents' side": lambda: (normal(Q), 1e4 + normal(N, 1)),
    "offset on the queries' side": lambda: (1e4 + normal(Q), normal(N, 1)),
    "tiny": lambda: (1e-25 * normal(Q), 1e-25 * normal(N, 1)),
    "huge": lambda: (1e25 * normal(Q), 1e25 * normal(N, 1)),
    "lengths from tiny to huge": lambda: (normal(Q), 10.0 ** np.linspace(-35, 30, N)[:, None] * normal(N, 1)),
    "zeros": lambda: (normal(Q), normal(N, 1) * (np.arange(N) % 3 == 0)[:, None]),
    "signs": lambda: (np.sign(normal(Q)), np.sign(normal(N, 1))),
}


def reference(q: np.ndarray, d: np.ndarray, similarity: str) -> np.ndarray:
    """Return all scores in extended precision, document by document."""
    q, d = q.astype(np.longdouble), d.astype(np.longdouble)
    if similarity == "euclidean":
        return -np.stack([np.sqrt(((q - one) ** 2).sum(axis=1)) for one in d], axis=1)
    scores = np.stack([(q * one).sum(axis=1) for one in d], axis=1)
    if similarity == "dot":
        return scores
    lengths = np.sqrt((q**2).sum(axis=1))[:, None] * np.sqrt((d**2).sum(axis=1))[None]
    return np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("case", HARD)
def test_no_hit_stands_above_a_better_one(case, similarity):
    """Better by more than float64's own rounding; and equal vectors by their rows."""
    q, d = (one.astype(np.float32) for one in HARD[case]())
    hits, truth = exact_search(q, d, k=K, similarity=similarity), reference(q, d, similarity)
    found = np.take_along_axis(truth, hits.indices, axis=1)
    longest = float(np.abs(d).max()) * float(np.abs(q).max()) if similarity == "dot" else np.abs(truth).max()
    error = 1e-15 * D * float(longest)
    assert (np.diff(found, axis=1) <= error).all()
    assert (np.abs(found - np.sort(truth, axis=1)[:, ::-1][:, :K]) <= error).all()
    np.testing.assert_allclose(hits.scores, found.astype(float), rtol=1e-5, atol=1e-5 * float(longest))
    same = (d[hits.indices[:, 1:]] == d[hits.indices[:, :-1]]).all(axis=2)
    assert (np.diff(hits.indices, axis=1)[same] > 0).all()
    for row, kept in enumerate(hits.indices):
        twins = np.flatnonzero((d == d[kept[-1]]).all(axis=1))
        assert set(twins[twins < kept[-1]]) <= set(kept), row


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("case", ["near ties", "duplicates", "a common component", "collapsed to a point", "signs"])
def test_the_order_depends_on_no_batch_block_or_thread(monkeypatch, case, similarity):
    q, d = (one.astype(np.float32) for one in HARD[case]())
    whole = exact_search(q, d, k=K, similarity=similarity)
    alone = [exact_search(one[None], d, k=K, similarity=similarity).indices[0] for one in q]
    np.testing.assert_array_equal(whole.indices, alone)
    monkeypatch.setattr(_products, "_block_rows", lambda documents, left: 37)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        blocks = exact_search(q, d, k=K, similarity=similarity)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(whole.indices, blocks.indices)
    more = exact_search(q, d, k=3 * K, similarity=similarity)
    np.testing.assert_array_equal(whole.indices, more.indices[:, :K])


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("case", [one for one in HARD if one != "huge"])
def test_a_product_is_off_by_no_more_than_its_bound(case, similarity):
    """One query alone has nothing apart from what all queries share, so its bound is that of the documents' numbers."""
    q, d = (one.astype(np.float32) for one in HARD[case]())
    truth = reference(q, d, similarity)
    truth = -(truth**2) if similarity == "euclidean" else truth
    centre = _products.centre_of(d, similarity)
    for rows in (slice(None), slice(1)):
        for dtype in (torch.float32, torch.float64):
            products = _products.Products(q[rows], d, similarity, centre, device="cpu", dtype=dtype)
            scores = np.concatenate([one.numpy() for _, _, one in products.blocks()], axis=1)
            error, finite = scores.astype(np.longdouble) - truth[rows], np.isfinite(scores).all(axis=1)
            assert (np.ptp(error, axis=1) <= 2 * products.bounds())[finite].all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_score_in_float64_is_the_same_bits_alone_and_among_others(monkeypatch, similarity):
    q, d = normal(40), normal(300, 1).astype(np.float32)
    pairs = np.random.default_rng(2).integers(40, size=2000), np.random.default_rng(3).integers(300, size=2000)
    monkeypatch.setattr(_exactly, "_PART_BYTES", 2**12)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = _exactly.exact_scores(q, d, pairs, similarity)
    alone = [_exactly.exact_scores(q, d, ([i], [j]), similarity)[0] for i, j in zip(*pairs, strict=True)]
    assert together.tolist() == alone


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_documents_without_numbers_come_last_and_displace_nothing(similarity):
    q, d = normal(5).astype(np.float32), normal(60, 1).astype(np.float32)
    clean = exact_search(q, np.delete(d, [0, 7, 8], axis=0), k=10, similarity=similarity)
    d[[0, 7]], d[8] = np.nan, [np.nan, *d[8, 1:]]
    hits = exact_search(q, d, k=10, similarity=similarity)
    np.testing.assert_array_equal(np.delete(np.arange(60), [0, 7, 8])[clean.indices], hits.indices)
    whole = exact_search(q, d, k=60, similarity=similarity)
    assert whole.indices[:, -3:].tolist() == [[0, 7, 8]] * 5 and np.isnan(whole.scores[:, -3:]).all()
    q[2] = np.nan
    broken = exact_search(q, d, k=10, similarity=similarity)
    assert broken.indices[2].tolist() == list(range(10)) and np.isnan(broken.scores[2]).all()
    np.testing.assert_array_equal(np.delete(broken.indices, 2, axis=0), np.delete(hits.indices, 2, axis=0))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_callers_lowered_precision_does_not_reach_the_products(similarity):
    q, d = normal(Q).astype(np.float32), normal(N, 1).astype(np.float32)
    plain = exact_search(q, d, k=K, similarity=similarity)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lowered = exact_search(q, d, k=K, similarity=similarity)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(plain.indices, lowered.indices)
    np.testing.assert_array_equal(plain.scores, lowered.scores)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("case", HARD)
def test_cuda_finds_what_the_cpu_finds(monkeypatch, case, similarity):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    q, d = (one.astype(np.float32) for one in HARD[case]())
    found = [exact_search(q, d, k=K, similarity=similarity, device=device).indices for device in ("cpu", "cuda")]
    np.testing.assert_array_equal(*found)


def test_documents_in_float64_are_ordered_by_all_their_digits():
    d = 1 + 1e-9 * normal(N, 1)
    hits = exact_search(normal(Q), d, k=K, similarity="euclidean")
    truth = reference(normal(Q), d, "euclidean")
    np.testing.assert_array_equal(hits.indices, np.argsort(-truth, axis=1, kind="stable")[:, :K])


def test_the_best_are_found_in_groups_of_columns():
    scores = torch.from_numpy(np.random.default_rng(0).integers(0, 50, size=(9, 1003)).astype(np.float32))
    values, columns = _products.best_of(scores, 30)
    assert torch.equal(values, scores.topk(30, dim=1).values) and torch.equal(scores.gather(1, columns), values)
    assert all(len(set(row)) == 30 for row in columns.tolist())
