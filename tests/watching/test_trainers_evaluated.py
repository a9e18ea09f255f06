"""What a trainer's evaluators and data give: scores, rankings, reference pairs, a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from plain_loops import seed_all
from sentence_transformers import util
from sentence_transformers.base.evaluation import SequentialEvaluator
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    TripletEvaluator,
)
from watching.trainers_support import Counting, encoder, pairs, search, st_trainer, texts

from collapse_probe.journal import Evaluation, Event, Run, read_rankings
from collapse_probe.reporting import write_report
from collapse_probe.watching import Watch, WatchCallback, watch
from collapse_probe.watching._domains import Domains


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")


def make(bert: Path, folder: Path, **options: Any) -> Any:
    """Return a trainer with the softmax loss."""
    model = encoder(bert)
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), folder / "out", **options)


def scores(watching: Watch, collection: str = "toy") -> list[Evaluation]:
    """Return the evaluations of a collection."""
    return [one for one in watching.live.of(Evaluation) if one.collection == collection]


def test_rankings_become_scores_of_every_query(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=6, evaluator=search(), eval_strategy="steps", eval_steps=3)
    watching = watch(trainer, run=tmp_path / "run", baseline=False)
    trainer.train()
    found = scores(watching)
    assert [one.step for one in found] == [3, 6]
    logged = [one for one in trainer.state.log_history if "eval_toy_cosine_ndcg@10" in one]
    for one, log in zip(found, logged, strict=True):
        assert one.metrics["ndcg@10"] == pytest.approx(log["eval_toy_cosine_ndcg@10"])
        content = watching.live.per_query(one.per_query)
        assert len(content["query_ids"]) == 12
        for name in ("ndcg@10", "mrr@10"):
            assert np.mean(content[name]) == pytest.approx(log[f"eval_toy_cosine_{name}"])
        kept = read_rankings(watching.live, one.per_query)
        assert content["mrr@10"] == [1 / rank if rank and rank <= 10 else 0.0 for rank in kept.best]
        assert [len(set(row)) for row in kept.top] == [10] * 12 and kept.n_documents == 40


@pytest.mark.parametrize("watched", [False, True])
def test_the_evaluators_vectors_cost_no_forward_pass(watched: bool, bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=6, evaluator=search(), eval_strategy="steps", eval_steps=3, num_train_epochs=1)
    counting = Counting(trainer.model)
    watching = watch(trainer, run=False, baseline=False) if watched else None
    trainer.train()
    evaluated = 2 * (12 + 40)
    if watching is None:
        assert counting.texts == evaluated
        return
    assert watching.live.config.reference.source == "evaluator"
    # 12 pairs are read at step 0; at steps 3 and 6, and at the end, the evaluator's own vectors are there.
    assert counting.texts == evaluated + 24
    read = [one.step for one in scores(watching, "reference pairs")]
    assert read == [0, 3, 6]


def test_the_evaluators_vectors_are_those_of_the_pairs(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=2, evaluator=search(), eval_strategy="steps", eval_steps=2)
    watching = watch(trainer, run=False, baseline=False)
    trainer.train()
    assert [one.step for one in scores(watching, "reference pairs")] == [0, 2]
    data = pairs(40)
    for side, column in (("query", "anchor"), ("document", "positive")):
        vectors = trainer.model.encode(data[column][:12], convert_to_tensor=True)
        read = watching.live.series(f"{side}/norm_mean", on="reference").values[-1]
        assert read == pytest.approx(vectors.norm(dim=1).mean().item(), rel=1e-5)


def test_several_evaluators_are_several_collections(bert: Path, tmp_path: Path) -> None:
    triplets = TripletEvaluator(texts(8, 1), texts(8, 2), texts(8, 3), name="three")
    evaluator = SequentialEvaluator([search(name="a"), search(name="b", seed=30), triplets])
    trainer = make(bert, tmp_path, steps=2, evaluator=evaluator, eval_strategy="steps", eval_steps=2)
    watching = watch(trainer, run=False, baseline=False)
    trainer.train()
    found = {one.collection: one for one in watching.live.of(Evaluation)}
    assert {"a", "b", "three"} <= set(found)
    assert found["a"].domain == "in" and found["b"].domain is None
    assert set(found["three"].metrics) == {"cosine_accuracy"}
    assert "evaluation" not in found, "a sequence's own score is its last evaluator's"


def told(trained: Any, held_out: Any, evaluator: Any, *names: str | None) -> str | None:
    """Return the domain of an evaluator, of data sets with names."""
    for data, name in zip((trained, held_out), names, strict=False):
        data.info.dataset_name = name
    return Domains(trained, held_out).of(evaluator)


def test_a_held_out_split_is_of_the_domain_that_is_trained_on() -> None:
    assert told(pairs(), None, search()) == "in"
    assert told(pairs(), None, search(seed=30)) is None
    assert told(pairs(), pairs(seed=30), search(seed=30)) == "in", "texts of the evaluation data"
    assert told(pairs(), pairs(seed=30), search(seed=30), "org/nli", "org/sts") is None, "those of another data set"
    assert told(pairs(), pairs(seed=30), search(seed=30), "org/nli", "org/nli") == "in"


@pytest.mark.parametrize("name", ["all-nli-dev", "all_nli", "all-nli-test"])
def test_an_evaluator_named_after_the_training_data_is_of_their_domain(name: str) -> None:
    assert told(pairs(), None, search(seed=30, name=name), "all-nli") == "in"
    assert told(pairs(), None, search(seed=30, name=f"x-{name}"), "all-nli") is None
    assert told(pairs(), None, search(seed=30, name="NanoNFCorpus"), "all-nli") == "out"


def test_queries_that_are_held_out_share_their_documents_with_the_training_data() -> None:
    trained = pairs(40)
    evaluator = InformationRetrievalEvaluator(
        {f"q{at}": text for at, text in enumerate(texts(400, 50))},
        {f"d{at}": text for at, text in enumerate([*texts(30, 60), *trained["positive"]])},
        {"q0": {"d0"}},
    )
    assert told(trained, None, evaluator) == "in"


def test_evaluators_of_other_kinds_have_a_domain_too(bert: Path, tmp_path: Path) -> None:
    data = pairs()
    triplets = [
        TripletEvaluator(data["anchor"][:8], data["positive"][:8], texts(8, 3), name="own"),
        TripletEvaluator(texts(8, 51), texts(8, 52), texts(8, 53), name="other"),
    ]
    trainer = make(
        bert, tmp_path, steps=2, evaluator=SequentialEvaluator(triplets), eval_strategy="steps", eval_steps=2
    )
    watching = watch(trainer, run=tmp_path / "run", baseline=False)
    trainer.train()
    assert [scores(watching, name)[-1].domain for name in ("own", "other")] == ["in", None]
    report = write_report(watching, tmp_path / "report", figures=False).read_text()
    assert (
        "### own\n\nn = 8 queries, scored by cosine, in the domain that is trained on" in report
        and "### other\n\nn = 8 queries, scored by cosine, whether in the domain that is trained on was not" in report
    )


def test_an_evaluation_by_hand_before_training_is_step_0(bert: Path, tmp_path: Path) -> None:
    evaluator = search()
    trainer = make(bert, tmp_path, steps=2, evaluator=evaluator, eval_strategy="steps", eval_steps=2)
    watching = watch(trainer, run=False, baseline=True)
    evaluator(trainer.model)
    trainer.train()
    assert [one.step for one in scores(watching)] == [0, 2]


def test_eval_on_start_is_step_0(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=2, evaluator=search(), eval_strategy="steps", eval_steps=2, eval_on_start=True)
    watching = watch(trainer, run=False, baseline=True)
    trainer.train()
    assert [one.step for one in scores(watching)] == [0, 2]


@pytest.mark.parametrize(
    ("baseline", "rows", "runs"), [(True, 64, 1), (False, 4000, 0), (None, 64, 0), (None, 4000, 1)]
)
def test_the_baseline_runs_where_it_is_cheap_or_asked_for(
    baseline: bool | None, rows: int, runs: int, bert: Path, tmp_path: Path
) -> None:
    evaluator = search()
    trainer = make(bert, tmp_path, steps=1, evaluator=evaluator, data=pairs(rows))
    before = {name: value for name, value in vars(evaluator).items() if not callable(value)}
    watching = watch(trainer, run=False, baseline=baseline)
    trainer.train()
    assert [one.step for one in scores(watching)] == [0] * runs
    assert {name: value for name, value in vars(evaluator).items() if not callable(value)} == before
    assert trainer.model.model_card_data.eval_results_dict in (None, {})


def test_the_baseline_changes_no_bit(bert: Path, tmp_path: Path) -> None:
    weights = []
    for baseline in (False, True):
        seed_all()
        trainer = make(bert, tmp_path, steps=4, evaluator=search())
        seed_all()
        watch(trainer, run=False, baseline=baseline)
        trainer.train()
        weights.append(torch.cat([value.flatten() for value in trainer.model.parameters()]))
    assert torch.equal(*weights)


def test_evaluation_pairs_come_first_and_are_not_seen(bert: Path, tmp_path: Path) -> None:
    data = pairs(600, seed=4)
    trainer = make(bert, tmp_path, steps=1, eval_dataset=data, evaluator=search())
    watching = watch(trainer, run=False)
    trainer.train()
    about = watching.live.config.reference
    assert (about.source, about.n, about.seen) == ("evaluation pairs", 512, False)
    assert watching.live.config.examples == 64


def test_training_pairs_are_marked_as_seen(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=1)
    watching = watch(trainer, run=False)
    trainer.train()
    assert (watching.live.config.reference.source, watching.live.config.reference.seen) == ("training pairs", True)


def test_reference_false_reads_none_and_given_texts_are_taken(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=1)
    watching = watch(trainer, run=False, reference=False)
    trainer.train()
    assert watching.live.config.reference is None
    assert not scores(watching, "reference pairs")
    trainer = make(bert, tmp_path, steps=1)
    given = list(zip(texts(9, 1), texts(9, 2), strict=True))
    watching = watch(trainer, run=False, reference=given)
    trainer.train()
    assert watching.live.config.reference.source == "given"
    assert [one.step for one in scores(watching, "reference pairs")] == [0, 1]


def test_a_stream_of_data_is_never_drawn_from(bert: Path, tmp_path: Path) -> None:
    drawn = []

    def rows() -> Any:
        for row in pairs(64):
            drawn.append(row)
            yield row

    data = IterableDataset.from_generator(rows, features=pairs(1).features)
    trainer = make(bert, tmp_path, steps=2, data=data)
    watching = watch(trainer, run=False)
    trainer.train()
    assert watching.live.config.reference is None
    assert len(drawn) <= 2 * 8 + 8 + 2


def test_the_part_between_encodes_the_part_alone(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=2, data=pairs(300))
    counting = Counting(trainer.model)
    watching = watch(trainer, run=False, reference_every=1, baseline=False)
    trainer.train()
    assert isinstance(trainer.train_dataset, Dataset)
    # All 300 pairs at step 0, 128 after steps 1 and 2, and all again at the end.
    assert counting.texts == 2 * (300 + 128 + 128 + 300)
    assert watching.closed


def test_an_evaluation_by_the_trainer_before_training_is_that_of_step_0(bert: Path, tmp_path: Path) -> None:
    """Of an evaluator without rankings, whose scores only the trainer's own event brings."""
    data = pairs(20, seed=9, labels=True)
    evaluator = EmbeddingSimilarityEvaluator(data["anchor"], data["positive"], data["label"], name="sts")
    trainer = make(bert, tmp_path, steps=2, evaluator=evaluator, eval_dataset=pairs(16, seed=4))
    watching = watch(trainer, run=False, reference=False)
    before = trainer.evaluate()
    trainer.train()
    (one,) = scores(watching, "sts")
    assert one.step == 0
    assert one.metrics["spearman_cosine"] == pytest.approx(before["eval_sts_spearman_cosine"])
    assert [(one.step, set(one.metrics)) for one in scores(watching, "evaluation")] == [(0, {"loss"})]


