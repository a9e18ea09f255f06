"""Watching changes nothing: the same bits with and without it."""

from __future__ import annotations

import functools
import importlib
import os
import random
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from plain_loops import OneTower, infonce, pairs, random_state, seed_all
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import collapse_probe.measures as measures
from collapse_probe.diagnosis import diagnose
from collapse_probe.recording import Containment, Tap
from collapse_probe.watching import Watch, watch

STEPS = 32
replicate = importlib.import_module("torch.nn.parallel.replicate")


def given() -> tuple[Tensor, Tensor]:
    """A reference whose making draws random numbers of all three kinds."""
    noise = torch.randn(20, 8) + random.random() + np.random.rand()
    return noise, noise + 0.1 * torch.randn(20, 8)


class Checkpointed(OneTower):
    """A model whose tower is computed again in the backward."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__(dropout=0.2)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.tower, x.requires_grad_(), use_reentrant=self.reentrant)


class Replicated(nn.Module):
    """As ``DataParallel``, whose replicas need devices: one runs in a thread of its own.

    Of several, gradients would be added up in the order of the threads, which is not the same twice.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        (replica,) = replicate.replicate(self.module, [0])
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(replica, x).result()


def in_place(model: nn.Module) -> nn.Module:
    """Compile a model in place."""
    model.compile(backend="aot_eager")
    return model


def whole(model: nn.Module, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Callable[[], None]]:
    """Return both sides, and what is to be done after the loss's backward."""
    return model(a), model(b), lambda: None


def cached(model: nn.Module, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Callable[[], None]]:
    """As GradCache: chunks without a graph, the loss on leaves, then each chunk again from the same random state."""
    chunks = [*a.split(5), *b.split(5)]
    states, leaves = [], []
    for chunk in chunks:
        states.append(torch.get_rng_state())
        with torch.no_grad():
            leaves.append(model(chunk).requires_grad_())

    def again() -> None:
        for chunk, state, leaf in zip(chunks, states, leaves, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                (model(chunk) * leaf.grad).sum().backward()

    return torch.cat(leaves[:2]), torch.cat(leaves[2:]), again


def train(
    options: dict[str, Any] | Callable[[nn.Module], dict[str, Any]] | None,
    *,
    make: Callable[[], nn.Module] = lambda: OneTower(dropout=0.2),
    ready: Callable[[nn.Module], nn.Module] = lambda model: model,
    sides: Callable[..., tuple[Tensor, Tensor, Callable[[], None]]] = whole,
    accumulate: int = 1,
    dtype: torch.dtype | None = None,
    clip: bool = False,
    by_hand: bool = False,
    steps: int = STEPS,
) -> tuple[list[Tensor], Any, Watch | None]:
    """Train; return weights and losses, the random state, and the watch."""
    torch._dynamo.reset()
    seed_all()
    model = ready(make())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    # Its first steps are left out: their gradients are infinite.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**28, enabled=dtype == torch.float16)
    options = options(model) if callable(options) else options
    w = None if options is None else watch(model, optimizer=optimizer, run=False, **options)
    losses = []
    for index, (a, b) in enumerate(pairs(steps * accumulate)):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            q, d, again = sides(model, a, b)
        loss = infonce(q, d) * (1 + 0.1 * random.random() + 0.1 * np.random.rand())
        if w is not None and by_hand:
            w.observe("query", q)
            w.observe("document", d)
            w.terms(infonce=loss)
        scaler.scale(loss / accumulate).backward()
        again()
        losses.append(loss.detach())
        if (index + 1) % accumulate == 0:
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    if w is not None:
        w.close()
    state = random_state()
    return [*model.state_dict().values(), *losses], state, w


def same(one: tuple[list[Tensor], Any, Any], other: tuple[list[Tensor], Any, Any]) -> bool:
    alike = all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    return alike and torch.equal(one[1][0], other[1][0]) and one[1][1:] == other[1][1:]


LOOPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate": 3},
    "bf16": {"dtype": torch.bfloat16},
    "fp16, scaled": {"dtype": torch.float16, "steps": 40},
    "clipping": {"clip": True},
    "by hand": {"by_hand": True},
    "checkpointing": {"make": lambda: Checkpointed(reentrant=False), "steps": 25},
    "checkpointing, reentrant": {"make": lambda: Checkpointed(reentrant=True), "steps": 25},
    "GradCache": {"sides": cached, "steps": 25},
    "compiled": {"ready": functools.partial(torch.compile, backend="aot_eager"), "steps": 25},
    "compiled in place": {"ready": in_place, "steps": 25},
}
WATCHES: dict[str, dict[str, Any]] = {
    "found": {},
    "every tap": {"query": "", "document": "", "taps": [Tap(stream="layer", at="tower.*")], "every": 1},
    "given reference": {"query": "", "document": "", "reference": given, "raw": given, "reference_every": 5},
}


