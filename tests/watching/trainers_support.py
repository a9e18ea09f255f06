"""Small encoders, data and trainers that need no network."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, Trainer, TrainingArguments

WORDS = [f"w{index}" for index in range(60)]
SHORT = {
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-3,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 5,
    "disable_tqdm": True,
    "use_cpu": True,
}


def save_bert(folder: Path, *, layers: int = 2) -> Path:
    """Save a random BERT with dropout and a tokenizer of 60 words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def encoder(folder: Path) -> SentenceTransformer:
    """Return a fresh encoder of a saved BERT."""
    module = Transformer(str(folder))
    return SentenceTransformer(modules=[module, Pooling(16)], device="cpu")


def texts(rows: int, seed: int, *, length: int = 6) -> list[str]:
    """Return made-up texts."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=length)) for _ in range(rows)]


def pairs(rows: int = 64, *, seed: int = 1, negatives: bool = False, labels: bool = False) -> Dataset:
    """Return pairs whose documents share half of their query's words."""
    queries = texts(rows, seed)
    documents = [
        " ".join([*query.split()[:3], *other.split()[:3]])
        for query, other in zip(queries, texts(rows, seed + 1), strict=False)
    ]
    columns: dict[str, list[Any]] = {"anchor": queries, "positive": documents}
    if negatives:
        columns["negative"] = texts(rows, seed + 2)
    if labels:
        columns["label"] = [float(index % 2) for index in range(rows)]
    return Dataset.from_dict(columns)


def st_trainer(
    model: SentenceTransformer | None,
    loss: Any,
    folder: Path,
    *,
    data: Any = None,
    steps: int = 20,
    evaluator: Any = None,
    trainer: type = SentenceTransformerTrainer,
    eval_dataset: Any = None,
    callbacks: Any = None,
    making: Any = None,
    **arguments: Any,
) -> SentenceTransformerTrainer:
    """Return a trainer of a few steps."""
    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        **{
            **SHORT,
            "max_steps": steps,
            "seed": 7,
            **arguments,
        },
    )
    return trainer(
        model=model,
        args=args,
        train_dataset=pairs() if data is None else data,
        eval_dataset=eval_dataset,
        loss=loss,
        evaluator=evaluator,
        callbacks=callbacks,
        model_init=making,
    )


class TwoTowers(torch.nn.Module):
    """A bi-encoder as transformers' own trainer takes it: its output holds the loss and both matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(40, 16)
        self.head = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(16))

    def forward(self, query: torch.Tensor, document: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss and both sides' vectors of token ids ``[n, T]``."""
        q, d = self.head(self.words(query)), self.head(self.words(document))
        loss = torch.nn.functional.cross_entropy(q @ d.T, torch.arange(len(q)))
        return {"loss": loss, "q_reps": q, "p_reps": d}


def hf_trainer(folder: Path, *, steps: int = 20, model: torch.nn.Module | None = None, **arguments: Any) -> Trainer:
    """Return a trainer of transformers' own."""
    generator = torch.Generator().manual_seed(5)
    queries = torch.randint(0, 40, (64, 6), generator=generator)
    data = [{"query": query, "document": query.flip(0)} for query in queries]
    args = TrainingArguments(
        output_dir=str(folder),
        **{
            **SHORT,
            "max_steps": steps,
            "remove_unused_columns": False,
            "label_names": [],
            **arguments,
        },
    )
    return Trainer(model=model or TwoTowers(), args=args, train_dataset=data, eval_dataset=data[:16])


def search(*, queries: int = 12, name: str = "toy", seed: int = 1) -> InformationRetrievalEvaluator:
    """Return an evaluator whose queries have one or two relevant documents."""
    data = pairs(40, seed=seed)
    return InformationRetrievalEvaluator(
        {f"q{index}": data["anchor"][index] for index in range(queries)},
        {f"d{index}": text for index, text in enumerate(data["positive"])},
        {f"q{index}": {f"d{index}", *([f"d{index + 20}"] if index % 3 == 0 else [])} for index in range(queries)},
        name=name,
    )


class Counting:
    """Counts texts that a model encodes."""

    def __init__(self, model: Any) -> None:
        self.texts = 0
        inner = model.encode

        def encode(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.texts += 1 if isinstance(inputs, str) else len(inputs)
            return inner(inputs, *args, **kwargs)

        model.encode = encode


def best_weights(metric: str, *, greater: bool, every: int = 2) -> dict[str, Any]:
    """Return a trainer's arguments by which it puts the best weights back at its end."""
    return {
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": metric,
        "greater_is_better": greater,
    }
