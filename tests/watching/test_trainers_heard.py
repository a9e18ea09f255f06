"""What is heard of a trainer: streams, terms, data sets, norms, numbers that the trainer hides."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import InputExample, SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.multi_vector_encoder import (
    MultiVectorEncoder,
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
)
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding, Transformer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, TrainerCallback
from watching.trainers_support import SHORT, TwoTowers, encoder, hf_trainer, pairs, st_trainer, texts

from collapse_probe.journal import Coverage, Event, Run
from collapse_probe.watching import Watch, autolog, watch
from collapse_probe.watching._seam import loss_modules


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")


def trained(trainer: Any, **options: Any) -> Watch:
    """Return the watch of a finished training, in memory."""
    watching = watch(trainer, run=False, **options)
    trainer.train()
    return watching


def heard(watching: Watch) -> dict[str, tuple[str | None, int | None]]:
    """Return role and dimension of the streams that were heard."""
    found = {one.stream: one for one in watching.live.of(Coverage) if one.calls}
    return {name: (one.role, one.dimension) for name, one in found.items()}


def test_columns_are_query_document_and_negatives(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    data = pairs(negatives=True).add_column("other", texts(64, 11))
    watching = trained(st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, data=data, steps=3))
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16), "negative": ("document", 16)}
    assert len(watching.live.series("negative.2/norm_mean").values) == 3
    where = {one.stream: one.where for one in watching.live.of(Coverage)}
    assert where["document"] == "column 'positive' of MultipleNegativesRankingLoss"


def test_the_embeddings_are_those_that_the_loss_was_given(bert: Path, tmp_path: Path) -> None:
    """Whatever lies in the dictionaries of features, and whatever the model returned."""

    class Doubling(losses.MultipleNegativesRankingLoss):
        norms: list[list[float]] = []

        def forward(self, sentence_features: Any, labels: Any) -> Any:
            columns = [2 * self.model(one)["sentence_embedding"] for one in sentence_features]
            return self.compute_loss_from_embeddings(columns, labels)

        def compute_loss_from_embeddings(self, embeddings: Any, labels: Any) -> Any:
            self.norms.append([float(one.detach().double().norm(dim=1).mean()) for one in embeddings])
            return super().compute_loss_from_embeddings(embeddings, labels)

    model = encoder(bert)
    live = trained(st_trainer(model, Doubling(model), tmp_path, steps=4)).live
    read = [live.series(f"{side}/norm_mean", on="batch").values for side in ("query", "document")]
    assert [list(one) for one in zip(*read, strict=True)] == [pytest.approx(one) for one in Doubling.norms]


def test_labelled_pairs_are_left_and_right(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(model, losses.CosineSimilarityLoss(model), tmp_path, data=pairs(labels=True), steps=3)
    watching = trained(trainer)
    assert heard(watching) == {"left": ("left", 16), "right": ("right", 16)}
    assert watching.live.config.reference.n == 32


def test_texts_with_classes_are_one_stream(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    data = Dataset.from_dict({"sentence": texts(64, 1), "label": [index % 4 for index in range(64)]})
    watching = trained(st_trainer(model, losses.BatchAllTripletLoss(model), tmp_path, data=data, steps=3))
    assert heard(watching) == {"embedding": ("class", 16)}
    assert watching.live.config.reference is None


def test_cached_chunks_are_one_batch_and_accumulated_batches_are_several(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=3)
    watching = trained(st_trainer(model, loss, tmp_path, steps=2, gradient_accumulation_steps=2))
    assert {(one.n, one.steps) for one in watching.live.of(Coverage) if one.calls and one.step == 1} == {(16, 1)}
    assert heard(watching).keys() == {"query", "document"}


CACHED = losses.CachedMultipleNegativesRankingLoss


@pytest.mark.parametrize("kind", [losses.MultipleNegativesRankingLoss, CACHED])
def test_matryoshka_is_heard_at_its_full_dimension_alone(kind: Any, bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    loss = losses.MatryoshkaLoss(model, kind(model), [16, 8], [1.0, 0.5])
    watching = trained(st_trainer(model, loss, tmp_path, steps=3))
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16)}
    read = {name: watching.live.series(f"loss/{name}").values for name in ("total", "rest")}
    names = [f"{kind.__name__}.{dim}" for dim in (16, 8)] if kind is not CACHED else [kind.__name__]
    parts = [watching.live.series(f"loss/{name}").values for name in names]
    assert list(sum(part * weight for part, weight in zip(parts, [1.0, 0.5], strict=False))) == pytest.approx(
        list(read["total"])
    )
    assert list(read["rest"]) == pytest.approx([0, 0, 0], abs=1e-6)


def test_an_adaptive_layer_is_heard_at_the_last_layer_alone(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    loss = losses.AdaptiveLayerLoss(model, losses.MultipleNegativesRankingLoss(model))
    watching = trained(st_trainer(model, loss, tmp_path, steps=3))
    first = [one for one in watching.live.of(Coverage) if one.calls and one.step == 1]
    assert {(one.stream, one.calls) for one in first} == {("query", 1), ("document", 1)}
    assert len(watching.live.series("loss/MultipleNegativesRankingLoss.2").values) == 3


def test_a_loss_without_the_seam_is_heard_at_the_model(bert: Path, tmp_path: Path) -> None:
    model, guide = encoder(bert), encoder(bert)
    watching = trained(st_trainer(model, losses.GISTEmbedLoss(model, guide), tmp_path, steps=3))
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16)}
    assert len(watching.live.series("loss/GISTEmbedLoss").values) == 3


def test_the_model_and_a_guide_that_a_loss_holds_are_none_of_its_losses(bert: Path) -> None:
    class Wrapping(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

    model, guide = encoder(bert), encoder(bert)
    inner = losses.GISTEmbedLoss(model, guide)
    loss = losses.MatryoshkaLoss(model, inner, [16, 8])
    for held in (model, Wrapping(model)):
        loss.model = inner.model = held
        found = {id(one) for one in loss_modules(loss, model)}
        assert {id(loss), id(inner)} <= found
        assert not found & {id(one) for part in (held, guide) for one in part.modules()}


class Late(SentenceTransformer):
    """A model of late interaction as pylate's: vectors of tokens alone, and its own arguments of ``encode``."""

    def encode(self, sentences: Any, is_query: bool = True, show_progress_bar: bool = False) -> Any:
        raise AssertionError("not with our arguments")


