"""Trains by one loss of sentence-transformers, on a few real texts, and knows nothing of collapse-probe.

    python benchmarks/losses/program.py OUTPUT PACKAGE/LOSS ... --encoder FOLDER

PACKAGE is ``sentence_transformer``, ``cross_encoder``, ``sparse_encoder`` or ``multi_vector_encoder``, or ``programs``
for what is a way to train rather than a loss. The texts are first sentences of docstrings of Python's own library, each
with what follows it; the encoder is the bundled one's first two layers, on the first words of each text.
It prints a line for each: the loss, the digest of the weights, when it began and when it ended.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses
from torch import nn

ROWS = 64
WIDTH = 384
LENGTH = 16
PACKAGES = ("sentence_transformer", "cross_encoder", "sparse_encoder", "multi_vector_encoder")
MODULES = "argparse asyncio collections csv datetime inspect os pathlib random shutil statistics subprocess tempfile"


def docstrings() -> list[tuple[str, str]]:
    """Return (first sentence, what follows) of what the modules document, each first sentence once."""
    found: dict[str, str] = {}
    for name in MODULES.split():
        module = importlib.import_module(name)
        for _, one in sorted(inspect.getmembers(module, callable)):
            first, _, rest = (inspect.getdoc(one) or "").partition("\n\n")
            if 4 <= len(first.split()) <= 20 and len(rest.split()) >= 12:
                found.setdefault(" ".join(first.split()), " ".join(rest.split()[:25]))
    return list(found.items())[:ROWS]


def encoder(folder: str) -> SentenceTransformer:
    """Return the encoder's first two layers."""
    model = SentenceTransformer(folder, device="cpu", config_kwargs={"num_hidden_layers": 2})
    model.max_seq_length = LENGTH
    return model


def width(model: Any) -> int:
    """Return how many columns a model's vectors have."""
    return model.get_embedding_dimension()


