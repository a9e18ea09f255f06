"""The parts of ``cuda.sh``: what each measures on a device, what it says, and what makes it fail.

On a CPU models and searches are smaller, so that every part is known to work; what only a GPU can show does not apply.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import _peers
import numpy as np
import torch
from _common import SHARED, memory
from _peer_stores import finish
from _steps import SHAPES, Options, Training, head, mpnet, raising, reset_peak, steps, watched

import collapse_probe
from collapse_probe.journal import Evaluation

ROOT = Path(__file__).resolve().parents[1]
FREE, WATCHED = 24, 50
"""Steps before the watched ones, and watched ones: no end of a window of 100 steps, which may wait, is among them."""

_MOST = 20.0
"""Seconds that a peer may take."""

# The last one reads a number, on the device or not; it is shown, and is no reason to fail.
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::_local_scalar_dense")
Result = tuple[str, dict[str, Any]]


class Skipped(Exception):
    """A part does not apply here, or lacks what it needs."""

    def __init__(self, reason: str, figures: dict[str, Any] | None = None, *, status: str = "skipped") -> None:
        super().__init__(reason)
        self.status, self.figures = status, figures or {}


def tests(options: Options) -> Result:
    """Run the tests that need CUDA."""
    if importlib.util.find_spec("pytest") is None:
        raise Skipped("pytest is not installed: pip install -e '.[test]'")
    files = ["tests/respred/test_training.py", "tests/retrieval/test_search_is_exact.py"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "cuda", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    said = (run.stdout.strip().splitlines() or ["no word"])[-1].strip("= ")
    if run.returncode:
        raise RuntimeError(said)
    if not re.search(r"\d+ passed", said):
        raise Skipped(said, status="does not apply")
    return said, {}


def synchronisation(options: Options) -> Result:
    """Watched steps of a head while torch raises at whatever waits for the device, our own faults not contained."""
    os.environ["COLLAPSE_PROBE_STRICT"] = "1"
    alone, training = head(options.device), head(options.device)
    steps(*alone, FREE)
    try:
        with raising(options.device):
            steps(*alone, WATCHED, wait=False)
    except RuntimeError as error:
        raise RuntimeError(f"the unwatched loop itself waits: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        watch = watched(*training[:2], f"{folder}/run")
        steps(*training, FREE, watch=watch)
        with raising(options.device):
            steps(*training, WATCHED, watch=watch, wait=False)
        read = watch.recorder.streams["query"].steps
        watch.close()
    said = f"{WATCHED} watched steps, {read} readings"
    if options.device == "cpu":
        raise Skipped(f"{said}; whether they wait for the device, a CPU cannot tell", status="does not apply")
    return f"{said}: none waits for the device", {"steps": WATCHED, "readings": read}


def founding(options: Options, precision: str) -> Result:
    """Run the founding case with the ``train`` command, scored on SciFact at every epoch, and read its run."""
    needed = [SHARED / "data" / "medquad_smoke_10k.jsonl", SHARED / "data" / "scifact"]
    needed.append(SHARED / "features" / "all-MiniLM-L6-v2")
    if missing := [str(one.relative_to(SHARED)) for one in needed if not one.exists()]:
        raise Skipped(f"the shared data lack {', '.join(missing)}")
    pairs, scifact, features = map(str, needed)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "collapse_probe",
            "train",
            "--watch-delta",
            "--pairs",
            pairs,
            "--beir",
            scifact,
        ]
        # On a CPU one epoch, to know that it works.
        command += ["--epochs", "1"] if options.device == "cpu" else []
        command += ["--features", features, "--device", options.device, "--precision", precision, "--name", "founding"]
        began = time.perf_counter()
        run = subprocess.run([*command, "--cache", "cache"], cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        # 1 says that the training is unhealthy, which this one is.
        if run.returncode not in (0, 1):
            raise RuntimeError((run.stderr.strip().splitlines() or ["no word"])[-1])
        done = collapse_probe.Run.load(Path(folder) / "runs" / "founding")
        if done.status != "completed":
            raise RuntimeError(f"the run is {done.status}")
        found = collapse_probe.diagnose(done)
        judged = [one for one in done.of(Evaluation) if one.variant == done.config.judged and "ndcg@10" in one.metrics]
    kinds = ", ".join(dict.fromkeys(one.kind for one in found.kinds if one.status == "critical")) or "no critical kind"
    cause = found.causes[0].cause if found.causes else "no cause"
    figures: dict[str, Any] = {"seconds": seconds, "status": found.status, "kinds": kinds, "first cause": cause}
    for name in dict.fromkeys(one.collection for one in judged):
        values = [one.metrics["ndcg@10"] for one in sorted(judged, key=lambda one: one.step) if one.collection == name]
        figures[f"nDCG@10, {name}, start to end"] = " ".join(f"{value:.4f}" for value in values)
    return f"{seconds:.0f} s, {found.status}: {kinds}; first cause: {cause}", figures


def watching(options: Options) -> Result:
    """Steps of an MPNet encoder in bf16, watched and beside each peer: blocks in turns with unwatched ones.

    Peers are due when ours is, and follow one another, so that no more than two trainings are in memory.
    """
    size, count = (20, 5) if options.device == "cuda" else (4, 3)
    began, until = time.perf_counter(), 0.7 * PARTS["watching"][2]
    plain = mpnet(options)
    steps(*plain, 3)
    ratios: dict[str, float] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        training = mpnet(options)
        watch = watched(*training[:2], f"{folder}/run")
        steps(*training, 21, watch=watch)  # the first 20 steps are all read
        times = [_both(plain, training, size, turn, watch=watch) for turn in range(count)]
        ratios["watched"] = statistics.median(own / alone for alone, own in times)
        watch.close()
        for kind in _peers.PEERS:
            del training
            gc.collect()
            training = mpnet(options)
            try:
                if why := _peers.why_not(kind):
                    raise Skipped(why)
                left = until - (time.perf_counter() - began)
                if left < 1:
                    raise Skipped("no time was left")
                with _within(min(left, _MOST)):
                    peer = kind(*training[:2], Path(folder) / kind.module, every=_peers.EVERY)
                    steps(*training, 3, peer=peer)
                    pairs = [_both(plain, training, size // 2, turn, peer=peer) for turn in range(min(count, 3))]
                    ratios[kind.name] = statistics.median(own / alone for alone, own in pairs)
                    peer.close()
            except Exception as error:
                missing[kind.name] = str(error) if isinstance(error, Skipped) else _peers.in_one_line(error)
        finish()
    alone = statistics.median(one for one, _ in times)
    figures: dict[str, Any] = {"shapes": SHAPES[options.device], "unwatched step, ms": 1000 * alone / size}
    figures |= {f"{name} / unwatched": ratio for name, ratio in ratios.items()} | missing
    said = ", ".join(f"{name} {ratio:.3f} x" for name, ratio in ratios.items())
    absent = f"; not measured: {', '.join(missing)}" if missing else ""
    return f"{said} of the unwatched step{absent} ({SHAPES[options.device]})", figures


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise where a block takes longer, once the operation that it is in has ended."""

    def late(*_: Any) -> None:
        raise Skipped(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _both(plain: Training, other: Training, size: int, turn: int, **listens: Any) -> tuple[float, float]:
    """Return the seconds of a block of each, in turns one or the other first."""
    blocks = [lambda: steps(*plain, size), lambda: steps(*other, size, **listens)]
    first = blocks[turn % 2]()
    second = blocks[1 - turn % 2]()
    return (second, first) if turn % 2 else (first, second)


def profile(options: Options) -> Result:
    """Calls that wait for the device in the profile of ten steps, watched and unwatched; watching must add none."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    cuda = options.device == "cuda"
    counts: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("unwatched", "watched"):
            training = mpnet(options)
            watch = watched(*training[:2], f"{folder}/run") if name == "watched" else None
            steps(*training, FREE if cuda else 2, watch=watch)
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
            with profiled(activities=activities) as seen:
                steps(*training, 10 if cuda else 2, watch=watch, wait=False)
            found = seen.key_averages()
            counts[name] = {event.key: event.count for event in found}
            sort = "self_device_time_total" if cuda else "self_cpu_time_total"
            (options.out / f"profile_{name}.txt").write_text(found.table(sort_by=sort, row_limit=40), "utf-8")
            if watch is not None:
                watch.close()
    figures = {f"{one}, {name}": counts[name].get(one, 0) for one in WAITS for name in counts}
    added = sum(max(0, counts["watched"].get(one, 0) - counts["unwatched"].get(one, 0)) for one in WAITS[:-1])
    if not cuda:
        raise Skipped("profiles are written; nothing waits for a CPU", figures, status="does not apply")
    if added:
        raise RuntimeError(f"watching adds {added} waits to ten steps: {figures}")
    return "watching adds no wait for the device to ten steps", figures


def peak_memory(options: Options) -> Result:
    """Peak memory of training steps, unwatched and watched, reference pairs among it."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("unwatched", "watched"):
            training = mpnet(options)
            watch = watched(*training[:2], f"{folder}/run", reference=None) if name == "watched" else None
            reset_peak(options.device)
            steps(*training, FREE if options.device == "cuda" else 4, watch=watch)
            if watch is not None:
                watch.close()
            peaks[name] = torch.cuda.max_memory_allocated() if options.device == "cuda" else memory("VmHWM")
            del training, watch
            gc.collect()
    figures = {f"{name}, GB": peak / 1e9 for name, peak in peaks.items()}
    ratio = peaks["watched"] / peaks["unwatched"]
    what = "allocated on the device" if options.device == "cuda" else "resident, of the whole process"
    both = f"{peaks['watched'] / 1e9:.2f} GB over {peaks['unwatched'] / 1e9:.2f} GB"
    return f"{both} {what} ({ratio:.3f} x)", {**figures, "watched / unwatched": ratio}


def search(options: Options) -> Result:
    """Exact search on the device beside product and top 100 there, and whether it finds what the CPU finds."""
    from collapse_probe.retrieval import exact_search

    n, rows = (1000, 100_000) if options.device == "cuda" else (300, 5183)
    rng = np.random.default_rng(0)
    q, d = (rng.standard_normal((one, 384), dtype=np.float32) for one in (n, rows))
    hard = d[:2000] * np.float32(1e-4) + 3
    hard[1000:] = hard[:1000]
    device, figures, different = options.device, {}, []

    def bare() -> None:
        found = (torch.from_numpy(q).to(device) @ torch.from_numpy(d).to(device).T).topk(100, dim=1)
        found.values.cpu(), found.indices.cpu()

    base = _seconds(bare)
    figures["product and top 100, copies with it, ms"] = 1000 * base
    for similarity in ("cosine", "dot", "euclidean"):
        there = partial(exact_search, k=100, similarity=similarity, device=device)
        here = partial(exact_search, k=100, similarity=similarity, device="cpu")
        figures[f"{similarity}, ms"] = 1000 * (took := _seconds(partial(there, q, d)))
        figures[f"{similarity} / product"] = took / base
        few = q[:100]
        for name, documents in (("ordinary", d), ("twins far from the origin", hard)):
            if not np.array_equal(there(few, documents).indices, here(few, documents).indices):
                different.append(f"{similarity}, {name}")
    if different:
        raise RuntimeError(f"the device orders differently: {'; '.join(different)}")
    ratios = ", ".join(f"{one} {figures[f'{one} / product']:.2f} x" for one in ("cosine", "dot", "euclidean"))
    return f"{ratios} product and top 100 ({n:,} x {rows:,} x 384); hits are the CPU's", figures


def _seconds(work: Callable[[], object]) -> float:
    """Return the median seconds of five runs after one that is not counted; what they return lies on the CPU."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


PARTS: dict[str, tuple[str, Callable[[Options], Result], float]] = {
    "tests": ("Tests that need CUDA.", tests, 90),
    "synchronisation": ('`torch.cuda.set_sync_debug_mode("error")` over watched steps.', synchronisation, 60),
    "founding fp32": (
        "The founding case, `collapse-probe train --watch-delta`.",
        partial(founding, precision="fp32"),
        120,
    ),
    "founding bf16": ("The same in bf16.", partial(founding, precision="bf16"), 120),
    "watching": ("Watched over unwatched steps, and peers.", watching, 150),
    "profile": ("What waits in the profile of ten steps; tables are beside this file.", profile, 80),
    "memory": ("Peak memory.", peak_memory, 80),
    "search": ("Exact search on the device.", search, 80),
}
"""Name to what it is, what does it, and the most seconds it may take."""
