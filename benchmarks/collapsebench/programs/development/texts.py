"""Programs that start from texts, most of them with the trainer of sentence-transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from loop import Run
from torch import Tensor, nn
from worlds import SHARED, _pairs

import collapse_probe
from collapse_probe.retrieval import read_beir

from .. import program

GROUP = "development"
MINI, SCIFACT, NFCORPUS = "minilm/medquad/scifact", "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"
WORDS = 48


@cache
def _texts(name: str) -> list[str]:
    """Return the texts of a world, cut to their first words."""
    _, pairs, collection = name.split("/")
    queries, documents = _pairs(pairs)
    searched = read_beir(SHARED / "data" / {"scifact": "scifact", "nfcorpus": "nfcorpus-tokenized"}[collection])
    return [*queries, *documents, *(searched.queries[one] for one in searched.qrels), *searched.documents.values()]


def cut(text: str) -> str:
    """Return a text's first words."""
    return " ".join(text.split()[:WORDS])


@cache
def _by_vector(name: str) -> dict[bytes, str]:
    from worlds import ENCODERS, Vectors

    texts = list(dict.fromkeys(_texts(name)))
    vectors = Vectors(SHARED / "features" / ENCODERS[name.split("/")[0]])(texts)
    return {row.tobytes(): text for row, text in zip(vectors.numpy(), texts, strict=True)}


