"""A program that is run ends as it ends without us: exit code, output and traceback, of some eighty small ones."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from running.ends_support import ENDS, TRAININGS, TRAINS, Case
from running.running_support import QUIET, without_ours
from running.serving import Server, serving

from collapse_probe.journal import Run


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("plain") as found:
        yield found


def _written(folder: Path, case: Case) -> None:
    files = dict(case.files) | ({} if case.source is None else {"script.py": case.source})
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pyz":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("__main__.py", text)
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, there in case.links.items():
        (folder / name).symlink_to(there)


def _told(text: str) -> str:
    """Return what was said without what differs from one process to the next, and without Python's own finder."""
    text = re.sub(r'  File "<frozen (runpy|importlib._bootstrap(_external)?)>", line \d+, in \w+\n', "", text)
    return re.sub(r"0x[0-9a-f]{8,}", "0x", text)


@pytest.mark.parametrize("name", ENDS)
def test_it_ends_as_it_ends_without_us(name: str, server: Server, tmp_path: Path) -> None:
    case = ENDS[name]
    folder = tmp_path / "w"
    folder.mkdir()
    _written(folder, case)
    plain = subprocess.run(
        [sys.executable, *case.arguments], cwd=folder, capture_output=True, text=True, env=QUIET, input=case.given
    )
    code, out, err = server(folder, case.arguments, case.given)
    assert (code, _told(out)) == (plain.returncode, _told(plain.stdout)), err
    assert _told(without_ours(err)) == _told(plain.stderr)
    ours = [line for line in err.splitlines() if line.startswith("collapse-probe: ")]
    start = "collapse-probe: nothing was watched: no step of a PyTorch optimiser was heard"
    assert ours == [] if case.silent else [one[: len(start)] for one in ours] == [start]
    assert not (folder / "runs").exists()


def _sums(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what is printed of the weights after so many steps, with nobody watching."""
    state = torch.get_rng_state()
    for steps in (3, 4):
        made: dict[str, Any] = {}
        exec(TRAINS, made)
        made["train"](steps)
    torch.set_rng_state(state)
    return dict(zip("34", capsys.readouterr().out.split(), strict=True))


def test_trainings_end_as_they_end_without_us(
    trains: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever ends them, code, output and weights are their own, and what was heard can be read."""
    folder, sums = tmp_path / "w", _sums(capsys)
    for name, (end, code, printed, heard) in TRAININGS.items():
        folder.mkdir()
        (folder / "script.py").write_text(TRAINS + end)
        found, out, err = trains(folder, ("script.py",))
        assert (found, out.split()) == (code, " ".join(sums.get(one, one) for one in printed.split()).split()), err
        runs = sorted((folder / "runs").iterdir()) if (folder / "runs").is_dir() else []
        assert {path.name: (run.status, run.steps) for path in runs for run in [Run.load(path)]} == heard, name
        unheard = not heard and "file" not in name
        assert "/collapse_probe/" not in err and ("nothing was watched" in err) == unheard, err
        if name == "raises in the middle":
            lines = (TRAINS + end).splitlines()
            trace = [line for line in err.splitlines() if line.startswith("  File ")]
            assert [re.search(r"line (\d+), in (.+)", line).groups() for line in trace] == [
                (str(len(lines)), "<module>"),
                (str(lines.index("            do()") + 1), "train"),
                (str(len(lines) - 3), "fail"),
            ]
        shutil.rmtree(folder)
