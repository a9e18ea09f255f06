"""Preflight of any loss: what each loss allows, what is wrong with pairs and models, and that nothing is changed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import preflight
from collapse_probe.cli._explain import explained
from collapse_probe.diagnosis import AUDITED_MECHANISMS, AUDITS, Diagnosis
from collapse_probe.errors import InputError


def pairs(n: int = 160, d: int = 32, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(n, d, generator=generator)
    return query, query + noise * torch.randn(n, d, generator=generator)


def softmax(query: Tensor, document: Tensor, scale: float = 20.0) -> Tensor:
    scores = scale * functional.normalize(query, dim=1) @ functional.normalize(document, dim=1).T
    return functional.cross_entropy(scores, torch.arange(len(query)))


def cosine(query: Tensor, document: Tensor) -> Tensor:
    return (1 - functional.cosine_similarity(query, document)).mean()


def variance(query: Tensor, document: Tensor) -> dict[str, Tensor]:
    spread = functional.relu(1.5 - torch.stack([query.std(dim=0), document.std(dim=0)])).mean()
    return {"invariance": functional.mse_loss(query, document), "variance": 25 * spread}


def triplet(query: Tensor, document: Tensor) -> Tensor:
    own, other = ((query - one).norm(dim=1) for one in (document, document.roll(1, dims=0)))
    return functional.relu(own - other + 5.0).mean()


def difference(query: Tensor, document: Tensor) -> Tensor:
    return (query @ document.T).mean() - (query * document).sum(dim=1).mean()


def uniform(query: Tensor, document: Tensor) -> Tensor:
    return sum(torch.pdist(functional.normalize(z, dim=1)).square().mul(-2).exp().mean() for z in (query, document))


def named(found: Diagnosis) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for one in found.kinds:
        kinds.setdefault(one.kind, []).append(one.subject)
    return kinds


LOSSES: dict[str, tuple[Callable[..., Any], dict[str, set[str]], str | None]] = {
    "softmax": (softmax, {}, None),
    "softmax that is too warm": (lambda q, d: softmax(q, d, 0.1), {"loss_at_chance": {""}}, "temperature_or_margin"),
    "cosine": (cosine, {"degenerate_solution": {"constant"}, "no_push": {""}}, "no_repulsion"),
    "squared error": (
        functional.mse_loss,
        {"degenerate_solution": {"zero", "constant"}, "no_push": {""}, "no_scale_anchor": {""}},
        "no_repulsion",
    ),
    "variance held": (variance, {}, None),
    "triplet": (triplet, {}, None),
    "no floor": (difference, {"no_scale_anchor": {""}}, "no_scale_anchor"),
    "blind to pairs": (uniform, {"degenerate_solution": {"shuffled pairs"}}, None),
    "detached": (lambda q, d: softmax(q.detach(), d.detach()), {"no_learning": {""}}, "not_trained"),
    "every margin met": (
        lambda q, d: functional.relu(cosine(q, d) - 9),
        {"no_learning": {""}},
        "nothing_left_to_learn_from",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_allows_is_named_and_nothing_else(name):
    loss, kinds, cause = LOSSES[name]
    found = preflight(loss, *pairs())
    assert {kind: set(subjects) for kind, subjects in named(found).items()} == kinds, found.summary
    assert (found.causes[0].cause if found.causes else None) == cause
    assert not found.not_measured
    assert found.status.value == ("healthy" if not kinds else "critical" if "no_learning" in kinds else "warning")


def test_a_softmax_is_at_the_logarithm_of_its_batch_by_chance_and_its_degree_is_read():
    found = {(one.code, one.subject): one for one in preflight(softmax, *pairs()).findings}
    assert found["CP304", "constant"].judgement.value == pytest.approx(np.log(64), rel=1e-4)
    assert found["CP309", ""].judgement.value < 0.5
    assert "degree 2" in preflight(functional.mse_loss, *pairs()).summary


def test_terms_have_their_own_forces_and_a_whole_among_them_is_no_term():
    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        parts = {"pull": cosine(query, document), "push": softmax(query, document), "still": query.detach().mean()}
        return {**parts, "loss": sum(parts.values())}

    found = preflight(loss, *pairs())
    forces = {one.subject: one.judgement.value for one in found.findings if one.code == "CP308"}
    assert forces.keys() == {"", "pull", "push", "still"}
    assert forces["push"] > 0.02 and forces["still"] == 0.0
    assert "still                    no gradient" in found.summary


def near(side: Tensor) -> Tensor:
    return side[:8].repeat(20, 1) + 0.02 * side


WRONG: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], str]] = {
    "shifted by a row": (lambda q, d: (q, d.roll(1, dims=0)), "mismatched_pairs"),
    "half of them wrong": (lambda q, d: (q, torch.cat([d[:80].roll(1, dims=0), d[80:]])), "mismatched_pairs"),
    "one column twice": (lambda q, d: (q, q.clone()), "too_good"),
    "twenty near-copies": (lambda q, d: (near(q), near(d)), "false_negatives"),
    "all of them twice": (lambda q, d: (torch.cat([q, q]), torch.cat([d, d])), "repeated_texts"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_pairs_is_named(name):
    change, kind = WRONG[name]
    assert kind in named(preflight(softmax, *change(*pairs())))


class Two(nn.Module):
    """Two layers, the first behind a stop, and a pooler that nobody reads."""

    def __init__(self, *, stopped: bool) -> None:
        super().__init__()
        self.first, self.second, self.pooler = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.stopped = stopped

    def forward(self, rows: Tensor) -> Tensor:
        self.pooler(rows)
        hidden = self.first(rows)
        return self.second(hidden.detach() if self.stopped else hidden)


def test_parameters_that_a_loss_does_not_reach_are_named_but_not_those_that_nobody_reads():
    assert named(preflight(softmax, *pairs(), model=Two(stopped=False))) == {}
    found = preflight(softmax, *pairs(), model=Two(stopped=True))
    assert named(found) == {"no_learning": [""]} and found.status.value == "warning"
    assert found.causes[0].locus == "first.weight, first.bias"


@pytest.mark.parametrize("left", ["1", "2"])
def test_a_module_left_in_training_mode_gives_vectors_that_depend_on_the_batch(left):
    model = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.2), nn.BatchNorm1d(32))
    assert named(preflight(softmax, *pairs(), model=model)) == {}, "training mode is right before training"
    model.eval().get_submodule(left).train()
    found = preflight(softmax, *pairs(), model=model)
    assert named(found) == {"unsteady_vectors": [""]}
    assert (found.causes[0].cause, found.causes[0].locus) == ("batch_dependent_vectors", left)


class Queue(nn.Module):
    """A loss with everything that an audit could change: weights, a buffer, a gradient, a queue, a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.norm, self.drop = nn.BatchNorm1d(32), nn.Dropout(0.1)
        self.register_buffer("pool", torch.randn(16, 32))
        self.queue, self.calls, self.seen = torch.randn(16, 32), 0, [1]

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        others = torch.cat([document, self.queue, self.pool])
        self.queue = document.detach()[:16]
        self.pool.copy_(document.detach()[:16] + random.random() + np.random.rand())
        self.calls += 1
        self.seen.append(self.calls)
        self.fresh = self.calls
        scores = self.scale * functional.normalize(self.drop(self.norm(query)), dim=1)
        return functional.cross_entropy(scores @ functional.normalize(others, dim=1).T, torch.arange(len(query)))


