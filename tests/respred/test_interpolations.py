"""Models between step 0 and the last epoch: scored without training, chosen by a development split, offered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests_support import toy_data, toy_evaluation, toy_run

from collapse_probe.diagnosis import Candidate, candidates, choose_checkpoint, diagnose, keeping, value_of
from collapse_probe.journal import Run
from collapse_probe.reporting import write_report
from collapse_probe.respred import Recipe, evaluate_head
from collapse_probe.respred.modules import build_head
from collapse_probe.respred.training._held_out import HELD_OUT, held_out_pairs
from collapse_probe.respred.training._interpolations import Ends, trained_weights
from collapse_probe.respred.training._saved import load_head
from collapse_probe.respred.training._selection import _interpolate
from collapse_probe.retrieval import between

RECIPE = Recipe(batch_size=32, epochs=2, learning_rate=1e-2)
SHARES = (0.25, 0.5, 0.75)


def development():
    data = toy_evaluation(queries=30, documents=120)
    return replace(data, collection=replace(data.collection, split="dev"), role="development")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "chosen"
    toy_run(folder, RECIPE, data=toy_data(texts=True), evaluations=[toy_evaluation(), development()])
    return Run.load(folder)


def middle(run: Run, t: float):
    """Return the head at a share of the way, made by hand from the run's seed and its last checkpoint."""
    checkpoint = max((run.folder / "checkpoints").iterdir(), key=lambda path: int(path.name[11:]))
    start, end = build_head(RECIPE, 16, seed=0), load_head(checkpoint, RECIPE, 16)
    start.load_state_dict(between(start.state_dict(), end.state_dict(), t))
    return start


@pytest.mark.parametrize("t", SHARES)
def test_what_is_recorded_is_what_the_weights_between_score(run, t):
    expected = evaluate_head(middle(run, t), toy_evaluation(), similarity="euclidean", device="cpu")
    for path, scores in expected.items():
        [one] = [
            r
            for r in run.records("counterfactual")
            if (r["t"], r["path"], r["split"], r["collection"]) == (t, path, "test", "toy")
        ]
        assert run.per_query(one["per_query"])[one["key"]] == list(scores.per_query["ndcg@10"].values())


def test_held_out_pairs_are_a_collection_of_the_trained_domain_with_all_candidates(run):
    found = candidates(run, HELD_OUT)
    path = "no_predictor"
    assert list(found) == [
        Candidate("raw", 0),
        *(Candidate(path, epoch) for epoch in range(3)),
        *(Candidate(path, 2, t) for t in SHARES),
    ]
    data = held_out_pairs(toy_data(texts=True))
    expected = evaluate_head(middle(run, 0.5), data, similarity="euclidean", device="cpu")[path].mean["ndcg@10"]
    assert value_of(found[Candidate(path, 2, 0.5)]) == expected
    row = next(one for one in diagnose(run).retrieval if one["collection"] == HELD_OUT)
    assert (row["domain"], row["n"]) == ("in", 32)


def test_they_are_candidates_of_the_development_split_beside_raw_step_0_and_the_epochs(run):
    found = candidates(run, "toy", role="development")
    labels = [one.label for one in found]
    of = "of the way from step 0 to epoch 2"
    assert labels == [
        "the raw encoder",
        "step 0",
        "epoch 1",
        "epoch 2",
        f"t = 0.25 {of}",
        f"t = 0.5 {of}",
        f"t = 0.75 {of}",
    ]
    chosen = choose_checkpoint(run).candidate
    assert value_of(found[chosen]) == max(map(value_of, found.values()))


def test_training_has_the_same_bits_with_and_without(tmp_path):
    for name, counterfactuals in (("with", True), ("without", False)):
        toy_run(tmp_path / name, RECIPE, watch=(), counterfactuals=counterfactuals)
    files = [sorted((tmp_path / name).rglob("checkpoints/*/*/model.safetensors")) for name in ("with", "without")]
    assert len(files[0]) == 4
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert not Run.load(tmp_path / "without").records("counterfactual")


