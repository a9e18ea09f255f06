"""Journals that are made up for tests: a healthy run, and whatever is planted into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from collapse_probe.journal import (
    Coverage,
    Evaluation,
    JournalWriter,
    LiveRun,
    Readings,
    ReferenceInfo,
    Run,
    RunConfig,
    Start,
    Store,
    StreamInfo,
    Terms,
    write_config,
)

Shape = Callable[[float], float]
"""From the share of training that is done, 0 to 1, to a value."""

STREAM = {
    "norm_median": 1.0,
    "common_share": 0.2,
    "std_mean": 0.04,
    "participation_ratio_corrected": 60.0,
    "dead_dimensions": 0.01,
}
PAIRS = {"d_prime": 3.4, "mrr": 0.84, "mrr_centred": 0.845}
TERMS = {"loss/total": 1.0, "gradient/norm": 0.5, "update/head": 1e-3, "rate/head": 1e-3}


def ramp(start: float, end: float, *, since: float = 0.4, until: float = 0.6) -> Shape:
    """Return a value that goes from one level to another between two moments."""
    return lambda t: start + (end - start) * min(1.0, max(0.0, (t - since) / (until - since)))


def step(start: float, end: float, *, at: float = 0.5) -> Shape:
    """Return a value that changes at once."""
    return lambda t: end if t >= at else start


def transient(start: float, other: float, *, at: float = 0.3, until: float = 0.5) -> Shape:
    """Return a value that leaves its level and comes back."""
    return lambda t: other if at <= t < until else start


FALL: dict[str, Shape] = {"pairs/mrr": ramp(0.84, 0.5), "pairs/d_prime": ramp(3.4, 1.5)}
"""Separation that falls between two fifths and three fifths of the run."""


FALLING: dict[str, Shape] = {
    "pairs/mrr": lambda t: 0.84 * 0.5 ** max(0.0, (t - 0.4) / 0.35),
    "pairs/d_prime": lambda t: 3.4 * 0.5 ** max(0.0, (t - 0.4) / 0.35),
}
"""Separation that halves every .35 of the run from two fifths of it on."""


def config(name: str = "made", **fields: object) -> RunConfig:
    """Return the configuration of a run with a query and a document."""
    streams = (StreamInfo(name="query", role="query"), StreamInfo(name="document", role="document"))
    reference = ReferenceInfo(source="given", n=512, declared=True)
    base: dict[str, object] = {"name": name, "streams": streams, "reference": reference, "similarity": "dot"}
    return RunConfig(**{**base, **fields})  # type: ignore[arg-type]


def write(
    writer: JournalWriter,
    planted: Mapping[str, Shape] = {},
    *,
    steps: int = 200,
    every: int = 5,
    noise: float = 0.02,
    seed: int = 0,
    n: int = 64,
    dimension: int = 32,
    reference: bool = True,
    pairs: int = 400,
    silent: tuple[str, ...] = (),
    scores: Shape | None = None,
    ends: bool = True,
    extra: Mapping[str, float] = {},
    terms: Mapping[str, float] = {},
    unmoved: bool = False,
    held: Mapping[str, Shape] = {},
) -> None:
    """Write a run: healthy but for what is planted.

    Args:
        writer: The journal.
        planted: Reading to its values; also of ``loss/total`` and so on.
        steps: Optimiser steps.
        every: How often batches are read.
        noise: Relative noise of every reading.
        seed: Of the noise.
        n: Rows of a batch.
        dimension: Columns.
        reference: Whether the reference pairs are read and scored.
        pairs: Reference pairs.
        silent: Streams that are never heard.
        scores: Mean reciprocal rank of the pairs, each scored by itself; the planted or healthy one where None.
        ends: Whether the end record is written.
        extra: Further readings of both samples, by name.
        terms: Further scalars of steps, by name.
        unmoved: Whether the reference pairs' readings are those of step 0 at every step.
        held: What is planted into the reference pairs' readings alone.
    """
    rng = np.random.default_rng(seed)
    names = [name for name in ("query", "document") if name not in silent]
    readings = {f"{stream}/{measure}": value for stream in names for measure, value in STREAM.items()}
    readings |= {f"pairs/{name}": value for name, value in PAIRS.items()} if len(names) == 2 else {}
    readings |= extra

    def values(levels: Mapping[str, float], t: float, planted: Mapping[str, Shape] = planted) -> dict[str, float]:
        found = {}
        for name, level in levels.items():
            now = planted[name](t) if name in planted else level
            found[name] = float(now * (1 + noise * rng.normal()))
        return found

    sample = {"n": n, "dimension": dimension, "dtype": "float32"}
    writer.write(Start())
    start = np.clip(rng.normal(0.84, 0.25, pairs), 0, 1)
    fixed = values(readings, 0.0) if unmoved else None
    for at in range(steps + 1):
        t = at / steps
        if at and (at <= 20 or at % every == 0):
            writer.write(Terms(step=at, values=values({**TERMS, **terms, "drift/head": 1e-3 * at / 10}, t)))
            writer.write(Readings(step=at, values=values(readings, t), **sample))
        if reference and at % max(1, steps // 12) == 0:
            now = fixed or values(readings, t, {**planted, **held})
            writer.write(Readings(step=at, on="reference", values=now, **{**sample, "n": pairs}))
        if reference and at % max(1, steps // 4) == 0 and writer.folder is not None:
            level = (scores or planted.get("pairs/mrr", lambda t: 0.84))(t)
            _evaluate(writer, at, np.clip(start + level - 0.84 + 0.03 * rng.normal(size=pairs), 0, 1))
    for name in ("query", "document"):
        heard = 0 if name in silent else steps
        why = "no call had a gradient" if name in silent else ""
        share = None if name in silent else 1.0
        writer.write(
            Coverage(
                stream=name, role=name, step=steps, calls=heard, steps=heard, finite_share=share, why=why, n=heard * n
            )
        )
    if ends:
        writer.end("completed", step=steps)


def _evaluate(writer: JournalWriter, step: int, ranks: np.ndarray) -> None:
    file = f"pairs-{step}.json"
    content = {"query_ids": [str(i) for i in range(len(ranks))], "mrr": ranks.tolist()}
    assert writer.folder is not None
    (writer.folder / file).write_text(json.dumps(content))
    writer.write(
        Evaluation(
            collection="reference pairs",
            step=step,
            metrics={"mrr": float(ranks.mean())},
            domain="in",
            n_queries=len(ranks),
            per_query=file,
        )
    )


def made(folder: Path, planted: Mapping[str, Shape] = {}, *, fields: Mapping[str, object] = {}, **settings) -> Run:
    """Return a run on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config(folder.name, **fields))
    with JournalWriter(folder) as writer:
        write(writer, planted, **settings)
    return Run.load(folder)


