"""Exact search where scores tie, where embeddings collapse to several points, and on arrays that are not ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe.retrieval import _products, _search, exact_search


def slow(q: np.ndarray, d: np.ndarray, similarity: str) -> np.ndarray:
    q, d = q.astype(float), d.astype(float)
    return q @ d.T if similarity == "dot" else -np.linalg.norm(q[:, None] - d[None], axis=2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 30), block=st.integers(5, 300), n=st.integers(1, 250))
@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
def test_equal_scores_go_by_row_whatever_the_blocks(similarity, seed, k, block, n):
    """Small whole numbers: many equal scores, and no rounding in any of the ways to compute them."""
    rng = np.random.default_rng(seed)
    q, d = (rng.integers(-1, 2, size=(rows, 4)).astype(np.float32) for rows in (6, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_products, "_block_rows", lambda documents, queries: block)
        hits = exact_search(q, d, k=k, similarity=similarity)
    scores = slow(q, d, similarity)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(hits.scores, np.take_along_axis(scores, order, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(hits.indices, order)


@pytest.mark.parametrize("n", [50, 1000, 5183])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_a_total_collapse_returns_the_first_rows(similarity, n):
    hits = exact_search(np.ones((3, 8), np.float32), np.ones((n, 8), np.float32), k=10, similarity=similarity)
    assert hits.indices.tolist() == [list(range(10))] * 3


@pytest.mark.parametrize("points", [1, 2, 10])
@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-4])
def test_neighbours_are_found_where_embeddings_collapse_to_several_points(points, spread):
    """The documents' mean lies at none of the points, so float32 ranks each cluster by its rounding."""
    rng = np.random.default_rng(0)
    centres = 5 * rng.normal(size=(points, 64))
    q, d = (
        (centres[rng.integers(points, size=rows)] + spread * rng.normal(size=(rows, 64))).astype(np.float32)
        for rows in (40, 2000)
    )
    hits = exact_search(q, d, k=10, similarity="euclidean")
    expected = slow(q, d, "euclidean")
    np.testing.assert_array_equal(hits.indices, np.argsort(-expected, axis=1)[:, :10])
    np.testing.assert_allclose(hits.scores, -np.sort(-expected, axis=1)[:, :10], rtol=1e-9)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_ordinary_vectors_need_no_second_search(monkeypatch, similarity):
    monkeypatch.setattr(_search, "search_exactly", lambda *_, **__: pytest.fail("searched again"))
    rng = np.random.default_rng(0)
    q, d = (rng.normal(size=(rows, 128)).astype(np.float32) for rows in (50, 3000))
    exact_search(q, d, k=100, similarity=similarity)


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_searching_a_memory_map_keeps_what_the_caller_wrote(tmp_path, mode):
    np.save(tmp_path / "d.npy", np.zeros((2000, 16), np.float32))
    mapped = np.load(tmp_path / "d.npy", mmap_mode=mode)
    if mode != "r":
        mapped[:] = 7
    before = np.array(mapped)
    exact_search(np.ones((2, 16), np.float32), mapped, k=3, similarity="euclidean")
    np.testing.assert_array_equal(mapped, before)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_read_only_arrays_are_searched_without_a_warning(similarity):
    q, d = np.ones((2, 3)), np.ones((4, 3), np.float32)
    q.flags.writeable = d.flags.writeable = False
    assert exact_search(q, d, k=2, similarity=similarity).indices.tolist() == [[0, 1]] * 2


@pytest.mark.parametrize("k", [0, -1])
def test_a_search_for_no_documents_is_refused(k):
    with pytest.raises(ValueError, match=f"k of at least 1, got {k}"):
        exact_search(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), k=k, similarity="dot")