def test_encoder_layers_are_put_in_between_and_back_bit_for_bit():
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    encoder[0].requires_grad_(False)
    start = trained_weights(encoder)
    assert set(start) == {"1.weight", "1.bias"}
    with torch.no_grad():
        encoder[1].weight.mul_(3)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    heads = [build_head(Recipe(), 4, seed=seed) for seed in (0, 1)]
    ends = Ends(Recipe(), *heads, encoder, start)
    with ends.at(0.5, dimension=4, device="cpu"):
        torch.testing.assert_close(encoder[1].weight, before["1.weight"] * 2 / 3)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_the_saved_interpolation_is_of_every_module_that_was_trained():
    start, end = ([torch.nn.Linear(2, 2), build_head(Recipe(), 2, seed=seed)] for seed in (0, 1))
    frozen = torch.nn.Linear(2, 2)
    expected = [between(a.state_dict(), b.state_dict(), 0.25) for a, b in zip(start, end, strict=True)]
    _interpolate([frozen, *start], [frozen, *end], 0.25)
    for module, state in zip(end, expected, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def planted(run: Run, folder: Path, scores: dict[str, list[float]], *, chosen_by: bool = False) -> Run:
    """Return a copy of a run with made-up scores of all queries, by ``VARIANT/EPOCH`` or share."""
    folder.mkdir()
    (folder / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    noise = np.random.default_rng(0).normal(0, 0.05, 40)
    (folder / "evaluations").mkdir()
    lines = []
    for line in (run.folder / "journal.jsonl").read_text().splitlines():
        record = json.loads(line)
        kind, held_out = record["kind"], record.get("collection") == HELD_OUT
        if kind == "evaluation" and record.get("role") != "reference":
            name = f"{record['variant']}/{record['epoch']}"
        elif record.get("family") == "interpolation":
            name = str(record.get("t", "raw/0"))
        else:
            lines.append(line)
            continue
        if record.get("role") == "development" and not chosen_by:
            record["role"] = "test"
            record["collection"] = "another"
        if held_out:
            name = f"pairs {name}"
        elif record["split"] == "dev" and not chosen_by:
            record["collection"] = "another"
        mean = scores.get(name, scores["pairs" if held_out else "rest"])
        values = (np.full(40, mean) + noise * (0.2 + mean)).tolist()
        file = f"evaluations/{len(lines)}.json"
        key = record.get("key") or "ndcg@10"
        (folder / file).write_text(json.dumps({"query_ids": [str(i) for i in range(40)], key: values}))
        lines.append(json.dumps({**record, "per_query": file, "n_queries": 40, "metrics": {"ndcg@10": mean}}))
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return Run.load(folder)


FORGOT = {"rest": 0.6, "no_predictor/1": 0.5, "no_predictor/2": 0.4, "0.25": 0.58, "0.5": 0.5, "0.75": 0.45}
PAIRS = {"pairs": 0.9, "pairs no_predictor/0": 0.8, "pairs raw/0": 0.8}


def test_an_interpolation_that_keeps_what_was_learnt_is_offered_with_its_interval(run, tmp_path):
    found = keeping(planted(run, tmp_path / "run", {**FORGOT, **PAIRS}))
    assert found is not None
    assert found.change == {"keep": "t = 0.25 of the way from step 0 to epoch 2"}
    assert found.gain == pytest.approx(0.18, abs=0.02)
    assert 0 < found.low < found.gain < found.high and found.reading.endswith("/ndcg@10")


def test_none_is_offered_that_learnt_nothing_or_is_worse_elsewhere(run, tmp_path):
    """Without a development split: as good as step 0 alone, or below the last epoch on the held-out pairs."""
    nothing = keeping(planted(run, tmp_path / "nothing", {**FORGOT, "pairs": 0.8}))
    assert nothing.change == {"keep": "the raw encoder"} and nothing.gain == pytest.approx(0.2, abs=0.02)
    worse = {f"pairs {t}": 0.85 for t in SHARES}
    assert keeping(planted(run, tmp_path / "worse", {**FORGOT, **PAIRS, **worse})) is None
    flat = {**FORGOT, **PAIRS, "0.25": 0.41, "0.5": 0.4, "0.75": 0.4}
    assert keeping(planted(run, tmp_path / "flat", flat)) is None


def test_a_gain_where_nothing_fell_is_offered(run, tmp_path):
    """Bug: half of the way gained on the held-out pairs, and only the collection that fell furthest was asked."""
    held_out = {"pairs": 0.8, "pairs no_predictor/0": 0.7, "pairs raw/0": 0.7, "pairs 0.5": 0.9}
    found = keeping(planted(run, tmp_path / "run", {"rest": 0.6, **held_out}))
    assert found.change == {"keep": "t = 0.5 of the way from step 0 to epoch 2"} and found.reading.startswith(HELD_OUT)


def test_an_earlier_one_of_finished_models_is_offered_as_a_model_between_is(run, tmp_path):
    models = [{"name": name, "step": step} for step, name in enumerate(("base", "early", "late"))]
    early = {**FORGOT, **PAIRS, "no_predictor/1": 0.6}
    folder = planted(run, tmp_path / "run", early).folder
    assert keeping(Run.load(folder)).change == {"keep": "t = 0.25 of the way from step 0 to epoch 2"}
    config = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**config, "examined": models}))
    found = keeping(Run.load(folder))
    assert found.change == {"keep": "early"} and found.gain == pytest.approx(0.2, abs=0.02) and found.low > 0


def test_what_a_development_split_chose_is_offered_whatever_it_is(run, tmp_path):
    chosen = planted(run, tmp_path / "run", {**FORGOT, **PAIRS, "raw/0": 0.7, "pairs raw/0": 0.9}, chosen_by=True)
    assert choose_checkpoint(chosen).path == "raw"
    assert keeping(chosen).change == {"keep": "the raw encoder"}


@pytest.mark.usefixtures("unrendered")
def test_the_report_and_the_first_screen_say_it(run, tmp_path):
    found = planted(run, tmp_path / "run", {**FORGOT, **PAIRS})
    text = write_report(found, tmp_path / "report").read_text()
    assert "## Which model to keep" in text
    assert "**t = 0.25 of the way from step 0 to epoch 2** gains" in text
    assert "adjusted for all that were compared" in text
    assert "keep t = 0.25 of the way" in " ".join(diagnose(found).summary.split())
    chosen = write_report(run, tmp_path / "chosen").read_text()
    assert "of 7 candidates with the raw encoder, step 0 and 3 interpolations among them" in chosen


@pytest.mark.usefixtures("unrendered")
def test_without_an_interpolation_what_was_there_before_training_is_offered(respred_run, tmp_path):
    toy_run(tmp_path / "run", replace(RECIPE, epochs=1), counterfactuals=False)
    run = Run.load(tmp_path / "run")
    assert keeping(run).change == {"keep": "the raw encoder"} and keeping(run.folder) is None
    assert "Models between step 0 and the last epoch: the run did not ask." in write_report(run, tmp_path).read_text()
