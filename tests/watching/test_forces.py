"""Forces of single terms: right, on due steps alone, never at the cost of the training's bits, and said where not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_loops import OneTower, autocast, infonce, pairs, random_state, seed_all, values_at
from torch import Tensor, nn

import collapse_probe.measures as measures
from collapse_probe import Tap
from collapse_probe.journal import Event
from collapse_probe.watching import Watch, watch

WEIGHTS = {"norm": 0.1}


def norm(query: Tensor, document: Tensor) -> Tensor:
    """Return the mean squared norm of both sides."""
    return (query.square().sum(1) + document.square().sum(1)).mean()


class Terms(nn.Module):
    """A loss of two terms that add up."""

    def forward(self, query: Tensor, document: Tensor) -> dict[str, Tensor]:
        return {
            "contrast": infonce(query, document),
            "norm": 0.1 * norm(query, document),
        }


class Corrected(nn.Module):
    """A tower with a correction and a gate after it; the correction is penalised."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.net = nn.Linear(12, 8), nn.Linear(8, 8)
        self.gate = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        z = self.tower(x)
        self.delta = self.net(z)
        return z + self.gate * self.delta


def train(
    watched: bool = True,
    *,
    steps: int = 25,
    accumulate: int = 1,
    bf16: bool = False,
    late: bool = False,
    module: bool = False,
    single: bool = False,
    meddle: Any = None,
    contrast: Any = infonce,
    **options: Any,
) -> tuple[list[Tensor], Any, Watch | None]:
    seed_all()
    model, criterion = OneTower(dropout=0.2), Terms()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    given = {"query": "", "document": "", **({"loss": criterion} if module else {}), **options}
    w = watch(model, optimizer=optimizer, run=False, **given) if watched else None
    kept = []
    for index, (a, b) in enumerate(pairs(steps * accumulate)):
        with autocast(bf16):
            q, d = model(a), model(b)
        if meddle is not None:
            kept.append(meddle(q))
        terms = criterion(q, d) if module else {"contrast": contrast(q, d), "norm": norm(q, d)}
        loss = sum(terms.values()) if module else terms["contrast"] + 0.1 * terms["norm"]
        said = {"loss": loss} if single else terms
        if w is not None and not module and not late:
            w.terms(said, weights=None if single else WEIGHTS)
        (loss / accumulate).backward()
        if w is not None and late:
            w.terms(said, weights=WEIGHTS)
        kept += [loss.detach(), *([q.grad] if q.retains_grad else [])]
        if (index + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    if w is not None:
        w.close()
    kept = [one for one in kept if isinstance(one, Tensor)]
    return [*model.state_dict().values(), *kept], random_state(), w


def read(w: Watch | None, step: int = 1) -> dict[str, float]:
    assert w is not None
    return {name: value for name, value in values_at(w, step).items() if name.startswith("force/")}


def said(w: Watch | None) -> list[str]:
    assert w is not None
    return [one.message for one in w.live.of(Event) if one.subject == "forces"]


LOOPS: dict[str, dict[str, Any]] = {
    "plain": {"every": 1},
    "accumulation": {"accumulate": 3, "every": 1},
    "bf16": {"bf16": True},
    "loss module": {"module": True, "every": 1},
    "found": {"query": None, "document": None},
}


@pytest.mark.parametrize("loop", LOOPS)
def test_training_is_bit_for_bit_the_same_with_forces(loop):
    plain, watched = train(False, **LOOPS[loop]), train(**LOOPS[loop])
    assert all(torch.equal(a, b) for a, b in zip(plain[0], watched[0], strict=True))
    assert torch.equal(plain[1][0], watched[1][0]) and plain[1][1:] == watched[1][1:]
    assert len(read(watched[2], 20)) == 10 and not said(watched[2])


def test_forces_are_those_of_the_terms_by_themselves():
    """Against gradients that are taken by hand, of the first step's batch; weights count."""
    _, _, w = train(steps=1)
    seed_all()
    model = OneTower(dropout=0.2)
    a, b = next(pairs(1))
    query, document = model(a), model(b)
    terms = {
        "contrast": infonce(query, document),
        "norm": 0.1 * norm(query, document),
    }
    gradients = {name: torch.autograd.grad(one, (query, document), retain_graph=True) for name, one in terms.items()}
    flat = {name: torch.cat([*one]).double() for name, one in gradients.items()}
    total = sum(one.norm() for one in flat.values())
    expected = {}
    for name, one in flat.items():
        z = torch.cat([query, document]).detach().double()
        expected[f"force/{name}/share"] = one.norm() / total
        expected[f"force/{name}/conflict"] = torch.cosine_similarity(one.flatten(), sum(flat.values()).flatten(), dim=0)
        expected[f"force/{name}/radial"] = measures.radial(z, one)
        for measure in (measures.pull, measures.push):
            expected[f"force/{name}/{measure.__name__}"] = measure(query.detach(), document.detach(), gradients[name])
    assert read(w) == pytest.approx({name: one.item() for name, one in expected.items()}, abs=1e-5)


def test_nothing_is_taken_of_one_term_or_on_steps_that_are_not_due(monkeypatch):
    steps, taken = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: steps.append(1) or taken(*a, **k))
    _, _, w = train(single=True)
    assert not steps and not read(w, 20) and not said(w)
    _, _, w = train(steps=29)
    # Steps 1 to 20 are due, and the 30th.
    assert len(steps) == 20 * 2 and not read(w, 25)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"late": True}, "came after the backward"),
        ({"contrast": torch.compile(infonce, backend="aot_eager")}, "lies compiled code"),
        ({"meddle": lambda q: q.retain_grad()}, "has hooks of its own"),
        ({"meddle": lambda q: q.register_hook(lambda g: None)}, "has hooks of its own"),
    ],
)
def test_where_they_cannot_be_taken_that_is_said_once_and_no_bit_changes(options, why):
    plain, watched = train(False, **options), train(**options)
    assert all(torch.equal(a, b) for a, b in zip(plain[0], watched[0], strict=True))
    assert len(said(watched[2])) == 1 and why in said(watched[2])[0] and not read(watched[2], 20)


