"""The codes that say what ended a command: the run, the user, the system, or a fault of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_loops import OneTower, descend, infonce, pairs

from collapse_probe.watching import watch

MAIN = "from collapse_probe.cli import main; main()"
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


def test_a_reader_that_leaves_early_is_no_fault(watched, tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = _run(MAIN, "diagnose", watched, stdout=pipe, cwd=tmp_path)
    assert done.stderr == "" and done.returncode not in (70, 74)
