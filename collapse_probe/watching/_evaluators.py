"""What a trainer's evaluators compute anyway: vectors, rankings and scores, without one more forward pass."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..recording import undisturbed
from ._attach import Attachments
from ._domains import columns
from ._pairs_of_trainer import EvaluatorPairs
from ._ranked import Seen, ranked, texts_of
from ._trainer import TrainerWatch


def leaves(evaluator: Any) -> list[Any]:
    """Return the evaluators inside of one, or itself: a sequence of them, or NanoBEIR's."""
    return [one for one in all_of(evaluator) if not _inner(one)]


def all_of(evaluator: Any) -> list[Any]:
    """Return an evaluator with all that are inside of it, the inner ones first."""
    if evaluator is None:
        return []
    return [*(one for inner in _inner(evaluator) for one in all_of(inner)), evaluator]


def _inner(evaluator: Any) -> list[Any]:
    found = getattr(evaluator, "evaluators", None)
    return list(found) if isinstance(found, list | tuple) else []


def is_retrieval(evaluator: Any) -> bool:
    """Return whether an evaluator searches a corpus, as sentence-transformers' does."""
    needed = ("compute_metrics", "embed_inputs", "queries_ids", "corpus_ids", "relevant_docs")
    return all(hasattr(evaluator, name) for name in needed)


def texts(evaluator: Any) -> int:
    """Return how many texts an evaluator encodes."""
    return sum(len(column) for column in columns(evaluator))


