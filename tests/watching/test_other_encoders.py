"""Trainers of models without one vector a text: judged by their evaluators, query by query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sparse_encoder import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from watching.trainers_support import SHORT, pairs, search

import collapse_probe
from collapse_probe.journal import Evaluation

EVALUATED = {"eval_strategy": "steps", "eval_steps": 6, "eval_on_start": True, "max_steps": 12}


def cross(bert: Path, folder: Path, evaluator: Any) -> Any:
    rows = pairs(64, labels=True)
    model = CrossEncoder(str(bert), num_labels=1, device="cpu")
    args = CrossEncoderTrainingArguments(
        output_dir=str(folder), **{**SHORT, **(EVALUATED if evaluator else {"max_steps": 3})}
    )
    loss = BinaryCrossEntropyLoss(model)
    return CrossEncoderTrainer(model=model, args=args, train_dataset=rows, loss=loss, evaluator=evaluator)


def reranking(**options: Any) -> CrossEncoderRerankingEvaluator:
    rows = pairs(40, seed=5)
    samples = []
    for at in range(3, 40):
        right = [] if at % 4 == 0 else [rows["positive"][at]]
        documents = [*rows["positive"][at - 3 : at], *right]
        samples.append({"query": rows["anchor"][at], "positive": [rows["positive"][at]], "documents": documents})
    return CrossEncoderRerankingEvaluator(samples, name="rerank", show_progress_bar=False, **options)


@pytest.mark.parametrize("always", [True, False])
def test_a_cross_encoder_is_judged_by_its_reranking(always: bool, bert: Path, tmp_path: Path) -> None:
    trainer = cross(bert, tmp_path, reranking(always_rerank_positives=always))
    watching = collapse_probe.watch(trainer, run=False)
    trainer.train()
    found = [one for one in watching.live.of(Evaluation) if one.collection == "rerank"]
    assert [one.step for one in found] == [0, 6, 12]
    for one, log in zip(found, [one for one in trainer.state.log_history if "eval_rerank_ndcg@10" in one], strict=True):
        content = watching.live.per_query(one.per_query)
        for metric in ("ndcg@10", "mrr@10"):
            assert sum(content[metric]) / 37 == pytest.approx(log[f"eval_rerank_{metric}"]) == one.metrics[metric]
    diagnosis = collapse_probe.diagnose(watching)
    assert diagnosis.retrieval[0]["change"]["low"] is not None
    assert "retrieval or separation" not in {one.what for one in diagnosis.not_measured}


def test_without_an_evaluator_it_is_said_what_to_give(bert: Path, tmp_path: Path) -> None:
    trainer = cross(bert, tmp_path, None)
    watching = collapse_probe.watch(trainer, run=False)
    trainer.train()
    missing = collapse_probe.diagnose(watching).not_measured[0]
    assert missing.what == "retrieval or separation"
    assert missing.why == (
        "a CrossEncoderTrainer trains no model of embeddings: its loss terms alone are watched; give an evaluator that "
        "scores queries, and it is judged by that"
    )


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_a_sparse_encoder_is_judged_by_its_search(bert: Path, tmp_path: Path) -> None:
    known = search(queries=40)
    queries, corpus = (
        dict(zip(known.queries_ids, known.queries, strict=True)),
        dict(zip(known.corpus_ids, known.corpus, strict=True)),
    )
    evaluator = SparseInformationRetrievalEvaluator(queries, corpus, known.relevant_docs, name="sparse")
    model = SparseEncoder(modules=[MLMTransformer(str(bert)), SpladePooling()], device="cpu")
    args = SparseEncoderTrainingArguments(output_dir=str(tmp_path), **{**SHORT, **EVALUATED})
    loss = SpladeLoss(model, SparseMultipleNegativesRankingLoss(model), document_regularizer_weight=1e-5)
    trainer = SparseEncoderTrainer(model=model, args=args, train_dataset=pairs(64), loss=loss, evaluator=evaluator)
    watching = collapse_probe.watch(trainer, run=False)
    trainer.train()
    found = [one for one in watching.live.of(Evaluation) if one.collection == "sparse"]
    assert [(one.step, one.n_queries, one.similarity) for one in found] == [(at, 40, "dot") for at in (0, 6, 12)]
    diagnosis = collapse_probe.diagnose(watching)
    assert diagnosis.retrieval[0]["change"]["low"] is not None and not diagnosis.errors
    assert "retrieval or separation" not in {one.what for one in diagnosis.not_measured}