def test_vectors_of_tokens_are_heard_where_a_model_makes_no_others(bert: Path, tmp_path: Path, caplog: Any) -> None:
    class MaxSim(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, labels: Any) -> Any:
            q, d = (self.model(one)["token_embeddings"] for one in features)
            scores = torch.einsum("qsd,ptd->qpst", q, d).amax(-1).sum(-1)
            return torch.nn.functional.cross_entropy(scores, torch.arange(len(q)))

    model = Late(modules=[Transformer(str(bert))], device="cpu")
    watching = trained(st_trainer(model, MaxSim(model), tmp_path, steps=3))
    assert heard(watching) == {"query": ("token", 16), "document": ("token", 16)}
    said = " ".join(one.message for one in watching.live.of(Event))
    assert "late interaction is not scored" in said and "Late does not encode texts" in caplog.text


def test_texts_without_a_batch_axis_are_counted_by_their_embeddings(bert: Path, tmp_path: Path) -> None:
    static = StaticEmbedding(AutoTokenizer.from_pretrained(bert), embedding_dim=16)
    model = SentenceTransformer(modules=[static], device="cpu")
    watching = trained(st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=3))
    assert {(one.stream, one.n) for one in watching.live.of(Coverage) if one.step == 1} == {
        ("query", 8),
        ("document", 8),
    }


def test_a_frozen_route_is_the_other_side(bert: Path, tmp_path: Path) -> None:
    """GradCache leaves it out of its second pass."""
    sides = [[Transformer(str(bert)), Pooling(16)] for _ in range(2)]
    sides[0][0].requires_grad_(False)
    router = Router.for_query_document(query_modules=sides[0], document_modules=sides[1])
    model = SentenceTransformer(modules=[router], device="cpu")
    loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=3)
    mapping = {"anchor": "query", "positive": "document"}
    watching = trained(st_trainer(model, loss, tmp_path, steps=3, router_mapping=mapping))
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16)}
    assert len(watching.live.series("query/norm_mean", on="batch").values) == 3


