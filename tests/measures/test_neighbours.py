"""Neighbours that are kept, and hubs, against a double loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from collapse_probe.journal.vocabulary import Role
from collapse_probe.measures import Sample, neighbours_of, read


def drawn(n: int, seed: int) -> Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))


def sample(query: Tensor, document: Tensor, *, similarity: str = "cosine", **more: object) -> Sample:
    roles = {"q": Role.query, "d": Role.document}
    return Sample(streams={"q": query, "d": document}, roles=roles, similarity=similarity, **more)  # type: ignore[arg-type]


def nearest(left: np.ndarray, right: np.ndarray, similarity: str, *, own: bool) -> list[set[int]]:
    found = []
    for i, row in enumerate(left):
        scores = {}
        for j, other in enumerate(right):
            if own and i == j:
                continue
            dot, gap = float(row @ other), float(np.linalg.norm(row - other))
            cosine = dot / np.linalg.norm(row) / np.linalg.norm(other)
            scores[j] = {"cosine": cosine, "dot": dot, "euclidean": -gap}[similarity]
        found.append(set(sorted(scores, key=scores.get, reverse=True)[:10]))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_neighbours_are_those_of_the_double_loop(similarity):
    query, document = drawn(20, 0), 0.5 + drawn(60, 1)
    found = neighbours_of(sample(query, document, similarity=similarity))
    assert found is not None
    q, d = query.double().numpy(), document.double().numpy()
    assert [set(row) for row in found.answers.tolist()] == nearest(q, d, similarity, own=False)
    assert [set(row) for row in found.documents.tolist()] == nearest(d, d, similarity, own=True)


def test_one_document_that_answers_everybody_is_a_hub_and_equal_ones_are_one():
    query, document = drawn(100, 0), drawn(100, 1)
    plain = read(sample(query, document), on="reference")["pairs/hub_occurrence"]
    document[:8] += 4 * query.mean(dim=0) / query.mean(dim=0).norm()
    query = query + 2 * query.mean(dim=0) / query.mean(dim=0).norm()
    assert read(sample(query, document), on="reference")["pairs/hub_occurrence"] > plain + 0.2
    twice = torch.cat([document, document])
    once = read(sample(query, document), on="reference")
    again = read(sample(query, twice), on="reference")
    assert again["pairs/hub_occurrence"] == once["pairs/hub_occurrence"]


def test_kept_neighbours_fall_from_one_to_chance():
    query, document = drawn(200, 0), drawn(200, 1)
    earlier = neighbours_of(sample(query, document))
    shares = []
    for noise in (0.0, 0.5, 50.0):
        moved = sample(query + noise * drawn(200, 2), document + noise * drawn(200, 3), earlier=earlier)
        values = read(moved, on="reference")
        shares.append((values["pairs/neighbour_overlap"].item(), values["pairs/answer_overlap"].item()))
    assert shares[0] == (1.0, 1.0)
    assert all(0.2 < one < 0.9 for one in shares[1])
    assert all(one == pytest.approx(10 / 200, abs=0.03) for one in shares[2])


@pytest.mark.parametrize("document", [drawn(49, 1), torch.ones(200, 16), torch.full((200, 16), torch.nan)])
def test_too_few_distinct_documents_have_no_neighbours(document):
    found = read(sample(drawn(30, 0), document), on="reference")
    assert not {"pairs/hub_occurrence", "pairs/neighbour_overlap"} & found.keys()