def read(run: Run, encode: Callable[[list[str]], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a map of the frozen vectors that encodes the texts behind them."""

    def mapped(vectors: Tensor) -> Tensor:
        texts = _by_vector(run.world.name)
        return encode([cut(texts[row.tobytes()]) for row in vectors.numpy()])

    return mapped


def words(run: Run, size: int = 8000) -> Any:
    """Return a tokeniser of whole words, of a world's texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(map(cut, [*run.world.texts[0], *run.world.texts[1]]), trainer)
    return tokenizer


def static(run: Run, dimension: int = 128) -> Any:
    """Return a model of static word vectors that starts at random."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return SentenceTransformer(modules=[StaticEmbedding(words(run), embedding_dim=dimension)], device="cpu")


def tiny_bert(run: Run, folder: str, *, pooling: str = "mean") -> Any:
    """Return a model of two layers that starts at random, without dropout."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words(run, 4000), model_max_length=32, **names)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=40, **size, **off)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(folder, max_seq_length=32)
    return SentenceTransformer(modules=[transformer, Pooling(64, pooling_mode=pooling)], device="cpu")


def encoder(model: Any, **options: Any) -> Callable[[list[str]], Tensor]:
    """Return what encodes texts with a model, in its own mode of evaluation."""

    def encode(texts: list[str]) -> Tensor:
        kept = {"convert_to_tensor": True, "show_progress_bar": False, "batch_size": 256}
        return model.encode(texts, **{**kept, **options}).clone()

    return encode


def pairs(run: Run, rows: int | None = None, **columns: list[Any]) -> Any:
    """Return training pairs as a data set of texts, with further columns."""
    from datasets import Dataset

    queries, documents = ([cut(one) for one in side[:rows]] for side in run.world.texts)
    return Dataset.from_dict({"anchor": queries, "positive": documents, **columns})


def fit(run: Run, model: Any, data: Any, loss: nn.Module, *, steps: int, batch: int = 64, **options: Any) -> Any:
    """Train with the trainer of sentence-transformers; watched by a single line, as its users would."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from transformers.trainer_callback import PrinterCallback

    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 20}
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder, max_steps=steps, seed=run.seed, per_device_train_batch_size=batch, **{**quiet, **options}
        )
        trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss)
        trainer.remove_callback(PrinterCallback)
        if run.folder is not None:
            collapse_probe.watch(trainer, run=run.folder)
        trainer.train()
    return trainer


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=0,
    world=(MINI,),
    source="huggingface/sentence-transformers#2982",
)
def static_words_at_a_default_rate(run: Run, *, planted: bool = True) -> None:
    """Static word vectors from random ones at 5e-5, the default rate, where they want .2."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = static(run)
    mapped = read(run, encoder(model))
    run.evaluate(None, 0, mapped, mapped)
    rate = 5e-5 if planted else 0.1
    fit(run, model, pairs(run), MultipleNegativesRankingLoss(model), steps=250, learning_rate=rate)
    run.evaluate(None, 250, mapped, mapped)


@program(
    GROUP,
    "complete_collapse",
    "no_repulsion",
    onset=1,
    world=(SCIFACT,),
    source="trainers-in-the-wild.md, setfit; own",
)
def bert_of_positives_alone(run: Run, *, planted: bool = True) -> None:
    """A small BERT from scratch, with a cosine loss over pairs that all have the label 1."""
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss

    with tempfile.TemporaryDirectory() as folder:
        model = tiny_bert(run, folder)
    mapped = read(run, encoder(model))
    run.evaluate(None, 0, mapped, mapped)
    data = pairs(run, **({"label": [1.0] * len(run.world.query)} if planted else {}))
    loss = CosineSimilarityLoss(model) if planted else MultipleNegativesRankingLoss(model)
    fit(run, model, data, loss, steps=200, batch=32, learning_rate=1e-3, lr_scheduler_type="constant")
    run.evaluate(None, 200, mapped, mapped)


@program(
    GROUP,
    "ties",
    "training_and_scoring_differ",
    onset=0,
    world=(SCIFACT,),
    source="deepset-ai/haystack#3240: documents that begin alike get one vector",
)
def cut_after_three_words(run: Run, *, planted: bool = True) -> None:
    """Static word vectors that are trained on 48 words of a text, and encode its first three when scored."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = static(run)
    encode = encoder(model)
    mapped = read(run, lambda texts: encode([" ".join(one.split()[: 3 if planted else WORDS]) for one in texts]))
    run.evaluate(None, 0, mapped, mapped)
    data = pairs(run)
    fit(run, model, data, MultipleNegativesRankingLoss(model), steps=200, learning_rate=0.05)
    run.evaluate(None, 200, mapped, mapped)


def stored(run: Run) -> Any:
    """Return a model of the stored vectors of texts, which stay, and a dense layer from the identity."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, InputModule

    places = {cut(text): row for row, text in enumerate([*run.world.texts[0], *run.world.texts[1]])}
    vectors = torch.cat([run.world.query, run.world.document])

    class Stored(InputModule):
        """Looks a text's vector up."""

        def preprocess(self, inputs: list[str], prompt: str | None = None, **options: Any) -> dict[str, Tensor]:
            return {"sentence_embedding": vectors[[places[one] for one in inputs]]}

        def forward(self, features: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
            return features

        def save(self, output_path: str, *args: Any, **options: Any) -> None:
            return None

    dimension = run.world.dimension
    start = {"init_weight": torch.eye(dimension), "init_bias": torch.zeros(dimension)}
    dense = Dense(dimension, dimension, activation_function=None, **start)
    return SentenceTransformer(modules=[Stored(), dense], device="cpu")


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=(MINI, SCIFACT),
    source="own: losses of sentence-transformers take the columns by their order",
)
def columns_by_their_order(run: Run, *, planted: bool = True) -> None:
    """The data set's columns are anchor, negative, positive; the loss takes the second one for the positive."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = stored(run)
    head = model[1].linear
    data = pairs(run)
    other = torch.randperm(len(data), generator=torch.Generator().manual_seed(7)).tolist()
    data = data.add_column("negative", [data["positive"][row] for row in other])
    if planted:
        data = data.select_columns(["anchor", "negative", "positive"])
    run.evaluate(None, 0, head, head)
    loss = MultipleNegativesRankingLoss(model)
    fit(run, model, data, loss, steps=160, learning_rate=5e-4, lr_scheduler_type="constant")
    run.evaluate(None, 160, head, head)


@program(
    GROUP,
    "forgetting",
    "narrow_data",
    "steps_too_large",
    onset=1,
    world=(MINI,),
    source="mertyg/vision-language-models-are-bows#4; one topic alone",
)
def triplets_of_one_collection(run: Run, *, planted: bool = True) -> None:
    """Symmetric in-batch negatives on one collection at 3e-3; 3e-5 keeps what the encoder knew."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesSymmetricRankingLoss

    model = stored(run)
    head = model[1].linear
    run.evaluate(None, 0, head, head)
    loss = MultipleNegativesSymmetricRankingLoss(model, scale=20.0)
    fit(run, model, pairs(run), loss, steps=200, learning_rate=3e-3 if planted else 3e-5, warmup_steps=10)
    run.evaluate(None, 200, head, head)


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    "memorised_documents",
    onset=1,
    world=(MINI, SCIFACT),
    source="gauravchak/two_tower_models#3",
)
def forty_pairs_over_and_over(run: Run, *, planted: bool = True) -> None:
    """The first 40 pairs, kept from a trial of the script, for a hundred epochs."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesSymmetricRankingLoss

    model = stored(run)
    head = model[1].linear
    run.evaluate(None, 0, head, head)
    loss = MultipleNegativesSymmetricRankingLoss(model)
    fit(run, model, pairs(run, 40 if planted else None), loss, steps=200, batch=20, learning_rate=2e-3)
    run.evaluate(None, 200, head, head)


@program(GROUP, None, world=(MINI,), source="luyug/GC-DPR#12, huggingface/sentence-transformers#3420")
def cached_loss_in_small_parts(run: Run, *, planted: bool = True) -> None:
    """A cached loss in parts of 16, a warm-up of half the run, and gradients logged at each step."""
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )

    model = stored(run)
    head = model[1].linear
    run.evaluate(None, 0, head, head)
    loss: nn.Module = MultipleNegativesRankingLoss(model)
    if planted:
        loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=16)
    fit(run, model, pairs(run), loss, steps=100, learning_rate=1e-4, warmup_steps=50, logging_steps=1)
    run.evaluate(None, 100, head, head)
