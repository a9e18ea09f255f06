"""Damaged journals: a diagnosis that says what is damaged, or one line; never a traceback, never "healthy"."""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals_support import made, step

from collapse_probe.cli import main
from collapse_probe.diagnosis import Diagnosis, Status, diagnose
from collapse_probe.errors import InputError
from collapse_probe.reporting import write_report


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small healthy run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    made(folder, steps=8, every=20, pairs=40)
    assert diagnose(folder).status is Status.HEALTHY
    return folder


@pytest.fixture(scope="module")
def lines(whole) -> list[bytes]:
    """The lines of its journal."""
    return (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)


def outcome(folder: Path) -> Diagnosis | None:
    """Return the diagnosis; None for an error of one line that says what cannot be read."""
    try:
        return diagnose(folder)
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError(f"not one line: {error}") from error
        return None


def reported(folder: Path, found: Diagnosis | None) -> None:
    """Write the report: it begins with the diagnosis, or refuses the run in one line as the diagnosis does."""
    if found is None:
        with pytest.raises(InputError, match=r"^[^\n]+$"):
            write_report(folder, folder / "report", figures=False)
        return
    path = write_report(folder, folder / "report", figures=False)
    text = path.read_text(encoding="utf-8")
    assert found.summary.splitlines()[0] in text
    damaged = [one for one in found.not_measured if one.what == "an undamaged journal"]
    assert not damaged or "an undamaged journal" in text
    shutil.rmtree(path.parent)


