"""Where a loss moves embeddings, against autograd, and on losses whose direction is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from collapse_probe import measures as m
from collapse_probe.journal.vocabulary import Role
from collapse_probe.measures import Sample, read
from collapse_probe.measures import _forces as forces


def pairs(n: int = 32, dimension: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(n, dimension, generator=rng, dtype=torch.float64) + 0.5
    noise = torch.randn(2, n, dimension, generator=rng, dtype=torch.float64)
    return tuple((base + 0.6 * one).requires_grad_() for one in noise)  # type: ignore[return-value]


def force(loss, query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
    return torch.autograd.grad(loss(query, document), (query, document))


def contrast(query: Tensor, document: Tensor) -> Tensor:
    scores = 20 * functional.normalize(query) @ functional.normalize(document).T
    return functional.cross_entropy(scores, torch.arange(len(query)))


def squared(query: Tensor, document: Tensor) -> Tensor:
    return functional.mse_loss(query, document)


def own_distance(query: Tensor, document: Tensor) -> Tensor:
    gap = functional.normalize(query) - functional.normalize(document)
    return gap.norm(dim=1).log().mean()


def near_distance(query: Tensor, document: Tensor) -> Tensor:
    both = functional.normalize(torch.cat([query, document]))
    n = len(query)
    scores = (both @ both.T).detach().fill_diagonal_(-torch.inf)
    rows = torch.arange(n)
    scores[rows, rows + n] = scores[rows + n, rows] = -torch.inf
    near = scores.topk(5, dim=1).indices
    return (both[:, None] - both[near]).norm(dim=2).log().mean()


@pytest.mark.parametrize("loss", [contrast, squared])
@pytest.mark.parametrize(("measure", "potential"), [(m.pull, own_distance), (m.push, near_distance)])
def test_a_force_is_the_cosine_of_two_gradients_on_unit_vectors(loss, measure, potential):
    query, document = (functional.normalize(one.detach()).requires_grad_() for one in pairs())
    descent = -torch.cat(force(loss, query, document))
    unit = torch.cat([query, document]).detach()
    descent = descent - unit * (descent * unit).sum(dim=1, keepdim=True)
    growth = torch.cat(force(potential, query, document))
    expected = functional.cosine_similarity(descent.flatten(), growth.flatten(), dim=0).item()
    found = measure(query.detach(), document.detach(), force(loss, query, document)).item()
    assert found == pytest.approx(expected, abs=1e-9) and abs(expected) > 0.01


def test_a_softmax_pushes_and_what_only_pulls_does_not():
    query, document = pairs()
    values = {one.__name__: m.push(query, document, force(one, query, document)).item() for one in (contrast, squared)}
    assert values["contrast"] > 0.1 > 0.02 > values["squared"]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_length_is_no_push_and_no_pull(scale):
    query, document = pairs()
    before = [one(query, document, force(contrast, query, document)).item() for one in (m.pull, m.push)]
    longer = (scale * query).detach().requires_grad_()
    after = [one(longer, document, force(contrast, longer, document)).item() for one in (m.pull, m.push)]
    assert after == pytest.approx(before, abs=1e-6)


def test_each_querys_own_document_is_not_among_the_others():
    query, document = pairs()
    order = torch.randperm(len(document), generator=torch.Generator().manual_seed(1))
    own = order.argsort()
    gradients = force(contrast, query, document)
    plain = m.push(query, document, gradients)
    assert torch.isclose(m.push(query, document[order], (gradients[0], gradients[1][order]), own=own), plain)


def test_of_a_large_batch_the_first_pairs_are_read_with_their_own_documents(monkeypatch):
    query, document = pairs(64)
    order = torch.randperm(len(document), generator=torch.Generator().manual_seed(1))
    own = order.argsort()
    gradients = force(contrast, query, document)
    few, at_few = (query[:16], document[:16]), (gradients[0][:16], gradients[1][:16])
    wanted = m.pull(*few, at_few), m.push(*few, at_few)
    monkeypatch.setattr(forces, "MOST", 32)
    for first, second, at_first, at_second, whose in (
        (query, document, *gradients, None),
        (query, document[order], gradients[0], gradients[1][order], own),
    ):
        found = [one(first, second, (at_first, at_second), own=whose) for one in (m.pull, m.push)]
        assert all(torch.isclose(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_penalty_on_norms_is_radial_and_nothing_else():
    query, document = pairs()
    gradients = force(lambda q, d: q.square().sum() + d.square().sum(), query, document)
    assert m.radial(query, gradients[0]) < -0.9
    assert abs(m.push(query, document, gradients)) < 1e-9 > abs(m.pull(query, document, gradients))


def test_they_are_read_where_a_gradient_arrived():
    query, document = (one.detach() for one in pairs())
    streams, roles = {"q": query, "d": document}, {"q": Role.query, "d": Role.document}
    names = {"pairs/push", "pairs/pull", "q/radial", "d/radial"}
    assert not names & read(Sample(streams=streams, roles=roles), on="batch").keys()
    one_side = Sample(streams=streams, roles=roles, gradients={"q": query - document})
    found = read(one_side, on="batch")
    assert names & found.keys() == names - {"d/radial"}
    whole = m.push(query, document, (query - document, torch.zeros_like(document)))
    assert found["pairs/push"] == pytest.approx(whole.item())