def cuts(model: Any) -> list[int]:
    """Return the dimensions of a Matryoshka loss."""
    return [width(model), width(model) // 3, width(model) // 12]


class Forms:
    """The texts in every form that a loss takes.

    Args:
        folder: The encoder that teaches.
        pairs: Texts that belong together; docstrings if None.
    """

    def __init__(self, folder: str, pairs: list[tuple[str, str]] | None = None) -> None:
        pairs = pairs or docstrings()
        self._folder = folder
        self.first, self.second = [list(side) for side in zip(*pairs, strict=True)]
        self.other = [*self.second[7:], *self.second[:7]]
        self.farther = [*self.second[19:], *self.second[:19]]

    def pairs(self, **more: list[Any]) -> Dataset:
        """Return queries with documents."""
        return Dataset.from_dict({"anchor": self.first, "positive": self.second, **more})

    def triplets(self, **more: list[Any]) -> Dataset:
        """Return queries with a document and another one."""
        return self.pairs(negative=self.other, **more)

    def scored(self, high: float = 1.0, low: float = 0.0) -> Dataset:
        """Return pairs of which every other one belongs together."""
        right = [at % 2 == 0 for at in range(len(self.first))]
        seconds = [a if one else b for a, b, one in zip(self.second, self.other, right, strict=True)]
        scores = [high if one else low for one in right]
        return Dataset.from_dict({"sentence1": self.first, "sentence2": seconds, "label": scores})

    def classes(self, kinds: int) -> Dataset:
        """Return pairs with one of so many classes."""
        kind = [at % kinds for at in range(len(self.first))]
        return self.scored().remove_columns("label").add_column("label", kind)

    def grouped(self) -> Dataset:
        """Return single texts with classes: two texts that belong together have one."""
        texts = [text for pair in zip(self.first, self.second, strict=True) for text in pair]
        return Dataset.from_dict({"sentence": texts, "label": [at // 2 for at in range(len(texts))]})

    def alone(self) -> Dataset:
        """Return single texts."""
        return Dataset.from_dict({"text": self.first})

    def doubled(self) -> Dataset:
        """Return each text with itself, or with another one: as contrastive tension has it."""
        own = [at % 4 == 0 for at in range(len(self.first))]
        seconds = [a if one else b for a, b, one in zip(self.first, self.other, own, strict=True)]
        return Dataset.from_dict({"text1": self.first, "text2": seconds, "label": [int(one) for one in own]})

    def damaged(self) -> Dataset:
        """Return texts with words left out, and as they are."""
        draw = random.Random(3)
        left = [" ".join(word for word in text.split() if draw.random() > 0.4) or text for text in self.second]
        return Dataset.from_dict({"damaged": left, "original": self.second})

    def taught(self) -> Dataset:
        """Return single texts with their vectors by a teacher."""
        return Dataset.from_dict({"sentence": self.first, "label": self._vectors(self.first).tolist()})

    def taught_pairs(self) -> Dataset:
        """Return pairs with a teacher's vectors of both."""
        both = torch.stack([self._vectors(self.first), self._vectors(self.second)], dim=1)
        return self.pairs(label=both.tolist())

    def margins(self) -> Dataset:
        """Return triplets with how much nearer the document is to a teacher."""
        first, second, other = (self._vectors(side) for side in (self.first, self.second, self.other))
        return self.triplets(label=((first * second).sum(1) - (first * other).sum(1)).tolist())

    def judged(self) -> Dataset:
        """Return triplets with a teacher's scores of both documents."""
        first, second, other = (self._vectors(side) for side in (self.first, self.second, self.other))
        return self.triplets(label=torch.stack([(first * second).sum(1), (first * other).sum(1)], dim=1).tolist())

    def lists(self) -> Dataset:
        """Return queries with lists of documents and their grades."""
        lists = [list(three) for three in zip(self.second, self.other, self.farther, strict=True)]
        return Dataset.from_dict({"query": self.first, "docs": lists, "labels": [[1.0, 0.0, 0.0]] * len(lists)})

    def _vectors(self, texts: list[str]) -> torch.Tensor:
        with torch.random.fork_rng():
            return encoder(self._folder).encode(texts, convert_to_tensor=True, show_progress_bar=False)


class Both(nn.Module):
    """A loss as people write it themselves: a contrastive one and a regularisation of the same vectors."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model
        self.contrastive = losses.MultipleNegativesRankingLoss(model)
        self.regular = losses.GlobalOrthogonalRegularizationLoss(model)

    def forward(self, sentence_features: Any, labels: Any = None) -> dict[str, torch.Tensor]:
        """Return both terms."""
        vectors = [self.model(one)["sentence_embedding"] for one in sentence_features]
        terms = self.regular.compute_loss_from_embeddings(vectors, labels)
        return {"info_nce": self.contrastive.compute_loss_from_embeddings(vectors, labels), **terms}


Made = tuple[Callable[..., Any], Callable[[Forms], Any]]

_MNRL = losses.MultipleNegativesRankingLoss
_GROUPS = {"batch_sampler": "group_by_label"}

DENSE: dict[str, tuple[Any, ...]] = {
    "AdaptiveLayerLoss": (lambda m, g: losses.AdaptiveLayerLoss(m, _MNRL(m)), Forms.pairs),
    "CosineSimilarityLoss": (lambda m, g: losses.CosineSimilarityLoss(m), Forms.scored),
    "SoftmaxLoss": (lambda m, g: losses.SoftmaxLoss(m, width(m), 3), lambda forms: forms.classes(3)),
    "MultipleNegativesRankingLoss": (lambda m, g: _MNRL(m), Forms.triplets),
    "MultipleNegativesSymmetricRankingLoss": (
        lambda m, g: losses.MultipleNegativesSymmetricRankingLoss(m),
        Forms.pairs,
    ),
    "TripletLoss": (lambda m, g: losses.TripletLoss(m, triplet_margin=0.5), Forms.triplets),
    "MarginMSELoss": (lambda m, g: losses.MarginMSELoss(m), Forms.margins),
    "MatryoshkaLoss": (
        lambda m, g: losses.MatryoshkaLoss(m, _MNRL(m), cuts(m)),
        Forms.triplets,
    ),
    "Matryoshka2dLoss": (
        lambda m, g: losses.Matryoshka2dLoss(m, _MNRL(m), cuts(m)),
        Forms.pairs,
    ),
    "MSELoss": (lambda m, g: losses.MSELoss(m), Forms.taught),
    "ContrastiveLoss": (lambda m, g: losses.ContrastiveLoss(m), lambda forms: forms.scored(1, 0)),
    "CachedGISTEmbedLoss": (lambda m, g: losses.CachedGISTEmbedLoss(m, g(), mini_batch_size=4), Forms.triplets),
    "CachedMultipleNegativesRankingLoss": (
        lambda m, g: losses.CachedMultipleNegativesRankingLoss(m, mini_batch_size=4),
        Forms.triplets,
    ),
    "CachedMultipleNegativesSymmetricRankingLoss": (
        lambda m, g: losses.CachedMultipleNegativesSymmetricRankingLoss(m, mini_batch_size=4),
        Forms.pairs,
    ),
    "ContrastiveTensionLoss": (lambda m, g: losses.ContrastiveTensionLoss(m), Forms.doubled),
    "ContrastiveTensionLossInBatchNegatives": (
        lambda m, g: losses.ContrastiveTensionLossInBatchNegatives(m),
        Forms.alone,
    ),
    "CoSENTLoss": (lambda m, g: losses.CoSENTLoss(m), Forms.scored),
    "AnglELoss": (lambda m, g: losses.AnglELoss(m), Forms.scored),
    "OnlineContrastiveLoss": (lambda m, g: losses.OnlineContrastiveLoss(m), lambda forms: forms.scored(1, 0)),
    "MegaBatchMarginLoss": (lambda m, g: losses.MegaBatchMarginLoss(m, mini_batch_size=4), Forms.pairs),
    "DenoisingAutoEncoderLoss": (
        lambda m, g: losses.DenoisingAutoEncoderLoss(m, tie_encoder_decoder=True),
        Forms.damaged,
    ),
    "GISTEmbedLoss": (lambda m, g: losses.GISTEmbedLoss(m, g()), Forms.triplets),
    "GlobalOrthogonalRegularizationLoss": (
        lambda m, g: losses.GlobalOrthogonalRegularizationLoss(m),
        Forms.pairs,
    ),
    "BatchHardTripletLoss": (lambda m, g: losses.BatchHardTripletLoss(m, margin=0.5), Forms.grouped, _GROUPS),
    "BatchHardSoftMarginTripletLoss": (
        lambda m, g: losses.BatchHardSoftMarginTripletLoss(m),
        Forms.grouped,
        _GROUPS,
    ),
    "BatchSemiHardTripletLoss": (
        lambda m, g: losses.BatchSemiHardTripletLoss(m, margin=0.5),
        Forms.grouped,
        _GROUPS,
    ),
    "BatchAllTripletLoss": (lambda m, g: losses.BatchAllTripletLoss(m, margin=0.5), Forms.grouped, _GROUPS),
    "DistillKLDivLoss": (lambda m, g: losses.DistillKLDivLoss(m), Forms.judged),
    "EmbedDistillLoss": (lambda m, g: losses.EmbedDistillLoss(m), Forms.taught_pairs),
}


def dense(folder: str, name: str, pairs: list[tuple[str, str]] | None = None) -> tuple[Any, ...]:
    """Return trainer, arguments, model, loss, data and further arguments of a loss of one vector a text."""
    make, data, *more = DENSE[name]
    model = encoder(folder)
    if name == "DenoisingAutoEncoderLoss":  # made from the name of what the encoder was loaded from
        model[0].auto_model.config._name_or_path = folder
    guide = lambda: encoder(folder)  # noqa: E731
    return (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        model,
        make(model, guide),
        data(Forms(folder, pairs)),
        *(more or [{}]),
    )


def cross(folder: str, name: str) -> tuple[Any, ...]:
    """Return the same of a cross-encoder."""
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder import losses as all_losses

    forms = Forms(folder)
    classes = name == "CrossEntropyLoss"
    model = CrossEncoder(folder, num_labels=3 if classes else 1, device="cpu", config_kwargs={"num_hidden_layers": 2})
    model.max_length = LENGTH
    loss = getattr(all_losses, name)(model)
    lists = ("ADRMSELoss", "ListNetLoss", "ListMLELoss", "PListMLELoss", "LambdaLoss", "RankNetLoss")
    data = (
        forms.lists()
        if name in lists
        else forms.classes(3)
        if classes
        else forms.pairs()
        if "MultipleNegatives" in name
        else forms.margins()
        if name == "MarginMSELoss"
        else forms.scored()
    )
    return CrossEncoderTrainer, CrossEncoderTrainingArguments, model, loss, data, {}


def sparse(folder: str, name: str) -> tuple[Any, ...]:
    """Return the same of a sparse encoder."""
    from sentence_transformers.sparse_encoder import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder import losses as all_losses
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseAutoEncoder, SpladePooling

    forms = Forms(folder)
    if name.startswith("CSR"):
        base = encoder(folder)
        model = SparseEncoder(modules=[*base, SparseAutoEncoder(WIDTH, hidden_dim=64, k=16, k_aux=16)], device="cpu")
    else:
        mlm = MLMTransformer(folder, config_kwargs={"num_hidden_layers": 2})
        model = SparseEncoder(modules=[mlm, SpladePooling()], device="cpu")
    model.max_seq_length = LENGTH
    inner = all_losses.SparseMultipleNegativesRankingLoss
    made: dict[str, tuple[Callable[[], Any], Any]] = {
        "CachedSpladeLoss": (
            lambda: all_losses.CachedSpladeLoss(
                model, inner(model), document_regularizer_weight=3e-5, query_regularizer_weight=5e-5, mini_batch_size=4
            ),
            forms.triplets(),
        ),
        "SpladeLoss": (
            lambda: all_losses.SpladeLoss(
                model, inner(model), document_regularizer_weight=3e-5, query_regularizer_weight=5e-5
            ),
            forms.triplets(),
        ),
        "CSRLoss": (lambda: all_losses.CSRLoss(model), forms.triplets()),
        "SparseMultipleNegativesRankingLoss": (lambda: inner(model), forms.triplets()),
        "SparseCoSENTLoss": (lambda: all_losses.SparseCoSENTLoss(model), forms.scored()),
        "SparseAnglELoss": (lambda: all_losses.SparseAnglELoss(model), forms.scored()),
        "SparseTripletLoss": (lambda: all_losses.SparseTripletLoss(model), forms.triplets()),
        "SparseMarginMSELoss": (lambda: all_losses.SparseMarginMSELoss(model), forms.margins()),
        "SparseCosineSimilarityLoss": (lambda: all_losses.SparseCosineSimilarityLoss(model), forms.scored()),
        "SparseDistillKLDivLoss": (lambda: all_losses.SparseDistillKLDivLoss(model), forms.judged()),
    }
    make, data = made[name]
    return SparseEncoderTrainer, SparseEncoderTrainingArguments, model, make(), data, {}


def late(folder: str, name: str) -> tuple[Any, ...]:
    """Return the same of a model of late interaction."""
    from sentence_transformers.multi_vector_encoder import (
        MultiVectorEncoder,
        MultiVectorEncoderTrainer,
        MultiVectorEncoderTrainingArguments,
    )
    from sentence_transformers.multi_vector_encoder import losses as all_losses

    forms = Forms(folder)
    model = MultiVectorEncoder(folder, device="cpu", config_kwargs={"num_hidden_layers": 2})
    data = forms.judged() if "Distill" in name or "MSE" in name else forms.triplets()
    loss = getattr(all_losses, name)(model)
    return MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments, model, loss, data, {}


BUILT = dict(zip(PACKAGES, (dense, cross, sparse, late), strict=True))

PARTS = {
    "CSRReconstructionLoss",
    "FlopsLoss",
    "SparseMSELoss",
    "PListMLELambdaWeight",
    "ContrastiveTensionDataLoader",
    "BatchHardTripletLossDistanceFunction",
    "SiameseDistanceMetric",
    "TripletDistanceMetric",
}
"""What a package of losses has beside losses, and losses that are parts of others."""


def names(package: str) -> Iterator[str]:
    """Yield the losses of a package: every class there that is a module and compares something."""
    found = importlib.import_module(f"sentence_transformers.{package}.losses")
    for name in found.__all__:
        if name not in PARTS and not name.endswith("Scheme"):
            yield name


def main() -> None:
    """Train by each loss that is named, in a folder of its own."""
    from programs import PROGRAMS, seeded

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("losses", nargs="+", metavar="PACKAGE/LOSS")
    parser.add_argument("--encoder", required=True, help="a folder of sentence-transformers")
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    output = given.output.absolute()
    for one in given.losses:
        package, _, name = one.partition("/")
        folder = output / one.replace("/", "-").replace(" ", "_").replace(",", "")
        folder.mkdir(parents=True)
        os.chdir(folder)
        seeded()
        began = time.time()
        try:
            if package == "programs":
                model = PROGRAMS[name](given.encoder, folder / "out", given.steps)
            else:
                trainer, arguments, model, loss, data, more = BUILT[package](given.encoder, name)
                seeded()
                train(trainer, arguments, model, loss, data, folder / "out", given.steps, **more).train()
            left = digest(model)
        except Exception as error:  # the next loss is tried as well
            left = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        print(json.dumps([one, left, began, time.time()]), flush=True)


def train(trainer: Any, arguments: Any, model: Any, loss: Any, data: Any, output: Path, steps: int, **more: Any) -> Any:
    """Return a trainer of a few steps."""
    own = {name: more.pop(name) for name in ("evaluator", "eval_dataset", "model_init", "callbacks") if name in more}
    known = {
        "per_device_train_batch_size": 8,
        "max_steps": steps,
        "learning_rate": 5e-5,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1000,
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 7,
        "dataloader_pin_memory": False,
    }
    if "model_init" in own:
        model = None
    return trainer(
        model=model,
        args=arguments(output_dir=str(output), **{**known, **more}),
        train_dataset=data,
        loss=loss,
        **own,
    )


def digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights, in hexadecimal."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
