"""How often a run in which nothing happens has a warning or a critical finding, by detector.

    python benchmarks/nulls.py [--runs 1000] [--seed 0] [--evaluations 4] [--bank FILE] [--only evaluations|readings]

Two kinds of runs, apart: with four evaluations each on two collections (`--evaluations`), beside raw scores, reference
pairs and a validation loss in a part of them; and with readings alone. Every number is drawn from real encoders under
heads that are equally good (`_bank.py`): an evaluation has each query's score from a head of its own, so that no mean
changes but for chance, and scores of two evaluations are correlated as real ones are. Courses are flat, drift within
the null band, rise to a plateau, or dip in the warm-up and come back. Needs the folder of real collections beside the
repository.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from _bank import BATCHES, ENCODERS, PAIRS, SIZES, Bank, bank
from _common import table

from collapse_probe.diagnosis import BY_CODE, Status, diagnose
from collapse_probe.journal import (
    CollectionInfo,
    Coverage,
    Evaluation,
    JournalWriter,
    LiveRun,
    Readings,
    ReferenceInfo,
    RunConfig,
    Start,
    Store,
    StreamInfo,
    Terms,
)

BARS = {Status.WARNING: 0.02, Status.CRITICAL: 0.003}
"""Shares of the runs that may have a finding of a status."""

COURSES = ("flat", "drift", "rise", "dip")
_LENGTHS = ("norm_mean", "norm_median", "spread", "std_mean", "std_min")
_RANKS = ("mrr", "mrr_cosine", "mrr_centred", "accuracy")


@dataclass
class Null:
    """One run in which nothing happens.

    Attributes:
        rng: What it is drawn by.
        source: What it is drawn from.
        evaluated: How often collections are scored; 0 where they are not.
    """

    rng: np.random.Generator
    source: Bank
    evaluated: int
    store: Store = field(default_factory=Store)

    def __post_init__(self) -> None:
        rng = self.rng
        self.encoder = str(rng.choice(ENCODERS))
        self.rows, self.pairs = int(rng.choice(BATCHES)), int(rng.choice(PAIRS))
        self.steps, self.every = int(rng.choice([60, 200, 600, 2000])), int(rng.choice([5, 10, 20]))
        self.size, self.stays = str(rng.choice(SIZES)), float(rng.choice([0.0, 0.5, 0.8]))
        self.course, self.warmup = str(rng.choice(COURSES)), float(rng.choice([0.0, 0.05, 0.1]))
        self.drift: dict[str, float] = {}
        self.last: dict[str, int] = {}
        self.reference = str(rng.choice(["held out", "replayed", "none"], p=[0.5, 0.3, 0.2]))
        self.ends = bool(rng.random() < 0.8)

    def run(self) -> LiveRun:
        """Return the run, in memory."""
        streams = tuple(StreamInfo(name=name, role=name) for name in ("query", "document"))
        reference = None
        if self.reference != "none":
            reference = ReferenceInfo(source=self.reference, n=self.pairs, seen=self.reference == "replayed")
        collections = self._collections() if self.evaluated else {}
        config = RunConfig(
            name="null",
            similarity=str(self.rng.choice(["cosine", "cosine", "dot", "euclidean"])),
            streams=streams,
            reference=reference,
            examples=int(self.rng.choice([200, 2000, 10000])),
            collections=tuple(collections.values()),
        )
        with JournalWriter(None, store=self.store) as writer:
            writer.write(Start())
            self._readings(writer)
            if reference is not None:
                self._reference(writer)
            for name, one in collections.items():
                self._evaluations(writer, name, one)
            if collections and self.rng.random() < 0.5:
                for epoch, step in enumerate(self._moments()):
                    values = {"validation/total": float(1 + 0.1 * self.rng.normal())}
                    writer.write(Readings(step=step, on="reference", epoch=epoch, values=values))
            for name in ("query", "document"):
                heard = {"calls": self.steps, "steps": self.steps, "finite_share": 1.0, "n": self.steps * self.rows}
                writer.write(Coverage(stream=name, role=name, step=self.steps, **heard))
            if self.ends:
                writer.end("completed", step=self.steps)
        return LiveRun(config, self.store)

    def _moments(self) -> list[int]:
        return np.linspace(0, self.steps, self.evaluated).round().astype(int).tolist()

    def _collections(self) -> dict[str, CollectionInfo]:
        names = [str(self.rng.choice(["scifact-minilm", "scifact-mpnet"])), "nfcorpus-minilm"]
        domains = [("in", "out"), ("out", "out"), (None, None)][self.rng.integers(3)]
        found = {}
        for name, domain in zip(names, domains, strict=True):
            all_of = self.source[f"scores/{name}/{self.size}"].shape[1]
            self.drift[name] = n = int(self.rng.integers(50, all_of + 1))
            seen = [f"q{at}" for at in range(n // 3)] if self.rng.random() < 0.3 else []
            found[name] = CollectionInfo(name=name, domain=domain, n_queries=n, seen_queries=seen)
        return found

    def _drawn(self, heads: np.ndarray, count: int) -> np.ndarray:
        """Return ``[count, Q]``: each query's score from a head of its own, or of the draw before."""
        shape = (count, heads.shape[1])
        chosen = self.rng.integers(len(heads), size=shape)
        kept = self.rng.random(shape) < self.stays
        for at in range(1, count):
            chosen[at] = np.where(kept[at], chosen[at - 1], chosen[at])
        return np.take_along_axis(heads, chosen, axis=0)

    def _evaluations(self, writer: JournalWriter, name: str, info: CollectionInfo) -> None:
        heads = self.source[f"scores/{name}/{self.size}"]
        some = self.rng.choice(heads.shape[1], info.n_queries, replace=False)
        moments = self._moments()
        drawn = self._drawn(heads[:, some], len(moments) + 1)
        if self.rng.random() < 0.5:
            self._score(writer, name, "ndcg@10", 0, drawn[-1], variant="raw", domain=info.domain, epoch=0)
        for epoch, (step, values) in enumerate(zip(moments, drawn[:-1], strict=True)):
            self._score(writer, name, "ndcg@10", step, values, domain=info.domain, epoch=epoch)

    def _score(self, writer: JournalWriter, name: str, metric: str, step: int, values: np.ndarray, **more) -> None:
        file = f"{name}-{more.get('variant', 'model')}-{step}.json"
        self.store.files[file] = {"query_ids": [f"q{at}" for at in range(len(values))], metric: values.tolist()}
        metrics, n = {metric: float(values.mean())}, len(values)
        writer.write(Evaluation(collection=name, step=step, metrics=metrics, n_queries=n, per_query=file, **more))

    def _readings(self, writer: JournalWriter) -> None:
        """Write batches, losses, updates and rates."""
        key = f"batch/{self.encoder}/{self.rows}"
        level = {"noise": float(self.rng.uniform(0.05, 0.5)), "floor": float(self.rng.uniform(0.1, 1.0))}
        rate, spike = 10 ** float(self.rng.uniform(-4, -2.5)), float(self.rng.choice([0.0, 0.02]))
        way = 0.0
        for step in range(1, self.steps + 1):
            t = step / self.steps
            now = rate * min(1.0, t / self.warmup if self.warmup else 1.0) * (0.5 + 0.5 * np.cos(np.pi * t))
            way += now**2
            if step > 20 and step % self.every:
                continue
            gradient = np.exp(self.rng.normal(0, 0.3)) * (20 if self.rng.random() < spike else 1)
            loss = level["floor"] + np.exp(-5 * t) * (self.course == "rise")
            terms = {"loss/total": loss * np.exp(level["noise"] * self.rng.normal()), "gradient/norm": gradient}
            terms |= {"rate/head": now, "update/head": now * np.exp(self.rng.normal(0, 0.2))}
            terms["drift/head"] = 3 * np.sqrt(way)
            writer.write(Terms(step=step, values={name: float(value) for name, value in terms.items()}))
            self._row(writer, key, step, self.rows)

    def _reference(self, writer: JournalWriter) -> None:
        """Write reference pairs: all of them with the evaluations, a part of them in between."""
        key, part = f"reference/{self.encoder}/{self.pairs}", min(self.pairs, 128)
        if self.rng.random() < 0.5 and self.reference == "held out":
            self._row(writer, key, 0, self.pairs, on="raw")
        moments = self._moments() if self.evaluated else [0, self.steps]
        heads = self.source[f"ranks/{self.encoder}/{self.pairs}/{self.size}"]
        for step, values in zip(moments, self._drawn(heads, len(moments)), strict=True):
            self._row(writer, key, step, self.pairs, on="reference", rank=float(values.mean()))
            if self.evaluated:
                self._score(writer, "reference pairs", "mrr", step, values, role="reference", domain="in")
        every = max(1, self.steps // int(self.rng.choice([4, 12, 40])))
        for step in range(every, self.steps + 1, every):
            if part < self.pairs and step not in moments:
                self._row(writer, f"reference/{self.encoder}/{part}", step, part, on="reference")

    def _row(
        self, writer: JournalWriter, key: str, step: int, n: int, *, on: str = "batch", rank: float | None = None
    ) -> None:
        rows = self.source[key]
        # The same readings twice in a row would be those of weights that do not reach what is scored.
        last = self.last.get(key, -1)
        at = self.last[key] = (last + int(self.rng.integers(1, len(rows)))) % len(rows)
        values = {
            str(name): self._moved(str(name), float(value), 0.0 if on == "raw" else step / self.steps)
            for name, value in zip(self.source[f"names/{key}"], rows[at], strict=True)
        }
        if rank is not None:
            values["pairs/mrr"] = rank
        dimension = 384 if "MiniLM" in self.encoder else 768
        writer.write(Readings(step=step, on=on, values=values, n=n, dimension=dimension, dtype="float32"))

    def _moved(self, name: str, value: float, t: float) -> float:
        """Return a reading at a moment: what moves changes neither retrieval nor, by much, the geometry."""
        stream, _, measure = name.partition("/")
        if self.course == "flat":
            return value
        size = self.drift.setdefault(f"{stream}/{measure.partition('_')[0]}", float(self.rng.uniform(-1, 1)))
        if stream == "pairs":
            shape = {"drift": 0.04 * size * t, "rise": 0.1 * (1 - np.exp(-8 * t))}.get(self.course)
            shape = -0.2 * np.exp(-(((t - 0.05) / 0.03) ** 2)) if shape is None else shape
            if measure in _RANKS:
                return float(np.clip(value + (shape if self.course != "drift" else 0.1 * shape), 0.0, 1.0))
            return float(value * (1 + shape)) if measure in ("d_prime", "margin") else value
        if measure in _LENGTHS:
            return float(value * np.exp(0.7 * size * t))
        if measure.startswith("participation"):
            return float(value * np.exp(0.4 * size * t))
        if measure == "common_share":
            odds = value / (1 - value) * np.exp(0.4 * size * t)
            return float(odds / (1 + odds))
        return value


def counted(source: Bank, *, evaluated: int, runs: int, seed: int) -> tuple[Counter[Status], dict[str, Counter]]:
    """Return how many null runs have a status at the gravest, and how many have each code at it."""
    by_status: Counter[Status] = Counter()
    by_code: dict[str, Counter] = {}
    for at in range(runs):
        null = Null(np.random.default_rng([seed, at, bool(evaluated)]), source, evaluated)
        grave = [one for one in diagnose(null.run()).findings if one.grave]
        if grave:
            by_status[min((one.status for one in grave), key=list(BARS)[::-1].index)] += 1
        for code, status in {(one.code, one.status) for one in grave}:
            by_code.setdefault(code, Counter())[status] += 1
    return by_status, by_code


@click.command(help=__doc__.splitlines()[0])
@click.option("--runs", default=1000, show_default=True, help="runs of each kind")
@click.option("--seed", default=0, show_default=True)
@click.option("--bank", "file", type=click.Path(path_type=Path), help="where real scores are kept from call to call")
@click.option("--evaluations", default=4, show_default=True, help="of each collection, of runs that have any")
@click.option("--only", type=click.Choice(["evaluations", "readings"]), help="one of the two kinds")
def main(runs: int, seed: int, evaluations: int, file: Path | None, only: str | None) -> None:
    """Print how many runs have a finding, by kind of run and by detector."""
    torch.set_num_threads(1)
    source = bank(file)
    rows, passed = [], True
    for kind in ("evaluations", "readings"):
        if only not in (None, kind):
            continue
        by_status, by_code = counted(
            source, evaluated=evaluations if kind == "evaluations" else 0, runs=runs, seed=seed
        )
        # A run that is critical is no run without a warning.
        any_of = {Status.WARNING: sum(by_status.values()), Status.CRITICAL: by_status[Status.CRITICAL]}
        passed &= all(any_of[status] <= runs * bar for status, bar in BARS.items())
        bars = {status: f"{any_of[status]} (bar {runs * bar:g})" for status, bar in BARS.items()}
        rows.append([kind, "any finding", *bars.values()])
        for code, found in sorted(by_code.items()):
            rows.append([kind, f"{code} {BY_CODE[code].kind}", *(str(found[status]) for status in BARS)])
    print(table([f"{runs:,} null runs with", "finding", "warning or worse", "critical"], rows))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
