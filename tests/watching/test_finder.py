"""With nothing but the optimiser: which streams are found, by which rule, and what is said of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from plain_loops import OneTower, TwoTowers, descend, infonce, pairs, tower, values_at
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from collapse_probe import diagnose
from collapse_probe.journal import Coverage
from collapse_probe.watching import Watch, watch

STEPS = 3


def find(model: nn.Module, loss: Any, *, steps: int = STEPS, rows: int = 10, extra: Any = ()) -> Watch:
    """Train some steps, watched with nothing but the optimiser; ``loss(model, a, b)`` gives the loss."""
    optimizer = torch.optim.SGD([*model.parameters(), *extra], lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(steps, rows=rows):
        descend(optimizer, loss(model, a, b))
    return w


def found(w: Watch) -> dict[str, Coverage]:
    w.close()
    return {name: one for name, one in w.live.coverage.items() if one.steps}


def both(w: Watch, *, rule: str, where: tuple[str, str], steps: int = STEPS) -> dict[str, Coverage]:
    streams = found(w)
    assert {"query", "document"} <= set(streams)
    assert [streams[name].rule for name in ("query", "document")] == [rule, rule]
    assert (streams["query"].where, streams["document"].where) == where
    assert [streams[name].steps for name in ("query", "document")] == [steps, steps]
    assert [streams[name].role for name in ("query", "document")] == ["query", "document"]
    return streams


def test_a_shared_tower():
    w = find(OneTower(), lambda m, a, b: infonce(m(a), m(b)))
    both(w, rule="one module, called for each side", where=("output of the model", "output of the model"))
    assert w.live.series("pairs/mrr", on="reference").steps.tolist()[0] == 0


def test_a_part_of_the_model_that_is_called_for_each_side():
    w = find(OneTower(), lambda m, a, b: infonce(m.tower(a), m.tower(b)))
    both(w, rule="one module, called for each side", where=("output of module tower", "output of module tower"))


def test_two_towers_that_the_loop_calls():
    w = find(TwoTowers(lambda q, d: (q, d)), lambda m, a, b: infonce(m.doc_tower(b), m.query_tower(a)))
    both(w, rule="two modules, one for each side", where=("output of module query_tower", "output of module doc_tower"))


def bayesian(query: Tensor, document: Tensor, negative: Tensor) -> Tensor:
    return -logsigmoid((query * document).sum(dim=1) - (query * negative).sum(dim=1)).mean()


def test_two_towers_of_which_one_is_called_again_for_negatives():
    model = TwoTowers(lambda q, d: (q, d))
    w = find(model, lambda m, a, b: bayesian(m.query_tower(a), m.doc_tower(b), m.doc_tower(b.flip(0))), rows=16)
    where = ("output of module query_tower", "output of module doc_tower")
    streams = both(w, rule="two modules, one for each side, negatives again", where=where)
    assert (streams["negative"].role, streams["negative"].steps) == ("document", STEPS)
    series = w.live.series("pairs/mrr", on="reference")
    assert series.steps.tolist()[0] == 0


def test_a_query_tower_that_is_called_again_is_not_taken_for_the_documents():
    model = TwoTowers(lambda q, d: (q, d))
    w = find(model, lambda m, a, b: bayesian(m.doc_tower(b), m.query_tower(a), m.query_tower(a.flip(0))))
    assert found(w)["query"].rule == "one module, called for each side"


STACKED = {
    "sides stacked in one matrix": (lambda a, b: torch.cat([a, b]), lambda z: z.chunk(2)),
    "sides in turns in one matrix": (
        lambda a, b: torch.stack([a, b], dim=1).flatten(0, 1),
        lambda z: (z[::2], z[1::2]),
    ),
}


@pytest.mark.parametrize("rule", STACKED)
def test_one_matrix_of_both_sides_is_read_as_both(rule):
    join, part = STACKED[rule]
    torch.manual_seed(0)
    w = find(OneTower(), lambda m, a, b: infonce(*part(m(join(a, b)))))
    streams = both(w, rule=rule, where=("output of the model", "output of the model"))
    assert "embedding" not in streams
    torch.manual_seed(0)
    other = find(OneTower(), lambda m, a, b: infonce(m(a), m(b)))
    other.close()
    for name in ("pairs/mrr", "query/norm_median", "document/common_share", "pairs/pull"):
        mine, theirs = (one.live.series(name, on="batch").values for one in (w, other))
        assert mine.tolist() == pytest.approx(theirs.tolist(), rel=1e-4), name


@pytest.mark.parametrize("rows", [4, 10])
def test_one_matrix_of_unrelated_rows_or_of_few_is_one_stream(rows):
    w = find(OneTower(), lambda m, a, b: m(a).square().mean() if rows == 10 else m(torch.cat([a, b])).mean(), rows=rows)
    assert set(found(w)) == {"embedding"}


TRANSLATED = tuple(f"{side}'s side of sum in line 122 of test_finder.py" for side in ("query", "document"))


def test_of_modules_that_are_called_several_times_the_product_tells_the_sides():
    """As in graphs: a head and its relation meet the tails of right and wrong triples, the wrong ones first."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"entities": nn.Embedding(30, 8), "relations": nn.Embedding(3, 8)})
    chosen = torch.arange(10)

    def score(m: Any, head: Tensor, tail: Tensor) -> Tensor:
        return (m["entities"](head) * m["relations"](head % 3) * m["entities"](tail)).sum(1)

    w = find(model, lambda m, a, b: (score(m, chosen, chosen + 20) - score(m, chosen, chosen + 10)).exp().mean())
    streams = both(w, rule="similarity product", where=TRANSLATED, steps=1)
    assert streams["negative"].role == "document" and streams["negative"].n == streams["document"].n


