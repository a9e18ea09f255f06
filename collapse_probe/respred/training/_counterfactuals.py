"""What the scores would be with another delta, or with a module put back to step 0; nothing is trained for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from ...journal import Counterfactual, JournalWriter, write_beside
from ...retrieval import Scores
from ..modules import HeadParts
from ..recipes import Similarity
from ._evaluation import Embedded, EvaluationSet, embed, score_embedded

METRIC = "ndcg@10"
ALPHA_FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0)
_SHUFFLE_SEED = 17


@dataclass(frozen=True)
class ChangedModel:
    """One changed version of the model, scored.

    Attributes:
        family: ``delta`` (another correction), ``graft`` (modules from step 0 and from now) or ``interpolation``
            (weights between the two).
        name: What was changed.
        path: The scoring path.
        trained: Of a graft, the modules that have their weights of now; all others have those of step 0.
        scores: The result.
        t: Of an interpolation, the share of the way.
    """

    family: str
    name: str
    path: str
    trained: tuple[str, ...] | None
    scores: Scores
    t: float | None = None


def delta_variants(embedded: Embedded) -> dict[str, Tensor]:
    """Return the queries that other corrections would give, ``[Q, D]`` each; none without a residual predictor.

    Alpha scaled; delta replaced by its mean over the queries (what does not depend on the query), by another
    query's (what does not depend on *this* query), and by its component along q (a change of length, which no
    ranking by cosine sees).
    """
    query, delta, alpha = embedded.query, embedded.delta, embedded.alpha
    if delta is None or alpha is None:
        return {}
    variants = {f"alpha x {factor:g}": query + factor * alpha * delta for factor in ALPHA_FACTORS}
    variants["mean delta"] = query + alpha * delta.mean(dim=0)
    variants["another query's delta"] = query + alpha * delta[_derangement(len(delta))]
    squared = query.square().sum(dim=1, keepdim=True)
    along = (delta * query).sum(dim=1, keepdim=True) / squared.where(squared > 0, torch.ones(()))
    variants["delta along q"] = query + alpha * along * query
    return variants


def delta_counterfactuals(
    embedded: Embedded, data: EvaluationSet, *, similarity: Similarity, device: str
) -> list[ChangedModel]:
    """Return the scores of :func:`delta_variants`."""
    variants = delta_variants(embedded)
    if not variants:
        return []
    scores = score_embedded(embedded, data, queries=variants, similarity=similarity, device=device)
    return [ChangedModel("delta", name, "predictor", None, result) for name, result in scores.items()]


def graft_counterfactuals(
    initial: HeadParts,
    now: HeadParts,
    *,
    modules: Sequence[str],
    initial_data: EvaluationSet,
    data: EvaluationSet,
    similarity: Similarity,
    device: str,
) -> list[ChangedModel]:
    """Return the scores of every mixture of modules from step 0 and from now, on every path.

    With all mixtures the single effects and their interaction add up to the whole change exactly. A mixture that
    differs from another only in modules off its path is not scored again.

    Args:
        initial: The head at step 0.
        now: The head now.
        modules: Names of the trained modules, ``encoder`` among them where its layers are trained.
        initial_data: The collection under the encoder of step 0.
        data: The collection under the encoder of now; the same object where the encoder is frozen.
        similarity: How to score.
        device: Where to compute.
    """
    found = []
    scored: dict[tuple[str, frozenset[str]], Scores] = {}
    for trained in _subsets(modules):
        parts = _assemble(initial, now, trained)
        vectors = data if "encoder" in trained else initial_data
        embedded = embed(parts, vectors, device=device)
        for path, queries in embedded.paths().items():
            key = (path, frozenset(trained) - {"predictor"} if path == "no_predictor" else frozenset(trained))
            if key not in scored:
                where = {"similarity": similarity, "device": device}
                scored[key] = score_embedded(embedded, vectors, queries={path: queries}, **where)[path]
            name = f"trained: {', '.join(trained) or 'nothing'}"
            found.append(ChangedModel("graft", name, path, trained, scored[key]))
    return found


def record_counterfactuals(
    journal: JournalWriter,
    folder: Path,
    data: EvaluationSet,
    found: Sequence[ChangedModel],
    *,
    step: int,
    epoch: int,
    file_name: str = "counterfactuals",
) -> None:
    """Write counterfactuals into the journal, and their per-query scores into one file of the run folder."""
    if not found:
        return
    values = {_key(one): [one.scores.per_query[METRIC][q] for q in data.query_ids] for one in found}
    content = json.dumps({"query_ids": data.query_ids, **values})
    file = write_beside(folder / "evaluations" / f"{data.label}-epoch-{epoch}-{file_name}.json", content)
    for one in found:
        journal.write(
            Counterfactual(
                collection=data.collection.name,
                split=data.collection.split,
                step=step,
                epoch=epoch,
                variant=one.path,
                family=one.family,
                name=one.name,
                trained=None if one.trained is None else list(one.trained),
                t=one.t,
                metrics={METRIC: one.scores.mean[METRIC]},
                n_queries=one.scores.n_queries,
                per_query=file.relative_to(folder).as_posix(),
                key=_key(one),
                fingerprint=data.collection.fingerprint,
            )
        )


def _key(one: Counterfactual) -> str:
    return f"{one.path} | {one.name}"


def _subsets(modules: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for size in range(len(modules) + 1):
        yield from combinations(modules, size)


def _assemble(initial: HeadParts, now: HeadParts, trained: Sequence[str]) -> HeadParts:
    before, after = initial.named(), now.named()
    chosen: dict[str, Module] = {name: (after if name in trained else before)[name] for name in after}
    query = chosen.get("query_projection", chosen.get("projection"))
    document = chosen.get("document_projection", chosen.get("projection"))
    return HeadParts(query, document, chosen.get("predictor"))  # type: ignore[arg-type]


def _derangement(count: int) -> Tensor:
    """Return for every row another row: a random cycle, the same for the same count."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_SHUFFLE_SEED))
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner
