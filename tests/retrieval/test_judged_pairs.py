"""Training pairs from a collection's judgements, and which queries have a document that was trained on."""

from __future__ import annotations

import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import Collection, judged_pairs, read_beir, seen_queries


def collection(qrels: dict[str, dict[str, int]]) -> Collection:
    documents = {"d0": "zero", "d1": "one", "d2": "two", "d3": ""}
    return Collection("toy", "train", documents, {q: f"query {q}" for q in qrels}, qrels, (), "0")


def test_pairs_are_the_relevant_judgements():
    pairs = judged_pairs(collection({"a": {"d0": 1, "d1": 0}, "b": {"d2": 2, "d1": 1, "d3": 1}}), source="here")
    assert pairs.queries == ("query a", "query b", "query b")
    assert pairs.documents == ("zero", "two", "one")
    assert pairs.source == "here" and len(pairs.fingerprint) == 64


def test_a_split_without_relevant_documents_is_refused():
    with pytest.raises(InputError, match="here: no judgement of split train is above 0"):
        judged_pairs(collection({"a": {"d0": 0}}), source="here")


def test_seen_queries_have_a_relevant_document_among_the_texts():
    scored = collection({"a": {"d0": 1}, "b": {"d1": 0, "d2": 1}, "c": {"d1": 1, "d2": 1}})
    assert seen_queries(scored, ["two"]) == ["b", "c"]
    assert seen_queries(scored, ["one"]) == ["c"]
    assert seen_queries(scored, ["three"]) == []


def test_scifacts_train_pairs_hold_two_thirds_of_its_test_documents(shared):
    folder = shared / "data" / "scifact"
    pairs = judged_pairs(read_beir(folder, split="train"), source="scifact")
    assert len(pairs) == 919
    assert len(seen_queries(read_beir(folder), pairs.documents)) == 196
