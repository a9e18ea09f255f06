"""Which checkpoint is kept, when training stops, and what the validation loss says of retrieval."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests_support import FoundingWriter, toy_evaluation, toy_run

from collapse_probe.diagnosis import choose_checkpoint, findings, loss_against_retrieval
from collapse_probe.journal import Run
from collapse_probe.respred import Recipe
from collapse_probe.respred.training._selection import development_history, should_stop

FALLING = Recipe(batch_size=32, epochs=3, learning_rate=1e-2)


def development(**changes):
    data = toy_evaluation(queries=30, documents=120)
    collection = replace(data.collection, name="toy", split="dev")
    return replace(data, collection=collection, role="development", **changes)


def trained(folder, recipe) -> Run:
    toy_run(folder, recipe, evaluations=[toy_evaluation(), development()])
    return Run.load(folder)


def test_the_raw_encoder_and_step_0_can_be_chosen(tmp_path):
    """On vectors that training only spoils, doing nothing is the best checkpoint."""
    run = trained(tmp_path / "run", FALLING)
    records = {(r["path"], r["epoch"]): r for r in run.records("evaluation") if r["role"] == "development"}
    values = {key: r["metrics"]["ndcg@10"] for key, r in records.items() if key[0] in ("raw", "no_predictor")}
    choice = choose_checkpoint(run)
    assert (choice.path, choice.epoch) == max(values, key=values.get)
    assert choice.path == "raw"
    assert "of 8 candidates with the raw encoder, step 0 and 3 interpolations among them" in choice.why


def test_the_validation_loss_decides_only_where_it_is_asked_for(tmp_path):
    run = trained(tmp_path / "run", FALLING)
    assert choose_checkpoint(run).rule == "ndcg@10"
    asked = trained(tmp_path / "asked", replace(FALLING, select="validation_loss"))
    choice = choose_checkpoint(asked)
    losses = asked.readings("validation/total")
    assert choice.rule == "validation_loss"
    assert choice.epoch == losses.loc[losses["value"].idxmin(), "epoch"]
    last = trained(tmp_path / "last", replace(FALLING, select="last"))
    assert (choose_checkpoint(last).rule, choose_checkpoint(last).epoch) == ("last", 3)


def test_without_a_development_split_the_last_epoch_is_kept(tmp_path):
    toy_run(tmp_path / "run", FALLING)
    choice = choose_checkpoint(Run.load(tmp_path / "run"))
    assert (choice.rule, choice.epoch) == ("last", 3)
    assert "no development split" in choice.why


def test_the_development_split_is_in_no_verdict(tmp_path):
    run = trained(tmp_path / "run", FALLING)
    assert {f.subject for f in findings(run) if f.code == "CP201"} == {"toy", "reference pairs"}


def test_early_stopping_ends_a_run_that_falls(tmp_path):
    recipe = replace(FALLING, epochs=6, early_stop="ndcg@10")
    run = trained(tmp_path / "run", recipe)
    history = development_history(run, recipe)
    assert len(history) < 7
    assert should_stop(history, patience=1) and not should_stop(history[:-1], patience=1)
    assert run.status == "completed"
    assert [e["name"] for e in run.records("event")].count("early_stop") == 1


def test_patience_counts_evaluations_without_a_new_best():
    assert not should_stop([], patience=1)
    assert not should_stop([0.5], patience=1)
    assert should_stop([0.5, 0.5], patience=1)
    assert not should_stop([0.5, 0.4, 0.6], patience=1)
    assert should_stop([0.6, 0.4, 0.5], patience=2)


def journal_of(folder, losses, scores) -> Run:
    """A run of made-up losses and scores, an epoch each."""
    toy_run(folder, Recipe(batch_size=32, epochs=1), counterfactuals=False)
    kept = [line for line in (folder / "journal.jsonl").read_text().splitlines() if '"validation/' not in line]
    (folder / "journal.jsonl").write_text("\n".join(kept) + "\n")
    record = next(
        r for r in Run.load(folder).records("evaluation") if r["path"] == "no_predictor" and r["role"] == "test"
    )
    with FoundingWriter(folder / "journal.jsonl") as journal:
        for epoch, (loss, score) in enumerate(zip(losses, scores, strict=True)):
            where = {"step": epoch, "epoch": epoch}
            journal.readings({"validation/total": loss}, **where, n=32, dimension=1, dtype="float32")
            fields = {k: v for k, v in record.items() if k not in ("schema", "kind", "time")}
            journal.append("evaluation", {**fields, **where, "metrics": {"ndcg@10": score}})
    return Run.load(folder)


def test_a_loss_that_orders_checkpoints_the_wrong_way_round_is_found(tmp_path):
    losses = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    run = journal_of(tmp_path / "run", losses, [0.6, 0.58, 0.55, 0.5, 0.45, 0.4])
    found = loss_against_retrieval(run, "toy")
    assert (found.spearman, found.kendall, found.n) == (pytest.approx(1.0), pytest.approx(1.0), 6)
    assert found.p_value == pytest.approx(2 / 720)
    finding = next(f for f in findings(run) if f.code == "CP205")
    assert finding.status.value == "warning" and finding.n == 6
    good = journal_of(tmp_path / "good", losses, [0.4, 0.45, 0.5, 0.55, 0.58, 0.6])
    assert next(f for f in findings(good) if f.code == "CP205").status.value == "healthy"


def test_three_checkpoints_are_too_few_and_said_to_be(tmp_path):
    run = journal_of(tmp_path / "run", [3.0, 2.0, 1.0], [0.6, 0.5, 0.4])
    finding = next(f for f in findings(run) if f.code == "CP205")
    assert (finding.status.value, finding.n) == ("not measured", 3)
