"""The journal: what is appended comes back, and a kill at any byte leaves it readable."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collapse_probe.journal import (
    Coverage,
    End,
    Evaluation,
    Event,
    JournalError,
    JournalWriter,
    LiveRun,
    Readings,
    Run,
    RunConfig,
    Start,
    Store,
    Terms,
    _writer,
    fresh_folder,
    write_beside,
    write_config,
)


def make_run(folder: Path, *, steps: int = 4, end: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    write_config(folder, RunConfig(name="r"))
    with JournalWriter(folder) as journal:
        journal.write(Start(time="2026-01-01", steps=steps))
        for step in range(1, steps + 1):
            journal.write(Readings(step=step, values={"delta/mean_abs": 0.1 / step}, epoch=1, n=64, dimension=8))
            journal.write(Terms(step=step, values={"loss/total": 1e-9 * step}, epoch=1))
        if end:
            journal.end("completed", step=steps)
    return folder


def lines_of(folder: Path) -> list[str]:
    return (folder / "journal.jsonl").read_text().splitlines(keepends=True)


def test_readings_come_back_at_full_precision(tmp_path):
    run = Run.load(make_run(tmp_path / "r"))
    series = run.series("delta/mean_abs")
    assert series.values.tolist() == [0.1 / k for k in (1, 2, 3, 4)]
    assert series.steps.tolist() == [1, 2, 3, 4]
    assert series.n.tolist() == [64] * 4 and series.dimension.tolist() == [8] * 4 and series.epochs.tolist() == [1] * 4
    assert run.reading_names == ["delta/mean_abs", "loss/total"]
    assert (run.status, run.steps, run.damage, run.torn) == ("unfinished", 4, [], 0)
    assert len(run.series("delta/none")) == 0


@dataclass
class Watched:
    """What stands for a watch: it has a run."""

    live: LiveRun


def test_a_run_is_loaded_from_whatever_has_its_folder(tmp_path):
    run = Run.load(make_run(tmp_path / "r"))
    live = LiveRun(run.config, run.store, folder=run.folder)
    for one in (str(run.folder), run, live, Watched(live)):
        found = Run.load(one)
        assert type(found) is Run and found.folder == run.folder and found.keys == run.keys
    in_memory = LiveRun(run.config, run.store)
    for one in (in_memory, Watched(in_memory)):
        with pytest.raises(JournalError, match="r: is kept in memory only"):
            Run.load(one)
    with pytest.raises(JournalError, match="cannot load a run from a list: give a run folder's path, a Run or a Watch"):
        Run.load([])


def test_the_same_reading_on_batches_and_on_reference_pairs_is_two_series(tmp_path):
    write_config(tmp_path, RunConfig(name="r"))
    with JournalWriter(tmp_path) as journal:
        journal.write(Readings(step=3, values={"query/spread": 1.0}))
        journal.write(Readings(step=3, values={"query/spread": 5.0}, dataset="other"))
        journal.write(Readings(step=0, values={"query/spread": 2.0}, on="reference"))
        journal.write(Readings(step=0, values={"query/spread": 3.0}, on="raw"))
    run = Run.load(tmp_path)
    assert run.series("query/spread", on="batch").values.tolist() == [1.0]
    assert run.series("query/spread", on="batch", dataset="other").values.tolist() == [5.0]
    assert run.series("query/spread").values.tolist() == [2.0]
    assert run.baseline("query/spread") == 3.0


def test_not_finite_values_survive_as_valid_json(tmp_path):
    write_config(tmp_path, RunConfig(name="r"))
    with JournalWriter(tmp_path) as journal:
        journal.write(Readings(step=1, values={"a/b": math.nan, "a/c": math.inf, "a/d": -math.inf}))
    for line in lines_of(tmp_path):
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    run = Run.load(tmp_path)
    found = [run.series(name).last for name in ("a/b", "a/c", "a/d")]
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf]


def test_a_journal_cut_at_any_byte_is_readable(tmp_path):
    whole = (make_run(tmp_path / "r") / "journal.jsonl").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "r" / "journal.jsonl").write_bytes(whole[:size])
        run = Run.load(tmp_path / "r")
        assert run.torn == int(size > 0 and not whole[:size].endswith(b"\n") and whole[size : size + 1] != b"\n")
        assert run.damage == []


def test_a_writer_that_goes_on_ends_the_torn_line(tmp_path):
    """Evaluating a killed run once made it unreadable for good."""
    folder = make_run(tmp_path / "r")
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with JournalWriter(folder) as journal:
        journal.write(Evaluation(collection="toy", step=4, metrics={"ndcg@10": 0.5}))
    run = Run.load(folder)
    assert (run.torn, run.damage) == (1, [])
    assert run.of(Evaluation)[0].metrics == {"ndcg@10": 0.5}
    assert run.series("loss/total").steps.tolist() == [1, 2, 3]


def test_a_resumption_supersedes_later_steps(tmp_path):
    folder = make_run(tmp_path / "r", end=True)
    with JournalWriter(folder) as journal:
        journal.write(Event(name="resumed", step=2))
        journal.write(Readings(step=3, values={"delta/mean_abs": 7.0}))
    run = Run.load(folder)
    assert run.series("delta/mean_abs").steps.tolist() == [1, 2, 3]
    assert run.series("delta/mean_abs").last == 7.0
    assert run.status == "unfinished"


def test_a_line_that_is_no_record_is_named_and_the_rest_is_read(tmp_path):
    folder = make_run(tmp_path / "r", end=True)
    lines = lines_of(folder)
    lines[2] = lines[2][:30] + "\n"
    (folder / "journal.jsonl").write_text("".join(lines))
    run = Run.load(folder)
    assert any(line.endswith("journal.jsonl:3: not a JSON record") for line in run.damage)
    assert any("1 record is missing" in line for line in run.damage)
    assert run.series("delta/mean_abs").steps.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"step":3', '"step":"3"', "step is '3', where a whole number"),
        ('"step":3', '"stop":3', "step is None"),
        ('"values":{"delta/mean_abs"', '"values":[],"v":{"delta/mean_abs"', "values is []"),
        ('"delta/mean_abs":0.1', '"delta/mean_abs":"tenth"', "'tenth', where a number is needed"),
        ('"n":64', '"n":true', "n is True"),
        ('"kind":"terms"', '"kind":7', "kind is 7"),
        ('"step":3', '"step":' + "9" * 400, "step is 9"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(tmp_path, old, new, said):
    folder = make_run(tmp_path / "r")
    text = (folder / "journal.jsonl").read_text()
    assert old in text
    (folder / "journal.jsonl").write_text(text.replace(old, new))
    assert said in " ".join(Run.load(folder).damage)


def test_a_third_of_the_lines_missing_doubled_or_shuffled_is_said(tmp_path):
    """Such a journal was once read without a word."""
    folder = make_run(tmp_path / "r", steps=30, end=True)
    whole = lines_of(folder)
    series = Run.load(folder).series("delta/mean_abs")
    random.seed(3)
    fewer = [line for line in whole if random.random() > 0.33]
    for lines, said in [
        (fewer, "records are missing"),
        ([*whole[:-1], whole[-1]], None),
        (whole[:20] + whole[10:], "there twice"),
        (random.sample(whole, len(whole)), "not in the order"),
        (whole[::-1], "not in the order"),
        (whole[:40], None),
        (whole[5:], "missing"),
    ]:
        (folder / "journal.jsonl").write_text("".join(lines))
        run = Run.load(folder)
        assert (said is None) == (run.damage == []), run.damage
        assert said is None or said in " ".join(run.damage)
        if len(set(lines)) == len(whole):
            assert run.series("delta/mean_abs").values.tolist() == series.values.tolist()


def test_a_cut_before_the_end_record_is_a_killed_run_and_one_inside_it_is_counted(tmp_path):
    folder = make_run(tmp_path / "r", end=True)
    lines = lines_of(folder)
    assert json.loads(lines[-1])["records"] == len(lines)
    (folder / "journal.jsonl").write_text("".join(lines[:3] + lines[-1:]))
    assert "records are missing" in " ".join(Run.load(folder).damage)


def test_a_second_writer_is_refused_while_the_first_is_open(tmp_path):
    folder = make_run(tmp_path / "r")
    with JournalWriter(folder), pytest.raises(JournalError, match="another process is writing this run"):
        JournalWriter(folder)
    with JournalWriter(folder) as journal:
        journal.write(Event(name="note"))
    assert len(Run.load(folder).of(Event)) == 1


def test_a_writer_that_cannot_write_lets_go_of_file_and_lock(tmp_path, monkeypatch):
    """Bug: a full disk left the file open and the run locked, for whoever wrote next."""
    folder = make_run(tmp_path / "r")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    journal = JournalWriter(folder)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            journal.close()
    assert journal._file is not None and journal._file.closed
    opened: list[JournalWriter] = []
    let_go = JournalWriter._let_go
    with monkeypatch.context() as patched:
        patched.setattr("collapse_probe.journal._writer.last_number", full)
        patched.setattr(JournalWriter, "_let_go", lambda self: (opened.append(self), let_go(self)))
        with pytest.raises(JournalError, match=r"cannot be written \(No space left"):
            JournalWriter(folder)
    assert [one._file is not None and one._file.closed for one in opened] == [True]
    with JournalWriter(folder) as again:
        again.write(Event(name="note"))


def test_a_journal_takes_no_place_of_a_standard_stream_that_is_closed(tmp_path):
    """C code that warns there would write into it."""
    kept = os.dup(0)
    os.close(0)
    try:
        with JournalWriter(make_run(tmp_path / "r")) as journal:
            assert journal._file is not None and journal._file.fileno() > 2
            journal.write(Event(name="note"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert len(Run.load(tmp_path / "r").of(Event)) == 1


def test_a_lock_goes_with_its_process(tmp_path):
    folder = make_run(tmp_path / "r")
    script = (
        "import os, sys; from pathlib import Path; from collapse_probe.journal import JournalWriter, Readings\n"
        "j = JournalWriter(Path(sys.argv[1]))\n"
        "for s in range(50): j.write(Readings(step=s, values={'a/b': float(s)}))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert len(Run.load(folder).series("a/b")) == 50
    with JournalWriter(folder) as journal:
        journal.write(Event(name="note"))
    assert Run.load(folder).damage == []


def test_a_kill_before_the_first_line_is_a_run_without_records(tmp_path):
    write_config(tmp_path, RunConfig(name="r"))
    run = Run.load(tmp_path)
    assert (run.status, run.steps, run.keys) == ("unfinished", 0, [])


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "..", "C:\\x", "x\x00", None, 7, "n" * 300])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    """A report was once written outside its folder."""
    write_config(tmp_path, RunConfig(name="r"))
    content = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, "name": name}))
    with pytest.raises(JournalError, match=r"run\.json: name "):
        Run.load(tmp_path)


@pytest.mark.parametrize("schema", [1, 2, 3])
@pytest.mark.parametrize("value", [7, "x", [1], {"a": 1}, True, [{"name": 3}], {"train": []}])
def test_a_configuration_with_any_field_of_a_wrong_type_is_one_line_or_still_a_run(tmp_path, schema, value):
    """28 of 100 edits were tracebacks."""
    write_config(tmp_path, RunConfig(name="r"))
    content = json.loads((tmp_path / "run.json").read_text())
    legacy = ("recipe", "pairs", "encoder", "options", "modules", "development", "probes")
    for key in {*content, *legacy} - {"schema"}:
        (tmp_path / "run.json").write_text(json.dumps({**content, "schema": schema, key: value}))
        refused = ""
        try:
            assert Run.load(tmp_path).name
        except JournalError as error:
            refused = str(error)
        assert not refused or ("\n" not in refused and "run.json: " in refused)


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "[" * 100_000, '{"schema": "3"}', '{"schema": true}', "\x00"])
def test_a_configuration_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(JournalError, match=r"run\.json: ") as caught:
        Run.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path):
    make_run(tmp_path / "r")
    (tmp_path / "r" / "run.json").write_text('{"schema": 99}')
    with pytest.raises(JournalError, match=r"schema 99 is newer than 3; upgrade"):
        Run.load(tmp_path / "r")


def test_a_newer_journal_is_refused_and_unknown_kinds_are_counted(tmp_path):
    folder = make_run(tmp_path / "r")
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"kind":"hologram","seq":9,"step":3}\n')
    run = Run.load(folder)
    assert run.unknown == {"hologram": 1} and run.damage == []
    (folder / "journal.jsonl").write_text('{"kind":"start","seq":0,"schema":4}\n')
    with pytest.raises(JournalError, match=r"journal\.jsonl:1: schema 4 is newer than 3"):
        Run.load(folder)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    folder = make_run(tmp_path / "r")
    (folder / "journal.jsonl").write_bytes(bytes(range(256)) * 20 + b"\n")
    with pytest.raises(JournalError, match="holds no record of a run"):
        Run.load(folder)


def test_a_missing_folder_and_a_folder_without_a_run_are_told_apart(tmp_path):
    with pytest.raises(JournalError, match="no such run folder"):
        Run.load(tmp_path / "nowhere")
    with pytest.raises(JournalError, match=r"run\.json: not found"):
        Run.load(tmp_path)


def test_fresh_folders_never_reuse_a_name(tmp_path):
    names = [fresh_folder(tmp_path / "runs", "respred").name for _ in range(3)]
    assert names == ["respred", "respred-2", "respred-3"]


def test_what_an_older_record_names_is_not_overwritten(tmp_path):
    names = [write_beside(tmp_path / "e" / "scores.json", text).name for text in ("a", "b", "a", "c", "b")]
    assert names == ["scores.json", "scores-2.json", "scores.json", "scores-3.json", "scores-2.json"]


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"ndcg@10": [0.5]}', '{"query_ids": ["a"], "ndcg@10": [0.5, 0.1]}', '{"query_ids": "ab"}']
)
def test_damaged_scores_are_named_and_raise_nothing_else(tmp_path, content):
    (tmp_path / "good.json").write_text('{"query_ids": ["a"], "ndcg@10": [0.5]}')
    (tmp_path / "bad.json").write_text(content)
    write_config(tmp_path, RunConfig(name="r"))
    with JournalWriter(tmp_path) as journal:
        for name in ("good.json", "bad.json", "gone.json", "../x.json"):
            journal.write(Evaluation(collection="toy", step=0, metrics={}, per_query=name))
    run = Run.load(tmp_path)
    assert [line.partition(": ")[0] for line in run.damaged] == [
        str(tmp_path / n) for n in ("bad.json", "gone.json", "../x.json")
    ]
    with pytest.raises(JournalError, match="per-query scores cannot be read"):
        run.per_query("bad.json")


def test_every_kind_comes_back_as_it_was_written(tmp_path):
    write_config(tmp_path, RunConfig(name="r"))
    records = [
        Start(time="t"),
        Coverage(stream="query", step=5, calls=3, where="model output", candidates=["a"], finite_share=0.5),
        Evaluation(collection="c", step=5, metrics={"m": math.nan}, verified=False),
        Event(name="note", message="x\ny", step=-1),
        End(status="completed", records=5),
    ]
    with JournalWriter(tmp_path) as journal:
        for record in records:
            journal.write(record)
    run = Run.load(tmp_path)
    found = [run.of(type(record))[0] for record in records]
    assert [repr(one) for one in found] == [repr(one) for one in records]


def test_a_full_disk_cuts_the_journal_at_a_whole_line_and_what_waited_is_written_when_there_is_room(
    tmp_path, monkeypatch, caplog
):
    """Bug: the line that did not fit was torn, and readings were switched off for the rest of the training."""
    folder, room = make_run(tmp_path / "r"), [200]
    write = _writer.FileIO.write

    class Full(_writer.FileIO):
        def write(self, data: Any) -> int:
            if not room[0]:
                raise OSError(28, "No space left on device")
            written = write(self, data[: room[0]])
            room[0] -= written
            return written

    monkeypatch.setattr(_writer, "FileIO", Full)
    before = Run.load(folder).steps
    store = Store()
    for at, more in ((100, 1 << 20), (200, 0)):
        room[0] = 200
        journal = JournalWriter(folder, store=store, lasting=True)
        for step in range(at, at + 9):
            journal.write(Readings(step=step, values={"a/b": float(step)}))
        cut = Run.load(folder)
        assert cut.torn == 0 and cut.damage == [] and before < cut.steps < at + 8
        room[0] = more
        journal.end("completed", step=at + 8)
        journal.close()
        assert [one.name for one in store.of(Event)] == ["cut"] * (not more)
        assert Run.load(folder).steps == (at + 8 if more else cut.steps)
    said = f"journal.jsonl is cut at step {cut.steps} (No space left on device); the rest is in memory"
    assert store.of(Event)[0].message == said
    assert len(caplog.messages) == 2 and "training goes on" in caplog.messages[0]
    assert len(store.series("a/b", on="batch")) == 18
    with pytest.raises(OSError, match="No space"), JournalWriter(folder) as journal:
        journal.write(Event(name="note"))
    assert Run.load(folder).torn == 0
