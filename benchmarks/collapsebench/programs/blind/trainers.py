"""The trainer of sentence-transformers over stored vectors: a first module that looks them up, and a dense layer."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from loop import Run
from torch import Tensor, nn

import collapse_probe

from .. import program
from .common import CLAIMS, GROUP, LARGE, MINI


class Lookup(nn.Module):
    """Takes the place of a frozen encoder: a text is the number of a stored vector."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)

    def preprocess(self, inputs: list[str], **options: Any) -> dict[str, Tensor]:
        """Return the numbers."""
        return {"input_ids": torch.tensor([[int(one)] for one in inputs])}

    tokenize = preprocess

    def get_embedding_dimension(self) -> int:
        """D."""
        return self.vectors.shape[1]

    get_sentence_embedding_dimension = get_embedding_dimension

    def forward(self, features: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
        """Add the vectors."""
        features["sentence_embedding"] = self.vectors[features["input_ids"][:, 0]]
        return features


def model_of(run: Run) -> Any:
    """Return a model whose dense layer starts at the identity."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    dimension = run.world.dimension
    start = {"init_weight": torch.eye(dimension), "init_bias": torch.zeros(dimension)}
    dense = Dense(dimension, dimension, activation_function=None, **start)
    return SentenceTransformer(modules=[Lookup(torch.cat([run.world.query, run.world.document])), dense], device="cpu")


def trained(run: Run, model: Any, loss: nn.Module, *, steps: int, **options: Any) -> None:
    """Train by the trainer; watched as its users do, who hand it over and nothing more."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    count, head = len(run.world.query), model[1].linear
    pairs = {"anchor": [str(i) for i in range(count)], "positive": [str(i + count) for i in range(count)]}
    run.evaluate(None, 0, head, head)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 25}
        args = SentenceTransformerTrainingArguments(folder, max_steps=steps, seed=run.seed, **{**quiet, **options})
        trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=Dataset.from_dict(pairs), loss=loss)
        if run.folder is not None:
            collapse_probe.watch(trainer, run=run.folder)
        trainer.train()
    run.evaluate(None, steps, head, head)


@program(
    GROUP,
    "dimensional_collapse",
    "temperature_or_margin",
    onset=1,
    world=(MINI, LARGE),
    source="huggingface/transformers#13430; a temperature handed over as a scale",
)
def temperature_in_the_place_of_a_scale(run: Run, *, planted: bool = True) -> None:
    """A loss that takes a scale of 20 is given the temperature .05 of another library."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = model_of(run)
    loss = MultipleNegativesRankingLoss(model, scale=0.05 if planted else 20.0)
    rate = {"learning_rate": 1e-3, "lr_scheduler_type": "constant"}
    trained(run, model, loss, steps=250, per_device_train_batch_size=64, **rate)


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=1,
    world=(MINI, CLAIMS),
    source="huggingface/sentence-transformers#2982",
)
def rate_of_a_large_model(run: Run, *, planted: bool = True) -> None:
    """A dense layer alone is trained, at a rate of 2e-7 that somebody chose for a model of seven billion weights."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = model_of(run)
    rate = {"learning_rate": 2e-7 if planted else 2e-4, "warmup_steps": 20}
    loss = MultipleNegativesRankingLoss(model)
    trained(run, model, loss, steps=150, per_device_train_batch_size=64, **rate)


@program(GROUP, None, world=(MINI, CLAIMS), source="luyug/GC-DPR#12; huggingface/sentence-transformers#3420")
def cached_loss_in_pieces_of_eight(run: Run, *, planted: bool = True) -> None:
    """A cached loss over 128 pairs in pieces of 8: every text is encoded twice, and gradients come in pieces."""
    from sentence_transformers.sentence_transformer import losses

    model = model_of(run)
    kind = losses.CachedMultipleNegativesRankingLoss
    loss = kind(model, mini_batch_size=8) if planted else losses.MultipleNegativesRankingLoss(model)
    rate = {"learning_rate": 2e-4, "lr_scheduler_type": "cosine"}
    trained(run, model, loss, steps=60, per_device_train_batch_size=128, **rate)
