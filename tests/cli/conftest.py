"""A small real text, and the command line run on it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch

from collapse_probe.cli import main
from collapse_probe.reporting import _drawing

WORDS = [
    "amber",
    "basil",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "knoll",
    "larch",
    "maple",
    "north",
    "ocean",
    "plaza",
]


def text(i: int, j: int) -> str:
    return f"{WORDS[i % 16]} {WORDS[(3 * i + j) % 16]} number {i}"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with pairs and a BEIR collection of short texts, and a cache that holds their vectors."""
    folder = tmp_path_factory.mktemp("inputs")
    rows = [{"query": f"where is {text(i, 1)}", "document": f"{text(i, 2)} lies by {text(i, 3)}"} for i in range(96)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": WORDS[i % 16], "text": f"about {text(i, 4)}"} for i in range(60)]
    (beir / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    queries = [{"_id": f"q{i}", "text": f"what about {text(i, 4)}"} for i in range(30)]
    (beir / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (beir / "qrels" / "test.tsv").write_text("".join(f"q{i}\td{i}\t1\n" for i in range(30)))
    (beir / "qrels" / "train.tsv").write_text("".join(f"q{i}\td{i}\t1\n" for i in range(20, 30)))
    return folder


@pytest.fixture(scope="session")
def train_once(inputs, tmp_path_factory) -> Callable[..., tuple[Path, str]]:
    """Return a function that trains in a folder of its own and gives the folder and what was printed.

    For runs that several tests read; one that changes its run copies the folder. Their reports have no figures.
    """

    def trained(*arguments: object) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("trained")
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
            patch.chdir(folder)
            patch.setenv("COLLAPSE_PROBE_CACHE", str(inputs / "cache"))
            patch.setattr(sys, "argv", ["collapse-probe", "train", *map(str, arguments)])
            patch.setattr(_drawing, "FIGURES", {})
            with pytest.raises(SystemExit) as caught:
                main()
        assert caught.value.code in (0, 1), out.getvalue()
        return folder, out.getvalue()

    return trained


@pytest.fixture(scope="session")
def one_run(train_once, inputs) -> tuple[Path, str]:
    """An epoch of the founding recipe: the folder with its run and report, and what was printed."""
    given = ("--pairs", inputs / "pairs.jsonl", "--beir", inputs / "beir")
    return train_once(*given, "--epochs", 1, "--batch-size", 32, "--learning-rate", 0.01)


@pytest.fixture
def trained(run, one_run, tmp_path) -> Path:
    """A copy of that run and its report in the folder that the command line runs in."""
    shutil.copytree(one_run[0], tmp_path, dirs_exist_ok=True)
    return Path("runs/respred")


@pytest.fixture
def run(inputs, tmp_path, monkeypatch, capsys):
    """Return a function that runs the command line in an empty folder and gives (code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(inputs / "cache"))

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["collapse-probe", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return (int(caught.value.code or 0), *capsys.readouterr())

    threads = torch.get_num_threads()
    yield invoke
    torch.set_num_threads(threads)  # a resumed run has taken its own number


@pytest.fixture
def without_figures(monkeypatch):
    """Leave the figures out of reports, where a test is about something else; drawing takes most of a small run."""
    monkeypatch.setattr(_drawing, "FIGURES", {})


@pytest.fixture
def given(inputs) -> list[object]:
    return ["--pairs", inputs / "pairs.jsonl", "--beir", inputs / "beir"]
