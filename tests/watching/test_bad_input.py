"""What cannot be read is not measured, said once and journalled, and the training goes on with the same bits.

Faults of ours are raised in these tests: what a user hands over wrongly is none.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_loops import OneTower, TwoTowers, descend, infonce, pairs, random_state, seed_all, tower
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn
from watching.trainers_support import encoder, hf_trainer, st_trainer
from watching.trainers_support import pairs as texts

import collapse_probe
from collapse_probe.diagnosis import Status, diagnose
from collapse_probe.errors import InputError
from collapse_probe.journal import Event, JournalWriter, Run
from collapse_probe.recording import Tap
from collapse_probe.watching import Watch, watch
from collapse_probe.watching._overheard import Overheard

STEPS = 25
Mischief = Callable[[Watch, Tensor, Tensor, Tensor, int], Any]


@pytest.fixture(autouse=True)
def _said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, logger="collapse_probe"):
        yield


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, each of one line."""
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("collapse_probe")]
    assert not any("\n" in line for line in lines)
    return lines


def noted(w: Watch) -> list[str]:
    """Return what was journalled."""
    return [one.message for one in w.live.of(Event) if one.name == "note"]


def train(
    mischief: Mischief | None,
    *,
    model: Callable[[], nn.Module] = OneTower,
    loss: Callable[[Tensor, Tensor], Tensor] = infonce,
    batches: Callable[[], Any] = lambda: pairs(STEPS),
    parameters: Callable[[nn.Module], Any] = lambda model: model.parameters(),
    **options: Any,
) -> tuple[list[Tensor], Any, Watch | None]:
    """Train; return weights and losses, the random state, and the watch, if there is mischief at all."""
    seed_all()
    made = model()
    optimizer = torch.optim.SGD(parameters(made), lr=0.1)
    sides = {"query": "tower", "document": "tower"}
    w = None if mischief is None else watch(made, optimizer=optimizer, run=False, **{**sides, **options})
    values = []
    for step, (a, b) in enumerate(batches()):
        q, d = made(a), made(b)
        value = loss(q, d) * (1 + 0.1 * random.random())
        if w is not None and mischief is not None:
            mischief(w, q, d, value, step)
        if value.requires_grad:
            value.backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(value.detach())
    if w is not None:
        w.close()
    return [*made.state_dict().values(), *values], random_state(), w


def watched(mischief: Mischief = lambda *_: None, **how: Any) -> Watch:
    """Train with and without a watch; return the watch if both are bit for bit the same."""
    options = {name: how.pop(name) for name in list(how) if name in ("query", "document", "taps", "reference")}
    plain, other = train(None, **how), train(mischief, **how, **options)
    assert all(torch.equal(x, y) or bool(x.isnan().all()) for x, y in zip(plain[0], other[0], strict=True))
    assert torch.equal(plain[1][0], other[1][0]) and plain[1][1:] == other[1][1:]
    assert other[2] is not None
    assert not diagnose(other[2]).errors
    return other[2]


