"""Training pairs from a collection's judgements, and which queries have a document that was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import Collection, Pairs, find_overlap, judged_pairs, read_beir


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


def pairs_of(*documents: str) -> Pairs:
    return Pairs(("a query",) * len(documents), documents, "here", "0")


def test_queries_are_seen_where_a_relevant_document_was_trained_on():
    scored = collection({"a": {"d0": 1}, "b": {"d1": 0, "d2": 1}, "c": {"d1": 1, "d2": 1}})
    assert find_overlap(scored, pairs_of("two")).queries == ("b", "c")
    assert find_overlap(scored, pairs_of("one")).queries == ("c",)
    assert find_overlap(scored, pairs_of("three")).queries == ()


def titled() -> Collection:
    documents = {"d0": "A chain: how to clean it Brush off the dirt, then dry it.", "d1": "Other text entirely"}
    titles = {"d0": "A chain: how to clean it"}
    return Collection("toy", "test", documents, {"a": "q"}, {"a": {"d0": 1}}, (), "0", titles)


@pytest.mark.parametrize(
    "text",
    [
        "A chain: how to clean it Brush off the dirt, then dry it.",
        "Brush off the dirt, then dry it.",
        "  brush off THE dirt,\n then dry it ",
        "Brush o\uff46f the dirt, then dry it.",
    ],
)
def test_a_trained_document_is_recognised_without_its_title_and_in_another_writing(text):
    found = find_overlap(titled(), pairs_of(text, "something else"))
    assert (found.queries, found.trained, found.equal, found.near) == (("a",), 2, 1, 0)


def test_nearly_equal_texts_are_found_by_their_vectors_and_confirmed_by_their_words():
    words = [f"word{i}" for i in range(30)]
    documents = {"d0": " ".join(words), "d1": " ".join(f"other{i}" for i in range(30))}
    scored = Collection("toy", "test", documents, {"a": "q", "b": "r"}, {"a": {"d0": 1}, "b": {"d1": 1}}, (), "0")
    cut, like = " ".join(words[:25]), " ".join(f"third{i}" for i in range(30))

    def vectors(texts):
        # The cut text is near d0; the unlike one is as near to d1, but has none of its words.
        return np.array([[0.0, 1.0] if "word" in text else [1.0, 0.0] for text in texts])

    found = find_overlap(scored, pairs_of(cut, like), vectors)
    assert (found.queries, found.equal, found.near) == (("a",), 0, 1)
    assert found.said == "1 of the 2 documents of the pairs are in its corpus (1 nearly)"
    assert find_overlap(scored, pairs_of(cut, like)).queries == ()


def test_judged_documents_that_the_corpus_lacks_make_no_pairs():
    scored = collection({"a": {"d0": 1, "missing": 1}})
    assert judged_pairs(scored, source="here").documents == ("zero",)
    assert find_overlap(scored, pairs_of("zero")).queries == ("a",)


def test_scifacts_train_pairs_hold_two_thirds_of_its_test_documents(shared):
    folder = shared / "data" / "scifact"
    pairs = judged_pairs(read_beir(folder, split="train"), source="scifact")
    assert len(pairs) == 919
    assert len(find_overlap(read_beir(folder), pairs).queries) == 196
