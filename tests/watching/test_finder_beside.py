"""What stands beside a pair in a step and is none of it: evaluations, freed memory, inputs that are trained, too."""

from __future__ import annotations

import pytest
import torch
from plain_loops import OneTower, TwoTowers, descend, infonce, pairs, tower
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, logsigmoid, mse_loss

from collapse_probe.journal import Evaluation, Event
from collapse_probe.watching import watch


class Scorer(nn.Module):
    """Encodes both inputs by the same parts, one after another, and gives a cosine a row."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine_similarity(*(self.second(self.act(self.first(x))) for x in (a, b)))


def test_memory_that_is_given_out_again_makes_no_chain():
    """The output of the first part is freed within a call, and the second part's may get its memory."""
    model = Scorer()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(3):
        descend(optimizer, mse_loss(model(a, b), torch.ones(len(a))))
    w.close()
    assert {name: w.live.coverage[name].where for name in ("query", "document")} == dict.fromkeys(
        ("query", "document"), "output of module second"
    )


class Heads(nn.Module):
    """Two heads of one width over one tower, a target each."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.first, self.second = tower(), nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.tower(x).relu()
        return self.first(found), self.second(found)


def test_two_heads_are_no_two_sides():
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(12):
        descend(optimizer, sum(cross_entropy(one, b[:, :5].argmax(dim=1)) for one in model(a)))
    w.close()
    assert not [name for name, one in w.live.coverage.items() if one.steps]


def test_an_evaluation_in_evaluation_mode_is_no_frozen_side():
    """One matrix is trained a step, and the same rows are scored before it."""
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, _ in pairs(4):
        model.eval()
        with torch.no_grad():
            model(a)
        model.train()
        descend(optimizer, (model(a) @ model.tower[0].weight[:8, :8]).square().mean())
    w.close()
    assert {name for name, one in w.live.coverage.items() if one.steps} == {"embedding"}


@pytest.mark.parametrize("trained", [True, False])
def test_pairs_are_not_replayed_from_inputs_that_are_trained(trained):
    """A table and a tower: what the tower was first given grows old."""
    table, model = nn.Embedding(30, 12).requires_grad_(trained), nn.ModuleDict({"query": tower(), "item": tower()})
    parts = nn.ModuleList([table, model])
    optimizer = torch.optim.SGD([one for one in parts.parameters() if one.requires_grad], lr=0.05)
    w = watch(parts, optimizer=optimizer, run=False)
    for step in range(3):
        rows = torch.arange(10) + 10 * step
        descend(optimizer, infonce(model["query"](table(rows)), model["item"](table(rows.flip(0)))))
    w.close()
    assert w.live.coverage["query"].steps == 3
    assert bool(len(w.live.series("pairs/mrr", on="reference"))) is not trained
    said = [one.message for one in w.live.of(Event) if one.subject == "reference pairs"]
    assert any("is trained, too" in one for one in said) is trained


@pytest.mark.parametrize("labelled", [True, False])
def test_rows_with_labels_are_no_own_pairs(labelled):
    """A loss that takes each row by itself: half of the rows are pairs, and the reference is made of these alone."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(3, rows=16):
        labels = (torch.arange(16) % 2).float() if labelled else torch.ones(16)
        wrong = torch.where(labels[:, None] > 0, b, b.roll(2, 0))
        descend(optimizer, mse_loss(cosine_similarity(model(a), model(wrong)), 2 * labels - 1))
    w.close()
    first = w.live.of(Evaluation)[0]
    assert (first.n_queries, first.n_documents) == ((16, 32) if labelled else (32, 32))
    assert bool(len(w.live.series("pairs/d_prime", on="batch"))) is not labelled
    assert "labels" in w.live.coverage["pairs"].why if labelled else "pairs" not in w.live.coverage


@pytest.mark.parametrize("inverted", [True, False])
def test_rows_that_a_loss_moves_apart_are_read_by_the_first_weights(inverted):
    """Once, beside the rows that it moves together: labels that are inverted show there."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(4, rows=32):
        together = torch.arange(32) % 2 == (0 if inverted else 1)
        right = torch.where((torch.arange(32) % 2 == 1)[:, None], b, b.roll(2, 0))
        descend(optimizer, mse_loss(cosine_similarity(model(a), model(right)), 2 * together.float() - 1))
    w.close()
    own, apart = (w.live.series(f"pairs/{name}", on="reference") for name in ("auc", "negative_auc"))
    assert apart.steps.tolist() == [0] and apart.n[0] >= 32
    assert bool(apart.values[0] > 0.8 and own.values[0] < 0.7) is inverted
    assert bool(apart.values[0] < 0.7 and own.values[0] > 0.8) is not inverted


def test_pairs_that_a_loss_drives_to_one_similarity_have_no_labels():
    """Those that are nearer already it pushes apart."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(6, rows=32):
        cosines = cosine_similarity(model(a), model(b))
        descend(optimizer, mse_loss(cosines, cosines.detach().median().expand(32)))
    w.close()
    assert len(w.live.series("pairs/d_prime", on="batch")) == 6 and "pairs" not in w.live.coverage


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = tower(outputs=3)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.encoder(x)
        return {"loss": nn.CrossEntropyLoss()(logits.view(-1, 3), labels), "logits": logits}


