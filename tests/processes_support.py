"""Several processes of one training: as recorders in this process, and as processes that are started."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.nn.parallel import DistributedDataParallel

from collapse_probe.journal import Event, JournalWriter, Store
from collapse_probe.journal.vocabulary import Role
from collapse_probe.recording import Cadence, Recorder, Tap, _ranks
from collapse_probe.recording._exchange import Exchange
from collapse_probe.watching import watch


class Team:
    """Recorders of one training, a rank each; what they leave for each other lies in ``store``."""

    def __init__(self, patch: pytest.MonkeyPatch, world: int, **options) -> None:
        self.store = distributed.HashStore()
        self.stores = [Store() for _ in range(world)]
        self.recorders = []
        patch.setattr(_ranks, "reachable", lambda: True)
        patch.setattr(_ranks, "processes", lambda: world)
        patch.setattr(_ranks, "PATIENCE", 0.002)
        for rank in range(world):
            exchange = Exchange(lambda: distributed.PrefixStore("x", self.store), rank=rank, world=world)
            patch.setattr(_ranks, "connect", lambda name, first, exchange=exchange: exchange)
            journal = JournalWriter(None, store=self.stores[rank] if rank == 0 else None)
            about = {"cadence": Cadence(every=2, dense=1), "name": "m", "first": rank == 0, **options}
            self.recorders.append(Recorder(journal, **about))

    def step(self, rank: int, rows: Tensor | None, *, norm: float = 1.0, loss: float = 0.0) -> None:
        """Let one process do a step with a batch, or with none."""
        recorder = self.recorders[rank]
        if rows is not None:
            recorder.observe("query", rows, role=Role.query)
        recorder.terms({"pull": torch.tensor(loss)})
        recorder.scalars({"gradient/norm": torch.tensor(norm)})
        recorder.step()

    def read(self, name: str, *, on: str = "batch") -> dict[int, float]:
        """Return a reading by step, as the first process wrote it."""
        found = self.stores[0].series(name, on=on)
        return dict(zip(found.steps.tolist(), found.values.tolist(), strict=True))

    def rows(self, name: str) -> list[int]:
        """Return of how many rows each reading is."""
        return self.stores[0].series(name, on="batch").n.tolist()

    def notes(self) -> list[str]:
        """Return what was said of the processes."""
        return [one.message for one in self.stores[0].of(Event) if one.subject == "processes"]


def _forking() -> Any:
    """Return what forks processes from one that has imported what trainings need: ten seconds, once."""
    context = multiprocessing.get_context("forkserver")
    needed = ["processes_support", "collapse_probe.watching", "collapse_probe.respred.training", "torch._dynamo"]
    context.set_forkserver_preload(needed)
    with pytest.MonkeyPatch.context() as patch:
        # It looks for modules where this process does.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def start(train: Callable[[int, int, Path], None], world: int, folder: Path) -> list[int]:
    """Start processes that train together in a folder, and return their exit codes.

    Args:
        train: Called in each with its rank, how many they are, and the folder.
        world: How many.
        folder: Where they run.
    """
    context = _forking()
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = [context.Process(target=_run, args=(train, rank, world, store.port, folder)) for rank in range(world)]
    for one in started:
        one.start()
    return ended(started)


def ended(started: Sequence[BaseProcess]) -> list[int]:
    """Wait for processes, not for ever, and return their exit codes."""
    for one in started:
        one.join(120)
        one.kill()
        one.join()
    return [one.exitcode or 0 for one in started]


def python(code: str, arguments: Sequence[object], folder: Path, environment: Mapping[str, str]) -> BaseProcess:
    """Start a program in a process of its own, as ``python -c`` would, but for what is imported already.

    Args:
        code: Of the program.
        arguments: Its ``sys.argv`` but for the first one.
        folder: Where it runs; what it prints goes into ``stdout`` and ``stderr`` there.
        environment: All of its environment.
    """
    started = _forking().Process(target=_python, args=(code, [*map(str, arguments)], folder, dict(environment)))
    started.start()
    return started


def _python(code: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})


def launched(rank: int, world: int, port: int) -> dict[str, str]:
    """Return what ``torchrun`` tells a process of one machine, of which the store at a port is the launcher's."""
    known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    known |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    return {name: str(value) for name, value in known.items()}


def _run(train: Callable[[int, int, Path], None], rank: int, world: int, port: int, folder: Path) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), COLLAPSE_PROBE_STRICT="1")
    os.chdir(folder)
    torch.set_num_threads(1)
    store = distributed.TCPStore("127.0.0.1", port, is_master=False)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    train(rank, world, folder)
    distributed.destroy_process_group()


