"""What ``train`` shows while it trains."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from collapse_probe.cli import _display, _live, _training
from collapse_probe.cli._live import Look, progress
from collapse_probe.cli._training import TrainingDisplay, evaluation_line
from collapse_probe.diagnosis import diagnosed
from collapse_probe.diagnosis.screen import course, verdict_so_far
from collapse_probe.journal import LiveRun, Run, Start

PARTS = (
    "separation (d')",
    "query spread (std)",
    "document spread (std)",
    "query common share",
    "loss",
    "loss: predictive",
)


def scores(name: str, *values: float, group: str | None = None):
    paths = ("no_predictor", "predictor")[: len(values)]
    by_path = {path: SimpleNamespace(mean={"ndcg@10": value}) for path, value in zip(paths, values, strict=True)}
    return SimpleNamespace(collection=name, by_path=by_path, group=group)


@pytest.fixture
def terminal(monkeypatch) -> Console:
    """The console of a terminal of 100 columns whose output is kept."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40, highlight=False, soft_wrap=True)
    monkeypatch.setattr(_display, "console", console)
    monkeypatch.setenv("COLUMNS", "100")
    return console


def test_the_course_of_a_run_has_its_verdict_and_every_curve(respred_run):
    run = Run.load(respred_run)
    evidence, found, _ = diagnosed(LiveRun(run.config, run.store, folder=run.folder))
    for width in (64, 100):
        lines = [*verdict_so_far(evidence, found, width=width), *course(evidence, found, width=width)]
        assert max(map(len, lines)) <= width and (width < 100 or len(lines) <= 20)
        for part in PARTS:
            assert any(re.search(rf"^ +{re.escape(part)}  .*[▁-█]", line) for line in lines), (part, *lines)
        assert any("nDCG@10" in line for line in lines)
    assert lines[0].split()[0] == found.summary.split()[0]


@pytest.mark.usefixtures("without_figures")
def test_a_pipe_gets_short_lines_from_the_first_second_on(one_run):
    """Bug: an evaluation was a line of up to 500 characters, and the first seconds were silent."""
    lines = one_run[1].splitlines()
    assert lines[0] == "loading torch, the encoder, pairs and collections"
    shown = [line for line in lines if "  nDCG@10 " in line]
    assert [re.split(r"  +", line)[0] for line in shown] == [
        "raw encoder", "step 0", "epoch 1/1", "t = 0.25", "t = 0.5", "t = 0.75",
    ]  # fmt: skip
    assert all(re.search(r" beir [01]\.\d{4}", line) and len(line) <= 100 for line in shown), shown
    short = [line for line in lines if re.match(r"step [\d,]+  (raised|cleared|now)|preflight red", line)]
    assert len(short) >= 2 and all(len(line) <= 100 for line in short)


def test_the_journal_knows_how_many_steps_are_planned(one_run):
    (start,) = Run.load(one_run[0] / "runs" / "respred").of(Start)
    assert start.steps == Run.load(one_run[0] / "runs" / "respred").steps > 0


def test_a_line_of_an_evaluation_counts_what_does_not_fit():
    many = [scores(f"collection {i}", 0.5 + i / 100, 0.5 + i / 100) for i in range(12)]
    line = evaluation_line("epoch 12/12", {"validation/total": 2.2e-3, "delta": 1e-4}, many)
    shown = line.count("collection ")
    assert len(line) <= 100 and shown >= 1 and f" and {12 - shown} more" in line
    one = evaluation_line(
        "step 0", {}, [scores("beir", 0.5, 0.4), scores("a", 0.2, group="g"), scores("b", 0.4, group="g")]
    )
    assert one.endswith("nDCG@10 beir 0.5000 (0.4000 with predictor), g, mean of 2, 0.3000")
    full = evaluation_line(
        "epoch 12/12", {"validation/total": 2.2e-3, "delta": 1e-4}, [scores(name * 14, 0.5, 0.4) for name in "ab"]
    )
    assert full.count("0.5000") == 2 and "predictor" not in full and len(full) <= 100, full
    real = [scores("embedded-docstrings", 0.4499, 0.4503), scores("held-out pairs", 0.519, 0.52)]
    line = evaluation_line("epoch 1/2", {"validation/total": 7.2e-5, "delta": 1.4e-3}, real)
    assert line.endswith("loss 7.2e-05  nDCG@10 embedded-docstrings 0.4499, held-out pairs 0.5190  delta 1.4e-03")
    assert len(evaluation_line("t = 0.5", {}, [scores("x" * 300, 0.5)])) <= 100


def test_a_terminal_shows_how_far_it_is_and_findings_as_they_come(respred_run, terminal, monkeypatch):
    monkeypatch.setattr(_training, "DRAW_EVERY", 0.0)
    with TrainingDisplay(respred_run) as display:
        for step in (1, 2, 3):
            display.step(step=step, steps=200, epoch=1)
        display.epoch(epoch=1, epochs=4, values={}, scores=[scores("beir", 0.5)])
    out = terminal.file.getvalue()
    assert "Ctrl-C ends looking, not the run" not in out, "of one's own training it would not be true"
    assert re.search(r"step 3 of 200, \d+:\d\d left", out) and "epoch 1/4" in out
    look = Look(respred_run)
    look.again()
    assert look.news and all(line in out for line in look.news)
    assert all(line in out for line in look.screen("").splitlines()[:-1])


def test_looking_takes_a_small_share_of_a_training(respred_run, terminal, monkeypatch):
    """A look that takes .1 s is followed by 20 seconds without one, however many steps there are."""
    looks = []

    def again(self: Look) -> None:
        looks.append(1)
        self.cost = 0.1

    monkeypatch.setattr(Look, "again", again)
    monkeypatch.setattr(Look, "screen", lambda self, progress: progress)
    now = [1000.0]
    monkeypatch.setattr(_training.time, "monotonic", lambda: now[0])
    display = TrainingDisplay(respred_run)
    for step in range(1, 6001):
        now[0] += 0.1
        display.step(step=step, steps=6000, epoch=1)
    assert 25 <= len(looks) <= 600 * _live.SHARE / 0.1 + 1


@pytest.mark.parametrize("broken", ["again", "screen"])
def test_a_display_that_breaks_ends_no_training(respred_run, terminal, monkeypatch, broken):
    def fail(self: Look, *_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(Look, broken, fail)
    with TrainingDisplay(respred_run) as display:
        for step in range(1, 4):
            display.step(step=step, steps=3, epoch=1)
        display.epoch(epoch=1, epochs=1, values={}, scores=[scores("beir", 0.5)])
    assert terminal.file.getvalue().count("no more is shown of the training, which goes on (ValueError") == 1


def test_an_interrupt_in_a_look_reaches_the_training(respred_run, terminal, monkeypatch):
    monkeypatch.setattr(Look, "again", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), TrainingDisplay(Path(respred_run)) as display:
        display.step(step=1, steps=3, epoch=1)


def test_progress_never_divides_by_nothing():
    assert progress(0, 0, None) == "step 0" and progress(0, 10, 0.0).endswith("step 0 of 10")
    assert progress(10, 10, 7200.0).endswith("step 10 of 10, 0:00 left")
    assert progress(1, 3601, 4.0).endswith(", 4:00:00 left")
