"""Ways to train with sentence-transformers: what people do beside choosing a loss."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from program import WIDTH, Both, Forms, encoder, train
from sentence_transformers import (
    InputExample,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding

PARTS = (SentenceTransformerTrainer, SentenceTransformerTrainingArguments)


def seeded() -> None:
    """Begin all random numbers anew."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _trained(model: Any, loss: Any, data: Any, output: Path, steps: int, **more: Any) -> Any:
    seeded()
    train(*PARTS, model, loss, data, output, steps, **more).train()
    return model


def several(folder: str, output: Path, steps: int, sampler: str = "proportional") -> Any:
    """Two data sets, each with a loss of its own."""
    model, forms = encoder(folder), Forms(folder)
    data = {"pairs": forms.triplets(), "scores": forms.scored()}
    loss = {"pairs": losses.MultipleNegativesRankingLoss(model), "scores": losses.CoSENTLoss(model)}
    return _trained(model, loss, data, output, steps, multi_dataset_batch_sampler=sampler)


def in_turn(folder: str, output: Path, steps: int) -> Any:
    """Two data sets in turn."""
    return several(folder, output, steps, "round_robin")


def several_of_one_loss(folder: str, output: Path, steps: int) -> Any:
    """Two data sets with one loss."""
    model, forms = encoder(folder), Forms(folder)
    data = {"pairs": forms.pairs(), "triplets": forms.triplets()}
    return _trained(model, losses.MultipleNegativesRankingLoss(model), data, output, steps)


def routed(folder: str, output: Path, steps: int) -> Any:
    """An asymmetric model: queries by their own words' vectors, documents by the encoder."""
    whole, forms = encoder(folder), Forms(folder)
    words = StaticEmbedding(whole.tokenizer, embedding_dim=WIDTH)
    router = Router.for_query_document(query_modules=[words], document_modules=list(whole))
    model = SentenceTransformer(modules=[router], device="cpu")
    mapping = {"anchor": "query", "positive": "document"}
    loss = losses.MultipleNegativesRankingLoss(model)
    return _trained(model, loss, forms.pairs(), output, steps, router_mapping=mapping, learning_rate=1e-3)


def words(folder: str, output: Path, steps: int) -> Any:
    """Vectors of words alone."""
    model = SentenceTransformer(modules=[StaticEmbedding(encoder(folder).tokenizer, embedding_dim=WIDTH)], device="cpu")
    loss = losses.MultipleNegativesRankingLoss(model)
    return _trained(model, loss, Forms(folder).pairs(), output, steps, learning_rate=1e-2)


def prompted(folder: str, output: Path, steps: int) -> Any:
    """A prompt for each column."""
    model = encoder(folder)
    prompts = {"anchor": "query: ", "positive": "document: "}
    loss = losses.MultipleNegativesRankingLoss(model)
    return _trained(model, loss, Forms(folder).pairs(), output, steps, prompts=prompts)


def fitted(folder: str, output: Path, steps: int) -> Any:
    """The old ``fit``, with pairs of a loader."""
    model, forms = encoder(folder), Forms(folder)
    examples = [InputExample(texts=list(pair)) for pair in zip(forms.first, forms.second, strict=True)]
    loader: Any = torch.utils.data.DataLoader(examples, shuffle=True, batch_size=8)
    loss = losses.MultipleNegativesRankingLoss(model)
    seeded()
    model.fit([(loader, loss)], epochs=2, warmup_steps=0, show_progress_bar=False, output_path=str(output))
    return model


def resumed(folder: str, output: Path, steps: int) -> Any:
    """A training that goes on from its checkpoint."""
    half = steps // 2
    for resume in (False, True):
        model = encoder(folder)
        loss = losses.MultipleNegativesRankingLoss(model)
        seeded()
        more = {"save_strategy": "steps", "save_steps": half}
        trainer = train(*PARTS, model, loss, Forms(folder).pairs(), output, steps if resume else half, **more)
        trainer.train(resume_from_checkpoint=resume)
    return model


