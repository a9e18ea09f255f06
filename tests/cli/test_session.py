"""The founding system without a shell: what the command line does, from Python."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from pathlib import Path

import pytest

from collapse_probe import respred
from collapse_probe.errors import InputError
from collapse_probe.journal import Evaluation, Run
from collapse_probe.respred.session import Quiet, Request, SessionRecord, resume
from collapse_probe.retrieval import read_pairs

SMALL = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01}


@pytest.fixture
def here(inputs, tmp_path, monkeypatch) -> Path:
    """An empty folder with links to pairs and a collection, whose vectors are in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(inputs / "cache"))
    for name in ("pairs.jsonl", "beir"):
        (tmp_path / name).symlink_to(inputs / name)
    return tmp_path


def example() -> str:
    """Return the example of the docstring."""
    text = inspect.getdoc(respred.train).partition("Example::\n\n")[2]
    return textwrap.dedent("\n".join(line for line in text.splitlines() if line.startswith("    ")))


def test_the_docstrings_example_runs_and_gives_the_run(here, capsys):
    exec(example(), {})
    assert capsys.readouterr().out == "completed runs/respred\n"
    run = Run.load("runs/respred")
    assert {one.variant for one in run.of(Evaluation)} >= {"raw", "no_predictor", "predictor"}
    assert len(run.readings("delta/mean_abs")) and (run.folder / "model" / "modules.json").is_file()


def test_it_is_the_run_of_the_command_line(here, one_run):
    mine = respred.train("respred", pairs="pairs.jsonl", collections=["beir"], run="runs/mine", watch=False, **SMALL)
    theirs = Run.load(one_run[0] / "runs" / "respred")
    assert [one.metrics for one in mine.of(Evaluation)] == [one.metrics for one in theirs.of(Evaluation)]
    ours, other = mine.config.to_json(), theirs.config.to_json()
    differ = {key for key in ours if ours[key] != other[key]}
    assert differ <= {"name", "command", "probes", "session", "threads"}
    assert ours["session"]["recipe"] == other["session"]["recipe"]
    assert ours["session"]["pairs"]["vectors"] == other["session"]["pairs"]["vectors"]


def test_objects_are_taken_a_folder_that_exists_is_not_and_nothing_need_be_scored(here):
    (here / "runs" / "mine").mkdir(parents=True)
    (here / "runs" / "mine" / "note.txt").write_text("mine")
    pairs = read_pairs(Path("pairs.jsonl"))
    run = respred.train("respred", pairs=pairs, run="runs/mine", watch=False, max_steps=2, batch_size=32)
    assert run.folder == Path("runs/mine-2") and run.status == "completed"
    assert [path.name for path in (here / "runs" / "mine").iterdir()] == ["note.txt"]
    assert not [one for one in run.of(Evaluation) if one.role == "test"]
    journal = run.folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if json.loads(line)["kind"] != "end"))
    with pytest.raises(InputError, match="its pairs were given in memory"):
        resume(Run.load(run.folder), features=(), device="auto", cache=Path("cache"), audience=Quiet())


@pytest.mark.parametrize(
    ("recipe", "given", "message"),
    [
        ("respred", {"epoch": 1}, "unknown recipe field 'epoch': did you mean 'epochs'?"),
        ("resprd", {}, "unknown recipe 'resprd': did you mean 'respred'?"),
        ("respred", {"epochs": 0}, "epochs is 0: a number of at least 1 is needed"),
        ("respred", {"epochs": "2"}, "recipe field epochs is '2': int is needed"),
        ("respred", {"pairs": None}, "recipe respred trains: it needs pairs (pairs=FILE)"),
        ("respred", {"pairs": "nowhere.jsonl"}, "nowhere.jsonl: no such file or folder"),
        ("respred", {"run": "pairs.jsonl/mine"}, "run='pairs.jsonl/mine': pairs.jsonl is no folder"),
        ("respred", {"run": ""}, "run='': give the path of a folder that can be made"),
        ("respred", {"watch": ["residul"]}, "unknown probe 'residul': did you mean 'residual'?"),
        ("respred", {"precision": "fp16", "device": "cpu"}, "precision=fp16 needs device=cuda"),
        ("respred", {"early_stop": "ndcg@10"}, "early_stop=ndcg@10 needs a development split: give dev=NAME"),
        (
            "respred",
            {"batch_size": 1000},
            "96 pairs, fewer than one batch of 1000: give more pairs or a smaller",
        ),
        ("respred", {"collections": "beirr"}, "beirr: no such folder or file"),
    ],
)
def test_wrong_use_is_one_line_in_keywords_and_nothing_is_written(here, recipe, given, message):
    before = sorted(here.iterdir())
    with pytest.raises(InputError) as error:
        respred.train(recipe, **{"pairs": "pairs.jsonl", "collections": ["beir"], **given})
    assert message in str(error.value) and "--" not in str(error.value) and "\n" not in str(error.value)
    assert sorted(here.iterdir()) == before


def test_a_request_comes_back_as_it_was_written(here):
    asked = Request(
        encoder="a-name",
        pairs=Path("pairs.jsonl"),
        columns=("query=a", "document=b"),
        min_score=0.5,
        collections=("beir", "scifact"),
        keep_identical_ids=False,
        dev="nfcorpus",
        features=(here / "beir",),
        precision="bf16",
        seed=3,
        counterfactuals=False,
    )
    again = Request.from_json(json.loads(json.dumps(asked.to_json())), cache=asked.cache)
    where = {"pairs": (here / "pairs.jsonl").resolve(), "collections": (str((here / "beir").resolve()), "scifact")}
    assert {name: getattr(again, name) for name in where} == where
    for name in set(Request.__dataclass_fields__) - {*where, "features"}:
        assert getattr(again, name) == getattr(asked, name), name


def test_a_run_without_a_session_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 3, "name": "foreign"}))
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(InputError, match=r"no recipe and options in it, .*w\.evaluation"):
        SessionRecord.of(Run.load(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(here):
    (here / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="locked is no folder that can be written"):
        respred.train("respred", pairs="pairs.jsonl", run="locked/mine")