def live(planted: Mapping[str, Shape] = {}, *, fields: Mapping[str, object] = {}, **settings) -> LiveRun:
    """Return a run in memory."""
    store = Store()
    with JournalWriter(None, store=store) as writer:
        write(writer, planted, **settings)
    return LiveRun(config(**fields), store)


LOST_RANK = {**FALL, "pairs/mrr_centred": ramp(0.845, 0.5)}

QUERIES = np.clip(np.random.default_rng(5).normal(0.6, 0.25, 300), 0, 1)


def both(measure: str, shape: Shape) -> dict[str, Shape]:
    """The same on both sides."""
    return {f"{stream}/{measure}": shape for stream in ("query", "document")}


def append(run: Run, records: list, *, before_end: bool = True) -> Run:
    """Return a run with further records."""
    assert run.folder is not None
    path = run.folder / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    end = next(one for one in lines if one["kind"] == "end")
    lines = [*(one for one in lines if one is not end), *records]
    end["records"] = len(lines) + 1
    path.write_text("".join(json.dumps({**one, "seq": at}) + "\n" for at, one in enumerate([*lines, end])))
    return Run.load(run.folder)


def other_domain(
    folder: Path, planted: dict, *, examples: int | None = 100, fields: Mapping[str, object] = {}, **settings
) -> Run:
    """A run whose held-out pairs hold while a collection of another domain falls."""
    held = {"unmoved": True, "scores": lambda t: 0.84}
    run = made(folder, planted, fields={"examples": examples, **fields}, **{**held, **settings})
    return append(run, scored(folder, {at: QUERIES - (0.0 if at < 100 else 0.1) for at in (0, 100, 200)}))


def scored(folder: Path, by_step: Mapping[int, np.ndarray]) -> list[dict]:
    """Return evaluations of a collection of another domain, whose scores of queries lie in a run's folder now."""
    records = []
    for at, scores in by_step.items():
        content = {"query_ids": [f"q{i}" for i in range(len(scores))], "ndcg@10": list(scores)}
        (folder / f"toy-{at}.json").write_text(json.dumps(content))
        one = {"kind": "evaluation", "collection": "toy", "step": at, "metrics": {"ndcg@10": float(scores.mean())}}
        records.append({**one, "n_queries": len(scores), "per_query": f"toy-{at}.json", "domain": "out"})
    return records


def wrong_pairs(folder: Path, auc: float) -> Run:
    """A run whose first batches' pairs have another AUC than held-out pairs."""
    run = made(folder)
    batches = [
        {"kind": "readings", "step": at, "on": "batch", "n": 64, "values": {"pairs/auc": auc}} for at in (1, 2, 3)
    ]
    held_out = {"kind": "readings", "step": 0, "on": "reference", "n": 400, "values": {"pairs/auc": 0.99}}
    return append(run, [*batches, held_out])


def still(folder: Path) -> Run:
    """A run whose reference pairs do not change by a bit, while weights and batches move."""
    return made(folder, {**both("common_share", ramp(0.2, 0.9)), "drift/head": lambda t: 0.1 * t}, unmoved=True)