class Twice(torch.autograd.Function):
    """An operation that somebody wrote: what it does backward nobody knows."""

    runs = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        Twice.runs += 1
        return 2 * gradient


class Hooked(nn.Module):
    """A scale with a backward hook, as profilers and clippers put one."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0
        self.scale = nn.Linear(8, 8)
        self.scale.register_full_backward_hook(self._count)

    def _count(self, *given: Any) -> None:
        self.runs += 1

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x)


@pytest.mark.parametrize("between", ["function", "module"])
def test_what_may_do_something_of_its_own_is_not_run_again(between):
    seed_all()
    model, hooked = nn.Linear(12, 8), Hooked()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    Twice.runs = 0
    with watch(model, optimizer=optimizer, run=False, query="", document="") as w:
        for a, b in pairs(3):
            q, d = model(a), model(b)
            q2 = Twice.apply(q) if between == "function" else hooked(q)
            terms = {"contrast": infonce(q2, d), "norm": q2.square().mean()}
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
    assert (Twice.runs if between == "function" else hooked.runs) == 3
    assert not read(w, 2) and len(said(w)) == 1 and ("Twice" in said(w)[0] or "backward hooks" in said(w)[0])


def test_a_correction_and_its_gate_have_forces_of_their_own():
    seed_all()
    model = Corrected()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    taps = [Tap(stream="delta", at="net", role="correction"), Tap(stream="gate", at="gate", role="gate")]
    with watch(model, optimizer=optimizer, run=False, query="", taps=taps) as w:
        for a, b in pairs(4):
            q = model(a)
            w.observe("document", b[:, :8])
            terms = {
                "contrast": infonce(q, b[:, :8]),
                "held": 50 * model.delta.square().mean(),
                "shut": model.gate.abs(),
            }
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
    found = read(w, 3)
    assert found["force/held@delta/share"] > 0.7 and found["force/held@delta/radial"] < -0.8
    assert found["force/shut@gate/radial"] == pytest.approx(-1) and "force/held@gate/share" not in found
    assert found["force/contrast/share"] == pytest.approx(1) and "force/shut/share" not in found
    assert any("'shut' does not reach the embeddings" in one for one in said(w))


class Criterion(nn.Module):
    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        return infonce(query, document)


def test_at_the_arguments_of_a_loss_module_they_are_read_in_the_first_steps_and_every_second_due_one(tmp_path):
    torch.manual_seed(0)
    model, criterion = OneTower(), Criterion()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, loss=criterion, run=tmp_path / "run", reference=False) as w:
        for a, b in pairs(60):
            criterion(model(a), model(b)).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert list(w.live.series("pairs/auc", on="batch").steps) == [*range(1, 21), 30, 40, 50, 60]
        for reading in ("pairs/push", "pairs/near_own", "pairs/mrr_centred", "query/radial"):
            assert list(w.live.series(reading, on="batch").steps) == [*range(1, 21), 30, 50]


def test_gradients_that_were_computed_in_half_are_told_by_their_bits(tmp_path):
    def shares(dtype: torch.dtype) -> list[float]:
        torch.manual_seed(0)
        layer = nn.Linear(12, 64, bias=False)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        with watch(layer, optimizer=optimizer, run=False, reference=False) as w:
            for a, b in pairs(3):
                query, document = (x.to(dtype) @ layer.weight.to(dtype).T for x in (a, b))
                # So small that part of its gradient is below what float16 has.
                ((query - document).float().square().mean() * 1e-4).backward()
                optimizer.step()
                optimizer.zero_grad()
            return w.live.series("zeros/weight").values.tolist()

    assert all(0.2 < share < 1 for share in shares(torch.float16)) and set(shares(torch.float32)) == {0.0}


class Looking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(500, 16), nn.Linear(16, 16)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(self.table(ids))


@pytest.mark.parametrize("through", ["table", "layer"])
def test_zeros_of_rows_that_nobody_looked_up_or_of_an_absolute_error_are_none_of_half_precision(through):
    torch.manual_seed(0)
    model = Looking()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, run=False, reference=False) as w:
        for _ in range(4):
            ids = torch.randint(0, 500, (32,))
            vectors = model.table(ids) if through == "table" else model.layer.bias + 0 * model(ids)
            (vectors - 3.0).abs().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        found = {name: w.live.series(name) for name, _, _ in w.live.keys if name.startswith("zeros/")}
    assert not any(one.values.any() for one in found.values()) and "zeros/table" not in found
