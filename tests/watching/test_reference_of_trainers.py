"""Pairs that a trainer's run is judged by: what its own data say, or why there are none and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from sentence_transformers.sentence_transformer import losses
from watching.trainers_support import encoder, pairs, st_trainer

import collapse_probe
from collapse_probe.journal import Coverage


@pytest.mark.parametrize("form", ["classes", "few", "kinds", "margins", "stream", "one", "unequal"])
def test_reference_pairs_are_made_of_what_labels_say_or_the_reason_is_said(
    form: str, bert: Path, tmp_path: Path
) -> None:
    model, rows = encoder(bert), pairs(64, negatives=True)
    loss: Any = losses.MultipleNegativesRankingLoss(model)
    data: Any = rows
    if form in ("classes", "few"):
        both = [text for pair in zip(rows["anchor"], rows["positive"], strict=True) for text in pair]
        labels = [at // 2 if form == "classes" else at % 4 for at in range(128)]
        data = Dataset.from_dict({"sentence": both, "label": labels})
        loss = losses.BatchAllTripletLoss(model)
    elif form == "kinds":
        data = rows.remove_columns("negative").add_column("label", [at % 3 for at in range(64)])
        loss = losses.SoftmaxLoss(model, 16, 3)
    elif form == "margins":
        data = rows.add_column("label", [0.1 * (at % 3) - 0.1 for at in range(64)])
        loss = losses.MarginMSELoss(model)
    elif form == "stream":
        data = rows.to_iterable_dataset()
    elif form == "one":
        data = Dataset.from_dict({"text": rows["anchor"], "label": [[0.0] * 16] * 64})
        loss = losses.MSELoss(model)
    else:
        data = pairs(64).add_column("label", [0.0] * 64)
        loss = losses.CoSENTLoss(model)
    trainer = st_trainer(model, loss, tmp_path, data=data, steps=6)
    watching = collapse_probe.watch(trainer, run=False)
    trainer.train()
    whys = {
        "few": "one column of texts, with two texts in 4 classes",
        "kinds": "the labels are kinds of pairs, and none says which texts belong together",
        "stream": "a stream, from which nothing is drawn",
        "one": "one column of texts",
        "unequal": "no label says that two texts belong together",
    }
    reference = watching.live.config.reference
    assert (reference.n if reference else None) == (None if form in whys else 64)
    if form in whys and form != "stream":
        found = collapse_probe.diagnose(watching)
        assert found.not_measured[0].why.startswith(f"no reference pairs in the training data: {whys[form]}")
        assert found.not_measured[0].why.endswith(
            "give reference=[(query, document), ...], or an evaluator that searches"
        )
    if form == "kinds":
        assert {one.stream: one.role for one in watching.live.of(Coverage) if one.calls} == {
            "left": "left",
            "right": "right",
        }


def test_what_labels_say_to_be_apart_is_read_at_step_0(bert: Path, tmp_path: Path) -> None:
    """Right pairs with label 0, others with 1: the first weights tell which of them belong together."""
    rows = pairs(96, labels=True)
    documents = [rows["positive"][at if at % 2 == 0 else at - 1] for at in range(96)]
    data = Dataset.from_dict({"a": rows["anchor"], "b": documents, "label": rows["label"]})
    model = encoder(bert)
    trainer = st_trainer(model, losses.CoSENTLoss(model), tmp_path, data=data, steps=2)
    watching = collapse_probe.watch(trainer, run=False)
    trainer.train()
    apart, own = (watching.live.series(f"pairs/{name}", on="reference") for name in ("negative_auc", "auc"))
    assert apart.steps.tolist() == [0] and apart.n.tolist() == [48]
    assert apart.values[0] > own.values[0] + 0.15