@functools.cache
def unwatched(loop: str) -> tuple[list[Tensor], Any, None]:
    return train(None, **LOOPS[loop])


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", WATCHES)
def test_training_is_bit_for_bit_the_same(loop, kind):
    watched = train(WATCHES[kind], **LOOPS[loop])
    assert same(unwatched(loop), watched)
    streams = watched[2].recorder.streams
    assert streams["query"].steps >= 20
    if kind == "every tap":
        layer = streams["layer.1"]
        assert "inside of compiled code" in layer.why if loop.startswith("compiled") else layer.steps >= 20


def through_the_model(model: nn.Module) -> dict[str, Any]:
    """Reference pairs that the watched model makes."""
    a, b = next(pairs(1, rows=20))
    return {"query": "", "document": "", "reference": lambda: (model(a), model(b)), "reference_every": 5}


CXX = os.environ.get("CXX", "g++")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.skipif("WITH_INDUCTOR" not in os.environ, reason="compiles for a minute: set WITH_INDUCTOR=1")
@pytest.mark.skipif(shutil.which(CXX) is None, reason=f"inductor needs a C++ compiler: there is no {CXX}")
def test_training_is_bit_for_bit_the_same_where_inductor_compiles(tmp_path, monkeypatch):
    """Heard is the root; reference pairs of another number than a batch's had it compiled for any number."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    loop = {"ready": torch.compile, "steps": 25}
    plain = train(None, **loop)
    for options in (WATCHES["found"], WATCHES["every tap"], through_the_model):
        assert same(plain, train(options, **loop))


class Queue(OneTower):
    """A model whose forward fills a queue, in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(12, 8))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        self.queue[: len(found)] = found.detach()
        self.calls = self.calls + 1
        return found


def test_what_a_forward_keeps_in_buffers_is_put_back():
    """A part of the reference was read by the live module, which put our rows into its queue."""

    def trained(watched: bool) -> list[Tensor]:
        seed_all()
        model = Queue()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        w = watch(model, optimizer=optimizer, run=False, reference_every=2) if watched else None
        for a, b in pairs(30):
            stale = model.queue.clone()
            loss = infonce(model(a), model(b)) + (model.tower(a) @ stale.T).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if w is not None:
            w.close()
            assert len(w.live.series("pairs/mrr", on="reference").steps) > 3
        return list(model.state_dict().values())

    assert all(torch.equal(*both) for both in zip(trained(False), trained(True), strict=True))


def test_the_comparison_sees_a_single_random_number():
    plain = train(None)
    torch.randn(1)
    assert not same(plain, (plain[0], random_state(), None))


def test_training_is_the_same_where_every_probe_raises(monkeypatch):
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    plain = train(None, clip=True, by_hand=True)
    inner = Containment.run
    names = set()

    def broken(self: Containment, probe: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        def fail(*args: Any, **kwargs: Any) -> None:
            names.add(probe)
            raise ZeroDivisionError(probe)

        # Closing and ending must work for the failures to be journalled at all.
        return inner(self, probe, function if probe in ("end", "closing") else fail, *args, **kwargs)

    monkeypatch.setattr(Containment, "run", broken)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        watched = train({"query": "", "document": "", "reference": given}, clip=True, by_hand=True)
    assert same(plain, watched)
    ours = [str(one.message) for one in said if "collapse-probe" in str(one.message)]
    assert len(ours) == 1, ours
    assert watched[2] is not None
    errors = [one["what"] for one in diagnose(watched[2]).errors]
    assert sorted(errors) == sorted(names) and len(names) >= 8


@pytest.mark.parametrize("function", ["read", "scores"])
def test_training_is_the_same_where_a_measure_raises(monkeypatch, function):
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    plain = train(None)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError(function)

    monkeypatch.setattr(measures, function, fail)
    with pytest.warns(RuntimeWarning, match="training goes on") as said:
        watched = train({})
    assert same(plain, watched) and len(said) == 1
    assert watched[2] is not None
    assert diagnose(watched[2]).errors


@pytest.mark.parametrize("whole", [True, False])
def test_replicas_in_threads_are_the_programs_alone(monkeypatch, caplog, whole):
    monkeypatch.setattr(replicate, "_get_device_index", lambda device, *rest: device)
    copied = lambda tensors, devices, detach=False: [[one.view_as(one) for one in tensors] for _ in devices]  # noqa: E731
    monkeypatch.setattr(replicate, "_broadcast_coalesced_reshape", copied)

    def trained(watched: bool) -> tuple[list[Tensor], Any, Watch | None]:
        seed_all()
        model = Replicated(OneTower(dropout=0.2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        w = watch(model if whole else model.module, optimizer=optimizer, run=False) if watched else None
        for a, b in pairs(25):
            infonce(model(a), model(b)).backward()
            optimizer.step()
            optimizer.zero_grad()
        if w is not None:
            w.close()
        return list(model.state_dict().values()), random_state(), w

    plain, seen = trained(False), trained(True)
    assert same(plain, seen)
    # Of the module inside nothing is heard but where the whole batches' vectors meet.
    heard = seen[2].live.coverage["query"]
    assert (heard.steps, "matmul" in heard.where) == ((20, False) if whole else (18, True))
    assert caplog.text.count("replicas in threads (DataParallel)") == 1
