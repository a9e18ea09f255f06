"""A program that starts itself again for the other processes of its training: these run under ``run``, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collapse_probe.running._again import start_again_watched, watched_command

OURS = ["run", "--every", "5"]
OTHER = {"LOCAL_RANK": "1"}


@pytest.fixture(autouse=True)
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / "train.py")
    (tmp_path / "train.py").touch()
    (tmp_path / "other.py").touch()
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv("RANK", raising=False)
    return main


@pytest.mark.parametrize(
    ("arguments", "environment", "kept"),
    [
        (["train.py", "--lr", "1"], OTHER, ["train.py", "--lr", "1"]),
        (["-u", str(Path("..") / "{here}" / "train.py")], OTHER, [str(Path("..") / "{here}" / "train.py")]),
        (["train.py"], {"LOCAL_RANK": "0", "RANK": "3"}, ["train.py"]),
        (["train.py"], {"LOCAL_RANK": "0"}, None),
        (["train.py"], {}, None),
        (["train.py"], None, None),
        (["other.py"], OTHER, None),
        (["-X", "dev", "train.py"], OTHER, None),
        (["-m", "train"], OTHER, None),
        ([], OTHER, None),
    ],
)
def test_a_command_is_this_program_again_for_another_rank(arguments, environment, kept, tmp_path):
    given = [sys.executable, *(one.replace("{here}", tmp_path.name) for one in arguments)]
    found = watched_command(given, environment, None, OURS)
    if kept is None:
        assert found is None
        return
    at = found.index("-c")
    assert found[1:at] == [one for one in arguments if one == "-u"]
    assert found[at + 2 :] == [*OURS, *(one.replace("{here}", tmp_path.name) for one in kept)]


def test_a_module_is_told_by_its_name(main):
    main.__spec__ = ModuleSpec("package.train", None)
    for arguments, same in (
        (["-m", "package.train", "a"], True),
        (["-m", "package.other"], False),
        (["train.py"], False),
    ):
        found = watched_command([sys.executable, *arguments], OTHER, None, OURS)
        assert (found is not None and found[-len(arguments) :] == [*arguments]) == same


def test_what_is_started_finds_the_command_line_from_any_folder(tmp_path):
    command = watched_command([sys.executable, str(tmp_path / "train.py")], OTHER, None, ["run", "--help"])
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **OTHER, "PYTHONPATH": ""}
    )
    assert done.returncode == 0 and "Run a training script, unchanged" in done.stdout, done.stderr


def test_only_such_a_command_is_changed_and_nothing_stays(monkeypatch):
    started: list[Any] = []

    def __init__(popen: Any, *given: Any, **kwargs: Any) -> None:
        started.append((given, kwargs))

    monkeypatch.setattr(subprocess.Popen, "__init__", __init__)
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda popen: None)
    known: list[int] = []
    undo = start_again_watched(OURS, lambda: known.append(len(started)))
    again = [sys.executable, "train.py"]
    subprocess.Popen(again, env=OTHER)
    subprocess.Popen(again, env=OTHER, shell=True)
    subprocess.Popen(again)
    subprocess.Popen("true", env=OTHER)
    subprocess.Popen(7, env=OTHER)
    undo()
    subprocess.Popen(again, env=OTHER)
    assert known == [0] and started[0][0][0][-4:] == [*OURS, "train.py"]
    assert [given for (given,), _ in started[1:]] == [again, again, "true", 7, again]
    assert subprocess.Popen.__init__ is __init__
