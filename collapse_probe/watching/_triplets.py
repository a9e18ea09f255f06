"""What a trainer's evaluator of triplets compares: which anchor is nearer to its positive, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..journal import Rankings
from ..recording import Texts
from ._attach import Attachments
from ._evaluators import EvaluatorListener, chosen
from ._trainer import TrainerWatch


def is_triplets(evaluator: Any) -> bool:
    """Return whether an evaluator compares triplets, as sentence-transformers' does."""
    needed = ("anchors", "positives", "negatives", "margin", "embed_inputs", "_get_similarity_functions")
    return all(hasattr(evaluator, name) for name in needed)


class TripletListener(EvaluatorListener):
    """Hears one evaluator of triplets.

    Of each triplet it keeps whether it is right, as the evaluator counts it, and its margin: how much nearer the anchor
    is to its positive. The two texts are what was ranked for the anchor.
    """

    def __init__(self, watch: TrainerWatch, evaluator: Any, *, attachments: Attachments, **about: Any) -> None:
        super().__init__(watch, evaluator, attachments=attachments, **about)
        self._vectors: list[Any] = []

    def _embedded(self, model: Any, side: str | None, vectors: Any) -> None:
        if side == "query":
            self._vectors = []
        self._vectors.append(vectors)
        if len(self._vectors) == 3:
            three, self._vectors = self._vectors, []
            self._scored(model, three)

    def _scored(self, model: Any, vectors: Sequence[Any]) -> None:
        names = list(self.evaluator.similarity_fn_names) or [model.similarity_fn_name]
        functions: dict[str, Callable[..., tuple[Tensor, Tensor]]] = self.evaluator._get_similarity_functions()
        scores = {name: functions[name](*vectors) for name in names if name in functions}
        if not scores or not len(vectors[0]):
            return
        right = {name: near > far + self.evaluator.margin[name] for name, (near, far) in scores.items()}
        means = {f"{name}_accuracy": found.float().mean().item() for name, found in right.items()}
        if len(names) > 1:
            means["max_accuracy"] = max(means.values())
        name = chosen(list(scores), self.evaluator.main_similarity_function, self._watch.scores_by)
        near, far = scores[name]
        self._hand_over(vectors)
        self.judged, self.latest = name, {key.removeprefix(f"{name}_"): value for key, value in means.items()}
        self._watch.ranked_evaluation(
            self.collection,
            means,
            {f"{name}_accuracy": _by_row(right[name].float()), f"{name}_margin": _by_row(near - far)},
            self._domain,
            (self._ranked(right[name].tolist()), self._texts()),
            {"similarity": name},
        )

    def _hand_over(self, vectors: Sequence[Any]) -> None:
        if self.pairs is None or not self._watch.begun:
            return
        sides = [torch.as_tensor(one).detach().clone() for one in vectors[:2]]
        if all(one.ndim == 2 for one in sides):
            self._watch.pairs.given(*self.pairs.of_all(*sides))

    def _ranked(self, right: Sequence[bool]) -> Rankings:
        """Return for every anchor the nearer one of its two texts first."""
        places: dict[str, int] = {}
        near, far = (
            [places.setdefault(one, len(places)) for one, _ in self._named(side)] for side in ("positives", "negatives")
        )
        return Rankings(
            query_ids=[str(row) for row in range(len(right))],
            documents=list(places),
            top=[[p, n] if one else [n, p] for one, p, n in zip(right, near, far, strict=True)],
            best=[1 if one else 2 for one in right],
            right=list(near),
            depth=2,
            n_documents=len(places),
        )

    def _named(self, side: str) -> Iterator[tuple[str, Any]]:
        """Yield the texts of a side, each under the row in which it is first: equal ones are one document."""
        first: dict[Any, int] = {}
        for row, one in enumerate(getattr(self.evaluator, side)):
            place = first.setdefault(one, row) if isinstance(one, str) else row
            yield f"{side.removesuffix('s')} {place}", one

    def _texts(self) -> Texts:
        def documents() -> Iterator[tuple[str, str]]:
            both = {name: one for side in ("positives", "negatives") for name, one in self._named(side)}
            return ((name, one) for name, one in both.items() if isinstance(one, str))

        def anchors() -> Iterator[tuple[str, str]]:
            return ((str(row), one) for row, one in enumerate(self.evaluator.anchors) if isinstance(one, str))

        return Texts(queries=anchors, documents=documents, titles={}, seen=self._seen, shown=self._watch.shows_texts)


def _by_row(values: Tensor) -> dict[str, float]:
    return {str(row): float(one) for row, one in enumerate(values.tolist())}