def with_and_without(rank: int, world: int, folder: Path) -> None:
    """Train twice on unequal batches, watched and not; keep the rows, and fail where the weights differ."""
    ends = [_train(rank, folder, watched=watched) for watched in (False, True)]
    for mine, theirs in zip(*ends, strict=True):
        assert torch.equal(mine, theirs)


def _train(rank: int, folder: Path, *, watched: bool) -> list[Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 6))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-2)
    torch.manual_seed(rank)
    rows, losses = [], []
    watching = watch(wrapped, optimizer=optimizer, run="runs/mine", every=5) if watched else nullcontext()
    with watching as w, waiting_in_the_store(f"ended/{rank}/{watched}"):
        for _ in range(22):
            text = torch.randn(6 + 4 * rank, 12)
            query, document = wrapped(text), wrapped(text + 0.1)
            loss = (query - document).square().mean()
            if w is not None:
                w.terms(pull=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            rows.append(query.detach().clone())
            losses.append(loss.detach())
    if watched:
        torch.stack(rows).numpy().tofile(folder / f"rows-{rank}")
        torch.stack(losses).numpy().tofile(folder / f"losses-{rank}")
    return [*model.state_dict().values(), *rows, torch.get_rng_state()]


@contextmanager
def waiting_in_the_store(ended: str) -> Iterator[None]:
    """Let a thread wait in the store meanwhile, which holds the client that the program has."""
    store = distributed.distributed_c10d._get_default_store()
    other = store.clone()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(store.wait, [ended], timedelta(seconds=40))
        yield
        assert not waits.done()
        other.set(ended, b"1")
        waits.result()


KINDS = ("FSDP2", "FSDP1", "FSDP1 with the parameters that it was given", "ZeRO", "accelerate")


def in_parts(rank: int, world: int, folder: Path) -> None:
    """Train twice in each way, watched and not, and fail where the weights differ."""
    for kind in KINDS:
        ends = [_train_in_parts(kind, rank, watched=watched) for watched in (False, True)]
        for mine, theirs in zip(*ends, strict=True):
            assert torch.equal(mine, theirs), kind


class Gated(nn.Module):
    """A tower behind a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(12, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 6))
        self.gate = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(x) * self.gate


def _train_in_parts(kind: str, rank: int, *, watched: bool) -> list[Tensor]:
    torch.manual_seed(0)
    model: nn.Module = Gated()
    mesh = init_device_mesh("cpu", (2,))
    if kind == "FSDP2":
        model = fully_shard(model, mesh=mesh)
    elif kind.startswith("FSDP1"):
        model = FullyShardedDataParallel(model, use_orig_params=kind != "FSDP1", device_id=torch.device("cpu"))
    elif kind == "ZeRO":
        model = DistributedDataParallel(model)
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if kind == "ZeRO":
        from torch.distributed.optim import ZeroRedundancyOptimizer  # warns where it is imported

        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-2)
    if kind == "accelerate":
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", LOCAL_RANK=str(rank))
        model, optimizer = Accelerator(cpu=True).prepare(model, optimizer)
    torch.manual_seed(rank)
    gate = [] if kind == "FSDP1" else [Tap(stream="gate", at="gate", role="gate")]
    watching = watch(model, optimizer=optimizer, run=f"runs/{kind}", taps=gate) if watched else nullcontext()
    with watching as w:
        for _ in range(11):
            text = torch.randn(6 + 4 * rank, 12)
            query, document = model(text), model(text + 0.1)
            loss = (query - document).square().mean()
            if w is not None:
                w.terms(pull=loss)
                w.observe("parts", DTensor.from_local(query, mesh, [Shard(0)], run_check=False))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
    return [*((one.to_local() if isinstance(one, DTensor) else one).detach() for one in model.parameters()), loss]


def some_leave(rank: int, world: int, folder: Path) -> None:
    """Train with one gradient everywhere: one process has no batch now and then, one ends early, one raises."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arrived = distributed.PrefixStore("arrived", distributed.distributed_c10d._get_default_store())
    with watch(model, optimizer=optimizer, run="runs/mine", reference=False) as w:
        for step in range(1, 17):
            arrived.add(str(step), 1)
            while arrived.add(str(step), 0) < 4 - (step > 9) - (step > 12):
                time.sleep(0.001)
            if (rank, step) == (3, 9):
                raise ValueError("no more data")
            if (rank, step) == (2, 12):
                break
            model(torch.ones(2, 4)).sum().backward()
            if rank != 1 or step != 5:
                w.observe("query", torch.randn(2 + rank, 3), role="query")
            optimizer.step()
            optimizer.zero_grad()
