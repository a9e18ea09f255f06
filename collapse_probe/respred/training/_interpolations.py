"""What the scores would be a part of the way from step 0 to the end of training; nothing is trained for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import Router
from torch import Tensor, nn

from ...journal import Evaluation, JournalWriter, Run
from ...retrieval import SHARES, Scores, between
from ..modules import build_head, head_parts
from ..recipes import Recipe
from ._callback import EpochScores
from ._counterfactuals import ChangedModel, record_counterfactuals
from ._evaluation import EvaluationSet, embed, score_embedded
from ._vectors import Vectors

FAMILY = "interpolation"
_FILE = "interpolations"


@dataclass(frozen=True)
class Ends:
    """A model between its weights of step 0 and those of now.

    Attributes:
        recipe: What the head is.
        initial: The head at step 0.
        now: The head now.
        encoder: The encoder, where its layers are trained; None where it is frozen.
        encoder_initial: Its trained weights at step 0.
    """

    recipe: Recipe
    initial: Router
    now: Router
    encoder: nn.Module | None
    encoder_initial: Mapping[str, Tensor]

    @contextmanager
    def at(self, t: float, *, dimension: int, device: str) -> Iterator[Router]:
        """Yield the head at ``t``; inside, the encoder is there too, and every bit is put back afterwards."""
        head = build_head(self.recipe, dimension, seed=0)
        head.load_state_dict(between(_on_cpu(self.initial.state_dict()), _on_cpu(self.now.state_dict()), t))
        own = {} if self.encoder is None else dict(self.encoder.named_parameters())
        trained = {name: own[name].detach().cpu().clone() for name in self.encoder_initial}
        try:
            _fill(own, between(self.encoder_initial, trained, t))
            yield head.to(device)
        finally:
            _fill(own, trained)


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters of a module that are trained, on the CPU."""
    return {name: one.detach().cpu().clone() for name, one in module.named_parameters() if one.requires_grad}


def score_interpolations(
    ends: Ends, vectors: Vectors, journal: JournalWriter, folder: Path, *, dimension: int, device: str
) -> Iterator[tuple[float, list[EpochScores]]]:
    """Score the model at every share of the way, record it, and yield each share with its scores; takes seconds.

    On every collection, the development split and the held-out pairs too.
    """
    moment = _last_scored(Run.load(folder), ends.recipe.scoring_path)
    if moment is None:
        return
    step, epoch = moment
    found: dict[int, list[ChangedModel]] = {}
    sets: list[EvaluationSet] = []
    for t in SHARES:
        with ends.at(t, dimension=dimension, device=device) as head:
            sets = list(vectors.evaluations())
            scored = [_scored(head, data, ends.recipe, device) for data in sets]
        for at, by_path in enumerate(scored):
            found.setdefault(at, []).extend(
                ChangedModel(FAMILY, _name(t), path, None, scores, t) for path, scores in by_path.items()
            )
        shown = zip(sets, scored, strict=True)
        yield t, [EpochScores(data.shown, by_path, data.collection.group) for data, by_path in shown]
    for at, data in enumerate(sets):
        record_counterfactuals(journal, folder, data, found[at], step=step, epoch=epoch, file_name=_FILE)


def _last_scored(run: Run, path: str) -> tuple[int, int] | None:
    """Return step and epoch of the last evaluation of what was trained; None where there is none."""
    scored = [one for one in run.of(Evaluation) if one.variant == path and one.epoch]
    return max(((one.step, int(one.epoch or 0)) for one in scored), default=None)


def _scored(head: Router, data: EvaluationSet, recipe: Recipe, device: str) -> dict[str, Scores]:
    embedded = embed(head_parts(head), data, device=device)
    return score_embedded(embedded, data, queries=embedded.paths(), similarity=recipe.similarity, device=device)


def _name(t: float) -> str:
    return f"t = {t:g}"


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in state.items()}


@torch.no_grad()
def _fill(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        own[name].copy_(value)
