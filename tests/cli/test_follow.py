"""``collapse-probe follow``: a run that another process writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collapse_probe.cli import _follow
from collapse_probe.cli._live import Look
from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import JOURNAL, Run


@pytest.fixture
def halves(respred_run, tmp_path) -> tuple[Path, list[bytes]]:
    """A copy of a run that has only begun, and the lines of its whole journal."""
    folder = shutil.copytree(respred_run, tmp_path / "run")
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join(lines[: len(lines) // 2]))
    return folder, lines


def test_it_shows_findings_as_they_come_and_ends_with_the_run(run, halves, monkeypatch):
    folder, lines = halves
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        (folder / JOURNAL).write_bytes(b"".join(lines))

    monkeypatch.setattr(_follow.time, "sleep", wait)
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run("follow", folder, "--every", 3)
    found = diagnose(folder)
    assert (code, err) == (found.exit_code, "") and out.rstrip().endswith(found.summary.rstrip()[-60:])
    assert len(waited) == 1 and waited[0] >= 3
    raised = [line for line in out.splitlines() if "  raised   CP" in line]
    assert len(raised) >= len({(one.code, one.subject) for one in found.kinds})


def test_a_look_costs_nothing_where_nothing_was_written(halves, monkeypatch):
    look = Look(halves[0])
    look.again()
    assert look.news == [] or all("raised" in line for line in look.news)
    cost = look.cost
    monkeypatch.setattr(Run, "load", lambda run: pytest.fail("read again"))
    look.again()
    assert look.cost == cost and not look.ended and not look.news
    look._changed -= 45
    assert "nothing new for 45 s; Ctrl-C ends looking, not the run" in look.screen()


def test_a_folder_that_goes_away_is_said(halves):
    look = Look(halves[0])
    look.again()
    shutil.rmtree(halves[0])
    with pytest.raises(FileNotFoundError, match="the run's folder is gone"):
        look.again()


def test_judging_takes_its_small_share_and_the_course_goes_on(halves, monkeypatch):
    """Judging takes a hundred times as long as reading: a journal that grows is drawn at once, judged in its turn."""
    folder, lines = halves
    look = Look(folder)
    look.again()
    judged = look.found
    (folder / JOURNAL).write_bytes(b"".join(lines[: 3 * len(lines) // 4]))
    look._judged_until = float("inf")
    before = look.screen()
    look.again()
    assert look.found is judged and look.screen() != before and not look.news
    look._judged_until = 0.0
    (folder / JOURNAL).write_bytes(b"".join(lines[: 7 * len(lines) // 8]))
    look.again()
    assert look.found is not judged
    (folder / JOURNAL).write_bytes(b"".join(lines))
    look.again()
    found = diagnose(folder)
    assert look.ended and (look.found.status, look.found.kinds) == (found.status, found.kinds), (
        "the end is judged at once"
    )


def test_what_is_no_run_is_refused(run):
    assert run("follow", "runs/nothing")[0] == 2


def test_the_command_alone_shows_a_newcomer_what_to_type(run):
    code, out, err = run()
    assert (code, err) == (0, "") and len(out.splitlines()) <= 20
    assert all(part in out for part in ("collapse_probe.watch(", "diagnose", "follow", "train --watch-delta", "ablate"))
