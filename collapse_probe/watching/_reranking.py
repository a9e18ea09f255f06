"""What a cross-encoder's evaluator of reranking gives each query, which is all that such a training is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._attach import Attachments
from ._evaluators import EvaluatorListener
from ._trainer import TrainerWatch


def is_reranking(evaluator: Any) -> bool:
    """Return whether an evaluator scores pairs of texts query by query, as sentence-transformers' does."""
    needed = ("samples", "at_k", "compute_metrics", "prefix_name_to_metrics")
    return all(hasattr(evaluator, name) for name in needed) and not hasattr(evaluator, "embed_inputs")


class RerankingListener(EvaluatorListener):
    """Hears one evaluator of reranking: nDCG and reciprocal rank of every query.

    What it computes of the order before reranking comes first, and is left out.
    """

    def __init__(self, watch: TrainerWatch, evaluator: Any, *, attachments: Attachments, **about: Any) -> None:
        super().__init__(watch, evaluator, attachments=attachments, **about)
        self._scores: list[tuple[float, ...]] = []
        attachments.wrap(evaluator, "compute_metrics", probe="evaluator's scores", after=self._scored)
        attachments.wrap(evaluator, "prefix_name_to_metrics", probe="evaluator's scores", after=self._ended)

    def _scored(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._scores.append(tuple(float(one) for one in result))

    def _ended(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        evaluator = self.evaluator
        k = evaluator.at_k
        metrics = args[0] if args else kwargs["metrics"]
        if not all(isinstance(metrics.get(name), float) for name in ("map", f"mrr@{k}", f"ndcg@{k}")):
            return  # what a model card is given is in words
        scores, self._scores = self._scores, []
        found = [at for at, sample in enumerate(evaluator.samples) if _has_right(evaluator, sample)]
        if not found or len(scores) < len(found):
            return
        zeros = dict.fromkeys(range(len(evaluator.samples)), (0.0, 0.0, 0.0))
        by_query = zeros | dict(zip(found, scores[-len(found) :], strict=True))
        names = (f"mrr@{k}", f"ndcg@{k}", "map")
        per_query = {
            name: {str(query): one[place] for query, one in by_query.items()} for place, name in enumerate(names)
        }
        self.latest = {name: float(metrics[name]) for name in names}
        self._watch.ranked_evaluation(self.collection, self.latest, per_query, self._domain, None, {})

    def _embedded(self, model: Any, side: str | None, vectors: Any) -> None:
        """Hear nothing: no vector is made."""


def _has_right(evaluator: Any, sample: Mapping[str, Any]) -> bool:
    """Return whether one of a sample's documents is right: it is not scored otherwise."""
    if sample.get("documents") is None or getattr(evaluator, "always_rerank_positives", True):
        return bool(sample["positive"])
    positive = [sample["positive"]] if isinstance(sample["positive"], str) else sample["positive"]
    return any(one in positive for one in sample["documents"])