def test_a_callback_hears_an_evaluation_before_training(bert: Path, tmp_path: Path) -> None:
    callback = WatchCallback(run=False, reference=False)
    trainer = make(bert, tmp_path, steps=2, eval_dataset=pairs(16, seed=4), callbacks=[callback])
    trainer.evaluate()
    trainer.train()
    found = [one for one in callback.watch.live.of(Evaluation) if one.collection == "evaluation"]
    assert [one.step for one in found] == [0]


@pytest.mark.parametrize("said", ["model", "loss", "user"])
def test_a_plain_loop_scores_as_its_model_says(bert: Path, tmp_path: Path, said: str) -> None:
    model = encoder(bert)
    if said != "loss":
        model.similarity_fn_name = "dot"
    loss = losses.MultipleNegativesRankingLoss(model, scale=1.0, similarity_fct=util.dot_score)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    options = {"similarity": "euclidean"} if said == "user" else {}
    data = pairs(16)
    with watch(model, optimizer=optimizer, loss=loss, run=tmp_path / "run", **options) as w:
        for _ in range(3):
            loss([model.preprocess(list(data[side])) for side in ("anchor", "positive")], None).backward()
            optimizer.step()
            optimizer.zero_grad()
    config = Run.load(tmp_path / "run").config
    assert config.similarity == w.recorder.similarity == {"model": "dot", "loss": "cosine", "user": "euclidean"}[said]
    assert config.trained_by == "dot"
    noted = [one.message for one in w.live.of(Event) if one.subject == "similarity"]
    assert noted == (["the model scores by dot, and so it is judged here"] if said == "model" else [])