UNREAD: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "numpy": (lambda q: q.detach().numpy(), "it is a ndarray, where a tensor"),
    "list": (lambda q: q.tolist(), "it is a list"),
    "None": (lambda q: None, "it is a NoneType"),
    "[n, T, D]": (lambda q: q[:, None].repeat(1, 3, 1), "no attention_mask of it says what is padding"),
    "[n, T, H, D]": (lambda q: q[:, None, None], r"\(10, 1, 1, 8\), where \[n, D\] is needed"),
    "[D]": (lambda q: q[0], r"\(8,\), where"),
    "a scalar": (lambda q: q.mean(), r"\(\), where"),
    "complex": (lambda q: q + 0j, "it is complex"),
    "sparse": (lambda q: q.detach().to_sparse(), "it is sparse"),
    "no rows": (lambda q: q[:0], "it is empty"),
    "no columns": (lambda q: q[:, :0], "it is empty"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_stream_that_cannot_be_read(name, caplog):
    make, why = UNREAD[name]
    w = watched(lambda w, q, d, loss, step: w.observe("mine", make(q)))
    assert (
        len([one for one in said(caplog) if re.search(f"'mine' is not read: .*{why}", one)]) == len(said(caplog)) == 1
    )
    assert noted(w)[0] in said(caplog)[0]
    found = diagnose(w)
    assert re.search(why, next(one.why for one in found.not_measured if one.what == "stream mine"))
    assert {one.stream for one in found.heard} == {"query", "document"}
    assert w.recorder.streams["query"].steps == 20


READ: dict[str, Callable[[Tensor], Tensor]] = {
    "integers": lambda q: (10 * q).int(),
    "booleans": lambda q: q > 0,
    "half": lambda q: q.half(),
    "one row": lambda q: q[:1],
    "one column": lambda q: q[:, :1],
    "no gradient": lambda q: q.detach(),
    "not contiguous": lambda q: q.T.contiguous().T[::2],
}


@pytest.mark.parametrize("name", READ)
def test_a_stream_that_is_unusual_and_is_read(name, caplog):
    w = watched(lambda w, q, d, loss, step: w.observe("mine", READ[name](q)))
    assert w.recorder.streams["mine"].steps == 20 and not said(caplog)
    assert np.isfinite(w.live.series("mine/norm_mean").values).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_stream_that_is_not_finite_is_critical_and_the_training_goes_on(value):
    w = watched(lambda w, q, d, loss, step: w.observe("mine", q * (value if step > 9 else 1)))
    found = diagnose(w)
    assert found.status is Status.CRITICAL
    assert ("divergence", 11) in [(one.kind, one.judgement.onset.step) for one in found.kinds]
    assert not any(one.what == "an undamaged journal" for one in found.not_measured)


class Breaks(OneTower):
    """A model whose output is no number after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.tower(x) * (float("nan") if self.calls > 16 else 1.0)


@pytest.mark.parametrize("sides", [{}, {"query": None, "document": None}, {"query": "", "document": ""}])
def test_embeddings_that_are_no_numbers_are_named_and_no_damage(sides):
    found = diagnose(watched(model=Breaks, **sides))
    assert found.status is Status.CRITICAL and "divergence" in [one.kind for one in found.kinds]
    assert not any(one.what == "an undamaged journal" for one in found.not_measured)


def test_a_stream_that_changes_its_width(caplog):
    w = watched(lambda w, q, d, loss, step: w.observe("mine", q[:, : 8 - step % 4]))
    assert set(w.live.series("mine/norm_mean").dimension.tolist()) == {5, 6, 7, 8}
    assert not said(caplog)


class Widths(OneTower):
    """A model whose output is as wide as its batch says."""

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(x)[:, : 8 if float(x[0, 0]) > 0 else 5]


def _widths() -> Iterator[tuple[Tensor, Tensor]]:
    for step, (a, b) in enumerate(pairs(STEPS)):
        a[0, 0] = b[0, 0] = 1.0 if step % 2 else -1.0
        yield a, b


@pytest.mark.parametrize("side", ["", None])
def test_embeddings_that_change_their_width_give_no_reference(side, caplog):
    found = diagnose(watched(model=Widths, batches=_widths, query=side, document=side))
    assert len(found.heard) == 2
    if side == "":
        assert [one for one in said(caplog) if "embeddings of 5 and 8 columns cannot be compared" in one]


def test_embeddings_of_tokens_are_said_with_their_reason(caplog):
    class Tokens(OneTower):
        def forward(self, x: Tensor) -> Tensor:
            return self.tower(x)[:, None].repeat(1, 3, 1)

    w = watched(model=Tokens, query="", document="", loss=lambda q, d: infonce(q.mean(1), d.mean(1)))
    unread = [one for one in said(caplog) if "is not read" in one]
    assert len(unread) == 2 and all("no attention_mask of it says what is padding" in one for one in unread)
    warned = [one for one in said(caplog) if "was heard in 20 steps" in one]
    assert len(warned) == 1 and "no query and no document" in warned[0]
    assert "heard instead: output of module tower (10x8)" in warned[0]
    assert "no attention_mask of it says what is padding" in diagnose(w).not_measured[1].why


NAMES = ["pairs", "loss", "monitor", "", "a/b", 3, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_whose_name_cannot_be_one(name, caplog):
    w = watched(lambda w, q, d, loss, step: w.observe(name, q))
    assert len(said(caplog)) == 1 and "give a name without a slash" in said(caplog)[0]
    assert w.recorder.streams["query"].steps == 20 and len(diagnose(w).heard) == 2


def test_a_role_that_there_is_not(caplog):
    watched(lambda w, q, d, loss, step: w.observe("mine", q, role="querry"))
    assert len(said(caplog)) == 1 and "did you mean 'query'" in said(caplog)[0]
    with pytest.raises(InputError, match="unknown role 'querry': did you mean 'query'"):
        Tap(stream="mine", role="querry")


def test_what_is_handed_over_is_the_stream_whatever_else_was_found():
    def mischief(w: Watch, q: Tensor, d: Tensor, loss: Tensor, step: int) -> None:
        w.observe("query", 3 * q)
        w.observe("document", d)

    w = watched(mischief, query=None, document=None)
    assert {one.stream: one.where for one in diagnose(w).heard} == {"query": "observe()", "document": "observe()"}
    read = w.live.series("query/norm_mean", on="batch").values / w.live.series("document/norm_mean", on="batch").values
    assert read[0] == pytest.approx(3, rel=0.3)


@pytest.mark.parametrize(("queries", "documents"), [(10, 7), (7, 10), (10, 0), (0, 10)])
def test_rows_that_fit_no_layout(queries, documents, caplog):
    def mischief(w: Watch, q: Tensor, d: Tensor, loss: Tensor, step: int) -> None:
        w.observe("query", q[:queries])
        w.observe("document", d[:documents])

    w = watched(mischief, query=None, document=None, reference=False)
    assert len(said(caplog)) == 1
    if queries and documents:
        why = f"{documents} documents are no multiple of {queries} queries"
        assert why in said(caplog)[0] and why in w.live.coverage["pairs"].why
        assert diagnose(w).status is Status.NOT_MEASURED


TERMS: dict[str, tuple[Callable[[Watch, Tensor], Any], str]] = {
    "a text": (lambda w, loss: w.terms(a="x", b=loss), "term 'a' is a str"),
    "None": (lambda w, loss: w.terms(a=None, b=loss), "term 'a' is a NoneType"),
    "a vector": (lambda w, loss: w.terms(a=loss.repeat(3), b=loss), r"term 'a' is a float32 of shape \(3,\)"),
    "empty": (lambda w, loss: w.terms(a=loss.repeat(0), b=loss), r"term 'a' is a float32 of shape \(0,\)"),
    "a truth value": (lambda w, loss: w.terms(a=True, b=loss), "term 'a' is a bool"),
    "complex": (lambda w, loss: w.terms(a=loss + 0j, b=loss), "term 'a' is a complex64"),
    "a list": (lambda w, loss: w.terms(a=[loss], b=loss), "term 'a' is a list"),
    "a total that is a text": (lambda w, loss: w.terms(b=loss, total="x"), "term 'total' is a str"),
    "no mapping": (
        lambda w, loss: w.terms(loss, b=loss),
        r"was given a Tensor .*: write terms\(name=value\)",
    ),
    "weights of none": (lambda w, loss: w.terms(b=loss, weights=[1.0]), "was given a list without a name"),
    "a weight that is a text": (lambda w, loss: w.terms(b=loss, weights={"b": "x"}), "weight of 'b' is a str"),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_that_is_no_number(name, caplog):
    hand_over, why = TERMS[name]
    w = watched(lambda w, q, d, loss, step: hand_over(w, loss))
    assert len(said(caplog)) == 1 and re.search(why, said(caplog)[0])
    assert noted(w)[0] in said(caplog)[0]
    assert len(w.live.series("loss/b").values) == len(w.live.series("loss/total").values) == STEPS


@pytest.mark.parametrize("one", [np.float32(2), np.float64(2), np.int64(2), torch.tensor(2), torch.tensor([[2.0]]), 2])
def test_a_term_that_is_a_number_of_another_type(one):
    w = watched(lambda w, q, d, loss, step: (w.terms(a=one), w.monitor(b=one)))
    assert set(w.live.series("loss/a").values) == set(w.live.series("monitor/b").values) == {2.0}


def test_a_total_among_the_terms_is_the_total():
    w = watched(lambda w, q, d, loss, step: w.terms({"total": 3.0, "a": 1.0}))
    assert set(w.live.series("loss/total").values) == {3.0} and set(w.live.series("loss/rest").values) == {2.0}


def test_a_weight_that_is_learnt_is_no_wait():
    weight = torch.tensor(0.5, requires_grad=True)
    w = watched(lambda w, q, d, loss, step: w.terms({"a": 2.0}, weights={"a": weight}))
    assert set(w.live.series("loss/a_weighted").values) == {1.0}


MONITORS: dict[str, tuple[Callable[[Watch, Tensor], Any], str]] = {
    "a text": (lambda w, loss: w.monitor(a="x", b=1.0), "monitor 'a' is a str"),
    "a vector": (lambda w, loss: w.monitor(a=loss.repeat(3), b=1.0), "monitor 'a' is a float32 of shape"),
    "no mapping": (lambda w, loss: w.monitor(loss, b=1.0), "was given a Tensor without a name"),
}


@pytest.mark.parametrize("name", MONITORS)
def test_a_monitored_value_that_is_no_number(name, caplog):
    hand_over, why = MONITORS[name]
    w = watched(lambda w, q, d, loss, step: hand_over(w, loss))
    assert len(said(caplog)) == 1 and re.search(why, said(caplog)[0])
    assert len(w.live.series("monitor/b").values) == STEPS


EVALUATIONS: dict[str, tuple[Callable[[Watch], Any], str]] = {
    "a text": (lambda w: w.evaluation("bad", {"mrr": "x"}), "metric 'mrr' is a str"),
    "None": (lambda w: w.evaluation("bad", {"mrr": None}), "metric 'mrr' is a NoneType"),
    "no mapping": (lambda w: w.evaluation("bad", 0.5), "metrics is a float"),
    "no name": (lambda w: w.evaluation(3, {"mrr": 0.5}), "its name is no text"),
    "a step that is none": (lambda w: w.evaluation("bad", {"mrr": 0.5}, step="x"), "step='x'"),
    "a step before the first": (lambda w: w.evaluation("bad", {"mrr": 0.5}, step=-1), "step=-1"),
    "a variant that is none": (lambda w: w.evaluation("bad", {"mrr": 0.5}, variant=3), "variant=3"),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_that_cannot_be_read(name, caplog):
    hand_over, why = EVALUATIONS[name]

    def mischief(w: Watch, q: Tensor, d: Tensor, loss: Tensor, step: int) -> None:
        if step in (5, 10):
            hand_over(w)
            w.evaluation("good", {"mrr": 0.5})

    w = watched(mischief)
    assert len(said(caplog)) == 1 and re.search(why, said(caplog)[0])
    collections = [one["collection"] for one in diagnose(w).retrieval]
    assert "good" in collections and "bad" not in collections


PER_QUERY: dict[str, tuple[Any, int]] = {
    "a query that one metric has not": ({"mrr": {"1": 1.0, "2": 0.0}, "ndcg": {"1": 1.0}}, 1),
    "no number": ({"mrr": {"1": None, "2": 0.0}}, 1),
    "not finite": ({"mrr": {"1": float("nan"), "2": 0.0, "3": 1.0}}, 2),
    "no mapping": ([1.0], 0),
    "numbers for names": ({"mrr": {1: 1.0, 2: 0.0}}, 2),
}


@pytest.mark.parametrize("name", PER_QUERY)
def test_scores_of_single_queries_that_cannot_be_read(name, caplog):
    per_query, kept = PER_QUERY[name]
    w = watched(lambda w, q, d, loss, step: step == 5 and w.evaluation("good", {"mrr": 0.5}, per_query=per_query))
    files = [content for file, content in w.live.store.files.items() if "good" in file]
    assert [len(content["query_ids"]) for content in files] == ([kept] if kept else [])
    assert len(said(caplog)) == (name != "numbers for names")


def test_an_unknown_domain_and_an_epoch_that_is_none(caplog):
    def mischief(w: Watch, q: Tensor, d: Tensor, loss: Tensor, step: int) -> None:
        if step == 5:
            w.evaluation("good", {"mrr": 0.5}, domain="inside")
            w.window(epoch="two")

    watched(mischief)
    assert ["domain='inside'" in said(caplog)[0], "epoch='two'" in said(caplog)[1]] == [True, True]


@pytest.mark.parametrize("side", ["tower", None])
@pytest.mark.parametrize("rows", [0, 1])
def test_batches_of_no_row_and_of_one(side, rows):
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from pairs(3)
        yield from pairs(4, rows=rows)
        yield from pairs(STEPS)

    def loss(q: Tensor, d: Tensor) -> Tensor:
        return infonce(q, d) if len(q) else (q * d).sum()

    w = watched(batches=batches, loss=loss, query=side, document=side)
    assert w.recorder.streams["query"].steps >= 16
    assert diagnose(w).status in (Status.HEALTHY, Status.WARNING)


class Frozen(OneTower):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


@pytest.mark.parametrize("side", ["tower", None])
def test_a_model_of_which_nothing_is_trained(side, caplog):
    w = watched(model=Frozen, query=side, document=side)
    assert len([one for one in said(caplog) if "was heard in 20 steps" in one]) == 1
    assert diagnose(w).status is Status.NOT_MEASURED


def test_a_frozen_model_under_a_trained_head(caplog):
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = tower().requires_grad_(False), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.encoder(x))

    w = watched(model=Headed, query=None, document=None, parameters=lambda model: model.head.parameters())
    assert diagnose(w).status is Status.HEALTHY and not said(caplog)
    w = watched(model=Headed, query="encoder", document="encoder", parameters=lambda model: model.head.parameters())
    assert len([one for one in said(caplog) if "no backward came through any of its 40 calls" in one]) == 1


def test_an_optimizer_without_parameters():
    w = watched(parameters=lambda model: [{"params": []}])
    assert w.recorder.done == STEPS and w.recorder.streams["query"].steps == 20


@pytest.mark.parametrize("given", [3, "adam", {"a": 1}, [None]])
def test_an_optimizer_that_is_none(given):
    with pytest.raises(InputError, match=r"give a torch.optim.Optimizer"):
        watch(OneTower(), optimizer=given, run=False)


def test_an_optimiser_that_was_never_made_one_is_looked_into():
    class Around(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner

        def step(self):
            self.inner.step()

        @property
        def param_groups(self):
            return self.inner.param_groups

    model = nn.Linear(4, 2)
    optimizer = Around(torch.optim.SGD(model.parameters(), lr=0.1))
    with watch(model, optimizer=optimizer, run=False, reference=False) as w:
        for _ in range(3):
            model(torch.randn(5, 4)).sum().backward()
            optimizer.step()
    assert w.live.steps == 3


def test_gradients_that_are_sparse():
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.tower = nn.EmbeddingBag(50, 8, sparse=True), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.tower(self.bag((10 * x.abs()).long().clamp(0, 49)))

    found = diagnose(watched(model=Bag))
    assert len(found.heard) == 2 and not any(one.what == "finiteness" for one in found.not_measured)


def test_a_model_that_cannot_be_run_in_evaluation_mode(monkeypatch):
    class Only(OneTower):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                raise RuntimeError("no evaluation here")
            return self.tower(x)

    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    with pytest.warns(RuntimeWarning, match="reference pairs failed") as warned:
        plain, other = train(None, model=Only), train(lambda *_: None, model=Only, query="", document="")
    assert all(torch.equal(x, y) for x, y in zip(plain[0], other[0], strict=True)) and len(warned) == 1
    found = diagnose(other[2])
    assert [one["what"] for one in found.errors] == ["reference pairs"] and len(found.heard) == 2


REFERENCES: dict[str, Any] = {
    "nothing": lambda: None,
    "one matrix": lambda: torch.ones(3, 8),
    "other rows": lambda: (torch.ones(3, 8), torch.ones(4, 8)),
    "no matrices": lambda: (torch.ones(3), torch.ones(3)),
    "one pair": lambda: (torch.ones(1, 8), torch.ones(1, 8)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_that_gives_no_pairs(name, caplog):
    w = watched(reference=REFERENCES[name])
    assert len(said(caplog)) == 1 and "reference() gave" in said(caplog)[0]
    missing = [one for one in diagnose(w).not_measured if one.what == "reference pairs"]
    assert [one.essential for one in missing] == [True]


@pytest.mark.parametrize(
    ("given", "arrived"),
    [
        ((torch.ones(9, 4), torch.ones(9, 4)), "tuple of length 2 with Tensor in it"),
        (["ab", "cd"], "list of length 2"),
        ([("a query", "a document")], "list of length 1"),
        (3, "int"),
    ],
)
def test_a_reference_that_is_none_is_named(given, arrived):
    with pytest.raises(InputError, match=f"^reference is {arrived}: give a function"):
        watched(reference=given)


@pytest.mark.parametrize("raw", [False, True])
def test_reference_pairs_that_are_one_text_are_refused_unless_the_encoder_tells_them_apart(raw, caplog):
    same, fixed = torch.ones(40, 8), torch.randn(40, 8)
    options = {"raw": lambda: (fixed, fixed + 0.1)} if raw else {}
    w = watched(reference=lambda: (same, fixed), **options)
    assert ("all 40 query embeddings are equal at step 0" in "".join(said(caplog))) is not raw
    assert any(one.what == "reference pairs" and one.essential for one in diagnose(w).not_measured) is not raw


def test_reference_pairs_of_another_number_are_said(caplog):
    sizes = iter([64, 40, 40])

    def given() -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randn(next(sizes), 8)
        return rows, rows + 0.1

    watched(reference=given)
    assert [one for one in said(caplog) if "the reference pairs are 40" in one and "were 64 before" in one]


class Wrapped(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class Adapter(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model


@pytest.mark.parametrize("wrap", [lambda m: m, Wrapped, Adapter, lambda m: Wrapped(Adapter(m))])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "base_model.model.", "module.base_model.model."])
def test_a_path_that_names_no_module(wrap, prefix):
    with pytest.raises(InputError) as error:
        watch(wrap(TwoTowers(lambda q, d: (q, d))), query=f"{prefix}query_towr", run=False)
    assert "unknown module 'query_towr': did you mean 'query_tower'? Known: doc_tower, " in str(error.value)
    assert not re.search(r"[' ](module|_orig_mod|base_model)\.", str(error.value))


def test_a_path_in_a_large_model_is_answered_in_a_line():
    with pytest.raises(InputError) as error:
        watch(nn.Sequential(*(tower() for _ in range(200))), query="7.fisrt", run=False)
    assert len(str(error.value)) < 250 and "more" in str(error.value)


def test_a_path_that_names_a_parameter():
    with pytest.raises(InputError, match=r"query='tower.0.weight' names a parameter"):
        watch(OneTower(), query="tower.0.weight", run=False)


def test_a_file_in_the_way_of_a_run():
    Path("train.py").write_text("mine")
    with pytest.raises(InputError, match=r"run='train\.py': is a file, where a folder is needed"):
        watch(OneTower(), run="train.py")
    assert [one.name for one in Path().iterdir()] == ["train.py"]


def test_a_second_watch(caplog):
    model = OneTower()
    first = watch(model, run="runs/mine")
    with pytest.raises(InputError, match=r"watched already \(runs/mine\): close that watch first"):
        watch(model)
    first.close()
    first.close()
    assert Run.load("runs/mine").status == "completed"
    watch(model, run=False).close()


def test_a_closed_watch(caplog):
    model = OneTower()
    w = watch(model, run=False)
    w.close()
    q = torch.ones(4, 8)
    w.observe("query", q)
    w.terms(a=1.0)
    w.terms(q)
    w.monitor(a="x")
    w.evaluation("c", {"mrr": 1.0})
    w.window()
    w.step()
    assert len(said(caplog)) == 1
    assert "this watch is closed: nothing more is recorded; call watch() again" in said(caplog)[0]


def test_a_run_folder_in_use(caplog):
    first = watch(OneTower(), run="runs/mine")
    second = watch(OneTower(), run="runs/mine")
    assert second.run == Path("runs/mine-2").absolute()
    assert said(caplog) == ["collapse-probe: runs/mine exists, so this run is written to runs/mine-2"]
    with pytest.raises(InputError, match="another process is writing this run; wait until it has ended"):
        JournalWriter(first.run)
    first.close()
    second.close()


@pytest.mark.parametrize("run", ["", ".", "a/..", 3, True, "file", "file/run"])
def test_a_run_folder_that_cannot_be(run):
    Path("file").write_text("")
    model = OneTower()
    with pytest.raises(InputError) as error:
        watch(model, run=run)
    assert "\n" not in str(error.value)
    watch(model, run=False).close()


def test_a_loop_that_ends_with_an_exception_outside_of_a_block(tmp_path):
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    w = watch(model, optimizer=optimizer, run="runs/mine")
    for a, b in pairs(3):
        descend(optimizer, infonce(model(a), model(b)))
    w.close(KeyError("mine"))
    w.close()
    run = Run.load("runs/mine")
    assert (run.status, run.steps) == ("failed", 3)


@pytest.mark.parametrize("target", [3, "model", None, torch.ones(3), OneTower])
def test_a_target_that_is_none(target):
    with pytest.raises(InputError, match="give a torch module, or a trainer"):
        collapse_probe.watch(target)


# Trainers


def st(bert: Path, folder: Path, **how: Any) -> Any:
    model = encoder(bert)
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), folder / "out", **how)


@pytest.mark.parametrize("kind", ["sentence-transformers", "transformers"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_path_that_names_no_module_of_a_trainers_model(kind, prefix, bert, tmp_path):
    trainer = st(bert, tmp_path) if kind == "sentence-transformers" else hf_trainer(tmp_path)
    with pytest.raises(InputError, match=r"unknown module '\w+': did you mean '(words|1)'\? Known: [\w., ]+$"):
        watch(trainer, query=f"{prefix}{'1x' if kind == 'sentence-transformers' else 'wrds'}", run=False)


class Silent(nn.Module):
    """A model for the trainer whose embeddings nobody could find: its parts give no matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.unused = nn.Embedding(40, 16), nn.Linear(16, 16)

    def forward(self, query: Tensor, document: Tensor) -> dict[str, Tensor]:
        q, d = self.words(query).mean(1), self.words(document).mean(1)
        return {"loss": infonce(q, d)}


@pytest.mark.parametrize(
    "given", [{}, {"query": "unused", "document": "unused"}, {"query": "words", "document": "words"}]
)
def test_streams_of_a_trainer_that_are_never_heard(given, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(Overheard, "possible", lambda self: False)  # as where something is compiled
    trainer = hf_trainer(tmp_path, steps=STEPS, model=Silent())
    w = watch(trainer, run=False, **given)
    trainer.train()
    warned = [one for one in said(caplog) if "was heard in 20 steps" in one]
    assert len(warned) == 1 and "no query and no document" in warned[0] and "w.observe('query', q)" in warned[0]
    assert noted(w).count(warned[0].removeprefix("collapse-probe: ")) == 1
    assert diagnose(w).status is Status.NOT_MEASURED


@pytest.mark.parametrize("rows", [1, 2])
def test_a_trainer_of_one_pair_a_batch(rows, bert, tmp_path):
    trainer = st(bert, tmp_path, steps=4, per_device_train_batch_size=rows, data=texts(rows * 3 - 1))
    w = watch(trainer, run=False)
    trainer.train()
    assert w.recorder.streams["query"].steps == 4 and not diagnose(w).errors


def test_a_trainers_model_of_which_nothing_is_trained(bert, tmp_path, caplog):
    trainer = st(bert, tmp_path, steps=3)
    trainer.model.requires_grad_(False)
    w = watch(trainer, run="runs/mine")
    with pytest.raises((RuntimeError, ValueError), match=r"grad|empty parameter list"):
        trainer.train()
    assert w.closed
    if w.run is not None and w.run.is_dir():
        assert Run.load(w.run).status == "failed"


def test_a_trainer_whose_embeddings_are_no_numbers(tmp_path):
    trainer = hf_trainer(tmp_path, steps=STEPS)

    def spoil(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output * (float("nan") if trainer.state.global_step >= 9 else 1.0)

    trainer.model.head.register_forward_hook(spoil)
    w = watch(trainer, run=False)
    trainer.train()
    found = diagnose(w)
    assert found.status is Status.CRITICAL and "divergence" in [one.kind for one in found.kinds]


def test_a_trainers_evaluation_that_gives_no_numbers(tmp_path, caplog):
    trainer = hf_trainer(tmp_path, steps=4, eval_strategy="steps", eval_steps=2)
    trainer.compute_metrics = lambda found: {"what": "x", "share": np.float32(0.5), "none": None}
    w = watch(trainer, run=False)
    trainer.train()
    assert w.recorder.done == 4 and not diagnose(w).errors


def test_a_closed_watch_of_a_trainer(bert, tmp_path, caplog):
    trainer = st(bert, tmp_path, steps=2)
    w = watch(trainer, run="runs/mine")
    w.close()
    w.close()
    trainer.train()
    assert trainer.state.global_step == 2 and not Path("runs/mine").exists()
    w.observe("query", torch.ones(2, 2))
    assert [one for one in said(caplog) if "this watch is closed" in one]
    with pytest.raises(InputError, match="no such run folder"):
        diagnose(w)


@pytest.mark.parametrize("tap", [Tap(stream="scale", at="scale", role="gate"), Tap(stream="inner", role="hidden")])
def test_what_is_tapped_beside_hides_no_silent_query(tap, caplog):
    model = Unheard()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, taps=[tap], run=False) as w:
        for a, b in pairs(STEPS):
            q, d = model(a), model(b)
            w.observe("inner", q[:, 0])
            descend(optimizer, (q - d).square().mean())
    assert w.recorder.streams[tap.stream].steps
    assert [one for one in said(caplog) if "no query and no document was heard in 20 steps" in one]


class Unheard(nn.Module):
    """A model whose outputs have three dimensions, so that none is taken for an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.scale = tower(), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(x[:, None, :].expand(-1, 3, -1)) * self.scale


def test_a_learning_rate_that_is_a_whole_number_is_recorded():
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    with watch(model, optimizer=optimizer, run=False, reference=False) as w:
        for a, b in pairs(2):
            descend(optimizer, infonce(model(a), model(b)))
    assert list(w.live.series("rate/0").values) == [1.0]


@pytest.mark.parametrize("given", ["runs/mine", None])
def test_a_program_that_goes_to_another_folder_writes_one_run(tmp_path, monkeypatch, given):
    (tmp_path / "elsewhere").mkdir()
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, run=given) as w:
        for step, (a, b) in enumerate(pairs(25)):
            descend(optimizer, infonce(model(a), model(b)))
            if step == 4:
                monkeypatch.chdir(tmp_path / "elsewhere")
        w.evaluation("mine", {"mrr": 0.5}, per_query={"mrr": {"a": 0.5}})
        assert diagnose(w).steps == 25
    assert not list((tmp_path / "elsewhere").iterdir())
    again = Run.load(w)
    assert again.steps == 25 and not again.damage
    with watch(model, optimizer=optimizer, run=Run.load("../runs/mine" if given else "../runs/one-tower")):
        monkeypatch.chdir(tmp_path)
        descend(optimizer, infonce(model(a), model(b)))
    assert Run.load(w).steps == 26 and not (tmp_path.parent / "runs").exists()


def test_a_training_whose_steps_nobody_counts_is_said_and_kept_nothing_of(caplog):
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    w = watch(model, run="runs/mine")
    for a, b in pairs(250):
        descend(optimizer, infonce(model(a), model(b)))
    assert len(w.recorder.heard) < 200
    w.close()
    assert ["no step was counted" in one for one in said(caplog)] == [True]
    why = {one.what: one.why for one in diagnose(w).not_measured}
    for what in ("finiteness", "retrieval or separation"):
        assert "give optimizer= to watch(), or call w.step()" in why[what]


def test_steps_that_are_counted_by_hand_are_not_asked_for(caplog):
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, run=False) as w:
        for a, b in pairs(120):
            descend(optimizer, infonce(model(a), model(b)))
            w.step()
    assert not said(caplog) and w.recorder.done == 120


@pytest.mark.parametrize("given", [{"optimizer": []}, {"optimizer": ()}, {"examples": -1}, {"examples": 0.5}])
def test_what_cannot_be_meant_is_refused(given):
    with pytest.raises(InputError) as error:
        watch(OneTower(), run=False, **given)
    assert "\n" not in str(error.value)