def test_nothing_of_the_users_is_changed():
    model = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.1), nn.BatchNorm1d(32)).train()
    model[1].eval()
    loss = Queue()
    query, document = pairs()
    loss(model(query), model(document)).backward()
    kept = copy.deepcopy((model.state_dict(), loss.state_dict(), loss.queue, loss.calls, loss.seen))
    buffers, slopes = {id(one) for one in loss.buffers()}, [one.grad.clone() for one in model.parameters()]
    modes = [one.training for one in (*model.modules(), *loss.modules())]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    before = query.clone()
    with torch.no_grad():
        found = preflight(loss, query, document, model=model)
    assert not found.not_measured
    for old, new in zip(kept[:2], (model.state_dict(), loss.state_dict()), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert torch.equal(loss.queue, kept[2]) and (loss.calls, loss.seen) == (1, kept[4]) and loss.fresh == 1
    assert buffers == {id(one) for one in loss.buffers()}
    assert all(torch.equal(one.grad, slope) for one, slope in zip(model.parameters(), slopes, strict=True))
    assert modes == [one.training for one in (*model.modules(), *loss.modules())]
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert torch.equal(query, before) and torch.is_grad_enabled()


def one_bad(query: Tensor) -> Tensor:
    query = query.clone()
    query[3, 3] = torch.nan
    return query


UNJUDGED = {
    "no scalar": (lambda q, d: (q - d).square(), lambda q, d: (q, d), "not a scalar: take its mean"),
    "raises": (lambda q, d: 1 / 0, lambda q, d: (q, d), "the loss raised ZeroDivisionError: division by zero"),
    "nothing": (lambda q, d: None, lambda q, d: (q, d), "gave a NoneType"),
    "no terms": (lambda q, d: {}, lambda q, d: (q, d), "empty mapping"),
    "not finite": (lambda q, d: q.sum() / 0, lambda q, d: (q, d), "the loss is"),
    "a row of NaN": (softmax, lambda q, d: (one_bad(q), d), "1 of 320 rows are not finite"),
    "all equal": (softmax, lambda q, d: (q[:1].expand(64, 32), d[:1].expand(64, 32)), "all 64 queries are equal"),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_what_cannot_be_judged_is_not_measured(name):
    loss, change, why = UNJUDGED[name]
    found = preflight(loss, *change(*pairs()))
    assert (found.status.value, found.exit_code, found.kinds) == ("not measured", 1, ())
    assert any(why in one.why and one.essential and "\n" not in one.why for one in found.not_measured), (
        found.not_measured
    )


def test_few_pairs_say_nothing_of_separation_and_a_loss_is_judged_all_the_same():
    found = preflight(cosine, *(one[:20] for one in pairs()))
    assert "degenerate_solution" in named(found)
    assert [one.what for one in found.not_measured] == ["pairs"]
    assert {one.status.value for one in found.findings if one.code == "CP513"} == {"not measured"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((softmax, torch.randn(40, 8), torch.randn(30, 8)), "40 queries and 30 documents: own pairs are in equal rows"),
        ((softmax, torch.randn(40, 8), torch.randn(40, 6)), "queries have 8 dimensions and documents 6"),
        ((softmax, torch.randn(40), torch.randn(40)), "one text a row"),
        ((softmax, ["a text"], ["a text"]), "queries is a list: a tensor"),
        ((softmax, torch.ones(40, 8).long(), torch.ones(40, 8).long()), "or give the model"),
        ((0.5, torch.randn(40, 8), torch.randn(40, 8)), "loss is a float"),
    ],
)
def test_wrong_use_is_one_line(given, line):
    with pytest.raises(InputError, match=line):
        preflight(*given)
    with pytest.raises(InputError, match="model raised RuntimeError"):
        preflight(softmax, *pairs(), model=nn.Linear(3, 3))


def test_every_audit_and_its_mechanisms_are_explained():
    for one in AUDITS:
        text = explained(one.code)
        assert "before training" in text and one.formula and one.why and one.remedies
        assert all(cut.source for cut in one.thresholds.values())
    kinds = {one.kind for one in AUDITS}
    for mechanism in AUDITED_MECHANISMS:
        assert set(mechanism.explains) <= kinds and mechanism.decides
        assert "before training" in explained(mechanism.cause).lower()
