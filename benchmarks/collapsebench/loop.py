"""A plain training loop over a world's vectors, as the programs share it, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from worlds import World

import collapse_probe

Loss = Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]]


class Towers(nn.Module):
    """Two maps over frozen vectors; one map for both sides where a single one is given."""

    def __init__(self, query: nn.Module, document: nn.Module | None = None) -> None:
        super().__init__()
        self.query = query
        self.document = query if document is None else document


class Unwatched:
    """Takes a watch's place where nobody watches: whatever is handed over is dropped."""

    def __enter__(self) -> Unwatched:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given, **named: None


@dataclass
class Outcome:
    """What is true of a run: per-query scores of both collections at every evaluation, and of the raw encoder.

    Attributes:
        steps: Of the evaluations.
        inside: MRR@10 of every held-out query among all documents of the pairs, at each of them.
        outside: nDCG@10 of every query of the collection.
        raw: The same two of the raw encoder.
    """

    steps: list[int] = field(default_factory=list)
    inside: list[list[float]] = field(default_factory=list)
    outside: list[list[float]] = field(default_factory=list)
    raw: tuple[list[float], list[float]] = ((), ())  # type: ignore[assignment]


@dataclass
class Run:
    """One training of a program: where it trains, with which seed, and who watches.

    Attributes:
        world: The vectors.
        seed: Of weights and batches.
        folder: The run folder that is written; None trains without watching.
        truth: Whether the truth is measured.
    """

    world: World
    seed: int
    folder: str | None
    truth: bool = True
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)

    def batches(self, steps: int, size: int, *, rows: int | None = None) -> Iterator[Tensor]:
        """Yield rows of training pairs: epochs without replacement."""
        count = len(self.world.query) if rows is None else rows
        generator = torch.Generator().manual_seed(self.seed)
        done = 0
        while done < steps:
            for part in torch.randperm(count, generator=generator).split(size):
                if len(part) == size and done < steps:
                    yield part
                    done += 1

    def train(
        self,
        model: Towers,
        loss: Loss,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        steps: int = 300,
        batch: int = 64,
        rows: int | None = None,
        similarity: str = "cosine",
        evaluations: int = 4,
        before_step: Callable[[int, torch.optim.Optimizer], None] | None = None,
        pairs: tuple[Tensor, Tensor] | None = None,
        scored: Towers | None = None,
        **options: Any,
    ) -> None:
        """Train two maps with a loss of their outputs; watched, and scored a few times."""
        query, document = pairs or (self.world.query, self.world.document)
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
        scored = scored or model
        same = model.query is model.document
        where = {"query": "query", "document": "query" if same else "document"}
        watch = None
        if self.folder is not None:
            watch = collapse_probe.watch(
                model,
                optimizer=optimizer,
                run=self.folder,
                similarity=similarity,
                reference=lambda: (scored.query(self.world.reference[0]), scored.document(self.world.reference[1])),
                raw=lambda: self.world.reference,
                examples=len(query) if rows is None else rows,
                **{**where, **options},
            )
        try:
            self._score(scored, 0, similarity, watch)
            every = max(1, steps // evaluations)
            for step, chosen in enumerate(self.batches(steps, batch, rows=rows), start=1):
                if before_step is not None:
                    before_step(step, optimizer)
                found = loss(model.query(query[chosen]), model.document(document[chosen]))
                terms = found if isinstance(found, dict) else {"loss": found}
                if watch is not None:
                    watch.terms(terms)
                sum(terms.values()).backward()  # type: ignore[union-attr]
                optimizer.step()
                optimizer.zero_grad()
                if step % every == 0 or step == steps:
                    self._score(scored, step, similarity, watch)
        finally:
            if watch is not None:
                watch.close()

    def watch(self, target: Any, **options: Any) -> Any:
        """Return a watch of a loop that is written out by hand; one that drops everything where nobody watches."""
        return Unwatched() if self.folder is None else collapse_probe.watch(target, run=self.folder, **options)

    def keeps(self, query: Callable, document: Callable, similarity: str) -> bool:
        """Return whether an evaluation only keeps what maps, for later; it never does here."""
        return False

    @torch.no_grad()
    def evaluate(
        self,
        watch: Any,
        step: int,
        query: Callable[[Tensor], Tensor],
        document: Callable[[Tensor], Tensor],
        *,
        similarity: str = "cosine",
    ) -> None:
        """Score two maps of vectors on both collections, and hand the collection's scores to the watch.

        Args:
            watch: What is told; None or an :class:`Unwatched` where nobody watches.
            step: Optimiser steps done.
            query: Of the queries.
            document: Of the documents.
            similarity: How the documents are scored.
        """
        watched = watch is not None and not isinstance(watch, Unwatched)
        if self.keeps(query, document, similarity) or (not self.truth and not watched):
            return
        for one, kept, metric in (
            (self.world.inside, self.outcome.inside, "mrr@10"),
            (self.world.collection, self.outcome.outside, "ndcg@10"),
        ):
            if not self.truth and one is self.world.inside:
                continue
            found = one.scores(query(one.query), document(one.document), similarity=similarity)
            kept.append(list(found[metric].values()))
            if watched and one is self.world.collection:
                if step == 0:
                    raw = one.scores(one.query, one.document, similarity="cosine")
                    watch.evaluation(one.name, _means(raw), step=0, variant="raw", per_query=raw, domain="out")
                watch.evaluation(one.name, _means(found), step=step, per_query=found, domain="out")
        self.outcome.steps.append(step)

    def _score(self, model: Towers, step: int, similarity: str, watch: Any) -> None:
        modes = [(one, one.training) for one in model.modules()]
        model.eval()
        try:
            self.evaluate(watch, step, model.query, model.document, similarity=similarity)
        finally:
            for one, mode in modes:
                one.training = mode


def _means(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {metric: sum(values.values()) / len(values) for metric, values in found.items()}
