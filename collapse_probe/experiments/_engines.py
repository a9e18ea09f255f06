"""Where the cells of an ablation run: a process pool on this machine, or Ray."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

from ..errors import InputError, setting
from ._cells import Cell, Files, Train, run_cell

_REACH_SECONDS = 5.0
_work: tuple[Train, Any] | None = None


def run_in_processes(
    train: Train, cells: Sequence[Cell], material: Any, *, workers: int
) -> Iterator[tuple[Cell, Files]]:
    """Yield every cell as it finishes, from a pool of processes; closing the iterator stops the processes.

    Args:
        train: What trains a cell: an importable function.
        cells: What to run.
        material: What they read, sent to each process once.
        workers: Processes.
    """
    _wait_passively()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(train, material))
    done = False
    try:
        futures = {pool.submit(_run, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()
        done = True
    except BrokenProcessPool:
        fix = f"the same command runs the others; give fewer {setting('workers')} where memory ran out"
        raise InputError(f"a worker process died; the cells that were done are kept: {fix}") from None
    finally:
        pool.shutdown(wait=done, cancel_futures=True)
        if not done:
            for process in multiprocessing.active_children():
                process.terminate()


def run_in_ray(
    train: Train,
    cells: Sequence[Cell],
    material: Any,
    *,
    workers: int,
    address: str | None,
    threads: int = 1,
    gpu: bool = False,
) -> Iterator[tuple[Cell, Files]]:
    """Connect to Ray, and return an iterator that yields every cell as it finishes.

    The cluster's machines need this package; results come back through Ray, so they need no shared folder.

    Args:
        train: What trains a cell: a function that the cluster's machines can import.
        cells: What to run.
        material: What they read, put into Ray's object store once.
        workers: Cells at a time of a local Ray; a cluster has its own CPUs.
        address: Of an existing cluster (``host:port``, ``ray://host:port`` or ``auto``); None starts a local Ray.
        threads: CPUs of a cell in a local Ray.
        gpu: A cell takes a GPU instead.

    Raises:
        InputError: Ray is not installed, or the address cannot be reached.
    """
    ray = _ray()
    # A cluster's machines are not known here: one CPU a cell fits any of them.
    cpus = 1 if address is not None else threads
    _connect(ray, cpus=workers * cpus, address=address)
    return _ray_results(ray, train, cells, material, resources={"num_gpus": 1} if gpu else {"num_cpus": cpus})


def check_ray(address: str | None) -> None:
    """Look for Ray and for its cluster before anything costly is done.

    Raises:
        InputError: Ray is not installed, or nothing answers at the address.
    """
    _ray()
    if address is not None:
        _reach(address)


def _ray_results(
    ray, train: Train, cells: Sequence[Cell], material: Any, *, resources: dict[str, int]
) -> Iterator[tuple[Cell, Files]]:
    try:
        shared = ray.put(material)
        remote = ray.remote(**resources, max_retries=1)(run_cell)
        waiting = {remote.remote(train, cell, shared): cell for cell in cells}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                try:
                    files = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    # Ray's own error repeats the remote traceback; what was raised there says it in one line.
                    raise (error.cause if isinstance(error.cause, InputError) else error) from None
                except ray.exceptions.RayError as error:
                    reason = type(error).__name__
                    raise InputError(f"a Ray worker was lost ({reason}); the cells that were done are kept") from None
                yield waiting.pop(reference), files
    finally:
        ray.shutdown()


def _ray():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _wait_passively()
    try:
        import ray
    except ImportError:
        raise InputError(f'{setting("engine", "ray")} needs Ray: pip install "collapse-probe[ray]"') from None
    return ray


def _connect(ray, *, cpus: int, address: str | None) -> None:
    settings = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        # "local", since without an address Ray joins a cluster that it finds on this machine.
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **settings)
        return
    _reach(address)
    try:
        ray.init(address=address, **settings)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{setting('ray_address', address)}: Ray cannot connect ({reason})") from None


def _reach(address: str) -> None:
    """Try the address before Ray does, which would wait for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"{setting('ray_address', address)}: host:port, ray://host:port or auto is needed")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{setting('ray_address', address)}: nothing answers there ({reason}); start a cluster or leave it out"
        ) from None


def _wait_passively() -> None:
    """Have the processes that are started from now on leave the core to others while their threads wait."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _begin(train: Train, material: Any) -> None:
    """Keep in a worker what all cells need, and leave interruptions to the process that started it."""
    global _work
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _work = (train, material)


def _run(cell: Cell) -> Files:
    assert _work is not None
    train, material = _work
    return run_cell(train, cell, material)
