"""``texts=False``: no text of a query or document is in a run's folder or its report."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loops import TwoTowers, descend, infonce
from plain_loops import pairs as batches
from sentence_transformers.sentence_transformer import losses
from watching.trainers_support import encoder, pairs, search, st_trainer

from collapse_probe import Run, WatchCallback, diagnose, write_report
from collapse_probe.exporting import described, export
from collapse_probe.journal import End
from collapse_probe.watching import watch

TEXT = "how is a zebra told from a horse"


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch, unrendered: None) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "0")
    monkeypatch.setattr(sys, "argv", ["train.py", "--query", TEXT])


def written(run: Path) -> bytes:
    """Return every byte of a run's folder, its report with the page, its exports and its card."""
    report = write_report(run, "report").parent
    assert (report / "index.html").is_file()
    for target in ("csv", "parquet", "tensorboard"):
        export(run, to=target, into=Path("exported") / target)
    places = (run, report, Path("exported"))
    files = [one for place in places for one in place.rglob("*") if one.is_file()]
    assert {one.suffix for one in files} >= {".jsonl", ".md", ".html", ".csv", ".parquet"}
    return b"\n".join([*(one.read_bytes() for one in files), described(Run.load(run)).card.encode()])


def fails_with_text(**options: Any) -> bytes:
    """Return what is written where the reference pairs and then the loop fail with a text in their message."""

    def reference() -> Any:
        raise ValueError(f"cannot embed {TEXT!r}")

    def train() -> None:
        model = TwoTowers(lambda a, b: (a, b))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sides = {"query": "query_tower", "document": "doc_tower"}
        with watch(model, optimizer=optimizer, **sides, reference=reference, run="run", **options):
            for a, b in batches(3):
                descend(optimizer, infonce(*model(a, b)))
            raise RuntimeError(f"too long: {TEXT}")

    with pytest.warns(RuntimeWarning, match="zebra"), pytest.raises(RuntimeError):
        train()
    return written(Path("run"))


def test_messages_of_errors_and_arguments_of_the_program_are_left_out():
    found = fails_with_text(texts=False)
    assert b"zebra" not in found
    assert b"ValueError (its message is left out: texts=False)" in found
    assert b"RuntimeError (its message is left out: texts=False)" in found
    assert diagnose("run").errors
    assert Run.load("run").config.command.endswith("train.py")


def test_they_are_kept_otherwise():
    found = fails_with_text()
    assert all(one in found for one in (b"cannot embed", b"too long: how is a zebra", b"--query"))


@pytest.mark.parametrize("callback", [False, True])
def test_a_trainers_texts_are_in_no_file(bert: Path, tmp_path: Path, callback: bool) -> None:
    model, data, evaluator = encoder(bert), pairs(), search()
    loss = losses.MultipleNegativesRankingLoss(model)
    options: dict[str, Any] = {"run": tmp_path / "run", "texts": False}
    held_out = pairs(32, seed=11)
    trainer = st_trainer(
        model,
        loss,
        tmp_path / "out",
        steps=6,
        data=data,
        evaluator=evaluator,
        eval_dataset=held_out,
        eval_strategy="steps",
        eval_steps=3,
        prompts={"anchor": "which zebra: ", "positive": "that zebra: "},
        callbacks=[WatchCallback(loss=loss, evaluator=evaluator, **options)] if callback else None,
    )
    watching = None if callback else watch(trainer, baseline=True, **options)
    trainer.train()
    assert watching is None or watching.closed
    found = written(tmp_path / "run")
    assert b"toy" in found
    assert b"ndcg@10" in found
    secret = [*evaluator.queries, *evaluator.corpus, "zebra"]
    secret += [text for rows in (data, held_out) for column in ("anchor", "positive") for text in rows[column]]
    assert [text for text in secret if text.encode() in found] == []


def test_what_watching_cost_is_measured_in_the_run(tmp_path: Path) -> None:
    """A sleep of the user's is the run's; one in what is called for the reference pairs is ours."""
    model = TwoTowers(lambda a, b: (a, b))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held_out = next(iter(batches(1)))
    calls = []

    def reference() -> Any:
        calls.append(time.sleep(0.02))
        return model(*held_out)

    sides = {"query": "query_tower", "document": "doc_tower"}
    with watch(model, optimizer=optimizer, **sides, reference=reference, run=tmp_path / "run"):
        for a, b in batches(5):
            time.sleep(0.02)
            descend(optimizer, infonce(*model(a, b)))
    (end,) = Run.load(tmp_path / "run").of(End)
    assert end.ours is not None and end.seconds is not None and calls
    assert end.ours >= 0.02 * len(calls) and end.seconds - end.ours >= 0.02 * 5
    said = f"Cost       {end.ours:.1f} s of {end.seconds:.1f} s went into watching; so short a run says little "
    said += "of a long one"
    assert diagnose(tmp_path / "run").summary.splitlines()[-1] == said
