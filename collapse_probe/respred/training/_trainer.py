"""The library's trainer over stored features."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.modules import Router
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import BatchSampler
from transformers import TrainerCallback

from ..losses import WeightedTerms
from ..recipes import Recipe
from ._saved import fill_head, load_encoder
from ._state import (
    OPTIMISER_FILE,
    SCALER_FILE,
    SCHEDULER_FILE,
    load_json_state,
    load_optimiser,
    load_random_state,
    save_json_state,
    save_optimiser,
    save_random_state,
)
from ._vectors import PairTexts, TrainingData


class FeatureCollator:
    """Makes a batch of row numbers into the features that the model takes.

    Args:
        query: Encoder vectors of the queries, ``[P, D]``.
        document: Encoder vectors of the documents, ``[P, D]``.
    """

    valid_label_columns: list[str] = []

    def __init__(self, query: Tensor, document: Tensor) -> None:
        self._query = query
        self._document = document

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        index = torch.tensor([row["pair"] for row in rows])
        return {
            "query_sentence_embedding": self._query[index],
            "query_task": "query",
            "document_sentence_embedding": self._document[index],
            "document_task": "document",
        }


class TextCollator:
    """Makes a batch of row numbers into tokenised texts.

    Args:
        model: What tokenises.
        texts: The training pairs' texts.
        prompts: What stands before every query and every document.
    """

    valid_label_columns: list[str] = []

    def __init__(self, model: SentenceTransformer, texts: PairTexts, prompts: tuple[str, str]) -> None:
        self._model = model
        self._texts = texts
        self._prompts = dict(zip(("query", "document"), prompts, strict=True))

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for task, texts in (("query", self._texts.query), ("document", self._texts.document)):
            prompt = self._prompts[task] or None
            tokens = self._model.preprocess([texts[row["pair"]] for row in rows], prompt=prompt, task=task)
            features |= {f"{task}_{name}": value for name, value in tokens.items()}
            features[f"{task}_task"] = task
        return features


class EpochShuffle(DefaultBatchSampler):
    """Batches in an order that depends on (seed, epoch) alone, so that a resumed run sees the same ones."""

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        order = torch.randperm(self._rows, generator=generator).tolist()
        stop = self._rows - self._rows % self.batch_size if self.drop_last else self._rows
        for start in range(0, stop, self.batch_size):
            yield order[start : start + self.batch_size]

    @property
    def _rows(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]


class FeatureTrainer(SentenceTransformerTrainer):
    """The library's trainer with batches by (seed, epoch) and checkpoints without pickle.

    Attributes:
        gradient_norm: Total gradient norm of the latest step before clipping; None before the first.
        frozen: Modules to keep in evaluation mode.
    """

    gradient_norm: Tensor | None = None
    frozen: Sequence[torch.nn.Module] = ()

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss with frozen encoder layers in evaluation mode; the library puts everything in training."""
        for module in self.frozen:
            module.training = False
        return super().compute_loss(*args, **kwargs)

    def get_batch_sampler(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> BatchSampler:
        """Return the sampler of :class:`EpochShuffle`."""
        return EpochShuffle(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave the library's model card out: it would run the model on examples of the training data."""

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        if isinstance(grad_norm, Tensor):
            self.gradient_norm = grad_norm
        else:
            self.gradient_norm = torch.nn.utils.get_total_norm(
                [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            )
        return self.gradient_norm

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = output_dir or self.args.output_dir
        assert folder is not None and self.model is not None
        self.model.save(folder, create_model_card=False)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        assert self.model is not None
        *encoder, head = self.model.children()
        fill_head(cast(Router, head), Path(checkpoint_path))
        if encoder:
            for module, saved in zip(encoder, load_encoder(Path(checkpoint_path)), strict=True):
                module.load_state_dict(saved.state_dict())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            save_optimiser(_unwrapped(self.optimizer), Path(output_dir, OPTIMISER_FILE))
            save_json_state(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_FILE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimiser(_unwrapped(self.optimizer), Path(checkpoint, OPTIMISER_FILE))
            self.lr_scheduler.load_state_dict(load_json_state(Path(checkpoint, SCHEDULER_FILE)))

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            save_json_state(scaler.state_dict(), Path(output_dir, SCALER_FILE))

    def _load_scaler(self, checkpoint: str | None) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if checkpoint is not None and scaler is not None and Path(checkpoint, SCALER_FILE).is_file():
            scaler.load_state_dict(load_json_state(Path(checkpoint, SCALER_FILE)))

    def _save_rng_state(self, output_dir: str) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_random_state(Path(output_dir, self._random_file))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None and Path(checkpoint, self._random_file).is_file():
            load_random_state(Path(checkpoint, self._random_file))

    @property
    def _random_file(self) -> str:
        return f"random_state_{self.args.process_index}.safetensors"


def make_trainer(
    recipe: Recipe,
    model: SentenceTransformer,
    loss: WeightedTerms,
    *,
    data: TrainingData,
    frozen: Sequence[torch.nn.Module] = (),
    prompts: tuple[str, str] = ("", ""),
    seed: int,
    precision: str,
    device: str,
    checkpoints: Path,
    keep_checkpoints: bool = True,
    callbacks: list[TrainerCallback],
) -> FeatureTrainer:
    """Return a trainer of a head over stored features, or of a head and encoder layers over texts.

    Args:
        recipe: Epochs, batch size and optimiser.
        model: A model that consists of the head, or ends with it.
        loss: The weighted terms over that model.
        data: The training pairs.
        frozen: Modules to keep in evaluation mode.
        prompts: What stands before every query and every document, where texts are trained on.
        seed: Seed of batches and dropout.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu`` or ``cuda``.
        checkpoints: Folder of the checkpoints, one an epoch.
        keep_checkpoints: Write them.
        callbacks: What listens to the training.
    """
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=recipe.epochs,
        max_steps=_most_steps(recipe, len(data.query)),
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type="constant",
        seed=seed,
        data_seed=seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device == "cpu",
        save_strategy="epoch" if keep_checkpoints else "no",
        save_total_limit=None,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device != "cpu",
        # Every parameter has a gradient on every step; looking for unused ones fails on two forward passes.
        ddp_find_unused_parameters=False,
    )
    collator: FeatureCollator | TextCollator = FeatureCollator(data.query, data.document)
    if recipe.trains_from_text and data.texts is not None:
        collator = TextCollator(model, data.texts, prompts)
    trainer = FeatureTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"pair": range(len(data.query))}),
        loss=loss,
        data_collator=collator,  # type: ignore[arg-type]
        optimizers=(make_optimiser(recipe, loss), None),  # type: ignore[arg-type]
        callbacks=callbacks,
    )
    trainer.frozen = frozen
    return trainer


