"""Reports of runs that another program made: their own streams and terms, and nothing of the founding system's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from journals_support import FALL, QUERIES, append, config, made, ramp, scored

import collapse_probe
from collapse_probe.diagnosis import Onset, diagnose
from collapse_probe.errors import InputError
from collapse_probe.journal import (
    Evaluation,
    Event,
    JournalWriter,
    LiveRun,
    Readings,
    Run,
    Start,
    Store,
    Terms,
    write_config,
)
from collapse_probe.reporting import _drawing, _figures, write_report
from collapse_probe.reporting._facts import MOST_ROWS
from collapse_probe.reporting._style import plain
from collapse_probe.reporting._tracks import Track

NOT_THEIRS = (
    "recipe",
    "predictor",
    "Encoder, frozen",
    "nothing was trained",
    "unknown",
    "no probe of",
    "epoch",
)


@pytest.fixture
def quick(monkeypatch):
    """No figures, where it is about words."""
    monkeypatch.setattr(_drawing, "FIGURES", {})


def report(run: object, folder: Path) -> str:
    return write_report(run, folder).read_text()


def assert_speaks_of_its_own(text: str) -> None:
    for word in NOT_THEIRS:
        assert word not in text, word
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.strip().splitlines()]
        assert len({len(row) for row in rows}) == 1, rows[0]
        for row in rows[2:]:
            assert any(cell.strip() not in ("", "-") for cell in row[1:]), row
    assert len(text.encode()) <= 30_000


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory) -> Run:
    cone = {"query/common_share": ramp(0.2, 0.97), "document/common_share": ramp(0.2, 0.97)}
    return made(tmp_path_factory.mktemp("runs") / "mine", {**FALL, **cone})


@pytest.mark.usefixtures("unrendered")
def test_the_first_screen_stands_first_and_each_claim_has_its_figure(tmp_path, collapsed):
    path = write_report(collapsed, tmp_path / "r")
    text, found = path.read_text(), diagnose(collapsed)
    assert text.startswith(f"# Diagnosis of mine\n\n```\n{found.summary}\n```\n")
    assert found.summary.startswith("UNHEALTHY")
    assert_speaks_of_its_own(text)
    claims = re.findall(r"^### \d\. (.*)\n\n(CP\d+), critical\.", text, re.MULTILINE)
    assert [(one.code, one.subject) for one in found.kinds] == [("CP421", "document"), ("CP421", "query")]
    assert [(claim.partition(", since")[0], code) for claim, code in claims] == [("Cone: document, query", "CP421")]
    for at, (claim, _) in enumerate(claims, start=1):
        assert f"![{claim}](figures/happened_{at}.svg)" in text
        assert (path.parent / f"figures/happened_{at}.svg").is_file()
    drawn = {one.stem for one in (path.parent / "figures").iterdir()}
    assert drawn >= {"separation", "scale_and_rank", "loss_terms", "gradients_and_rates", "retrieval"} - {"retrieval"}
    assert text.index("## What happened") < text.index("## Retrieval") < text.index("## Settings and reproduction")


@pytest.mark.usefixtures("unrendered")
def test_a_healthy_run_has_no_section_of_what_happened(tmp_path):
    text = report(made(tmp_path / "run"), tmp_path / "r")
    assert text.splitlines()[3].startswith("HEALTHY")
    assert "## What happened" not in text and "## Corrections" not in text
    assert_speaks_of_its_own(text)


def test_a_path_a_run_and_a_run_in_memory_give_the_same_report(tmp_path, collapsed, quick):
    first = report(collapsed.folder, tmp_path / "a")
    assert first == report(collapsed, tmp_path / "b")
    store = Store()
    with JournalWriter(None, store=store) as writer:
        writer.write(Start(time="2026-01-01"))
        writer.write(Terms(step=1, values={"loss/total": 1.0}))
    text = write_report(LiveRun(config("live"), store), tmp_path / "c").read_text()
    assert "**The run is not finished: its journal has no end**" in text and "resumed" not in text
    with pytest.raises(InputError, match="cannot read a run from a int: give a run folder's path, a Run or a Watch"):
        collapse_probe.write_report(3)


def test_a_watch_is_a_run(tmp_path, quick):
    model = torch.nn.Linear(3, 2)
    with collapse_probe.watch(model, query="", run=tmp_path / "mine") as watch:
        model(torch.ones(4, 3)).sum().backward()
        watch.step()
    text = report(watch, tmp_path / "a")
    assert text.startswith("# Diagnosis of mine\n") and "| query | query |" in text
    assert_speaks_of_its_own(text)


def test_without_a_folder_it_goes_to_reports_and_the_runs_name(tmp_path, collapsed, quick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert collapse_probe.write_report(collapsed) == Path("reports/mine/failure_analysis.md")


def test_without_matplotlib_one_line_says_which_extra_brings_figures(tmp_path, collapsed, monkeypatch):
    monkeypatch.setattr("collapse_probe.reporting._report.can_draw", lambda: False)
    path = write_report(collapsed, tmp_path / "r")
    assert path.read_text().count("collapse-probe[report]") == 1
    assert not (path.parent / "figures").exists() and "figures/" not in path.read_text()
    assert "collapse-probe[report]" not in write_report(collapsed, tmp_path / "s", figures=False).read_text()


def test_a_report_is_written_where_nothing_but_the_core_is_installed(tmp_path, collapsed):
    script = (
        "import sys\n"
        "for name in ('matplotlib', 'sentence_transformers'): sys.modules[name] = None\n"
        "import collapse_probe\n"
        "text = collapse_probe.write_report(sys.argv[1], sys.argv[2]).read_text()\n"
        "print(text.count('collapse-probe[report]'), 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(collapsed.folder), str(tmp_path / "r")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "1 False"


def small(folder: Path, records: list, **fields: object) -> Run:
    folder.mkdir()
    write_config(folder, replace(config(folder.name), streams=(), reference=None, **fields))
    with JournalWriter(folder) as writer:
        writer.write(Start())
        for one in records:
            writer.write(one)
        writer.end("completed", step=max([one.step for one in records], default=0))
    return Run.load(folder)


def test_a_run_in_which_nothing_was_heard(tmp_path):
    path = write_report(small(tmp_path / "run", []), tmp_path / "r")
    text = path.read_text()
    assert "NOT MEASURED" in text.splitlines()[3] and "## What was not measured" in text
    assert not (path.parent / "figures").exists()
    assert_speaks_of_its_own(text)


def test_a_run_of_one_step(tmp_path):
    values = {"query/norm_median": 1.0, "query/common_share": 0.5}
    records = [Terms(step=1, values={"loss/x": 1.0}), Readings(step=1, values=values, n=4, dimension=3)]
    assert_speaks_of_its_own(report(small(tmp_path / "run", records), tmp_path / "r"))


def test_nothing_but_nan(tmp_path):
    names = ("query/norm_median", "query/common_share", "query/std_mean", "pairs/d_prime", "pairs/mrr")
    bad = dict.fromkeys(names, float("nan"))
    records: list = []
    for step in range(1, 30):
        records.append(Terms(step=step, values={"loss/total": float("nan"), "gradient/norm": float("inf")}))
        records.append(Readings(step=step, values=bad, n=4, dimension=3))
    scores = {"ndcg@10": float("nan")}
    records.append(Evaluation(collection="c", step=29, metrics=scores, n_queries=3))
    text = report(small(tmp_path / "run", records), tmp_path / "r")
    assert "divergence" in text.splitlines()[3]
    assert not re.search(r"\b(nan|inf)\b", text.partition("```\n\n")[2])


@pytest.mark.usefixtures("unrendered")
def test_five_hundred_streams_show_twenty_and_the_rest_as_csv(tmp_path):
    rng, records = np.random.default_rng(0), []
    for step in range(1, 12):
        values = {f"s{at}/{name}": 0.5 + rng.random() for at in range(500) for name in ("norm_median", "common_share")}
        records += [Terms(step=step, values={"loss/total": 1.0}), Readings(step=step, values=values, n=4, dimension=3)]
    path = write_report(small(tmp_path / "run", records), tmp_path / "r")
    text = path.read_text()
    assert f"{500 - MOST_ROWS} more rows are in `streams.csv`." in text
    assert len((path.parent / "streams.csv").read_text().splitlines()) == 501
    assert "The first 4 of 500 streams." in text.replace("\\", "")
    assert_speaks_of_its_own(text)


@pytest.mark.usefixtures("unrendered")
def test_every_evaluation_of_any_variant_is_kept(tmp_path):
    records = [
        Evaluation(collection="dev", step=step, variant=name, metrics={"map": step / 100}, n_queries=9)
        for step in range(0, 60, 2)
        for name in ("model", "ema")
    ]
    path = write_report(small(tmp_path / "run", records), tmp_path / "r")
    text = path.read_text()
    assert "| step 58, ema | 0.5800 |" in text and "40 more evaluations are in `evaluations.csv`." in text
    assert len((path.parent / "evaluations.csv").read_text().splitlines()) == 61
    assert (path.parent / "figures/retrieval.svg").is_file()


def test_names_with_markup_and_escapes_become_neither(tmp_path):
    nasty = "_a$b$|<script>x</script>\x1b[31m```\n# h"
    records: list = []
    for step in range(1, 4):
        records.append(Terms(step=step, values={f"loss/{nasty}": 1.0, "loss/total": 1.0, f"rate/{nasty}": 1.0}))
        values = {f"{nasty}/norm_median": 1.0, f"{nasty}/common_share": 0.1}
        records.append(Readings(step=step, values=values, n=4, dimension=3))
        records.append(Evaluation(collection=nasty, step=step, variant=nasty, metrics={nasty: 0.5}, n_queries=3))
    records.append(Event(name="error", message=nasty, subject=nasty, step=2))
    text = report(small(tmp_path / "run", records, command=nasty), tmp_path / "r")
    outside = re.sub(r"^(`{3,})\n.*?^\1\n", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "\x1b" not in text and "## Errors of ours" in text
    assert "<script>" not in outside.replace("\\<", "")
    assert not re.search(r"^# h", text, re.MULTILINE)
    assert_speaks_of_its_own(text)


@pytest.mark.usefixtures("unrendered")
def test_a_killed_and_a_damaged_run_say_so(tmp_path):
    run = made(tmp_path / "run", ends=False)
    assert "**The run is not finished: its journal has no end**" in report(run, tmp_path / "a")
    journal = run.folder / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:20], "no json", *lines[25:]]) + "\n")
    text = report(Run.load(run.folder), tmp_path / "b")
    assert "**an undamaged journal**" in text


def test_a_fall_from_the_best_stretch_is_shown_as_one_on_the_first_screen(tmp_path):
    """Bug: beside the headline "a fall" the screen showed start -> end with a plus sign."""
    shape = lambda t: 0.3 + 0.5 * min(t / 0.3, 1) - (0.25 * max(0.0, (t - 0.5) / 0.5))  # noqa: E731
    run = made(tmp_path / "run", {"pairs/mrr": shape, "pairs/d_prime": lambda t: 4 * shape(t)}, reference=False)
    line = next(one for one in diagnose(run).summary.splitlines() if one.startswith("Retrieval"))
    assert re.search(r"at its best -> \S+ +-\S+ \[-\S+, -\S+\]", line), line


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_a_track_is_drawn_with_its_references_and_the_onset(axes):
    track = Track("x", np.array([0, 10, 20]), np.array([1.0, np.nan, 3.0]), baseline=2.0, against="step 0")
    _figures.tracks(axes, [track], models={}, onset=Onset(step=10, low=5, high=15))
    line, baseline, onset = axes.get_lines()
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0, 20], [1.0, 3.0])
    assert baseline.get_ydata() == [2.0, 2.0] and list(onset.get_xdata()) == [10, 10]


def test_norms_of_unit_vectors_are_one_flat_line(axes):
    """Bug: rounding filled the height of the figure, on a log axis whose labels were all 1 x 10⁰."""
    values = np.array([1.0, 1 + 2e-7, 1 - 1e-7])
    _figures.tracks(axes, [Track("x", np.arange(3), values)], models={}, log=True)
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "linear" and low < 0.95 and high > 1.05


def test_finished_models_stand_on_the_axis_by_their_names(axes):
    """Bug: models without steps were drawn over optimiser steps, the first one as step 0."""
    names = {0: "base", 1: "mine", 2: "my_other_model_that_has_a_name_much_too_long_for_an_axis"}
    _figures.values_by_step(axes, {"x": [(0, 1.0), (2, 0.5)]}, reference=None, ylabel="", onset=None, models=names)
    shown = [one.get_text() for one in axes.get_xticklabels()]
    assert shown[:2] == ["base", "mine"] and len(shown[2]) == 32 and "step" not in axes.get_xlabel()


def test_labels_are_no_markup_of_a_figure():
    assert plain("$x$") == r"\$x\$" and plain("_hidden") == "'_hidden'" and plain("a\x1bb") == "a?b"


def test_findings_are_the_ones_of_the_diagnosis(tmp_path, collapsed, quick):
    path = write_report(collapsed, tmp_path / "r")
    codes = {one["code"] for one in json.loads((path.parent / "findings.json").read_text())}
    assert codes == {one.code for one in diagnose(collapsed).findings}


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("falls", "marked"), [("all", True), ("some", False)])
def test_a_figure_marks_a_fall_that_is_resolved_and_no_other(tmp_path, falls, marked):
    run = made(tmp_path / "run", scores=lambda t: 0.84)
    change = np.zeros_like(QUERIES)
    change[: None if falls == "all" else 5] = 0.1 if falls == "all" else 0.8
    run = append(run, scored(tmp_path / "run", {at: QUERIES - (0.0 if at < 100 else change) for at in (0, 100, 200)}))
    text = write_report(run, tmp_path / "report").read_text()
    assert ("the onset of a fall" in text) == marked
