"""Evaluators of sentence-transformers as people set them up: several scores, NanoBEIR, triplets, and no bit changed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from plain_loops import random_state, seed_all
from sentence_transformers import util
from sentence_transformers.base.evaluation import SequentialEvaluator
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    NanoBEIREvaluator,
    TripletEvaluator,
)
from watching.trainers_support import Counting, encoder, pairs, search, st_trainer

from collapse_probe import diagnose, watch, write_report
from collapse_probe.journal import Evaluation, Run, read_rankings

FUNCTIONS = {"dot": util.dot_score, "cosine": util.cos_sim}
STEPS = {"steps": 4, "eval_strategy": "steps", "eval_steps": 2}


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")


def make(bert: Path, folder: Path, evaluator: Any, **options: Any) -> Any:
    """Return a trainer with the softmax loss."""
    model = encoder(bert)
    loss = losses.MultipleNegativesRankingLoss(model)
    return st_trainer(model, loss, folder / "out", evaluator=evaluator, **{**STEPS, **options})


def searching(**options: Any) -> InformationRetrievalEvaluator:
    """Return an evaluator of 12 queries."""
    known = search()
    queries, corpus = (
        dict(zip(ids, rows, strict=True))
        for ids, rows in ((known.queries_ids, known.queries), (known.corpus_ids, known.corpus))
    )
    return InformationRetrievalEvaluator(queries, corpus, known.relevant_docs, **{"name": "toy", **options})


def triplets(rows: int = 24, *, seed: int = 4, **options: Any) -> TripletEvaluator:
    """Return an evaluator of triplets whose columns are those of a data set, as people hand them over."""
    data = pairs(rows, seed=seed, negatives=True)
    return TripletEvaluator(data["anchor"], data["positive"], data["negative"], **{"name": "three", **options})


def nano(monkeypatch: pytest.MonkeyPatch, *names: str, **options: Any) -> NanoBEIREvaluator:
    """Return a NanoBEIR evaluator whose data sets are made up."""

    def made(self: Any, subset: str, split: str, required_columns: list[str]) -> Dataset:
        known = pairs(16, seed=len(split))
        if subset == "qrels":
            return Dataset.from_dict(
                {"query-id": [f"q{at}" for at in range(8)], "corpus-id": [f"d{at}" for at in range(8)]}
            )
        side, key, rows = ("positive", "d", 16) if subset == "corpus" else ("anchor", "q", 8)
        return Dataset.from_dict({"_id": [f"{key}{at}" for at in range(rows)], "text": known[side][:rows]})

    monkeypatch.setattr(NanoBEIREvaluator, "_load_dataset_subset_split", made)
    return NanoBEIREvaluator(list(names), **options)


def scores(watching: Any, collection: str) -> list[Evaluation]:
    """Return the evaluations of a collection."""
    return [one for one in watching.live.of(Evaluation) if one.collection == collection]


@pytest.mark.parametrize("main", [None, "dot"])
def test_one_of_several_score_functions_is_judged_and_the_others_are_kept(
    main: str | None, bert: Path, tmp_path: Path
) -> None:
    trainer = make(bert, tmp_path, searching(score_functions=FUNCTIONS, main_score_function=main))
    watching = watch(trainer, run=False, baseline=True)
    trainer.train()
    judged, other = ("dot", "cosine") if main else ("cosine", "dot")
    found = scores(watching, "toy")
    assert [one.step for one in found] == [0, 2, 4] and {one.similarity for one in found} == {judged}
    log = [one for one in trainer.state.log_history if "eval_toy_dot_ndcg@10" in one][-1]
    assert found[-1].metrics["ndcg@10"] == pytest.approx(log[f"eval_toy_{judged}_ndcg@10"])
    assert found[-1].metrics[f"{other}_ndcg@10"] == pytest.approx(log[f"eval_toy_{other}_ndcg@10"])
    content = watching.live.per_query(found[-1].per_query)
    assert np.mean(content["ndcg@10"]) == pytest.approx(log[f"eval_toy_{judged}_ndcg@10"])
    assert watching.live.config.session and diagnose(watching).retrieval[1]["metric"] == "ndcg@10"


def test_what_is_scored_before_training_is_judged_as_the_model_scores(bert: Path, tmp_path: Path) -> None:
    """Bug: before training it was judged by cosine, and from then on by the model's own dot product."""
    evaluator = searching(score_functions=FUNCTIONS)
    trainer = make(bert, tmp_path, evaluator, steps=2)
    trainer.model.similarity_fn_name = "dot"
    watching = watch(trainer, run=False, baseline=False)
    before = evaluator(trainer.model)
    trainer.train()
    first, last = scores(watching, "toy")
    assert (first.step, first.similarity, last.similarity) == (0, "dot", "dot")
    assert first.metrics["ndcg@10"] == pytest.approx(before["toy_dot_ndcg@10"])


