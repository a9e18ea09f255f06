"""The codes that say what ended a command: the run, the user, the system, or a fault of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_loops import OneTower, descend, infonce, pairs

from collapse_probe.cli import main
from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Run
from collapse_probe.watching import watch

MAIN = "import sys; sys.modules['matplotlib'] = None\nfrom collapse_probe.cli import main; main()"
"""Without figures, which take longer than all the rest of a command."""

BROKEN = f"import collapse_probe.diagnosis as d\ndef broken(*_, **__): raise %s\nd.diagnose = broken\n{MAIN}"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short run."""
    folder = tmp_path_factory.mktemp("codes") / "run"
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="tower", document="tower", run=folder) as w:
        for a, b in pairs(25):
            loss = infonce(model(a), model(b))
            w.terms(loss=loss)
            descend(optimizer, loss)
    return folder


def _run(code: str, *arguments: object, stdout: object = subprocess.PIPE, cwd: Path, **environment: str):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["diagnose", "--json"], ["report"]])
def test_a_full_disk_is_the_systems(watched, tmp_path, arguments):
    with Path("/dev/full").open("w") as full:
        done = _run(MAIN, *arguments, watched, stdout=full, cwd=tmp_path)
    assert done.returncode == 74
    assert done.stderr.splitlines() == ["collapse-probe: OSError: [Errno 28] No space left on device"]


def test_a_report_that_cannot_be_written_is_the_systems(watched, tmp_path):
    code = "from pathlib import Path\ndef full(*_, **__): raise OSError(28, 'No space left on device')\n"
    done = _run(f"{code}Path.write_text = full\n{MAIN}", "report", watched, cwd=tmp_path)
    assert done.returncode == 74 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_fault_of_ours_is_none_of_the_runs(watched, tmp_path):
    code = BROKEN % "RuntimeError('two\\nlines')"
    done = _run(code, "diagnose", watched, cwd=tmp_path)
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert "a fault of collapse-probe (RuntimeError: two lines)" in line and "COLLAPSE_PROBE_TRACEBACK=1" in line
    done = _run(code, "diagnose", watched, cwd=tmp_path, COLLAPSE_PROBE_TRACEBACK="1")
    assert done.returncode == 70 and "in broken" in done.stderr


def _unread(code: str, *arguments: object, cwd: Path, **environment: str):
    """Run a command whose output and errors go to a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, stdout=pipe, stderr=pipe, cwd=cwd, env={**os.environ, **environment}).returncode


@pytest.mark.parametrize("command", ["diagnose", "report"])
def test_a_reader_that_leaves_early_changes_no_exit_code(watched, tmp_path, command):
    assert _unread(MAIN, command, watched, cwd=tmp_path) == diagnose(watched).exit_code
    if command == "diagnose":
        assert _unread(MAIN, command, tmp_path / "none", cwd=tmp_path) == 2


SIGNALLED = (
    "import os, signal, collapse_probe.diagnosis as d\nd.diagnose = lambda *_, **__: os.kill(os.getpid(), signal.%s)\n"
)


@pytest.mark.parametrize(("name", "said", "code"), [("SIGTERM", "terminated", 143), ("SIGINT", "interrupted", 130)])
def test_what_ended_a_command_is_said(watched, tmp_path, name, said, code):
    done = _run(SIGNALLED % name + MAIN, "diagnose", watched, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (code, f"collapse-probe: {said}")


@pytest.mark.usefixtures("without_figures")
def test_training_goes_on_when_nobody_reads(run, given, tmp_path, monkeypatch):
    arguments = ["train", *given, "--epochs", 1, "--batch-size", 32, "--name"]
    code, _, err = run(*arguments, "read")
    assert code in (0, 1), err
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        patch.setattr(sys, "stderr", pipe)
        patch.setattr(sys, "argv", ["collapse-probe", *map(str, arguments), "unread"])
        with pytest.raises(SystemExit) as caught:
            main()
    assert caught.value.code == code
    assert Run.load("runs/unread").status == "completed"
    assert (tmp_path / "reports/unread/failure_analysis.md").is_file()
