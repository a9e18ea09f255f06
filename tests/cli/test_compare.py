"""``collapse-probe compare`` on runs that were trained here, as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests_support import toy_run

from collapse_probe.cli import main
from collapse_probe.diagnosis import compare
from collapse_probe.journal import Run
from collapse_probe.respred import get_recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    toy_run(folder / "baseline", get_recipe("baseline"))
    for seed, name in enumerate(("one", "two")):
        toy_run(folder / name, replace(get_recipe("respred"), epochs=2, batch_size=32), seed=seed)
    return folder


@pytest.fixture
def run(runs, monkeypatch, capsys):
    """Return a function that runs ``compare`` among the runs and gives (code, stdout, stderr)."""
    monkeypatch.chdir(runs)

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["collapse-probe", "compare", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return (int(caught.value.code or 0), *capsys.readouterr())

    return invoke


def test_the_table_of_the_founding_document(run):
    code, out, err = run("one", "two", "baseline")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "model"
    for text in ("toy ndcg@10", "vs baseline", "vs one, epoch 2", "difference [95 % interval]", "p (Holm)"):
        assert text in lines[0]
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "Baseline (raw encoder), toy, euclidean",
        "Baseline (raw encoder), toy, cosine",
        "one, epoch 2",
        "two, epoch 2",
        "baseline, raw encoder",
    ]
    table = compare([Run.load(name) for name in ("one", "two", "baseline")])
    for line, row in zip(lines[1:], table, strict=False):
        assert f"{row.average:.4f}" in line
        if row.against_baseline is not None:
            assert f"{100 * row.against_baseline.relative:+.2f} %" in line
            p = row.against_baseline.adjusted_p
            assert (f"{p:.4f}" if p >= 1e-4 else "<0.0001") in line


def test_what_is_not_resolved_is_said_with_what_would_be(run):
    _, out, _ = run("one", "two")
    rows = compare([Run.load(name) for name in ("one", "two")])
    found = rows[2].against_reference
    smallest = found.difference.smallest_resolvable
    said = f"two, epoch 2 vs one, epoch 2: not resolved at n = 40 (would resolve {smallest:.3f})"
    assert (said in out) is not found.difference.resolved
    code, out, _ = run("one", "two", "--metric", "recall@100")
    assert code == 0
    assert "not resolved at n = 40 (would resolve " in out or "the same on every query, n = 40" in out


def test_every_epoch_and_another_reference(run):
    code, out, _ = run("one", "two", "--epochs", "all", "--against", "two")
    assert code == 0
    for name in ("one, step 0", "one, epoch 1", "one, epoch 2", "two, step 0", "vs two, epoch 2"):
        assert name in out


def test_the_baseline_as_the_first_run_is_the_only_reference(run):
    code, out, _ = run("baseline", "one")
    assert code == 0
    assert out.count("difference [95 % interval]") == 1


def test_the_file_holds_numbers_and_is_never_overwritten(run, tmp_path):
    file = tmp_path / "table.csv"
    code, out, _ = run("one", "two", "--csv", file)
    assert (code, f"table   {file}" in out) == (0, True)
    frame = pd.read_csv(file)
    rows = compare([Run.load(name) for name in ("one", "two")])
    assert list(frame["model"]) == [row.label for row in rows]
    assert frame["toy"].tolist() == pytest.approx([row.average for row in rows])
    assert frame["vs_baseline_low"][1] == pytest.approx(rows[1].against_baseline.difference.low)
    assert frame["vs_run_p_holm"][2] == pytest.approx(rows[2].against_reference.adjusted_p)
    before = file.read_bytes()
    code, _, err = run("one", "two", "--csv", file)
    assert (code, "is there already" in err) == (2, True)
    assert file.read_bytes() == before


WRONG = [
    ([], "compare needs at least two runs, got 0"),
    (["one"], "compare needs at least two runs, got 1"),
    (["one", "one"], "one: given twice"),
    (["one", "nowhere"], "nowhere: no such run folder"),
    (["one", "two", "--metric", "ndcg10"], "unknown metric 'ndcg10': did you mean 'ndcg@10'?"),
    (["one", "two", "--against", "twoo"], "unknown run 'twoo': did you mean 'two'?"),
    (["one", "two", "--epochs", "some"], "Invalid value for '--epochs'"),
    (["one", "two", "--csv", "nowhere/table.csv"], "no such folder nowhere"),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG)
def test_wrong_use_is_one_line_and_exit_code_2(run, arguments, expected):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1


def test_help_shows_examples_and_imports_nothing_heavy():
    script = (
        "import sys; from collapse_probe.cli import main\nsys.argv = ['collapse-probe', 'compare', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "collapse-probe compare runs/baseline runs/iso15_pred12 runs/respred" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
