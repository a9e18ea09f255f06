"""Loops of a program's own: what is trained is found by the first step of its optimisers, and watched unchanged."""

from __future__ import annotations

import copy
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loops import OneTower, infonce, pairs, random_state, seed_all, tower
from running.running_support import Heard, session
from torch import Tensor, distributed, nn
from torch.nn.functional import mse_loss
from torch.optim import LBFGS, SGD, AdamW
from torch.overrides import TorchFunctionMode

from collapse_probe import watch
from collapse_probe.journal import Run
from collapse_probe.running import Said, _ending, _loops
from collapse_probe.running._losses import hear_backwards
from collapse_probe.running._owners import owner_of
from collapse_probe.watching import open_watches
from collapse_probe.watching._overheard import Overheard

STEPS = 25


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    gc.collect()  # optimisers that other tests left are looked at, too
    backward = Tensor.backward
    yield
    assert Tensor.backward is backward
    assert not sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks


def loop(model: nn.Module, loss: Callable[..., Tensor], *optimizers: torch.optim.Optimizer, steps: int = STEPS) -> None:
    for a, b in pairs(steps):
        loss(model, a, b).backward()
        for one in optimizers:
            one.step()
            one.zero_grad()


def shared(model: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    return infonce(model(a), model(b))


def test_a_loop_is_watched_from_its_first_step_and_keeps_its_bits(tmp_path):
    def train() -> tuple[list[Tensor], Any]:
        seed_all()
        model = OneTower(dropout=0.2)
        loop(model, shared, AdamW(model.parameters(), lr=1e-2))
        return list(model.state_dict().values()), random_state()

    plain = train()
    with session(tmp_path / "mine") as (_, said):
        watched = train()
    assert all(torch.equal(*both) for both in zip(plain[0], watched[0], strict=True))
    assert torch.equal(plain[1][0], watched[1][0]) and plain[1][1:] == watched[1][1:]
    run = Run.load(tmp_path / "mine")
    assert (run.status, run.steps) == ("completed", STEPS)
    assert [run.coverage[name].where for name in ("query", "document")] == ["output of the model"] * 2
    assert run.series("pairs/mrr", on="reference").steps.tolist()[0] == 0
    assert run.series("loss/total").steps.tolist()[:2] == [2, 3] and run.config.modules
    assert said.lines[0].split()[0] in ("HEALTHY", "WARNING", "UNHEALTHY") and said.lines[-2].endswith("mine")


class Wrapping(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class RankingLoss(nn.Module):
    """Holds the model, and calls its forward itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        return infonce(self.model.forward(query), document)


class DistributedDataParallel(Wrapping):
    """Of torch's name, without its processes."""


class Engine(nn.Module):
    """Trains one flat copy of all weights, as DeepSpeed's first stage does, by an optimiser inside of its own."""

    class CopyingOptimizer:
        def __init__(self, parameters: list[nn.Parameter]) -> None:
            self.parameters = parameters
            self.flat = nn.Parameter(nn.utils.parameters_to_vector(parameters).detach().clone())
            self.optimizer = SGD([self.flat], lr=0.05)

        def step(self) -> None:
            self.flat.grad = torch.cat([one.grad.flatten() for one in self.parameters if one.grad is not None])
            self.optimizer.step()
            self.flat.grad = None
            nn.utils.vector_to_parameters(self.flat.detach(), self.parameters)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model
        self.optimizer = self.CopyingOptimizer(list(model.parameters()))

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


def test_a_model_whose_engine_trains_copies_of_its_weights_is_watched(tmp_path):
    engine = Engine(OneTower())
    with session(tmp_path / "mine") as (_, said):
        for a, b in pairs(STEPS):
            engine.zero_grad()
            shared(engine, a, b).backward()
            engine.optimizer.step()
    run = Run.load(tmp_path / "mine")
    assert (run.steps, set(run.coverage)) == (STEPS, {"query", "document"})
    assert not [line for line in said.lines if line.startswith("collapse-probe: ")]


def test_what_is_trained_is_the_outermost_module_that_owns_it():
    model, other = OneTower(), OneTower()
    optimizer = SGD(model.parameters(), lr=0.1)
    assert owner_of([optimizer]) is model
    part = SGD(model.tower[0].parameters(), lr=0.1)
    assert owner_of([part]) is model
    outer = Wrapping(model)
    assert owner_of([optimizer]) is outer
    second = Wrapping(model)
    assert owner_of([optimizer]) is model  # which of the two is called is open
    del second, outer
    loss = RankingLoss(model)
    assert owner_of([optimizer]) is model
    del loss
    parallel = DistributedDataParallel(model)
    assert owner_of([optimizer]) is model
    del parallel
    found = owner_of([optimizer, SGD(other.parameters(), lr=0.1)])
    assert found is not None and list(found.children()) == [model, other]
    assert owner_of([SGD([nn.Parameter(torch.zeros(2))], lr=0.1)]) is None


def test_two_towers_that_nothing_holds_together(tmp_path):
    query, document = tower(), tower()
    with session(tmp_path / "mine"):
        together = [SGD(one.parameters(), lr=0.05) for one in (query, document)]
        loop(query, lambda _, a, b: infonce(query(a), document(b)), *together)
    run = Run.load(tmp_path / "mine")
    assert run.steps == STEPS, "two optimisers that step together are one step"
    assert run.coverage["query"].steps > 10 and run.coverage["document"].steps > 10
    assert {one.name for one in run.modules} == {"sequential", "sequential#2"}


def test_an_adapter_whose_loss_calls_it_beside_stored_documents(tmp_path):
    model = nn.Sequential(nn.Linear(12, 12))
    with session(tmp_path / "mine"):
        loss = RankingLoss(model)
        loop(model, lambda _, a, b: loss(a, b), SGD(model.parameters(), lr=0.05))
    heard = Run.load(tmp_path / "mine").coverage
    assert heard["query"].where == "output of the model" and heard["query"].steps > 10
    assert heard["document"].where == "argument document of module RankingLoss" and heard["document"].steps > 10


class Gated(OneTower):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.logit_scale = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gate * super().forward(x) + x[:, :8]


def test_a_gate_is_read_by_its_name(tmp_path):
    model = Gated()
    with session(tmp_path / "mine"):
        loop(model, lambda m, a, b: infonce(m(a), m(b)) + m.logit_scale.sum() * 0, SGD(model.parameters(), lr=0.05))
    run = Run.load(tmp_path / "mine")
    assert len(run.series("gate/value").steps) > 10 and not run.series("logit_scale/value").steps.size


class Encoder(nn.Module):
    """Gives its tokens, and keeps what it pools of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.pooler = nn.Linear(12, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layer(x).tanh()[:, None].expand(-1, 3, -1)
        self.pooled = self.pooler(tokens.mean(1))
        return tokens


class Deep(nn.Module):
    """Gives its loss alone."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.encoder(a)
        query = self.encoder.pooled
        self.encoder(b)
        return infonce(query, self.encoder.pooled)


@pytest.fixture
def _no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where something is compiled."""
    monkeypatch.setattr(Overheard, "possible", lambda self: False)


@pytest.mark.usefixtures("_no_products")
def test_where_nothing_is_found_it_says_what_to_type_and_that_is_read(tmp_path):
    cure = "say --query encoder.pooler --document encoder.pooler"
    said = f"collapse-probe: heard: encoder.pooler [10, 8] twice a step; {cure}"
    for name, options in {"mine": {}, "said": {"query": "encoder.pooler", "document": "encoder.pooler"}}.items():
        model = Deep()
        with session(tmp_path / name, **options) as (_, heard):
            loop(model, lambda m, a, b: m(a, b), SGD(model.parameters(), lr=0.05))
        assert (said in heard.lines) == (not options), heard.lines
    assert Run.load(tmp_path / "said").coverage["document"].steps > 10


class Translated(nn.Module):
    """Scores triples of a graph: a head and a relation lead to a tail."""

    def __init__(self) -> None:
        super().__init__()
        self.entity, self.relation = nn.Linear(12, 8), nn.Linear(12, 8)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        near, far = (self.entity(a) + self.relation(r) - self.entity(b) for r in (a, b))
        return near.norm(dim=1).mean() - far.norm(dim=1).mean().tanh()


class Within(nn.Module):
    """Calls all of it inside of a part."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Translated()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.part(a, b)


@pytest.mark.usefixtures("_no_products")
def test_where_several_modules_could_be_a_side_none_is_proposed(tmp_path):
    model = Within()
    with session(tmp_path / "mine") as (_, heard):
        loop(model, lambda m, a, b: m(a, b), SGD(model.parameters(), lr=0.05))
    several = "part.entity [10, 8] 4 times, part.relation [10, 8] twice a step"
    said = f"heard: {several}; say which is --query and which --document"
    assert f"collapse-probe: {said}" in heard.lines


@pytest.mark.parametrize("wrong", ["nowhere", "tower.9"])
def test_a_path_that_is_not_there_is_said_and_training_goes_on_watched(tmp_path, wrong):
    model = OneTower()
    with session(tmp_path / "mine", query=wrong, document=wrong) as (_, said):
        loop(model, shared, SGD(model.parameters(), lr=0.05))
    assert wrong in said.lines[0] and said.lines[0].endswith("streams are looked for instead")
    assert Run.load(tmp_path / "mine").coverage["query"].steps > 10


@pytest.mark.parametrize("sides", [{}, {"query": "tower", "document": "tower"}, {"query": "nowhere", "document": "x"}])
def test_pairs_that_the_model_cannot_take_are_said_and_training_goes_on_watched(tmp_path, sides):
    model = OneTower()
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "document": "b"}\n' * 4)
    with session(tmp_path / "mine", reference=str(tmp_path / "pairs.jsonl"), **sides) as (_, said):
        loop(model, shared, SGD(model.parameters(), lr=0.05), steps=5)
    assert ("nowhere" if "nowhere" in sides.values() else "has no encode()") in said.lines[0]
    assert said.lines[0].endswith("pairs of the first steps are taken" + " instead" * ("nowhere" not in sides.values()))
    run = Run.load(tmp_path / "mine")
    assert run.steps == 5 and run.config.reference.source == "replayed"
    assert run.coverage["query"].where == ("module tower" if "tower" in sides.values() else "output of the model")


def test_a_backward_under_a_function_mode_is_one():
    """It is handed to the mode, and comes back."""

    class Mode(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function(*args, **(kwargs or {}))

    begun: list[Tensor] = []
    undo = hear_backwards(begun.append)
    with Mode():
        torch.ones(2, requires_grad=True).sum().backward()
    undo()
    assert len(begun) == 1


def test_several_loops_have_a_run_each(tmp_path):
    with session(tmp_path / "mine") as (_, said):
        for _ in range(3):
            model = OneTower()
            loop(model, shared, SGD(model.parameters(), lr=0.05), steps=5)
            loop(model, lambda m, a, b: mse_loss(m(a), m(b)), SGD(model.parameters(), lr=0.05), steps=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine-2", "mine-3"]
    assert sum("; heard 5 steps; the run is mine" in line for line in said.lines) == 3


def test_of_several_trainings_each_has_its_verdict_and_the_gravest_its_screen(tmp_path):
    with session(tmp_path / "mine") as (_, said):
        for broken, steps in ((True, 12), (False, 20), (False, 3)):
            model = OneTower()
            factor = float("inf") if broken else 1.0
            loop(model, lambda *args, by=factor: by * shared(*args), SGD(model.parameters(), lr=0.05), steps=steps)
    lines = [line for line in said.lines if "; the run is mine" in line]
    assert [line.rpartition("; heard ")[2] for line in lines] == [
        f"{steps} steps; the run is {run}" for steps, run in ((12, "mine"), (20, "mine-2"), (3, "mine-3"))
    ]
    assert [line.split(": ")[1] for line in lines] == ["UNHEALTHY", "HEALTHY", "NOT MEASURED"]
    screen = said.lines[said.lines.index(lines[-1]) + 1 :]
    assert screen[0].startswith("UNHEALTHY") and "run     mine" in screen


def test_a_disk_that_is_full_costs_the_file_alone(tmp_path, monkeypatch):
    class Full(FileIO):
        def write(self, data: Any) -> int:
            if os.fstat(self.fileno()).st_size > 4000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr("collapse_probe.journal._writer.FileIO", Full)
    with session(tmp_path / "mine") as (_, said):
        model = OneTower()
        loop(model, shared, SGD(model.parameters(), lr=0.05))
    assert said.lines[1].startswith("HEALTHY    nothing was found in 25 steps")
    cut = Run.load(tmp_path / "mine").steps
    assert 0 < cut < STEPS and f"cannot be written after step {cut} (No space left on device)" in said.lines[0]
    assert [line for line in said.lines if line.startswith("Damaged")] == [
        f"Damaged    journal.jsonl is cut at step {cut} (No space left on device); the rest is in memory"
    ]


def test_a_closure_is_watched_from_its_second_step(tmp_path):
    model = OneTower()
    optimizer = LBFGS(model.parameters(), lr=0.01, max_iter=2)
    batches = list(pairs(6))
    with session(tmp_path / "mine"):
        for a, b in batches:

            def closure(a: Tensor = a, b: Tensor = b) -> Tensor:
                optimizer.zero_grad()
                loss = shared(model, a, b)
                loss.backward()
                return loss

            optimizer.step(closure)
    optimizer.zero_grad()  # one that is still there with a gradient steps beside others
    run = Run.load(tmp_path / "mine")
    assert run.steps == 5 and len(run.series("gradient/norm")) == 5


def test_a_script_that_watches_itself_is_not_watched_twice(tmp_path):
    model = OneTower()
    with session(tmp_path / "mine") as (_, said):
        optimizer = SGD(model.parameters(), lr=0.05)
        with watch(model, optimizer=optimizer, run=tmp_path / "own"):
            loop(model, shared, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    assert said.lines[-2] == "run     own"


def test_what_fails_of_ours_is_said_once_and_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")

    def fail(*args: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(_loops, "owner_of", fail)
    model = OneTower()
    with session(tmp_path / "mine") as (_, said):
        loop(model, shared, SGD(model.parameters(), lr=0.05))
    assert said.lines == [
        "collapse-probe: a part of this program is not watched (ZeroDivisionError: ours); it goes on",
        "collapse-probe: steps of an optimiser were heard, and none of them was watched",
    ]


def test_a_rank_that_is_not_the_first_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    model = OneTower()
    with session(tmp_path / "mine"):
        loop(model, shared, SGD(model.parameters(), lr=0.05), steps=3)
    assert not list(tmp_path.iterdir())


def test_the_first_rank_runs_no_forward_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    model = OneTower()
    calls: list[bool] = []
    model.register_forward_hook(lambda *_: calls.append(True))
    with session(tmp_path / "mine"):
        loop(model, shared, SGD(model.parameters(), lr=0.05))
    assert len(calls) == 2 * STEPS
    found = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert not found["reference"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_an_optimiser_inside_of_another_is_its_part(tmp_path):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        model = OneTower()
        with session(tmp_path / "mine") as (_, said):
            loop(model, shared, ZeroRedundancyOptimizer(model.parameters(), AdamW, lr=0.01))
    finally:
        distributed.destroy_process_group()
    run = Run.load(tmp_path / "mine")
    assert (run.steps, set(run.coverage)) == (STEPS, {"query", "document"})
    assert not [line for line in said.lines if line.startswith("collapse-probe: ")]


def test_processes_that_a_program_starts_are_named_where_nothing_else_trained():
    said = Heard()
    for seconds in (None, 0.1, 2.1):
        _ending.tell([], said, width=100, elsewhere=seconds)
    assert ["those that it started are not watched" in line for line in said.lines] == [False, True, True]
    assert ["call collapse_probe.watch(...) in what they run" in line for line in said.lines] == [False, False, True]


def test_which_process_is_quiet_may_be_known_late(capsys):
    ranks = [0]
    said = Said(quiet=lambda: ranks[0] != 0)
    said.line("first")
    ranks[0] = 1
    said.look()
    ranks[0] = 0  # as when the group is gone
    said.line("second")
    assert capsys.readouterr().err == "collapse-probe: first\n"


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, []), ("start", ["those of the start"]), ("others", ["of no step that was seen"])]
)
def test_weights_that_a_model_is_given_after_its_training_are_said(tmp_path, given, wanted):
    """As by a script whose trainer, and with it the watch, has ended."""
    seed_all()
    model = OneTower()
    states = {"start": copy.deepcopy(model.state_dict()), "others": OneTower().state_dict()}
    with session(tmp_path / "mine") as (_, said):
        loop(model, shared, SGD(model.parameters(), lr=0.05), steps=4)
        for one in open_watches():
            one.close()
        if given is not None:
            model.load_state_dict(states[given])
    lines = [line for line in said.lines if "after a training had ended its model was given other weights" in line]
    assert len(lines) == len(wanted) and all(one in line for one, line in zip(wanted, lines, strict=True))