class Graph(nn.Module):
    """Gives whole tables, of which the loss takes rows, as LightGCN does."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(30, 8), nn.Embedding(20, 8)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.users.weight * 2, self.items.weight * 2


def test_of_whole_tables_the_rows_that_meet_are_the_sides():
    torch.manual_seed(0)
    chosen = torch.arange(10)

    def loss(m: Any, a: Tensor, b: Tensor) -> Tensor:
        users, items = m()
        user, own, other = users[chosen], items[chosen], items[chosen + 10]
        return -logsigmoid((user * own).sum(-1) - (user * other).sum(-1)).mean()

    streams = found(find(Graph(), loss, steps=5))
    assert {name: one.n // one.steps for name, one in streams.items()} == {"query": 10, "document": 10, "negative": 10}
    assert streams["query"].rule == "similarity product"


@dataclass
class Encoded:
    loss: Tensor | None
    p_reps: Tensor
    q_reps: Tensor


GIVEN: dict[str, Any] = {
    "tuple": (lambda q, d: (q, d), lambda o: o, ("0", "1")),
    "dict": (lambda q, d: {"p_reps": d, "q_reps": q}, lambda o: (o["q_reps"], o["p_reps"]), ("q_reps", "p_reps")),
    "dataclass": (lambda q, d: Encoded(None, d, q), lambda o: (o.q_reps, o.p_reps), ("q_reps", "p_reps")),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_a_root_that_returns_both(kind):
    give, take, names = GIVEN[kind]
    w = find(TwoTowers(give), lambda m, a, b: infonce(*take(m(a, b))))
    where = tuple(f"output {name} of the model" for name in names)
    both(w, rule="model output", where=where)


def test_a_root_that_returns_the_loss_and_both():
    model = TwoTowers(lambda q, d: {"loss": infonce(q, d), "q_reps": q, "p_reps": d, "scale": q.sum()})
    w = find(model, lambda m, a, b: m(a, b)["loss"])
    both(w, rule="model output", where=("output q_reps of the model", "output p_reps of the model"))
    assert len(w.live.series("loss/loss")) == STEPS and not len(w.live.series("loss/scale"))


def test_a_root_that_returns_the_loss_alone():
    w = find(TwoTowers(infonce), lambda m, a, b: m(a, b))
    both(w, rule="two modules, one for each side", where=("output of module query_tower", "output of module doc_tower"))
    assert len(w.live.series("loss/loss")) == STEPS


class Chain(nn.Module):
    """Encoder, something between, head; for both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = tower(outputs=8), nn.Linear(8, 8)

    def both(self, x: Tensor) -> Tensor:
        return self.head(normalize(self.encoder(x), dim=1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return infonce(self.both(a), self.both(b))


def test_a_chain_of_encoder_and_head_called_for_each_side():
    w = find(Chain(), lambda m, a, b: m(a, b))
    both(w, rule="one module, called for each side", where=("output of module head", "output of module head"))


def test_a_chain_that_is_called_once_is_no_two_towers():
    """Both sides in one batch: an encoder and its head, also with a function between them."""
    w = find(Chain(), lambda m, a, b: infonce(*m.both(torch.cat([a, b])).chunk(2)))
    both(w, rule="sides stacked in one matrix", where=("output of module head", "output of module head"))


class Contrastive(nn.Module):
    def forward(self, *, anchor: Tensor, positive: Tensor, negative: Tensor | None = None) -> dict[str, Tensor]:
        return {"contrastive": infonce(anchor, positive)}


@pytest.mark.parametrize("between", [lambda x: x, lambda x: normalize(x, dim=1)])
def test_a_loss_module_with_keywords_alone(between):
    """Trap T44; and the reference pairs are replayed through the model, not through the loss."""
    loss = Contrastive()
    w = find(OneTower(), lambda m, a, b: loss(anchor=between(m(a)), positive=between(m(b)))["contrastive"])
    both(
        w,
        rule="loss module",
        where=("argument anchor of module Contrastive", "argument positive of module Contrastive"),
    )
    assert len(w.live.series("loss/contrastive")) == STEPS
    reference = w.live.series("pairs/d_prime", on="reference")
    assert reference.steps.tolist()[:1] == [0] and len(set(reference.values.tolist())) > 1


class Triplet(nn.Module):
    def forward(self, text: Tensor, text_pos: Tensor, text_neg: Tensor) -> Tensor:
        return infonce(text, text_pos) - 0.1 * (text * text_neg).sum(1).mean()


def test_a_loss_module_with_names_and_a_frozen_side():
    """As in adapters: the documents are no module's output, and have no gradient."""
    loss = Triplet()

    def step(m: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            d = b[:, :8].clone()
        return loss(m(a), d, d.flip(0))

    w = find(OneTower(), step)
    streams = both(
        w, rule="loss module", where=("argument text of module Triplet", "argument text_pos of module Triplet")
    )
    assert "text_neg" in streams and streams["text_neg"].role == "document"
    assert len(w.live.series("pairs/mrr", on="batch")) == STEPS


def test_scores_are_not_taken_for_embeddings():
    criterion = nn.CrossEntropyLoss()

    def step(m: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        return criterion(m(a) @ m(b).T, torch.arange(len(a)))

    w = find(OneTower(), step)
    both(w, rule="one module, called for each side", where=("output of the model", "output of the model"))
    assert len(w.live.series("loss/CrossEntropyLoss")) == STEPS


class Views(nn.Module):
    def forward(self, z_i: Tensor, z_j: Tensor) -> Tensor:
        return infonce(z_i, z_j)


class WithItsLoss(OneTower):
    def __init__(self) -> None:
        super().__init__()
        self.criterion = Views()


LOSSES: dict[str, Any] = {
    "beside the model": (OneTower, lambda m: Views()),
    "part of the model": (WithItsLoss, lambda m: m.criterion),
}


@pytest.mark.parametrize("where", LOSSES)
@pytest.mark.parametrize("order", ["i first", "j first"])
def test_views_have_roles_of_their_own_and_are_read_as_pairs(where, order):
    kind, made = LOSSES[where]
    model = kind()
    loss, first = made(model), 0 if order == "i first" else 1

    def step(m: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        z = [m(x) for x in ((a, b) if first == 0 else (b, a))]
        return loss(z[first], z[1 - first])

    w = find(model, step)
    streams = found(w)
    assert {name: one.role for name, one in streams.items()} == {"z_i": "view", "z_j": "view"}
    assert {one.rule for one in streams.values()} == {"loss module"}
    assert w.live.series("pairs/mrr", on="reference").steps.tolist()[0] == 0


def test_two_forms_of_each_view_are_no_pair_of_views():
    """As SimSiam's: each call gives a projection, cut off, and a prediction; a call's own two say nothing."""
    loss = Views()
    model = TwoTowers(lambda z, p: (z.detach(), p))

    def step(m: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        (z0, p0), (z1, p1) = m(a, a), m(b, b)
        return loss(z0, p1) + loss(z1, p0)

    w = find(model, step)
    assert {one.role for one in found(w).values()} == {"view"}
    assert not w.live.series("pairs/mrr", on="reference").steps.tolist()


class Metric(nn.Module):
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        same = labels[:, None] == labels[None]
        return ((embeddings @ embeddings.T) * torch.where(same, -1.0, 1.0)).mean()


def test_one_stream_with_classes():
    loss = Metric()
    streams = found(find(OneTower(), lambda m, a, b: loss(m(a), torch.arange(len(a)) % 3)))
    assert set(streams) == {"embedding"}
    assert streams["embedding"].rule in ("loss module", "single output")


class Encoder(nn.Module):
    """Encodes by a method, as trainers of retrievers do; its pooler has no part in the loss."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.backbone, self.pooler = nn.Linear(12, 8), nn.Linear(8, 8)
        self._method = method

    def encode(self, x: Tensor) -> Tensor:
        hidden = self.backbone(x)
        self.pooler(hidden)
        return normalize(torch.tanh(hidden), dim=1)

    get_embedding = encode

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor | None]:
        embed = getattr(self, self._method)
        return {"loss": infonce(embed(a), embed(b)), "q_reps": None}


@pytest.mark.parametrize("method", ["encode", "get_embedding"])
def test_a_method_is_heard_on_the_instance(method):
    model = Encoder(method)
    w = find(model, lambda m, a, b: m(a, b)["loss"])
    where = f"output of {method}() of the model"
    streams = both(w, rule="method", where=(where, where))
    assert any("pooler" in one or "backbone" in one for one in streams["query"].candidates)
    assert method not in vars(model)


def test_a_forward_that_is_called_directly_is_found():
    w = find(OneTower(), lambda m, a, b: infonce(m.forward(a), m.forward(b)))
    both(w, rule="one module, called for each side", where=("output of the model", "output of the model"))
    assert not any("forward" in vars(part) for part in w._target.modules())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_pooler_without_a_gradient_is_not_taken(compiled):
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.pooler = nn.Linear(12, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = self.backbone(x)
            return {"pooler_output": self.pooler(hidden), "last": hidden}

    model = torch.compile(Pooled(), backend="aot_eager") if compiled else Pooled()
    w = find(model, lambda m, a, b: infonce(m(a)["last"], m(b)["last"]))
    streams = found(w)
    assert all("pooler" not in one.where for one in streams.values())
    assert {"query", "document"} <= set(streams)


@pytest.mark.parametrize("towers", ["one", "two"])
def test_grad_cache(towers):
    """Chunks without a graph, a loss on leaves, and each chunk again."""
    model = TwoTowers(lambda q, d: (q, d))
    query_tower = model.query_tower
    doc_tower = query_tower if towers == "one" else model.doc_tower
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    w = watch(model, optimizer=optimizer, run=False, reference=False)
    for a, b in pairs(3, rows=8):
        chunks = [(query_tower, one) for one in a.split(4)] + [(doc_tower, one) for one in b.split(4)]
        with torch.no_grad():
            leaves = [encode(one) for encode, one in chunks]
        for leaf in leaves:
            leaf.requires_grad_()
        infonce(torch.cat(leaves[:2]), torch.cat(leaves[2:])).backward()
        for leaf, (encode, one) in zip(leaves, chunks, strict=True):
            (encode(one) * leaf.grad).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    wanted = torch.cat(leaves[:2]).detach().norm(dim=1).mean()
    assert values_at(w, 3)["query/norm_mean"] == pytest.approx(float(wanted), rel=1e-5)
    streams = found(w)
    assert {"query", "document"} <= set(streams)
    assert streams["query"].n + streams["document"].n > 0


def test_an_evaluation_between_steps_finds_nothing():
    model = TwoTowers(lambda q, d: (q, d))

    def step(m: TwoTowers, a: Tensor, b: Tensor) -> Tensor:
        m.query_tower(torch.ones(10, 12))
        return infonce(m.doc_tower(a), m.doc_tower(b))

    both(find(model, step), rule="one module, called for each side", where=("output of module doc_tower",) * 2)


def test_a_reference_that_the_user_gives_is_no_candidate():
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    fixed = torch.randn(30, 12)
    w = watch(model, optimizer=optimizer, run=False, reference=lambda: (model(fixed), model(fixed + 0.1)))
    for a, b in pairs(3):
        descend(optimizer, infonce(model(a), model(b)))
    assert values_at(w)["query/finite_share"] == 1
    assert w.live.series("query/norm_mean", on="batch").n.tolist() == [10, 10, 10]
    w.close()


class Unheard(nn.Module):
    """Nothing of it is a matrix of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 8))
        self.norm = nn.LayerNorm(8)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.norm(a @ self.weight)
        return (a @ self.weight - 1).square().mean()


def test_a_model_of_which_nothing_is_heard_is_said_once(caplog):
    with caplog.at_level(logging.WARNING, logger="collapse_probe"):
        w = find(Unheard(), lambda m, a, b: m(a, b), steps=25)
    said = [one.getMessage() for one in caplog.records if "no query and no document" in one.getMessage()]
    assert len(said) == 1
    assert "output of module norm (10x8)" in said[0] and "observe" in said[0]
    w.close()
    coverage = w.live.coverage
    assert all(not one.steps and one.why for one in coverage.values()) and {"query", "document"} <= set(coverage)


def test_a_declared_tower_that_is_never_called_is_said_once(caplog):
    model = TwoTowers(lambda q, d: (q, d))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False, query="query_tower", document="doc_tower")
    with caplog.at_level(logging.WARNING, logger="collapse_probe"):
        for a, b in pairs(22):
            x = torch.cat([a, b]) @ model.query_tower[0].weight.T
            descend(optimizer, infonce(*x.chunk(2)))
    assert len([one for one in caplog.records if "heard" in one.getMessage()]) == 1
    w.close()
    assert "no call of it was heard" in w.live.coverage["query"].why


@pytest.mark.parametrize("cut", [0, 1])
def test_a_side_that_the_loop_detaches_is_the_other_side(cut):
    def loss(m: Any, a: Tensor, b: Tensor) -> Tensor:
        sides = [m.query_tower(a), m.doc_tower(b)]
        sides[cut] = sides[cut].detach()
        return infonce(*sides)

    w = find(TwoTowers(lambda q, d: (q, d)), loss, steps=30)
    both(
        w,
        rule="two modules, one for each side",
        where=("output of module query_tower", "output of module doc_tower"),
        steps=21,
    )
    assert len(w.live.series("pairs/mrr", on="reference").steps)


def test_what_is_made_of_an_output_beside_the_loss_is_no_side_and_what_it_meets_is():
    def loss(m: Any, a: Tensor, b: Tensor) -> Tensor:
        query = m.query_tower(a)
        m.probe(query.detach())
        return infonce(query, b[:, :8])

    model = TwoTowers(lambda q, d: (q, d))
    model.probe = nn.Linear(8, 8)
    streams = found(find(model, loss))
    assert set(streams) == {"query", "document"}
    assert streams["query"].where.startswith("query's side of matmul in line")


def why_no_pairs(w: Watch) -> str:
    w.close()
    return next(one.why for one in diagnose(w).not_measured if one.what == "retrieval or separation")


def test_a_shared_tower_that_encodes_documents_first():
    def loss(m: Any, a: Tensor, b: Tensor) -> Tensor:
        documents = m(torch.cat([b, b.roll(1, dims=1)]))
        return infonce(m(a), documents[: len(a)]) + documents[len(a) :].square().mean()

    w = find(OneTower(), loss, steps=25)
    rule = "one module, called for each side, documents first"
    both(w, rule=rule, where=("output of the model", "output of the model"), steps=20)
    pairs_read = w.live.series("pairs/mrr", on="reference")
    assert set(pairs_read.n.tolist()) <= {128, 190}
    assert float(pairs_read.values[-1]) > 0.3


def test_one_matrix_a_step_is_why_there_are_no_pairs():
    w = find(OneTower(), lambda m, a, b: m(torch.cat([a, b.roll(1, dims=1)])).square().mean(), steps=25)
    why = why_no_pairs(w)
    assert "output of the model (20x8)" in why and "w.observe('document', d)" in why


class OfTokens(nn.Module):
    """Gives a vector a token, and leaves it to the loop to pool them."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(12, 8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        turned = torch.stack([x.roll(turns, dims=1) for turns in range(3)], dim=1)
        return {"last_hidden_state": self.lift(turned)}


def test_tokens_alone_are_why_there_are_no_pairs():
    w = find(OfTokens(), lambda m, a, b: m(a)["last_hidden_state"].square().mean(), steps=25)
    why = why_no_pairs(w)
    assert "output last_hidden_state of the model (10x3x8, vectors of tokens)" in why
    assert "w.observe('query', q), w.observe('document', d)" in why


def test_a_compiled_step_is_why_there_are_no_pairs():
    model = OneTower()
    model.compile(backend="eager")
    step = torch.compile(lambda a, b: infonce(model(a), model(b)), backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(25):
        descend(optimizer, step(a, b))
    assert "compiled code ran" in why_no_pairs(w)


def test_nothing_is_taken_for_a_stream_once_streams_are_found():
    model = TwoTowers(lambda q, d: (q, d))
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.query_tower, model.doc_tower)]
    w = watch(model, optimizer=optimizers, run=False)
    for a, b in pairs(4):
        descend(optimizers[0], infonce(model.query_tower(a), model.doc_tower(b).detach()))
        descend(optimizers[1], infonce(model.query_tower(a).detach(), model.doc_tower(b)))
    assert set(found(w)) == {"query", "document"}


POOLED: dict[str, Any] = {
    "first": lambda m, x: m(x)["last_hidden_state"][:, 0],
    "last": lambda m, x: normalize(m(x)["last_hidden_state"][:, -1].tanh(), dim=1),
}


@pytest.mark.parametrize("which", POOLED)
def test_a_token_that_stands_for_its_text_is_heard_where_the_loop_takes_it(which):
    """As of a BERT whose pooler is not trained: no module gives the vectors that the loss compares."""

    class Tokens(OfTokens):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            found = super().forward(x)["last_hidden_state"]
            return {"last_hidden_state": found, "pooler_output": found[:, 0].tanh()}

    take = POOLED[which]
    w = find(Tokens(), lambda m, a, b: infonce(take(m, a), take(m, b)), steps=6)
    where = f"{which} token of output last_hidden_state of the model"
    rule = {"first": "similarity product", "last": "one module, called for each side"}[which]
    both(w, rule=rule, where=(where, where), steps={"first": 5, "last": 4}[which])
    assert len(w.live.series("pairs/pull", on="batch").steps)
    assert w.live.series("pairs/mrr", on="reference").steps.tolist()


def test_tokens_that_are_all_in_the_loss_are_no_single_ones():
    w = find(OfTokens(), lambda m, a, b: (m(a)["last_hidden_state"] - 1).square().mean(), steps=6)
    assert not found(w)