def planned_steps(recipe: Recipe, pairs: int) -> int:
    """Return the optimiser steps that a recipe takes over so many pairs, unless something stops it early."""
    most = _most_steps(recipe, pairs)
    return most if most > 0 else _steps_of_epochs(recipe, pairs)


def _most_steps(recipe: Recipe, pairs: int) -> int:
    """Return the steps to stop after, -1 for all epochs: the library would go on beyond the epochs for more."""
    return recipe.max_steps if 0 < recipe.max_steps < _steps_of_epochs(recipe, pairs) else -1


def _steps_of_epochs(recipe: Recipe, pairs: int) -> int:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return recipe.epochs * -(-pairs // (recipe.batch_size * processes))


def make_optimiser(recipe: Recipe, loss: WeightedTerms) -> Optimizer:
    """Return AdamW over every trainable parameter, biases and alpha decayed too, as the founding system's.

    Unfrozen encoder layers have a learning rate of their own.
    """
    head = [p for p in loss.model[-1].parameters() if p.requires_grad]  # type: ignore[index]
    known = {id(parameter) for parameter in head}
    encoder = [p for p in loss.parameters() if p.requires_grad and id(p) not in known]
    groups = [{"params": head, "lr": recipe.learning_rate}]
    if encoder:
        groups.append({"params": encoder, "lr": recipe.encoder_learning_rate})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _unwrapped(optimiser: Any) -> Optimizer:
    return getattr(optimiser, "optimizer", optimiser)
