"""The journal: what is appended comes back, and a kill at any byte leaves it readable."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_probe.journal import JournalError, JournalWriter, Run, fresh_folder, write_run_json


def make_run(folder: Path) -> Path:
    write_run_json(folder, {"name": "r"})
    with JournalWriter(folder / "journal.jsonl") as journal:
        journal.append("start", {"recipe": "respred", "steps_per_epoch": 2})
        for step in range(4):
            values = {"delta/mean_abs": 0.1 / (step + 1), "loss/total": 1e-9 * (step + 1)}
            journal.readings(values, step=step, epoch=1 + step // 2, n=64, dimension=8, dtype="float32")
    return folder


def test_readings_come_back_at_full_precision(tmp_path):
    run = Run.load(make_run(tmp_path))
    frame = run.readings("delta/mean_abs")
    assert list(frame["value"]) == [0.1 / k for k in (1, 2, 3, 4)]
    assert list(frame.columns) == ["name", "step", "epoch", "value", "n", "dimension", "dtype"]
    assert run.reading_names == ["delta/mean_abs", "loss/total"]
    assert run.status == "unfinished"


def test_not_finite_values_survive_as_valid_json(tmp_path):
    write_run_json(tmp_path, {"name": "r"})
    with JournalWriter(tmp_path / "journal.jsonl") as journal:
        values = {"a/b": math.nan, "a/c": math.inf, "a/d": -math.inf}
        journal.readings(values, step=0, epoch=0, n=1, dimension=1, dtype="float32")
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    values = Run.load(tmp_path).readings()["value"]
    assert math.isnan(values[0]) and values[1] == math.inf and values[2] == -math.inf


def test_a_journal_cut_at_any_byte_is_readable(tmp_path):
    whole = (make_run(tmp_path) / "journal.jsonl").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "journal.jsonl").write_bytes(whole[:size])
        run = Run.load(tmp_path)
        assert run.torn == int(size > 0 and not whole[:size].endswith(b"\n") and whole[size : size + 1] != b"\n")


def test_a_resumed_writer_ends_the_torn_line_and_supersedes_later_steps(tmp_path):
    path = make_run(tmp_path) / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with JournalWriter(path) as journal:
        journal.event("resumed", "from step 2", step=2, epoch=1)
        journal.readings({"delta/mean_abs": 7.0}, step=3, epoch=2, n=1, dimension=1, dtype="float32")
    run = Run.load(tmp_path)
    assert run.torn == 1
    assert list(run.readings("delta/mean_abs")["step"]) == [0, 1, 3]
    assert run.readings("delta/mean_abs")["value"].iloc[-1] == 7.0


def test_the_step_after_a_checkpoint_is_superseded_though_it_has_its_number(tmp_path):
    """The first step of the next epoch was once kept beside its repetition."""
    path = make_run(tmp_path) / "journal.jsonl"
    with JournalWriter(path) as journal:
        journal.event("resumed", "from step 2", step=2, epoch=1)
        journal.readings({"delta/mean_abs": 7.0}, step=2, epoch=2, n=1, dimension=1, dtype="float32")
    frame = Run.load(tmp_path).readings("delta/mean_abs")
    assert list(frame["step"]) == [0, 1, 2]
    assert frame["value"].iloc[-1] == 7.0


def test_a_bad_line_in_the_middle_names_its_line(tmp_path):
    path = make_run(tmp_path) / "journal.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:30]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl:3: not a JSON record"):
        Run.load(tmp_path)


def test_a_bad_but_ended_last_line_is_an_error(tmp_path):
    path = make_run(tmp_path) / "journal.jsonl"
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(JournalError, match="not a JSON record"):
        Run.load(tmp_path)


def test_a_newer_schema_is_refused(tmp_path):
    make_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(JournalError, match=r"schema 99 is newer than 2; upgrade"):
        Run.load(tmp_path)


def test_a_missing_folder_and_a_folder_without_a_run_are_told_apart(tmp_path):
    with pytest.raises(JournalError, match="no such run folder"):
        Run.load(tmp_path / "nowhere")
    with pytest.raises(JournalError, match=r"run\.json: not found"):
        Run.load(tmp_path)


def test_unknown_kinds_are_refused_when_written_and_when_asked_for(tmp_path):
    run = Run.load(make_run(tmp_path))
    with pytest.raises(ValueError, match="unknown record kind 'metric'"):
        run.records("metric")
    with (
        JournalWriter(tmp_path / "journal.jsonl") as journal,
        pytest.raises(ValueError, match="unknown record kind 'metric'"),
    ):
        journal.append("metric", {})


def test_fresh_folders_never_reuse_a_name(tmp_path):
    names = [fresh_folder(tmp_path / "runs", "respred").name for _ in range(3)]
    assert names == ["respred", "respred-2", "respred-3"]


def test_a_killed_writer_leaves_its_lines(tmp_path):
    write_run_json(tmp_path, {"name": "r"})
    script = (
        "import os, sys; from pathlib import Path; from collapse_probe.journal import JournalWriter\n"
        "j = JournalWriter(Path(sys.argv[1]))\n"
        "for s in range(50): j.readings({'a/b': s}, step=s, epoch=1, n=1, dimension=1, dtype='float32')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "journal.jsonl")], check=False)
    assert len(Run.load(tmp_path).readings("a/b")) == 50


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"ndcg@10": [0.5]}', '{"query_ids": ["a"], "ndcg@10": [0.5, 0.1]}', '{"query_ids": "ab"}']
)
def test_damaged_scores_are_named_and_raise_nothing_else(tmp_path, content):
    (tmp_path / "good.json").write_text('{"query_ids": ["a"], "ndcg@10": [0.5]}')
    (tmp_path / "bad.json").write_text(content)
    records = [{"kind": "evaluation", "per_query": name} for name in ("good.json", "bad.json", "gone.json")]
    run = Run(tmp_path, config={}, records=records, torn=0)
    assert [line.partition(": ")[0] for line in run.damaged] == [str(tmp_path / n) for n in ("bad.json", "gone.json")]
    with pytest.raises(JournalError, match="per-query scores cannot be read"):
        run.per_query("bad.json")
