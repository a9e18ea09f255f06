"""Losses that train the first columns of embeddings, too: each number of columns is read and judged by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer import losses
from torch import nn
from transformers import TrainerCallback
from watching.trainers_support import encoder, pairs, st_trainer

import collapse_probe
from collapse_probe.journal import Run


def watched(trainer: Any, run: Any = False) -> Any:
    watching = collapse_probe.watch(trainer, run=run)
    trainer.train()
    return watching


class Constant(nn.Module):
    """Puts one constant into the first columns from a step on, and leaves the others as they are."""

    columns, since, step = 4, 20, 0

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        vectors = features["sentence_embedding"]
        if self.step > self.since:
            first = torch.ones_like(vectors[:, : self.columns])
            features["sentence_embedding"] = torch.cat([first, vectors[:, self.columns :]], dim=1)
        return features


class Counting(TrainerCallback):
    def __init__(self, module: Constant) -> None:
        self.module = module

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.module.step = state.global_step


@pytest.mark.filterwarnings("ignore")
def test_a_collapse_of_a_short_dimension_is_named_with_it(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    model.append(constant := Constant())
    loss = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), [16, 8, 4])
    watched(st_trainer(model, loss, tmp_path / "out", steps=48, callbacks=[Counting(constant)]), run=tmp_path / "run")
    found = collapse_probe.diagnose(tmp_path / "run")
    assert {one.subject for one in found.kinds} == {"query@4", "document@4"}
    assert {one.kind for one in found.kinds} == {"complete_collapse"}
    assert "complete collapse (document@4, query@4), since step" in found.summary
    assert "reference pairs@4 MRR" in found.summary
    onset = found.kinds[0].judgement.onset
    assert onset.low <= 20 <= onset.high
    ranks = {row["collection"]: (row["start"], row["end"]) for row in found.retrieval}
    assert ranks["reference pairs"][1] > 2 * ranks["reference pairs"][0]
    assert ranks["reference pairs@4"][1] == pytest.approx(1 / 64, rel=0.1)
    assert not found.causes  # they are read of whole embeddings
    assert Run.load(tmp_path / "run").config.dimensions == [8, 4]
    report = collapse_probe.write_report(tmp_path / "run", tmp_path / "report", figures=False).read_text()
    assert "## Dimensions" in report and "| 4 | " in report


@pytest.mark.parametrize("kind", ["plain", "cached", "sampled", "layers", "guided", "part"])
def test_every_dimension_of_a_healthy_training_is_read(kind: str, bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    inner: Any = losses.MultipleNegativesRankingLoss(model)
    loss = losses.MatryoshkaLoss(model, inner, [16, 8, 4])
    if kind == "cached":
        loss = losses.MatryoshkaLoss(model, losses.CachedMultipleNegativesRankingLoss(model, 4), [16, 8, 4])
    elif kind == "sampled":
        loss = losses.MatryoshkaLoss(model, inner, [16, 8, 4], n_dims_per_step=1)
    elif kind == "layers":
        loss = losses.Matryoshka2dLoss(model, inner, [16, 8, 4])
    elif kind == "guided":
        loss = losses.MatryoshkaLoss(model, losses.GISTEmbedLoss(model, encoder(bert)), [16, 8, 4])
    elif kind == "part":
        loss = losses.MatryoshkaLoss(model, inner, [8, 4])
    watching = watched(st_trainer(model, loss, tmp_path, steps=16))
    found = collapse_probe.diagnose(watching)
    assert not found.kinds and not found.errors
    for dimension in (8, 4):
        on_batches = watching.live.series(f"query@{dimension}/common_share", on="batch")
        assert len(on_batches) > 1 and set(on_batches.dimension) == {dimension}
        ranks = watching.live.series(f"pairs@{dimension}/mrr", on="reference")
        assert list(ranks.steps[[0, -1]]) == [0, 16] and ranks.values[-1] > ranks.values[0]
    whole = watching.live.series("query/common_share", on="batch")
    assert set(whole.dimension) == ({16} if kind != "part" else set())


def test_first_columns_are_those_that_the_loss_was_given(bert: Path, tmp_path: Path) -> None:
    class Remembering(losses.MultipleNegativesRankingLoss):
        means: list[float] = []

        def compute_loss_from_embeddings(self, embeddings: Any, labels: Any) -> Any:
            if embeddings[0].shape[-1] == 8:
                self.means.append(float(embeddings[0].detach().double().mean(dim=0).square().sum()))
            return super().compute_loss_from_embeddings(embeddings, labels)

    model = encoder(bert)
    loss = losses.MatryoshkaLoss(model, Remembering(model), [16, 8])
    watching = watched(st_trainer(model, loss, tmp_path, steps=3, data=pairs(24)))
    assert list(watching.live.series("query@8/common_share", on="batch").values) == pytest.approx(Remembering.means)