def judged(folder: Path, journal: bytes) -> Status | None:
    """Return the status of a run with another journal, None for an error that says what cannot be read."""
    (folder / "journal.jsonl").write_bytes(journal)
    found = outcome(folder)
    if zlib.crc32(journal) % 4 == 0:  # a report takes four times as long as its diagnosis
        reported(folder, found)
    if found is None:
        return None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["status"] == found.status.value
    assert len(found.summary.encode()) <= 2048
    return found.status


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of the run whose journal may be damaged."""
    for file in whole.iterdir():
        if file.is_file() and file.name != ".lock":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_cut_at_every_197th_byte(folder, lines):
    text = b"".join(lines)
    found = {cut: judged(folder, text[:cut]) for cut in range(0, len(text) - 1, 197)}
    assert Status.HEALTHY not in found.values(), found


@pytest.mark.parametrize("left_out", [1, 3])
def test_cut_at_the_end_of_a_record_is_a_run_that_was_interrupted(folder, lines, left_out):
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:-left_out]))
    found = diagnose(folder)
    assert (found.status, found.exit_code) == (Status.WARNING, 0)
    assert found.summary.startswith("WARNING    interrupted or failed before its end")
    assert "Ended      the journal has no end record; it goes to step 8\n" in found.summary
    assert "Damaged" not in found.summary


@pytest.mark.parametrize(
    ("status", "first"),
    [
        ("failed", "WARNING    interrupted or failed before its end"),
        ("interrupted", "HEALTHY    nothing was found in 8 steps, then the run was interrupted"),
    ],
)
def test_an_end_that_is_none_is_said_first(folder, lines, status, first):
    told = {"status": status, "message": "OSError: the loader ran dry"}
    end = json.dumps({**json.loads(lines[-1]), **told}).encode() + b"\n"
    (folder / "journal.jsonl").write_bytes(b"".join([*lines[:-1], end]))
    found = diagnose(folder)
    assert found.summary.splitlines()[0] == first
    assert found.summary.splitlines()[1] == f"Ended      {status} after step 8: OSError: the loader ran dry"
    assert ("mend what ended it" in found.summary) == (status == "failed")


def test_a_line_that_a_full_disk_cut_is_said(folder, lines):
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    text = " ".join(diagnose(folder).summary.split())
    assert "the last line of the journal is cut, as by a kill or a full disk" in text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_lines_missing_doubled_and_shuffled(folder, lines, data):
    kept = list(lines)
    how = data.draw(st.sampled_from(["missing", "doubled", "shuffled", "reversed"]))
    if how == "missing":
        for _ in range(data.draw(st.integers(1, len(lines) // 2))):
            kept.pop(data.draw(st.integers(0, len(kept) - 1)))
    elif how == "doubled":
        at = data.draw(st.integers(0, len(kept) - 1))
        kept.insert(at, kept[at])
    elif how == "shuffled":
        kept = data.draw(st.permutations(kept))
    else:
        kept.reverse()
    assert judged(folder, b"".join(kept)) is not Status.HEALTHY or kept == lines


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.text(max_size=3), st.floats()), max_size=2),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fields_of_wrong_types(folder, lines, data):
    """A field that is not what it was: named as damage, or read as what it now says, and never a traceback."""
    at = data.draw(st.integers(0, len(lines) - 1))
    record = json.loads(lines[at])
    key = data.draw(st.sampled_from(sorted(record)))
    record[key] = data.draw(WRONG)
    changed = [*lines]
    changed[at] = json.dumps(record).encode() + b"\n"
    judged(folder, b"".join(changed))


@pytest.mark.parametrize("name", ["/participation_ratio_corrected", "query/", "/", "", "alone"])
@pytest.mark.parametrize("kind", ["readings", "terms", "summary"])
def test_a_name_that_is_no_reading_is_damage(folder, lines, kind, name):
    record = {"kind": kind, "step": 8, "values": {name: {"mean": 1.0} if kind == "summary" else 1.0}}
    (folder / "journal.jsonl").write_bytes(b"".join([*lines[:-1], json.dumps(record).encode() + b"\n", lines[-1]]))
    found = diagnose(folder)
    assert any("is no reading" in one.why for one in found.not_measured if one.what == "an undamaged journal")
    assert found.status is Status.NOT_MEASURED
    reported(folder, found)


def test_a_stream_without_a_name_is_damage(folder, lines):
    record = {"kind": "coverage", "step": 8, "stream": "", "calls": 1, "steps": 1}
    (folder / "journal.jsonl").write_bytes(b"".join([*lines[:-1], json.dumps(record).encode() + b"\n", lines[-1]]))
    found = diagnose(folder)
    assert any("stream is empty" in one.why for one in found.not_measured if one.essential)
    assert "" not in [one.stream for one in found.heard]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_ridden_with_nan(folder, lines, data):
    changed = []
    for line in lines:
        record = json.loads(line)
        if isinstance(record.get("values"), dict) and data.draw(st.booleans()):
            record["values"] = dict.fromkeys(record["values"], data.draw(st.sampled_from(["NaN", "Infinity"])))
        changed.append(json.dumps(record).encode() + b"\n")
    assert judged(folder, b"".join(changed)) is not Status.HEALTHY or changed == [
        json.dumps(json.loads(line)).encode() + b"\n" for line in lines
    ]


@pytest.mark.parametrize("journal", [b"", b"\n\n", b"{}\n", b"null\n", b"[]\n", b"\x00\xff\n", b"{" * 5000])
def test_nothing_that_is_a_journal(folder, journal):
    assert judged(folder, journal) is not Status.HEALTHY


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_run_json_of_wrong_types(folder, data):
    content = json.loads((folder / "run.json").read_text())
    key = data.draw(st.sampled_from(sorted(content)))
    (folder / "run.json").write_text(json.dumps({**content, key: data.draw(WRONG)}))
    reported(folder, outcome(folder))
    (folder / "run.json").write_text(json.dumps(content))


SCORES = ["", "[]", "{", '{"query_ids": [1], "mrr": ["x"]}', '{"query_ids": ["0"], "mrr": [NaN]}']


@pytest.mark.parametrize("content", SCORES)
def test_damaged_scores_of_queries(folder, content):
    for file in folder.glob("pairs-*.json"):
        file.write_text(content)
    found = diagnose(folder)
    assert found.status is Status.NOT_MEASURED
    assert "Damaged" in found.summary and "pairs-" in found.summary
    reported(folder, found)


@pytest.fixture(params=["missing", *SCORES])
def spoil(request):
    """Spoil the file of one evaluation."""

    def spoiled(folder: Path, step: int) -> None:
        file = folder / f"pairs-{step}.json"
        file.unlink() if request.param == "missing" else file.write_text(request.param)

    return spoiled


def test_scores_of_queries_between_others_cost_their_evaluation_alone(folder, spoil):
    """Bug: one file of the middle that could not be read made a whole run "not measured"."""
    spoil(folder, 4)
    found = diagnose(folder)
    assert found.status is Status.HEALTHY
    assert "Damaged" in found.summary and "pairs-4.json" in found.summary
    (pairs,) = found.retrieval
    assert pairs["change"]["p"] is not None
    reported(folder, found)


@pytest.mark.parametrize("step", [0, 8])
def test_scores_of_queries_that_all_are_compared_with_cost_the_verdict(folder, spoil, step):
    spoil(folder, step)
    found = diagnose(folder)
    assert found.status is Status.NOT_MEASURED and f"pairs-{step}.json" in found.summary


def test_a_fall_is_found_and_dated_beside_scores_that_cannot_be_read(tmp_path, spoil):
    """Bug: an evaluation that could not be read counted as one without a fall, and moved the onset behind it."""
    run = tmp_path / "run"
    made(run, {"pairs/mrr": step(0.84, 0.5, at=0.4)}, steps=8, every=20, pairs=40)
    before = next(one for one in diagnose(run).findings if one.code == "CP201")
    spoil(run, 6)
    after = diagnose(run)
    fall = next(one for one in after.findings if one.code == "CP201")
    assert after.status is Status.CRITICAL
    assert fall.judgement.onset == before.judgement.onset


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("command", ["diagnose", "report"])
@pytest.mark.parametrize("config", [True, False])
def test_the_command_line_says_what_is_damaged_and_exits(folder, lines, command, config, monkeypatch, capsys):
    (folder / "journal.jsonl").write_bytes(b"".join(lines)[:-200].replace(b"0.", b"x", 5))
    if not config:
        (folder / "run.json").write_text("{")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["collapse-probe", command, str(folder)])
    with pytest.raises(SystemExit) as caught:
        main()
    done = capsys.readouterr()
    wanted = outcome(folder)
    assert (wanted is not None) == config
    assert caught.value.code == (2 if wanted is None else 1), done.err
    assert "Traceback" not in done.err + done.out and "HEALTHY   " not in done.out.replace("UNHEALTHY", "")
    if wanted is None:
        assert len(done.err.strip().splitlines()) == 1 and "run.json" in done.err
    else:
        assert "Damaged" in done.out
