"""Made-up vectors and small runs that several tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collapse_probe.journal import (
    KINDS,
    CollectionInfo,
    JournalWriter,
    ReferenceInfo,
    RunConfig,
    StreamInfo,
    encode_number,
    now,
    write_config,
)
from collapse_probe.journal._fields import record_from
from collapse_probe.journal._legacy import modern_line
from collapse_probe.recording import Probe, load_watched
from collapse_probe.respred import EvaluationSet, Recipe, TrainingData, preflight, train_recipe
from collapse_probe.respred.session import SessionRecord, recipe_config
from collapse_probe.respred.training._vectors import PairTexts
from collapse_probe.retrieval import Collection


class Silent:
    """A listener that keeps nothing."""

    def step(self, *, step, steps, epoch):
        """Ignore."""

    def epoch(self, *, epoch, epochs, values, scores):
        """Ignore."""

    def between(self, *, t, scores):
        """Ignore."""


class FoundingWriter(JournalWriter):
    """A journal that is written by the names of schemas 1 and 2."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        if kind == "end":
            self.end(fields["status"], step=fields["step"], epoch=fields["epoch"], message=fields["message"])
        else:
            line = modern_line({"kind": kind, "time": now(), **fields})
            self.write(record_from(KINDS[line["kind"]], line))

    def readings(self, values: Mapping[str, float], **sample: Any) -> None:
        for name, value in values.items():
            line = modern_line({"kind": "reading", "name": name, "value": encode_number(value), **sample})
            self.write(record_from(KINDS[line["kind"]], line))

    def event(self, name: str, message: str, *, step: int, epoch: int) -> None:
        self.append("event", {"name": name, "message": message, "step": step, "epoch": epoch})


def founding_config(
    name: str,
    *,
    recipe: Mapping[str, Any] = {"predictor": "residual", "scoring_path": "no_predictor"},
    trains: bool = True,
    session: Mapping[str, Any] = {},
    **fields: Any,
) -> RunConfig:
    """Return the configuration of a run of the founding system with a part of its recipe."""
    own = [("delta", "correction"), ("alpha", "gate")] if recipe.get("predictor") == "residual" else []
    roles = [("query", "query"), ("document", "document"), *own]
    return RunConfig(
        name=name,
        judged=recipe.get("scoring_path", "no_predictor"),
        trains=trains,
        streams=tuple(StreamInfo(name=stream, role=role) for stream, role in roles) if trains else (),
        reference=ReferenceInfo(source="held out") if trains else None,
        session={"recipe": recipe, **session},
        **fields,
    )


def toy_vectors(rows: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit-norm queries and documents with a cosine of about 0.8 between partners."""
    rng = np.random.default_rng(seed)
    documents = rng.normal(size=(rows, dimension))
    queries = documents + 0.8 * rng.normal(size=(rows, dimension))
    both = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, documents)]
    return both[0].astype(np.float32), both[1].astype(np.float32)


def toy_evaluation(*, queries: int = 40, documents: int = 200, dimension: int = 16) -> EvaluationSet:
    """Return a collection of made-up vectors in which every query has one relevant document."""
    q, d = toy_vectors(documents, dimension, seed=7)
    ids = [f"d{i}" for i in range(documents)]
    names = [f"q{i}" for i in range(queries)]
    collection = Collection(
        name="toy",
        split="test",
        documents={i: i for i in ids},
        queries={n: n for n in names},
        qrels={f"q{i}": {f"d{i}": 1} for i in range(queries)},
        notes=(),
        fingerprint="toy",
    )
    return EvaluationSet(collection, names, ids, torch.from_numpy(q[:queries]), torch.from_numpy(d))


def toy_data(*, pairs: int = 160, held_out: int = 32, dimension: int = 16, texts: bool = False) -> TrainingData:
    """Return made-up training vectors, with a text of its own for each if wished."""
    q, d = (torch.from_numpy(x) for x in toy_vectors(pairs + held_out, dimension, seed=3))
    names = [[f"{side} {row}" for row in range(pairs + held_out)] for side in ("query", "document")]
    own = PairTexts(*(one[:pairs] for one in names), *(one[pairs:] for one in names)) if texts else None
    return TrainingData(q[:pairs], d[:pairs], q[pairs:], d[pairs:], own)


def toy_config(name: str, recipe: Recipe, probes: list[Probe], *, seed: int = 0) -> RunConfig:
    """Return the configuration of a run on made-up vectors."""
    pairs = {"source": "toy", "fingerprint": "0", "train": 160, "validation": 32}
    session = SessionRecord(
        recipe=recipe,
        options={},
        encoder={"name": "toy", "dimension": 16, "weights_sha256": "0" * 64, "max_seq_length": 8},
        raw_similarity=recipe.similarity,
        pairs=pairs if recipe.trains else None,
        preflight=[finding.as_dict() for finding in preflight(recipe, toy_data(), seed=seed)],
        watch=[probe.name for probe in probes],
    )
    return RunConfig(
        name=name,
        **recipe_config(recipe),
        seed=seed,
        device="cpu",
        precision="fp32",
        collections=(CollectionInfo(name="toy", split="test", n_queries=40, n_documents=200),),
        examples=160 if recipe.trains else None,
        probes={probe.name: probe.as_dict() for probe in probes},
        session=session.to_json(),
    )


def toy_run(folder: Path, recipe: Recipe, *, watch: tuple[str, ...] = ("all",), seed: int = 0, **changes):
    """Train a recipe on made-up vectors into a run folder and return the outcome."""
    folder.mkdir(parents=True, exist_ok=True)
    probes = load_watched(watch, watch_delta=False, folder=folder / "no-own-probes")
    if not changes.get("resume"):
        write_config(folder, toy_config(folder.name, recipe, probes, seed=seed))
    arguments = {
        "folder": folder,
        "data": toy_data() if recipe.trains else None,
        "evaluations": [toy_evaluation()],
        "probes": probes,
        "seed": seed,
        "device": "cpu",
        "precision": "fp32",
        "listener": Silent(),
    }
    return train_recipe(recipe, **{**arguments, **changes})
