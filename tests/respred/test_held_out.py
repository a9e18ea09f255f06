"""Held-out pairs as a collection of the trained domain."""

import pytest
import torch
from tests_support import toy_data

from collapse_probe.respred import Recipe
from collapse_probe.respred.training import TrainingData
from collapse_probe.respred.training._held_out import held_out_pairs
from collapse_probe.respred.training._training import _inside
from collapse_probe.respred.training._vectors import PairTexts


def made_of(trained: list[tuple[str, str]], held_out: list[tuple[str, str]]) -> TrainingData:
    """Return pairs whose vectors are the rows' numbers, held-out ones from 1,000 on."""
    sides = [torch.arange(len(rows), dtype=torch.float32)[:, None] for rows in (trained, held_out)]
    texts = PairTexts(*(list(one) for rows in (trained, held_out) for one in zip(*rows, strict=True)))
    return TrainingData(sides[0], sides[0], sides[1] + 1000, sides[1] + 1000, texts)


HELD = [(f"asked {row}", f"answer {row}") for row in range(40)]


def test_each_query_is_ranked_among_the_documents_of_all_pairs_with_its_own_vectors():
    found = held_out_pairs(made_of([("trained 0", "other 0"), ("trained 1", "other 1")], HELD))
    assert (found.domain, found.role, found.changed) == ("in", "test", False)
    assert list(found.collection.queries.values()) == [query for query, _ in HELD]
    assert list(found.collection.documents.values()) == [*(text for _, text in HELD), "other 0", "other 1"]
    assert found.query[:, 0].tolist() == [1000.0 + row for row in range(40)]
    assert found.document[:, 0].tolist() == [*(1000.0 + row for row in range(40)), 0.0, 1.0]
    assert found.collection.qrels["q3"] == {"d3": 1}


def test_equal_texts_are_one_and_every_answer_to_a_query_is_right():
    again = [("asked 0", "answer 0"), ("asked 0", "another answer"), ("trained", "answer 1")]
    found = held_out_pairs(made_of(again, [*HELD, ("asked 5", "answer 6")]))
    assert len(found.collection.queries) == 40 and len(found.collection.documents) == 41
    assert found.collection.qrels["q0"] == {"d0": 1, "d42": 1}
    assert found.collection.qrels["q5"] == {"d5": 1, "d6": 1}
    assert found.collection.qrels["q1"] == {"d1": 1}


@pytest.mark.parametrize("empty", [("", "answer"), ("asked", "")])
def test_empty_texts_are_left_out(empty):
    found = held_out_pairs(made_of([("trained", "other")], [empty, *HELD]))
    assert len(found.collection.queries) == 40
    assert "" not in {*found.collection.queries.values(), *found.collection.documents.values()}


def test_few_queries_or_no_texts_are_not_scored():
    assert held_out_pairs(made_of([("trained", "other")], HELD[:31])) is None
    assert held_out_pairs(toy_data()) is None


def test_documents_that_are_encoded_again_at_every_evaluation_are_fewer():
    trained = [(f"trained {row}", f"other {row}") for row in range(1000)]
    data = made_of(trained, HELD)
    assert len(_inside(Recipe(), data).document_ids) == 1040
    fewer = _inside(Recipe(unfreeze_layers=1), data)
    assert len(fewer.document_ids) == 512 and fewer.document_ids[:40] == [f"d{row}" for row in range(40)]