def test_vectors_that_are_cut_are_no_reference_where_whole_ones_are(bert: Path, tmp_path: Path) -> None:
    cut, whole = (searching(name=f"dim-{size}", truncate_dim=size) for size in (8, None))
    trainer = make(bert, tmp_path, SequentialEvaluator([cut, whole]))
    watching = watch(trainer, run=False, baseline=False)
    trainer.train()
    assert [len(scores(watching, name)) for name in ("dim-8", "dim-None")] == [2, 2]
    series = watching.live.series("query/norm_mean", on="reference")
    assert set(series.dimension) == {16} and [int(step) for step in series.steps] == [0, 2, 4]


@pytest.mark.parametrize("names", [("scifact", "nfcorpus"), ("scifact",)])
def test_nanobeir_is_read_data_set_by_data_set(
    names: tuple[str, ...], bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(bert, tmp_path, nano(monkeypatch, *names))
    watching = watch(trainer, run=False, baseline=True)
    trainer.train()
    log = [one for one in trainer.state.log_history if "eval_NanoSciFact_cosine_ndcg@10" in one][-1]
    found = scores(watching, "NanoSciFact")
    assert [one.step for one in found] == [0, 2, 4] and {one.domain for one in found} == {"out"}
    assert found[-1].metrics["ndcg@10"] == pytest.approx(log["eval_NanoSciFact_cosine_ndcg@10"])
    assert all(read_rankings(watching.live, one.per_query) for one in (found[0], found[-1]))
    means = scores(watching, "NanoBEIR_mean")
    assert [one.step for one in means] == ([0, 2, 4] if len(names) > 1 else [])
    if means:
        assert means[-1].metrics["ndcg@10"] == pytest.approx(log["eval_NanoBEIR_mean_cosine_ndcg@10"])
        assert means[-1].mean_of == ["NanoSciFact", "NanoNFCorpus"]
        row = next(one for one in diagnose(watching).retrieval if one["collection"] == "NanoBEIR_mean")
        changes = [
            [
                after - before
                for before, after in zip(
                    *(watching.live.per_query(one.per_query)["ndcg@10"] for one in two), strict=True
                )
            ]
            for two in ((scores(watching, name)[0], scores(watching, name)[-1]) for name in means[-1].mean_of)
        ]
        assert row["n"] == 16 and row["change"]["value"] == pytest.approx(np.mean([np.mean(one) for one in changes]))
        error = np.sqrt(sum(np.var(one, ddof=1) / len(one) for one in changes)) / len(changes)
        assert row["change"]["high"] - row["change"]["low"] == pytest.approx(2 * 2.14 * error, rel=0.1)
    assert not scores(watching, "evaluation")


@pytest.mark.parametrize("mean", [True, False])
def test_a_sequence_that_scores_by_a_mean_has_an_interval(mean: bool, bert: Path, tmp_path: Path) -> None:
    parts = [searching(name=name) for name in ("one", "two")]
    parts[1].queries = parts[1].queries[::-1]
    function = (lambda found: sum(found) / len(found)) if mean else (lambda found: 2 * found[0] + found[1])
    trainer = make(bert, tmp_path, SequentialEvaluator(parts, main_score_function=function))
    watching = watch(trainer, run=False, baseline=True)
    trainer.train()
    found = scores(watching, "mean of the sequence")
    assert [one.mean_of for one in found] == ([["one", "two"]] * 3 if mean else [])
    assert bool(scores(watching, "evaluation")) != mean
    if mean:
        row = next(one for one in diagnose(watching).retrieval if one["collection"] == "mean of the sequence")
        assert row["n"] == 24 and row["change"]["low"] < row["change"]["value"] < row["change"]["high"]


def test_triplets_are_read_one_by_one(bert: Path, tmp_path: Path) -> None:
    evaluator = triplets(similarity_fn_names=["cosine", "dot"], margin={"cosine": 0.02})
    trainer = make(bert, tmp_path, evaluator)
    watching = watch(trainer, run=False, baseline=True, reference=False)
    trainer.train()
    found = scores(watching, "three")
    assert [(one.step, one.n_queries, one.similarity) for one in found] == [(at, 24, "cosine") for at in (0, 2, 4)]
    log = [one for one in trainer.state.log_history if "eval_three_cosine_accuracy" in one][-1]
    names = ["cosine_accuracy", "dot_accuracy", "max_accuracy"]
    assert found[-1].metrics == pytest.approx({name: log[f"eval_three_{name}"] for name in names})
    content = watching.live.per_query(found[-1].per_query)
    right, margins = np.array(content["cosine_accuracy"]), np.array(content["cosine_margin"])
    assert right.mean() == pytest.approx(log["eval_three_cosine_accuracy"])
    assert ((margins > 0.02) == right.astype(bool)).all()
    sides = [trainer.model.encode(list(getattr(evaluator, side))) for side in ("anchors", "positives", "negatives")]
    near, far = (util.pairwise_cos_sim(sides[0], side).numpy() for side in sides[1:])
    assert margins == pytest.approx(near - far, abs=1e-5)
    row = next(one for one in diagnose(watching).retrieval if one["collection"] == "three")
    assert (row["metric"], row["n"]) == ("cosine_accuracy", 24) and row["change"]["low"] is not None


def test_who_fell_among_triplets(bert: Path, tmp_path: Path) -> None:
    evaluator = triplets(60)
    trainer = make(bert, tmp_path, evaluator, steps=8, eval_steps=8, learning_rate=0.3, max_grad_norm=0.0)
    watching = watch(trainer, run=tmp_path / "run", baseline=True, reference=False)
    trainer.train()
    first, last = (watching.live.per_query(one.per_query)["cosine_accuracy"] for one in scores(watching, "three"))
    lost = [str(row) for row, (one, two) in enumerate(zip(first, last, strict=True)) if one > two]
    (found,) = diagnose(Run.load(tmp_path / "run")).who_fell
    assert len(lost) > 5 and {one.query for one in found.lost} == set(lost) and found.kept
    assert {(one.rank_before, one.rank_after) for one in found.lost} == {(1, 2)}
    report = write_report(Run.load(tmp_path / "run"), tmp_path / "report", figures=False)
    section = report.read_text().split("## Who fell")[1].split("\n## ")[0]
    assert "hubs" not in section and f"{len(lost)} of 60" in section
    with (report.parent / "failing_queries.csv").open(newline="") as file:
        rows = {one["query"]: one for one in csv.DictReader(file)}
    for query in lost:
        row = int(query)
        assert rows[query]["text"] == evaluator.anchors[row] and rows[query]["right_text"] == evaluator.positives[row]
        assert rows[query]["taken_by"] == f"negative {row}"


def test_the_vectors_of_triplets_are_reference_pairs_without_one_more_forward(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, triplets())
    counting = Counting(trainer.model)
    watching = watch(trainer, run=False, baseline=False)
    trainer.train()
    about = watching.live.config.reference
    assert (about.source, about.n, about.seen) == ("evaluator", 24, False)
    # 24 pairs are read at step 0; at steps 2 and 4, and at the end, the evaluator's own vectors are there.
    assert counting.texts == 2 * 3 * 24 + 48
    assert [one.step for one in scores(watching, "reference pairs")] == [0, 2, 4]


def _everything(monkeypatch: pytest.MonkeyPatch, write: bool) -> SequentialEvaluator:
    options = {"score_functions": FUNCTIONS, "write_csv": write}
    parts = [searching(**options), nano(monkeypatch, "scifact", "nq", write_csv=write), triplets(write_csv=write)]
    return SequentialEvaluator(parts, main_score_function=lambda found: found[0])


@pytest.mark.parametrize("write", [False, True])
def test_no_bit_of_training_and_no_score_changes(
    write: bool, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for watched in (False, True):
        seed_all()
        trainer = make(bert, tmp_path / str(watched), _everything(monkeypatch, write))
        seed_all()
        if watched:
            watch(trainer, run=False, baseline=True)
        trainer.train()
        log = [
            {k: v for k, v in one.items() if "per_second" not in k and "runtime" not in k}
            for one in trainer.state.log_history
        ]
        files = {
            one.name: one.read_bytes() for one in (tmp_path / str(watched)).rglob("*.csv") if one.parent.name == "eval"
        }
        assert bool(files) == write
        ends.append((trainer.model.state_dict(), log, random_state(), files))
    (weights, *rest), (others, *same) = ends
    assert all(torch.equal(one, others[name]) for name, one in weights.items())
    assert torch.equal(rest[1][0], same[1][0]) and rest[1][1:] == same[1][1:]
    assert rest[0] == same[0] and rest[2] == same[2]


def test_a_first_evaluation_that_is_not_of_step_0_is_not_called_so(bert: Path, tmp_path: Path) -> None:
    """Bug: without a baseline the report spoke of a change against step 0, of which nothing was scored."""
    trainer = make(bert, tmp_path, searching())
    watching = watch(trainer, run=tmp_path / "run", baseline=False)
    trainer.train()
    text = write_report(watching, tmp_path / "report", figures=False).read_text()
    (line,) = [one for one in text.splitlines() if one.startswith("- On toy, ")]
    assert "against step 2, where it was scored first" in line
    assert "  from step 2" in diagnose(watching).summary
    assert "toy: change against step 0" not in (tmp_path / "report" / "findings.json").read_text()


def test_evaluators_whose_names_begin_alike_keep_their_own_scores(bert: Path, tmp_path: Path) -> None:
    data = pairs(20, seed=9, labels=True)
    alike = [
        EmbeddingSimilarityEvaluator(data["anchor"], data["positive"], data["label"], name=n) for n in ("a", "a_b")
    ]
    trainer = make(bert, tmp_path, SequentialEvaluator([*alike, searching(name="a_b_c")]))
    watching = watch(trainer, run=False, baseline=False)
    trainer.train()
    log = [one for one in trainer.state.log_history if "eval_a_spearman_cosine" in one][-1]
    for name in ("a", "a_b"):
        metrics = scores(watching, name)[-1].metrics
        assert set(metrics) == {"pearson_cosine", "spearman_cosine"}
        assert metrics["spearman_cosine"] == pytest.approx(log[f"eval_{name}_spearman_cosine"])
    assert "ndcg@10" in scores(watching, "a_b_c")[-1].metrics and not scores(watching, "evaluation")