def test_late_interaction_is_read_as_mean_tokens_and_no_pairs_are(bert: Path, tmp_path: Path) -> None:
    model = MultiVectorEncoder(str(bert), device="cpu")
    args = MultiVectorEncoderTrainingArguments(output_dir=str(tmp_path), max_steps=3, **SHORT)
    loss = MultiVectorMultipleNegativesRankingLoss(model)
    watching = trained(MultiVectorEncoderTrainer(model=model, args=args, train_dataset=pairs(), loss=loss))
    assert heard(watching) == {"query": ("token", 128), "document": ("token", 128)}
    said = [one.message for one in watching.live.of(Event) if one.name == "note"]
    assert "its loss terms, and each text's mean token, are watched" in said[0] and "is not scored" in said[1]
    assert not any(name.startswith("pairs/") for name, _, _ in watching.live.keys)


@pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning")
def test_the_old_fit_is_watched_by_autolog(bert: Path, tmp_path: Path, monkeypatch) -> None:
    """It makes a trainer of its own, which writes below the working directory."""
    monkeypatch.chdir(tmp_path)
    model = encoder(bert)
    examples = [InputExample(texts=list(pair)) for pair in zip(*pairs()[:].values(), strict=True)]
    loader = DataLoader(examples, batch_size=8)
    with autolog(run=tmp_path / "run"):
        model.fit([(loader, losses.MultipleNegativesRankingLoss(model))], epochs=1, show_progress_bar=False)
    run = Run.load(tmp_path / "run")
    assert (run.status, run.steps) == ("completed", 8) and {"query", "document"} <= set(run.coverage)


def test_the_precision_is_the_trainers_whatever_its_outputs_say(bert: Path, tmp_path: Path) -> None:
    """Autocast ends inside of the model, whose outputs are float32 with the resolution of bf16."""
    model = encoder(bert)
    watching = trained(st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=1, bf16=True))
    assert watching.live.config.precision == "bf16"


def test_what_the_user_names_is_taken(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=3)
    watching = trained(trainer, query="", document="")
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16)}
    assert {one.rule for one in watching.live.of(Coverage) if one.calls} == {"declared"}


