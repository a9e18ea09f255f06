"""The losses of sentence-transformers: streams and roles of each, what is no stream, and the reference pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from watching.trainers_support import SHORT, pairs

import collapse_probe
from collapse_probe.journal import Coverage

PROGRAMS = Path(__file__).resolve().parents[2] / "benchmarks" / "losses"
PAIRED = {"query": "query", "document": "document"}
TRIPLES = {**PAIRED, "negative": "document"}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's program, which trains by each loss."""
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("program", None)
    import program

    yield program
    sys.modules.pop("program", None)


def test_the_benchmark_trains_by_every_loss(program: Any) -> None:
    assert set(program.names("sentence_transformer")) == set(program.DENSE)


@pytest.mark.parametrize(
    ("loss", "streams", "reference"),
    [
        ("MarginMSELoss", TRIPLES, 64),
        ("DistillKLDivLoss", TRIPLES, 64),
        ("MSELoss", {"embedding": None}, None),
        ("EmbedDistillLoss", PAIRED, 64),
        ("SoftmaxLoss", {"left": "left", "right": "right"}, None),
        ("ContrastiveTensionLoss", {"embedding": None}, 16),
        ("MegaBatchMarginLoss", PAIRED, 64),
        ("BatchHardSoftMarginTripletLoss", {"embedding": "class"}, 64),
        ("OnlineContrastiveLoss", {"left": "left", "right": "right"}, 32),
    ],
)
def test_streams_are_the_encoders_own_and_teachers_are_none(
    loss: str, streams: Any, reference: int | None, program: Any, bert: Path, tmp_path: Path
) -> None:
    rows = pairs(64)
    texts = list(zip(rows["anchor"], rows["positive"], strict=True))
    trainer, arguments, model, made, data, more = program.dense(str(bert), loss, texts)
    args = arguments(output_dir=str(tmp_path), **{**SHORT, "max_steps": 3, **more})
    made_trainer = trainer(model=model, args=args, train_dataset=data, loss=made)
    watching = collapse_probe.watch(made_trainer, run=False)
    made_trainer.train()
    heard = {one.stream: one for one in watching.live.of(Coverage) if one.calls}
    assert {name: one.role for name, one in heard.items()} == streams
    assert {one.dimension for one in heard.values()} == {16}
    known = watching.live.config.reference
    assert (known.n if known else None) == reference
