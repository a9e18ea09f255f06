"""What watching costs: watched and unwatched steps in turns, in one process, the median of pairs.

``python benchmarks/overhead.py`` trains a head on vectors (384 to 768 to 384, batch 64, AdamW, softmax), and if the
bundled encoder is installed, all-MiniLM-L6-v2 (batch 32). Hooks, readings and writing alone (``reference=False``),
with default settings otherwise; then, for a run of 1,000 steps, what the reference pairs and an evaluator's baseline
add: each part is timed, and the parts are added up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _steps import steps
from torch import nn

import collapse_probe
from collapse_probe.recording import Budget
from collapse_probe.recording._reference import PART


def head_step(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], object]]:
    """Return a head with its optimiser and one step of its training."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(384, 768), nn.GELU(), nn.Linear(768, 384))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(4096, 384, generator=generator), dim=1)
    documents = torch.nn.functional.normalize(queries + 0.05 * torch.randn(4096, 384, generator=generator), dim=1)

    def step() -> object:
        rows = torch.randint(4096, (64,), generator=generator)
        return _softmax(model(queries[rows]), model(documents[rows]))

    return model, optimizer, step


def encoder_step(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], object]]:
    """Return the bundled encoder with its optimiser and one step of its fine-tuning."""
    from collapse_probe.retrieval import open_encoder

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as cache:
        model = open_encoder(None, cache=Path(cache)).anew().model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    words = [
        "a",
        "lamp",
        "that",
        "reads",
        "by",
        "itself",
        "in",
        "the",
        "corner",
        "of",
        "an",
        "old",
        "library",
        "where",
        "rain",
        "falls",
        "on",
        "glass",
        "and",
        "nobody",
        "minds",
    ]
    texts = [[f"{words[(i + j) % 20]} {words[(3 * i + j) % 20]} number {i}" for i in range(32)] for j in (0, 5)]
    features = [model.preprocess(side) for side in texts]

    def step() -> object:
        return _softmax(*(model(dict(side))["sentence_embedding"] for side in features))

    return model, optimizer, step


def _softmax(query: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
    scores = 20 * torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(document).T
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(query)))


def measure(make: Callable[[int], tuple], *, blocks: int, steps: int) -> list[float]:
    """Return watched over unwatched time of each pair of blocks."""
    plain, watched = make(0), make(0)
    with tempfile.TemporaryDirectory() as folder:
        options = {"query": "", "document": "", "reference": False, "run": f"{folder}/run"}
        watch = collapse_probe.watch(watched[0], optimizer=watched[1], **options)
        _block(plain, None, 20)
        _block(watched, watch, 20)
        ratios = []
        for number in range(blocks):
            both = [(plain, None), (watched, watch)]
            times = {id(one): _block(one, listener, steps) for one, listener in (both if number % 2 else both[::-1])}
            ratios.append(times[id(watched)] / times[id(plain)])
        watch.close()
    return ratios


def added_up(make: Callable[[int], tuple], *, watched: float, steps: int = 1000, batch: int = 32) -> dict[str, float]:
    """Return what each part adds to a run of so many steps, as a share of the unwatched run.

    All reference pairs are read at step 0 and at the end, the first of them in between as often as the budget allows,
    and the evaluator runs once before step 1 on as many texts as its limit allows, 2 % of the training examples.
    """
    training = make(0)
    model, _, step = training
    with tempfile.TemporaryDirectory() as folder:
        one = statistics.median(_block(training, None, 1) for _ in range(20))
        watch = collapse_probe.watch(model, optimizer=training[1], query="", document="", run=f"{folder}/run")
        _block(training, watch, 25)
        reader = watch._reference
        everything = _seconds(lambda: reader._full(reader._pairs, watch.recorder.done))
        part = _seconds(reader._part)
        with torch.no_grad():
            forward = _seconds(step)
        watch.close()
    budget, parts = Budget(every=None, batch=batch), 0
    for number in range(1, steps + 1):
        if budget.due(number):
            budget.spend(PART)
            parts += 1
    whole = one * steps
    texts = 0.02 * steps * 2 * batch
    return {
        "hooks, readings, writing": watched - 1,
        "all reference pairs, at step 0 and at the end": 2 * everything / whole,
        f"128 of them, {parts} times in between": parts * part / whole,
        f"the evaluator's baseline, {texts:.0f} texts": texts / (2 * batch) * forward / whole,
    }


def _seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(5))


def _block(training: tuple, watch: collapse_probe.Watch | None, count: int) -> float:
    return steps(*training, count, watch=watch)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    blocks = parser.parse_args().blocks
    kinds = {"head on vectors, batch 64": (head_step, 100), "MiniLM, batch 32": (encoder_step, 10)}
    for name, (make, count) in kinds.items():
        try:
            ratios = measure(make, blocks=blocks, steps=count)
        except ImportError as error:
            print(f"{name:<28} not measured: {error}")
            continue
        low, high, middle = min(ratios), max(ratios), statistics.median(ratios)
        print(f"{name:<28} {middle:.3f} x ({low:.3f} to {high:.3f}, {blocks} pairs of {count} steps)")
        if make is encoder_step:
            shares = added_up(make, watched=middle)
            print(f"{'the same, 1,000 steps':<28} {1 + sum(shares.values()):.3f} x, added up of")
            print("\n".join(f"    {share:+.4f} {part}" for part, share in shares.items()))


if __name__ == "__main__":
    main()
