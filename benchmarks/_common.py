"""What the benchmarks share: timing, tables, and real vectors where they are present."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from collapse_probe.retrieval import Features, open_encoder

SHARED = Path(__file__).resolve().parents[2] / "shared"
THREADS = 2


def seconds(work: Callable[[], object], *, repeats: int = 7) -> float:
    """Return the median wall-clock seconds of some runs after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def memory(field: str) -> int:
    """Return a field of this process's memory in bytes: ``RssAnon`` now, ``VmHWM`` at the peak since it was reset."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def stored_vectors(cache: Path) -> Features:
    """Return the bundled encoder's stored vectors of the shared texts."""
    encoder = open_encoder(None, cache=cache)
    return Features(encoder, cache=cache, extra=[SHARED / "features" / "all-MiniLM-L6-v2"])


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
