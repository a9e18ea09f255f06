"""The run that is written: what finished models are, as the journal of a training would say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import measures
from ..journal import (
    Counterfactual,
    ExaminedInfo,
    JournalWriter,
    Readings,
    ReferenceInfo,
    RunConfig,
    Start,
    Store,
    Terms,
    now,
    versions_of,
    write_config,
)
from ..recording import Recorder, Texts
from ..retrieval import Features, Scores, rankings_of
from ._audit import Audit
from ._found import Found
from ._texts import Material
from ._vectors import sample, scored

METRIC = "ndcg@10"
"""What interpolations are scored by."""

_PACKAGES = ("collapse-probe", "torch", "sentence-transformers", "transformers", "peft", "pytrec-eval-terrier")

_LOGGED = {"loss": "loss/total", "grad_norm": "gradient/norm", "learning_rate": "rate/0"}


def run_config(
    name: str, audits: Sequence[Audit], material: Material, *, device: str, remarks: Sequence[str], command: str
) -> RunConfig:
    """Return what the run is: nothing is trained in it."""
    import torch

    models = [
        ExaminedInfo(name=one.name, step=one.step, counted=one.counted, differs=list(one.differs)) for one in audits
    ]
    pairs = material.source == "given"
    return RunConfig(
        name=name,
        trains=False,
        device=device,
        threads=torch.get_num_threads(),
        similarity=audits[0].settings["similarity"],
        collections=tuple(one.info for one in material.examined),
        reference=ReferenceInfo(
            source=material.source, n=len(material.queries), declared=pairs, domain="in" if pairs else None
        ),
        examined=tuple(models),
        remarks=list(remarks),
        versions=versions_of(_PACKAGES),
        command=command,
        session={"program": "examine", "models": [one.as_dict() for one in audits]},
    )


def write_run(
    folder: Path,
    config: RunConfig,
    models: Sequence[tuple[Found, Features]],
    between: Sequence[tuple[float, Features]],
    material: Material,
    *,
    device: str,
    broken: Sequence[Found] = (),
) -> None:
    """Write the run into a new folder; seconds, once every text has its vectors.

    Args:
        folder: The new folder.
        config: What it is.
        models: The models in order, the one that the others began as first.
        between: Models a part of the way from the first to the last, by that part.
        material: The texts.
        device: Where is searched.
        broken: Models whose vectors are not finite, of which nothing else can be read.
    """
    write_config(folder, replace(config, name=folder.name))
    with JournalWriter(folder, store=Store()) as journal:
        journal.write(Start(time=now()))
        recorder = Recorder(journal)
        earlier: measures.Neighbours | None = None
        # The trainer's steps say nothing where the models are counted by their places.
        logged = list(models[-1][0].history) if any(one.counted for one in config.examined) else []
        waiting = sorted(int(one.step or 0) for one in broken)
        for found, features in models:
            waiting = _broken(recorder, waiting, len(material.queries), until=int(found.step or 0))
            recorder.done = int(found.step or 0)
            logged = _losses(journal, logged, until=recorder.done)
            now_read = sample(features, material, earlier=earlier)
            if len(material.queries) > 1:
                earlier = earlier or measures.neighbours_of(now_read)
                recorder.reference(now_read)
            _evaluate(recorder, features, material, device=device)
        _broken(recorder, waiting, len(material.queries), until=math.inf)
        _between(journal, between, material, step=recorder.done, device=device)
        recorder.close()


def _broken(recorder: Recorder, steps: Sequence[int], n: int, *, until: float) -> list[int]:
    """Write that models up to a step gave values that are not finite, and return the later ones' steps."""
    for step in (one for one in steps if one <= until):
        recorder.done = step
        none = {f"{role}/finite_share": math.nan for role in ("query", "document")}
        recorder.journal.write(Readings(step=step, values=none, on="reference", n=n))
    return [one for one in steps if one > until]


def _losses(journal: JournalWriter, logged: Sequence[dict], *, until: int) -> list[dict]:
    """Write what the trainer logged up to a step, and return the rest."""
    rest = []
    for entry in logged:
        step = entry.get("step")
        if type(step) is not int or step < 1:
            continue
        if step > until:
            rest.append(entry)
            continue
        values = {name: float(entry[key]) for key, name in _LOGGED.items() if isinstance(entry.get(key), int | float)}
        if values:
            journal.write(Terms(step=step, values=values))
    return rest


def _evaluate(recorder: Recorder, features: Features, material: Material, *, device: str) -> None:
    for one in material.examined:
        collection, scores = one.collection, scored(features, one, device=device)
        rankings = rankings_of(scores, list(collection.queries), list(collection.documents))
        texts = Texts(queries=collection.queries.items, documents=collection.documents.items, titles=collection.titles)
        recorder.evaluation(
            collection.name,
            scores.mean,
            per_query=scores.per_query,
            domain=one.domain,
            ranked=None if rankings is None else (rankings, texts),
            split=collection.split,
            similarity=scores.similarity,
            n_queries=scores.n_queries,
            n_documents=scores.n_documents,
            tied_share=scores.tied_share,
            fingerprint=collection.fingerprint,
            group=collection.group,
        )


def _between(
    journal: JournalWriter,
    between: Sequence[tuple[float, Features]],
    material: Material,
    *,
    step: int,
    device: str,
) -> None:
    """Write the scores of models a part of the way, with those of single queries in one file a collection."""
    for one in material.examined if between else ():
        found: dict[str, tuple[float, Scores]] = {
            f"model | t = {t:g}": (t, scored(features, one, device=device)) for t, features in between
        }
        collection = one.collection
        ids = list(collection.queries)
        values = {key: [scores.per_query[METRIC][query] for query in ids] for key, (_, scores) in found.items()}
        file = journal.attach(f"{collection.name}-interpolations", {"query_ids": ids, **values})
        for key, (t, scores) in found.items():
            if math.isfinite(scores.mean[METRIC]):
                journal.write(
                    Counterfactual(
                        collection=collection.name,
                        split=collection.split,
                        step=step,
                        variant="model",
                        family="interpolation",
                        name=f"t = {t:g}",
                        t=t,
                        metrics={METRIC: scores.mean[METRIC]},
                        n_queries=scores.n_queries,
                        per_query=file,
                        key=key,
                        fingerprint=collection.fingerprint,
                    )
                )