class EvaluatorListener(ABC):
    """Hears one evaluator, from the vectors that it embeds.

    Args:
        watch: What is told.
        evaluator: The evaluator.
        collection: What its scores are called.
        domain: Of its texts.
        attachments: What takes the wraps off again.
        seen: Tells whether a text is trained on; None where that is unknown.

    Attributes:
        pairs: Reference pairs that are this evaluator's, whose vectors are handed over; None for none.
        judged: The function that its scores are judged by.
        latest: What it gave last, by metric.
    """

    def __init__(
        self,
        watch: TrainerWatch,
        evaluator: Any,
        *,
        collection: str,
        domain: str | None,
        attachments: Attachments,
        seen: Seen | None = None,
    ) -> None:
        self.pairs: EvaluatorPairs | None = None
        self.judged = ""
        self.latest: dict[str, float] = {}
        self.collection = collection
        self.evaluator = evaluator
        self._watch = watch
        self._domain = domain
        self._seen = seen
        if hasattr(evaluator, "embed_inputs"):
            attachments.wrap(evaluator, "embed_inputs", probe="evaluator's vectors", after=self._hears)

    def _hears(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        side = kwargs.get("encode_fn_name", args[2] if len(args) > 2 else None)
        self._embedded(args[0] if args else kwargs["model"], side, result)

    @abstractmethod
    def _embedded(self, model: Any, side: str | None, vectors: Any) -> None:
        """Hear vectors of a side: ``query``, ``document``, or None where the evaluator says none."""


class RetrievalListener(EvaluatorListener):
    """Hears one information-retrieval evaluator."""

    def __init__(self, watch: TrainerWatch, evaluator: Any, *, attachments: Attachments, **about: Any) -> None:
        super().__init__(watch, evaluator, attachments=attachments, **about)
        self._searched = 0
        self._found: dict[str, Any] = {}
        self._judged: tuple[str, Any] = ("", None)
        self._offset = 0
        self._queries: Tensor | None = None
        self._documents: dict[int, Tensor] = {}
        attachments.wrap(evaluator, "compute_metrics", probe="evaluator's rankings", after=self._scored)

    def _embedded(self, model: Any, side: str | None, vectors: Any) -> None:
        if side == "query":
            self._searched = self._offset = 0
            self._found, self._documents = {}, {}
        if self.pairs is None or not isinstance(vectors, Tensor) or vectors.ndim != 2:
            return
        if side == "query":
            rows = [row for row in self.pairs.query_rows if row < len(vectors)]
            self._queries = vectors[rows].detach().clone()
        elif side == "document":
            stop = self._offset + len(vectors)
            for row in self.pairs.document_rows:
                if self._offset <= row < stop:
                    self._documents[row] = vectors[row - self._offset].detach().clone()
            self._offset = stop

    def _scored(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        rankings = args[0] if args else kwargs["queries_result_list"]
        names = list(self.evaluator.score_functions or ())
        name = names[self._searched] if self._searched < len(names) else ""
        self._searched += 1
        judged = chosen(names, getattr(self.evaluator, "main_score_function", None), self._watch.scores_by)
        means = {f"{key.removesuffix('@k')}@{k}": float(v) for key, found in result.items() for k, v in found.items()}
        self._found |= means if name == judged else {f"{name}_{key}": value for key, value in means.items()}
        if name == judged:
            self._judged = name, rankings
        if self._searched < len(names) or self._judged[1] is None:
            return
        (similarity, rankings), self._judged = self._judged, ("", None)
        self._hand_over_vectors()
        self.judged, self.latest = similarity, self._found
        self._watch.ranked_evaluation(
            self.collection,
            self._found,
            per_query(self.evaluator, rankings),
            self._domain,
            (
                ranked(self.evaluator, rankings),
                texts_of(self.evaluator, seen=self._seen, shown=self._watch.shows_texts),
            ),
            {"similarity": similarity, "n_documents": len(self.evaluator.corpus_ids)},
        )

    def _hand_over_vectors(self) -> None:
        queries, self._queries = self._queries, None
        pairs = self.pairs
        if pairs is None or queries is None or not self._watch.begun:
            return
        if len(queries) == len(pairs) and all(row in self._documents for row in pairs.document_rows):
            import torch

            documents = torch.stack([self._documents[row] for row in pairs.document_rows])
            self._watch.pairs.given(*pairs.of_rows(queries, documents))
        self._documents = {}


def chosen(names: Sequence[str], main: Any, similarity: str) -> str:
    """Return the function that an evaluator's scores are judged by, of several.

    Args:
        names: Theirs, such as ``cosine`` and ``dot``, or ``cos_sim``.
        main: What the evaluator says itself; None for nothing.
        similarity: How the model scores.

    >>> chosen(["cosine", "dot"], None, "dot"), chosen(["cos_sim", "mine"], None, "cosine"), chosen(["mine"], None, "x")
    ('dot', 'cos_sim', 'mine')
    """
    wanted = str(getattr(main, "value", main) or similarity)
    alike = [one for one in names if one == wanted] or [one for one in names if one[:3] == wanted[:3]]
    return next(iter([*alike, *names]), "")


def per_query(evaluator: Any, rankings: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Return nDCG and reciprocal rank of every query at 10, or at the largest rank that the evaluator has.

    Args:
        evaluator: Has ``queries_ids``, ``relevant_docs``, ``ndcg_at_k`` and ``mrr_at_k``.
        rankings: For each query hits with ``corpus_id`` and ``score``, in any order.
    """
    cuts = {"ndcg": _cut(evaluator.ndcg_at_k), "mrr": _cut(evaluator.mrr_at_k)}
    found: dict[str, dict[str, float]] = {f"{name}@{k}": {} for name, k in cuts.items() if k}
    for query, hits in zip(evaluator.queries_ids, rankings, strict=True):
        ranked = sorted(hits, key=lambda hit: hit["score"], reverse=True)
        relevant = evaluator.relevant_docs[query]
        gains = [hit["corpus_id"] in relevant for hit in ranked]
        if k := cuts["ndcg"]:
            found[f"ndcg@{k}"][str(query)] = _dcg(gains[:k]) / _dcg([True] * min(k, len(relevant)))
        if k := cuts["mrr"]:
            first = next((rank for rank, gain in enumerate(gains[:k], 1) if gain), None)
            found[f"mrr@{k}"][str(query)] = 0.0 if first is None else 1.0 / first
    return found


def _cut(at: Iterable[int]) -> int:
    known = list(at)
    return 10 if 10 in known else max(known, default=0)


def _dcg(gains: Iterable[bool]) -> float:
    return sum(1.0 / math.log2(rank + 1) for rank, gain in enumerate(gains, 1) if gain)


@contextmanager
def untouched(evaluators: Iterable[Any], model: Any) -> Iterator[None]:
    """Run evaluators without a trace: random states, modes, what they remember, and the model card stay as they are."""
    known = [
        (one, dict(vars(one)), {k: list(v) for k, v in vars(one).items() if k == "csv_headers"}) for one in evaluators
    ]
    try:
        for one, _, _ in known:
            one.store_metrics_in_model_card_data = _nothing
        with undisturbed([model]):
            yield
    finally:
        for one, before, lists in known:
            vars(one).clear()
            vars(one).update(before)
            for name, content in lists.items():
                getattr(one, name)[:] = content


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Keep a model card as it is."""
