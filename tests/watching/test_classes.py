"""A softmax over classes: vectors are compared with the rows of a weight, and labels name each one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from plain_loops import OneTower, descend, infonce, tower
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, log_softmax, nll_loss, normalize, one_hot
from torch.utils.checkpoint import checkpoint

from collapse_probe import diagnose
from collapse_probe.watching import Watch, watch

CLASSES, STEPS = 24, 5


class Margin(nn.Module):
    """A loss with weights of its own, one row a class, as ArcFace's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        cosines = linear(normalize(z), normalize(self.weight))
        return cross_entropy(20 * (cosines - 0.2 * one_hot(labels, CLASSES)), labels)


class Scoring(nn.Module):
    """A model whose output is scores of classes."""

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.items = tower(), nn.Embedding(CLASSES, 8)
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.body(x), self.items.weight)


def batches(count: int, *, rows: int = 16, classes: int = CLASSES) -> list[tuple[Tensor, Tensor]]:
    """Return texts that lie about their classes' centres, and labels."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 12, generator=generator)
    labels = [torch.randperm(classes, generator=generator)[:rows] for _ in range(count)]
    labels = labels if rows <= classes else [torch.randint(classes, (rows,), generator=generator) for _ in labels]
    return [(centres[one] + 0.1 * torch.randn(rows, 12, generator=generator), one) for one in labels]


def train(model: nn.Module, loss: Callable[[Any, Tensor, Tensor], Tensor], *, on: bool = True, **how: Any) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False) if on else None
    for x, labels in batches(STEPS, **how):
        descend(optimizer, loss(model, x, labels))
    if w is not None:
        w.close()
    return w  # type: ignore[return-value]


def rules(w: Watch) -> dict[str, str]:
    return {name: one.rule for name, one in w.live.coverage.items() if one.steps}


RULE = "classes that labels name"
SCORED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda z, weight: z @ weight.T,
    "product, turned": lambda z, weight: (weight @ z.T).T,
    "cosines": lambda z, weight: 20 * linear(normalize(z), normalize(weight)),
    "distances": lambda z, weight: -torch.cdist(z, weight),
    "with a bias": lambda z, weight: torch.addmm(torch.zeros(CLASSES), z, weight.T),
}


@pytest.mark.parametrize("score", SCORED)
def test_vectors_and_the_classes_of_their_labels_are_the_sides(score):
    torch.manual_seed(0)
    model = Scoring(SCORED[score])
    w = train(model, lambda m, x, labels: cross_entropy(m(x), labels))
    assert rules(w) == {"query": RULE, "document": RULE}
    assert {(one.n / one.steps, one.dimension) for one in w.live.coverage.values() if one.steps} == {(16, 8)}
    found = w.live.series("document/norm_mean", on="batch").values[-1]
    near = model.items.weight[batches(STEPS)[-1][1]]  # the last step has changed them by little
    near = normalize(near) if score == "cosines" else near
    assert found == pytest.approx(near.norm(dim=1).mean().item(), rel=0.05)
    assert w.live.series("pairs/pull", on="batch").values[-1] < 0


@pytest.mark.parametrize("loss", ["positional", "by name", "nll"])
def test_however_the_loss_is_given_its_scores(loss):
    given = {
        "positional": lambda s, y: nn.CrossEntropyLoss(label_smoothing=0.1)(s, y),
        "by name": lambda s, y: cross_entropy(input=s, target=y),
        "nll": lambda s, y: nll_loss(log_softmax(s, dim=1), y),
    }[loss]
    w = train(Scoring(SCORED["product"]), lambda m, x, labels: given(m(x), labels))
    assert rules(w) == {"query": RULE, "document": RULE}


def test_inside_of_a_loss_with_weights_of_its_own():
    model = nn.ModuleDict({"body": tower(), "head": Margin()})
    w = train(model, lambda m, x, labels: m["head"](m["body"](x), labels))
    assert rules(w)["query"] == rules(w)["document"] == RULE


def test_a_class_that_is_most_of_every_batch_is_no_collapse():
    torch.manual_seed(0)
    model = nn.ModuleDict({"body": tower(outputs=16), "head": nn.Linear(16, 40)})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    centres = torch.randn(40, 12)
    with watch(model, optimizer=optimizer, run=False) as w:
        for _ in range(200):
            labels = torch.randint(40, (64,)).masked_fill(torch.rand(64) < 0.85, 0)
            vectors = model["body"](centres[labels] + 0.1 * torch.randn(64, 12))
            descend(optimizer, cross_entropy(model["head"](vectors), labels))
    assert rules(w) == {"query": RULE, "document": RULE} and diagnose(w).status.value == "healthy"


def test_a_loss_over_pairs_goes_before_one_over_classes():
    model = nn.ModuleDict({"tower": OneTower(), "head": nn.Linear(8, CLASSES)})

    def both(m: Any, x: Tensor, labels: Tensor) -> Tensor:
        z = m["tower"](x)
        return cross_entropy(m["head"](z), labels) + infonce(z, m["tower"](x + 0.1))

    assert rules(train(model, both)) == {
        "query": "one module, called for each side",
        "document": "one module, called for each side",
    }


@pytest.mark.parametrize("why", ["few classes", "labels that are left out"])
def test_neither_a_classifier_of_few_classes_nor_a_language_model_is_retrieval(why):
    few = why == "few classes"
    model = nn.Sequential(tower(), nn.Linear(8, 3 if few else CLASSES))

    def loss(m: Any, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(m(x), labels if few else labels.masked_fill(torch.arange(16) % 4 > 0, -100))

    assert RULE not in rules(train(model, loss, classes=3 if few else CLASSES)).values()


def test_of_each_class_one_row_is_read():
    """Vectors of one class are to be one, which is no collapse."""
    w = train(Scoring(SCORED["product"]), lambda m, x, labels: cross_entropy(m(x), labels), rows=1030)
    assert {one.n / one.steps for one in w.live.coverage.values() if one.steps} == {CLASSES}


def test_a_loss_that_is_logged_after_the_backward_breaks_nothing():
    model = Scoring(SCORED["product"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer=optimizer, run=False) as w:
        for x, labels in batches(STEPS):
            scores = model(x)
            cross_entropy(scores, labels).backward()
            cross_entropy(scores, labels, reduction="none").detach()
            torch.func.vmap(lambda s, y: cross_entropy(s[None], y[None]))(scores, labels)
            optimizer.step()
            optimizer.zero_grad()
    assert rules(w) == {"query": RULE, "document": RULE} and not w.recorder.containment.off("products")


def test_rows_whose_label_is_left_out_are_not_read():
    def loss(m: Any, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(m(x), labels.masked_fill(torch.arange(16) % 4 == 0, 0), ignore_index=0)

    generator = torch.Generator().manual_seed(0)
    labels = [1 + torch.randperm(CLASSES - 1, generator=generator)[:16] for _ in range(STEPS)]
    model = Scoring(SCORED["product"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer=optimizer, run=False) as w:
        for one in labels:
            descend(optimizer, loss(model, torch.randn(16, 12, generator=generator), one))
    assert rules(w) == {"query": RULE, "document": RULE}
    assert {one.n / one.steps for one in w.live.coverage.values() if one.steps} == {12}


def test_a_language_model_of_transformers_is_none():
    class SmallForCausalLM(Scoring):
        pass

    w = train(SmallForCausalLM(SCORED["product"]), lambda m, x, labels: cross_entropy(m(x), labels))
    assert RULE not in rules(w).values()


def test_what_a_checkpoint_would_have_to_compute_once_more_is_left_alone():
    model = nn.ModuleDict({"body": tower(dropout=0.1), "head": nn.Linear(8, CLASSES)})
    calls = []

    def scores(x: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return model["head"](model["body"](x))

    w = train(model, lambda m, x, labels: cross_entropy(checkpoint(scores, x, use_reentrant=False), labels))
    assert len(calls) == 2 * STEPS and RULE not in rules(w).values()


@pytest.mark.parametrize("inside", [False, True])
def test_the_weights_are_the_same_bits(inside):
    ends = []
    for on in (True, False):
        torch.manual_seed(3)
        if inside:
            model: nn.Module = nn.ModuleDict({"body": tower(dropout=0.1), "head": Margin()})
            train(model, lambda m, x, labels: m["head"](m["body"](x), labels), on=on)
        else:
            model = Scoring(SCORED["cosines"])
            train(model, lambda m, x, labels: cross_entropy(m(x), labels), on=on)
        ends.append(torch.cat([one.detach().flatten() for one in model.parameters()]))
    assert torch.equal(*ends)
