"""Retrieval metrics through pytrec_eval, averaged over the judged queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytrec_eval

from ._ranked import Ranked, ranked
from ._search import Hits, Similarity, exact_search, tied_share

METRICS = ("ndcg@10", "mrr@10", "map@100", "recall@100")
"""Names of the metrics, in the order in which they are shown."""

DEPTH = 100
"""Hits of each query that are scored: MAP and recall are cut there."""

_MEASURES = {"ndcg_cut.10", "recip_rank", "map_cut.100", "recall.100"}
_NAMES = {"ndcg@10": "ndcg_cut_10", "mrr@10": "recip_rank", "map@100": "map_cut_100", "recall@100": "recall_100"}
_CUT = {"mrr@10": 0.1}
"""Values below these count 0: a reciprocal rank below 1/10 is a first relevant document below rank 10."""


@dataclass(frozen=True)
class Scores:
    """The scores of one run on one collection.

    Attributes:
        per_query: Metric to query id to value, of every judged query; 0 where nothing was returned.
        mean: Metric to its mean over the judged queries.
        n_queries: Judged queries.
        n_documents: Documents that were searched.
        tied_share: Share of the top 10 places whose score equals a neighbour's.
        similarity: What was scored.
        ranked: What was ranked first.
    """

    per_query: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]
    n_queries: int
    n_documents: int
    tied_share: float
    similarity: Similarity
    ranked: Ranked | None = None


def evaluate_vectors(
    queries: np.ndarray,
    documents: np.ndarray,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]],
    similarity: Similarity,
    device: str = "cpu",
    leave_out: Collection[str] | None = None,
) -> Scores:
    """Search and score vectors.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``.
        query_ids: Q ids.
        document_ids: N ids.
        qrels: Query id to document id to judgement.
        similarity: How to score.
        device: Where to search.
        leave_out: As in :func:`score_hits`.
    """
    where = {"query_ids": query_ids, "document_ids": document_ids, "qrels": qrels, "leave_out": leave_out}
    return evaluate_variants({"": queries}, documents, similarity=similarity, device=device, **where)[""]


def evaluate_variants(
    variants: Mapping[str, np.ndarray],
    documents: np.ndarray,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]],
    similarity: Similarity,
    device: str = "cpu",
    leave_out: Collection[str] | None = None,
) -> dict[str, Scores]:
    """Search and score several versions of the same queries in one pass over the documents.

    Args:
        variants: Name to ``[Q, D]``.
        documents: ``[N, D]``.
        query_ids: Q ids.
        document_ids: N ids.
        qrels: Query id to document id to judgement.
        similarity: How to score.
        device: Where to search.
        leave_out: As in :func:`score_hits`.
    """
    stacked = np.concatenate(list(variants.values()))
    # One hit more, since a document with the query's own id may be left out.
    hits = exact_search(stacked, documents, k=DEPTH + 1, similarity=similarity, device=device)
    scores = {}
    for number, name in enumerate(variants):
        rows = slice(number * len(query_ids), (number + 1) * len(query_ids))
        part = Hits(hits.scores[rows], hits.indices[rows], hits.n_documents, hits.similarity)
        scores[name] = score_hits(
            part, query_ids=query_ids, document_ids=document_ids, qrels=qrels, leave_out=leave_out
        )
    return scores


def score_hits(
    hits: Hits,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]],
    leave_out: Collection[str] | None = None,
) -> Scores:
    """Score the hits of a search.

    nDCG is trec_eval's: linear gain, ideal over all judged documents, those that the corpus lacks among them. The
    mean is over the queries of the qrels, so a query that returned nothing counts 0; BEIR's own average leaves it out.

    Args:
        hits: 101 hits a query, or 100, where there are as many documents.
        query_ids: Q ids, the rows of the hits.
        document_ids: N ids.
        qrels: Query id to document id to judgement.
        leave_out: Queries whose document of the same id does not count as a hit. None: all queries whose document of
            the same id is not judged relevant, where BEIR leaves out relevant ones too.
    """
    if leave_out is None:
        leave_out = {query for query, judged in qrels.items() if judged.get(query, 0) <= 0}
    relevant = _relevant(hits, query_ids, document_ids, qrels)
    run = _as_run(hits, query_ids, document_ids, relevant, leave_out)
    judged = {query: dict(judgements) for query, judgements in qrels.items()}
    found = pytrec_eval.RelevanceEvaluator(judged, _MEASURES).evaluate(run)
    per_query = {}
    for metric, name in _NAMES.items():
        least = _CUT.get(metric, 0.0)
        values = {query: found[query][name] if query in found else 0.0 for query in judged}
        per_query[metric] = {query: value if value >= least else 0.0 for query, value in values.items()}
    mean = {metric: float(np.mean(list(per_query[metric].values()))) for metric in METRICS}
    return Scores(
        per_query=per_query,
        mean=mean,
        n_queries=len(judged),
        n_documents=hits.n_documents,
        tied_share=tied_share(hits),
        similarity=hits.similarity,
        ranked=ranked(hits, relevant, query_ids=query_ids, document_ids=document_ids, leave_out=leave_out, depth=DEPTH),
    )


def _as_run(
    hits: Hits,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    relevant: np.ndarray,
    leave_out: Collection[str],
) -> dict[str, dict[str, float]]:
    """Return what decides the metrics of every query: its hits down to the last relevant one.

    What ranks below the last relevant hit changes no metric, and most queries have theirs near the top. Hits that
    tie with it in float32, in which trec_eval sorts, stay in, since ties are ordered by id.
    """
    names = np.asarray(document_ids, dtype=object)
    single = hits.scores.astype(np.float32)
    run = {}
    lasts = np.where(relevant.any(axis=1), relevant.shape[1] - 1 - relevant[:, ::-1].argmax(axis=1), -1)
    for row, (query, last) in enumerate(zip(query_ids, lasts, strict=True)):
        # One more than the depth where the query's own document takes a place and is left out.
        stop = 1 + int(np.searchsorted(-single[row], -single[row, last], side="right")) if last >= 0 else 1
        ids, scores = names[hits.indices[row, :stop]], hits.scores[row, :stop]
        ranked = dict(zip(ids.tolist(), scores.tolist(), strict=True))
        if query in ranked and query in leave_out:
            del ranked[query]
        elif len(ranked) > DEPTH:
            ranked.popitem()
        run[query] = ranked
    return run


def _relevant(
    hits: Hits, query_ids: Sequence[str], document_ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]]
) -> np.ndarray:
    """Return whether each hit is a relevant document, ``[Q, k]``."""
    rows = {document: row for row, document in enumerate(document_ids)}
    n = len(document_ids)
    relevant = [
        n * number + rows[document]
        for number, query in enumerate(query_ids)
        for document, judgement in qrels.get(query, {}).items()
        if judgement > 0 and document in rows
    ]
    return np.isin(hits.indices + n * np.arange(len(hits.indices))[:, None], relevant)
