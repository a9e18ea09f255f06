"""The main job on stored features: the whole command, training beside a bare loop, and watching beside not watching.

    python benchmarks/training.py

Needs the folder of real collections beside the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _common import SHARED, THREADS, stored_vectors, table

from collapse_probe.journal import RunConfig, write_config
from collapse_probe.recording import load_watched
from collapse_probe.respred import EvaluationSet, TrainingData, get_recipe, make_evaluation_set, train_recipe
from collapse_probe.respred.losses import build_loss
from collapse_probe.respred.modules import build_head
from collapse_probe.respred.training._trainer import make_optimiser, make_trainer
from collapse_probe.respred.training._vectors import split_pairs
from collapse_probe.retrieval import read_beir, read_pairs

PAIRS = SHARED / "data" / "medquad_smoke_10k.jsonl"
SCIFACT = SHARED / "data" / "scifact"
FEATURES = SHARED / "features" / "all-MiniLM-L6-v2"
REPEATS = 3


class Silent:
    """A listener that shows nothing."""

    def step(self, *, step, steps, epoch):
        """Ignore."""

    def epoch(self, *, epoch, epochs, values, scores):
        """Ignore."""

    def between(self, *, t, scores):
        """Ignore."""


def load() -> tuple[TrainingData, EvaluationSet]:
    """Return the founding case's vectors."""
    with tempfile.TemporaryDirectory() as folder:
        features = stored_vectors(Path(folder))
        pairs = read_pairs(PAIRS)
        query = torch.from_numpy(features.vectors(pairs.queries, "query"))
        document = torch.from_numpy(features.vectors(pairs.documents, "document"))
        evaluation = make_evaluation_set(read_beir(SCIFACT), features)
    kept, out = split_pairs(len(query), share=0.025, seed=0)
    return TrainingData(query[kept], document[kept], query[out], document[out]), evaluation


def bare_loop(data: TrainingData) -> None:
    """Train with the fewest lines of torch: same head, same losses, same optimiser, no framework."""
    from sentence_transformers import SentenceTransformer

    recipe = get_recipe("respred")
    head = build_head(recipe, data.dimension, seed=0)
    loss = build_loss(recipe, SentenceTransformer(modules=[head], device="cpu")).train()
    optimiser = make_optimiser(recipe, loss)
    for _ in range(recipe.epochs):
        for index in torch.randperm(len(data.query)).split(recipe.batch_size):
            features = [
                {"sentence_embedding": data.query[index], "task": "query"},
                {"sentence_embedding": data.document[index], "task": "document"},
            ]
            torch.stack(list(loss(features).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(loss.parameters(), recipe.max_grad_norm)
            optimiser.step()
            optimiser.zero_grad()


def trainer_alone(data: TrainingData) -> None:
    """Train with the library's trainer as the tool sets it up, without recording and evaluation."""
    from sentence_transformers import SentenceTransformer

    recipe = get_recipe("respred")
    head = build_head(recipe, data.dimension, seed=0)
    model = SentenceTransformer(modules=[head], device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            recipe,
            model,
            build_loss(recipe, model),
            data=data,
            seed=0,
            precision="fp32",
            device="cpu",
            checkpoints=Path(folder),
            callbacks=[],
        )
        trainer.train()


def whole_run(data: TrainingData, evaluations: list[EvaluationSet], *, watch_delta: bool) -> None:
    """Train with everything that a run does but the report."""
    with tempfile.TemporaryDirectory() as folder:
        write_config(Path(folder), RunConfig(name="benchmark"))
        train_recipe(
            get_recipe("respred"),
            folder=Path(folder),
            data=data,
            evaluations=evaluations,
            probes=load_watched([], watch_delta=watch_delta, folder=Path(folder)),
            seed=0,
            device="cpu",
            precision="fp32",
            listener=Silent(),
        )


def command() -> None:
    """Run the command as a user does, report and saved model included, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "--watch-delta", "--pairs", PAIRS, "--beir", SCIFACT, "--features", FEATURES]
        script = "from collapse_probe.cli import main; main()"
        environment = {**os.environ, "COLLAPSE_PROBE_CACHE": folder, "OMP_NUM_THREADS": str(THREADS)}
        subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)], cwd=folder, env=environment, capture_output=True
        )


def interleaved(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least seconds of each, taken in turns so that a slow minute of the machine falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: min(found) for name, found in times.items()}


def main() -> None:
    """Print the table."""
    if not PAIRS.is_file():
        sys.exit("real data absent: no folder shared/data beside the repository")
    torch.set_num_threads(THREADS)
    data, evaluation = load()
    works = {
        "bare torch loop": lambda: bare_loop(data),
        "library's trainer over stored features": lambda: trainer_alone(data),
        "run, unwatched, scored 5 times": lambda: whole_run(data, [evaluation], watch_delta=False),
        "run, --watch-delta, scored 5 times": lambda: whole_run(data, [evaluation], watch_delta=True),
        "whole command with report and saved model": command,
    }
    times = interleaved(works)
    bare, unwatched = times["bare torch loop"], times["run, unwatched, scored 5 times"]
    rows = [[name, f"{t:.2f} s", f"{t / bare:.2f} x", f"{t / unwatched:.2f} x"] for name, t in times.items()]
    head = f"founding case, {len(data.query):,} pairs, 3 epochs, SciFact, {THREADS} threads"
    print(table([head, f"least of {REPEATS}", "over the bare loop", "over unwatched"], rows))


if __name__ == "__main__":
    main()