def test_scores_of_classes_are_no_embedding():
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, _ in pairs(4):
        descend(optimizer, model(a, torch.arange(10) % 3)["loss"])
    w.close()
    assert not [name for name, one in w.live.coverage.items() if one.steps]


class Predicting(nn.Module):
    """Vectors of both views, and what a predictor makes of them; of a moving average's where there is one."""

    def __init__(self, average: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.predictor, self.average = tower(outputs=64), nn.Linear(64, 64), average

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        one, other = self.encoder(a), self.encoder(b)
        predicted = self.predictor(one), self.predictor(other)
        targets = one.detach(), other.detach()
        if self.average is not None:
            with torch.no_grad():
                targets = self.average(a), self.average(b)
        return -(cosine_similarity(predicted[0], targets[1]) + cosine_similarity(predicted[1], targets[0])).mean()


@pytest.mark.parametrize(
    ("average", "where"),
    [
        (None, {"query": "output of module encoder", "document": "output of module encoder"}),
        (tower(outputs=64), {"query": "output of module predictor", "document": "output of module average"}),
    ],
    ids=["of itself", "of an average"],
)
def test_views_that_predict_each_other(average, where):
    """What is served is what the predictor is given; an average's vectors are heard in every step, without a graph."""
    torch.manual_seed(0)
    model = Predicting(average)
    optimizer = torch.optim.SGD([*model.encoder.parameters(), *model.predictor.parameters()], lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(8, rows=64):
        descend(optimizer, model(a, b))
    w.close()
    assert {name: one.where for name, one in w.live.coverage.items() if one.steps} == where
    assert min(one.steps for one in w.live.coverage.values()) >= 5


class Margin(nn.Module):
    """Cosines with one vector of each class, as the heads of faces have them."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.randn(7, 8))

    def forward(self, z: Tensor) -> Tensor:
        return 10 * nn.functional.linear(nn.functional.normalize(z), nn.functional.normalize(self.classes))


def test_the_embedding_of_a_loss_over_classes_is_what_its_head_is_given():
    model, head = tower(), Margin()
    whole = nn.ModuleDict({"encoder": model, "head": head})
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.05)
    w = watch(whole, optimizer=optimizer, run=False)
    for a, _ in pairs(6):
        descend(optimizer, cross_entropy(head(model(a)), torch.arange(len(a)) % 7))
    w.close()
    heard = {name: one.where for name, one in w.live.coverage.items() if one.steps}
    assert heard == {"embedding": "output of module encoder"}


@pytest.mark.parametrize("compared", [True, False])
def test_two_outputs_that_the_loss_does_not_compare_are_no_pair(compared):
    """Right and wrong rows, each scored by itself against a summary of the right ones, as graph infomax does."""
    torch.manual_seed(0)
    model = TwoTowers(lambda q, d: (q, d))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(3, rows=32):
        one, other = model(a, b)
        apart = -sum(logsigmoid(x @ one.mean(0).sigmoid() * sign).mean() for x, sign in ((one, 1), (other, -1)))
        descend(optimizer, infonce(one, other) if compared else apart)
    w.close()
    heard = {name for name, stream in w.live.coverage.items() if stream.steps and stream.rule == "model output"}
    assert heard == ({"query", "document"} if compared else set())


@pytest.mark.parametrize("compared", [True, False])
def test_two_calls_that_the_loss_does_not_compare_are_no_sides(compared):
    """As above by one encoder: rows enough to tell that right and wrong ones have nothing to do with each other."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(3, rows=320):
        one, other = model(a), model(b if compared else b.flip(0))
        apart = -sum(logsigmoid(x @ one.mean(0).sigmoid() * sign).mean() for x, sign in ((one, 1), (other, -1)))
        descend(optimizer, infonce(one, other) if compared else apart)
    w.close()
    heard = {name for name, stream in w.live.coverage.items() if stream.steps}
    assert heard == ({"query", "document"} if compared else set())


@pytest.mark.parametrize("own", [True, False])
def test_negatives_of_all_queries_behind_their_own_documents(own):
    """As recommenders of sessions draw them: 16 queries, their 16 items, and 8 more that all are compared with."""
    torch.manual_seed(0)
    model = TwoTowers(lambda q, d: (q, d))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(25, rows=16):
        query, document = model(a, torch.cat([b, b[:8] + torch.randn(8, 12)]))
        descend(optimizer, cross_entropy(query @ document.T, torch.arange(16) if own else torch.arange(16) // 2 + 16))
    w.close()
    assert bool(len(w.live.series("pairs/mrr", on="batch"))) is own
    assert (w.live.coverage["pairs"].why == "") is own