def test_a_copy_is_the_users_alone(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=3)

    class Copying(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            features = [trainer.model.preprocess(texts(4, side)) for side in (1, 2)]
            for other in (copy.deepcopy(trainer.loss), pickle.loads(pickle.dumps(trainer.loss))):
                assert other(features, None).item() > 0
                assert other.compute_loss_from_embeddings.__self__ is other

    trainer.add_callback(Copying())
    watching = trained(trainer)
    assert sum(one.n for one in watching.live.of(Coverage) if one.stream == "query") == 3 * 8
    assert len(watching.live.series("loss/total").values) == 3


def test_data_sets_are_told_apart(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    data = DatasetDict({"one": pairs(32), "two": pairs(32, seed=8)})
    loss = {name: losses.MultipleNegativesRankingLoss(model) for name in data}
    watching = trained(st_trainer(model, loss, tmp_path, data=data, steps=8))
    found = [watching.live.series("query/norm_mean", dataset=name).values for name in data]
    assert min(map(len, found)) >= 1 and sum(map(len, found)) == 8


def test_the_norm_is_heard_before_and_after_clipping(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(
        model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=4, logging_steps=1, max_grad_norm=0.5
    )
    watching = trained(trainer)
    logged = [one["grad_norm"] for one in trainer.state.log_history if "grad_norm" in one]
    assert list(watching.live.series("gradient/norm").values) == pytest.approx(logged)
    assert list(watching.live.series("gradient/clipped_norm").values) == pytest.approx([0.5] * 4, rel=1e-4)


def test_without_clipping_there_is_one_norm(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(model, losses.MultipleNegativesRankingLoss(model), tmp_path, steps=2, max_grad_norm=0.0)
    watching = trained(trainer)
    assert len(watching.live.series("gradient/norm").values) == 2
    assert not len(watching.live.series("gradient/clipped_norm").values)


def test_nan_that_the_trainer_logs_as_zero_is_heard_at_its_step(bert: Path, tmp_path: Path) -> None:
    class Breaking(losses.MultipleNegativesRankingLoss):
        calls = 0

        def forward(self, features: Any, labels: Any) -> Any:
            self.calls += 1
            loss = super().forward(features, labels)
            return loss * float("nan") if self.calls >= 7 else loss

    model = encoder(bert)
    trainer = st_trainer(model, Breaking(model), tmp_path, steps=12, logging_steps=3)
    watching = trained(trainer)
    assert [one["loss"] for one in trainer.state.log_history if "loss" in one][-1] == 0.0
    found = [one for one in watching.live.of(Event) if one.name == "not_finite" and one.subject == "loss/Breaking"]
    assert [one.step for one in found] == [7]


class Sharp(SentenceTransformerTrainer):
    """Looks in its evaluation at how steep the loss is, so that a backward comes through what is evaluated, too."""

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.enable_grad():
            loss = self.compute_loss(model, inputs)
            loss.backward()
        model.zero_grad()
        return loss.detach(), None, None


@pytest.mark.parametrize("kind", [SentenceTransformerTrainer, Sharp])
def test_an_evaluation_is_no_training(kind: Any, bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(
        model,
        losses.MultipleNegativesRankingLoss(model),
        tmp_path,
        steps=4,
        eval_strategy="steps",
        eval_steps=1,
        eval_dataset=pairs(24, seed=5),
        logging_steps=1,
        trainer=kind,
    )
    watching = trained(trainer)
    assert sum(one.n for one in watching.live.of(Coverage) if one.stream == "query") == 4 * 8
    logged = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    assert list(watching.live.series("loss/total").values) == pytest.approx(logged, rel=1e-4)


def test_transformers_outputs_are_query_and_document(tmp_path: Path) -> None:
    trainer = hf_trainer(tmp_path, steps=4, logging_steps=1)
    watching = trained(trainer)
    assert heard(watching) == {"query": ("query", 16), "document": ("document", 16)}
    logged = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    assert list(watching.live.series("loss/total").values) == pytest.approx(logged, rel=1e-4)
    assert watching.live.config.reference.source == "replayed"


class InParts(TwoTowers):
    """A model whose output says what its loss is made of."""

    def forward(self, **batch: Any) -> dict[str, Any]:
        found = super().forward(**batch)
        own = found["q_reps"].square().mean()
        return {**found, "softmax_loss": found["loss"], "norm_loss": own, "loss": found["loss"] + own}


def test_parts_of_a_transformers_models_loss_are_heard_once(tmp_path: Path) -> None:
    watching = trained(hf_trainer(tmp_path, steps=4, model=InParts()))
    read = {name: watching.live.series(f"loss/{name}").values for name in ("total", "softmax_loss", "norm_loss")}
    assert list(read["total"]) == pytest.approx(list(read["softmax_loss"] + read["norm_loss"]), rel=1e-4)
    assert len(read["total"]) == 4 and not len(watching.live.series("loss/loss").values)


@pytest.mark.parametrize("kind", ["dictionary", "nested"])
def test_terms_of_a_trainers_loss_have_their_forces(kind: str, bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    if kind == "dictionary":
        loss: Any = losses.GlobalOrthogonalRegularizationLoss(model)
    else:
        loss = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), [16, 8])
    watching = trained(st_trainer(model, loss, tmp_path, steps=3))
    names = sorted(name for name, _, _ in watching.live.keys if name.startswith("force/") and name.endswith("/share"))
    terms = ("gor_mean", "gor_second_moment")
    if kind == "nested":
        terms = ("MultipleNegativesRankingLoss.16", "MultipleNegativesRankingLoss.8")
    assert names == [f"force/{term}/share" for term in terms]
    shares = [watching.live.series(name, on="batch").values for name in names]
    assert sum(shares) == pytest.approx([1.0] * 3) and min(shares[0].min(), shares[1].min()) > 0.2