def streamed(folder: str, output: Path, steps: int) -> Any:
    """A data set that is a stream."""
    model, data = encoder(folder), Forms(folder).pairs().to_iterable_dataset()
    return _trained(model, losses.MultipleNegativesRankingLoss(model), data, output, steps)


def evaluated(folder: str, output: Path, steps: int) -> Any:
    """Evaluation data, whose loss is computed between steps."""
    model, data = encoder(folder), Forms(folder).pairs().train_test_split(test_size=40, seed=1)
    more = {"eval_dataset": data["test"], "eval_strategy": "steps", "eval_steps": 6}
    return _trained(model, losses.MultipleNegativesRankingLoss(model), data["train"], output, steps, **more)


def halved(folder: str, output: Path, steps: int) -> Any:
    """Autocast to bfloat16."""
    model = encoder(folder)
    return _trained(model, losses.MultipleNegativesRankingLoss(model), Forms(folder).pairs(), output, steps, bf16=True)


def accumulated(folder: str, output: Path, steps: int) -> Any:
    """Gradients of three batches for each step."""
    model = encoder(folder)
    loss = losses.MultipleNegativesRankingLoss(model)
    return _trained(model, loss, Forms(folder).pairs(), output, steps, gradient_accumulation_steps=3)


def made_anew(folder: str, output: Path, steps: int) -> Any:
    """A model and a loss that the trainer makes itself, as a search for hyperparameters does."""
    forms = Forms(folder)
    seeded()
    more = {"model_init": lambda: encoder(folder)}
    trainer = train(*PARTS, None, losses.MultipleNegativesRankingLoss, forms.pairs(), output, steps, **more)
    trainer.train()
    return trainer.model


def adapted(folder: str, output: Path, steps: int) -> Any:
    """Low-rank adapters; needs peft."""
    from peft import LoraConfig, TaskType

    model = encoder(folder)
    model.add_adapter(LoraConfig(task_type=TaskType.FEATURE_EXTRACTION, r=8, lora_alpha=16, lora_dropout=0.1))
    loss = losses.MultipleNegativesRankingLoss(model)
    return _trained(model, loss, Forms(folder).pairs(), output, steps, learning_rate=1e-3)


def both_terms(folder: str, output: Path, steps: int) -> Any:
    """A loss of their own that adds a regularisation."""
    model = encoder(folder)
    return _trained(model, Both(model), Forms(folder).pairs(), output, steps)


def cached_dimensions(folder: str, output: Path, steps: int) -> Any:
    """Matryoshka over a cached loss."""
    model = encoder(folder)
    inner = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=4)
    return _trained(model, losses.MatryoshkaLoss(model, inner, [WIDTH, 64]), Forms(folder).pairs(), output, steps)


def dimensions_of_scores(folder: str, output: Path, steps: int) -> Any:
    """Matryoshka over scored pairs, two dimensions a step."""
    model = encoder(folder)
    loss = losses.MatryoshkaLoss(model, losses.CoSENTLoss(model), [WIDTH, 128, 32], n_dims_per_step=2)
    return _trained(model, loss, Forms(folder).scored(), output, steps)


PROGRAMS = {
    "data sets, proportional": several,
    "data sets, in turn": in_turn,
    "data sets, one loss": several_of_one_loss,
    "router": routed,
    "static embedding": words,
    "prompts": prompted,
    "model.fit": fitted,
    "resume_from_checkpoint": resumed,
    "stream": streamed,
    "evaluation with loss": evaluated,
    "bf16": halved,
    "accumulation": accumulated,
    "model_init": made_anew,
    "LoRA": adapted,
    "own loss of two terms": both_terms,
    "Matryoshka, cached": cached_dimensions,
    "Matryoshka, scores": dimensions_of_scores,
}
