"""Reports: every section, honest gaps, escaped text, nothing lost, and the data that figures draw."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from tests_support import Silent, toy_data, toy_run

from collapse_probe.diagnosis import paired_difference
from collapse_probe.journal import Run, write_run_json
from collapse_probe.reporting import _figures, write_report
from collapse_probe.reporting._gallery import FIGURES
from collapse_probe.reporting._text import Table, code, md, number
from collapse_probe.respred import Recipe, get_recipe

SECTIONS = [
    "In short",
    "Performance against the baseline",
    "The residual",
    "Loss components",
    "Validation loss beside retrieval",
    "Embedding scale and rank",
    "Monitored metrics against their expected ranges",
    "Coverage of the taps",
    "What this does and does not show",
    "To reproduce",
]


def sections(text: str) -> list[str]:
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [
        [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.strip().splitlines()]
        for block in blocks
    ]


def assert_well_formed(text: str) -> None:
    for table in tables(text):
        assert len({len(row) for row in table}) == 1, table[0]
    assert not re.search(r"\b(nan|None|inf)\b", text)
    # A markdown table or heading needs a blank line before it.
    assert not re.search(r"[^\n|]\n\| [^\n]*\|\n\| -", text)
    assert not re.search(r"[^\n]\n#+ ", text)
    # Nothing that is not zero is printed as zeros.
    assert not re.search(r"(?<![\d.])0\.0000(?!\d)", text)


@pytest.fixture(scope="module")
def report(respred_run, tmp_path_factory) -> Path:
    return write_report(Run.load(respred_run), tmp_path_factory.mktemp("reports") / "respred")


def test_a_watched_run_has_every_section_and_figure(report):
    text = report.read_text()
    assert sections(text) == SECTIONS
    assert "ot measured" not in text
    assert_well_formed(text)
    drawn = {path.stem for path in (report.parent / "figures").glob("*.png")}
    assert drawn == set(FIGURES)
    shown = re.findall(r"!\[Figure (\d+)\]\(figures/(\w+)\.png\)", text)
    assert shown == [(str(number), name) for number, name in enumerate(FIGURES, start=1)]


def test_every_data_table_carries_its_n(report):
    for table in tables(report.read_text()):
        header = [cell.strip() for cell in table[0]]
        if any(header):
            assert any(re.match(r"n\b", cell) for cell in header), header


def test_the_reports_numbers_are_the_journals(report, respred_run):
    run, text = Run.load(respred_run), report.read_text()
    for name in (
        "delta/mean_abs.mean",
        "loss/residual.first",
        "validation/total",
        "query/participation_ratio",
    ):
        for value in run.readings(name)["value"]:
            assert number(float(value)) in text
    frame = run.evaluations()
    for value in frame[frame["metric"] == "ndcg@10"]["value"]:
        assert f"{value:.4f}" in text


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (get_recipe("baseline"), {}),
        (Recipe(batch_size=32), {"watch": ()}),
        (Recipe(batch_size=32, predictor="direct"), {}),
        (Recipe(batch_size=32, predictor="none", similarity="cosine"), {}),
        (Recipe(batch_size=32, epochs=1), {}),
    ],
)
def test_what_was_not_measured_is_said(tmp_path, recipe, changes):
    toy_run(tmp_path / "run", recipe, **changes)
    text = write_report(Run.load(tmp_path / "run"), tmp_path / "report").read_text()
    assert sections(text) == SECTIONS
    assert_well_formed(text)
    if recipe.predictor != "residual":
        assert "Not applicable: the recipe has no residual predictor." in text
    elif changes:
        assert "Not measured: run with `--watch-delta`." in text


class Interrupting(Silent):
    def step(self, *, step, steps, epoch):
        if step == 3:
            raise KeyboardInterrupt


def test_interrupted_and_failed_runs_are_reported(tmp_path):
    toy_run(tmp_path / "cut", Recipe(batch_size=32), listener=Interrupting())
    data = toy_data()
    data.query[0] = float("nan")
    toy_run(tmp_path / "nan", Recipe(batch_size=32), data=data)
    for name, words in (("cut", "The run is interrupted"), ("nan", "The run is failed")):
        text = write_report(Run.load(tmp_path / name), tmp_path / "reports" / name).read_text()
        assert words in text
        assert sections(text) == SECTIONS
        for table in tables(text):
            assert len({len(row) for row in table}) == 1


def test_foreign_text_becomes_no_markup(tmp_path, respred_run):
    shutil.copytree(respred_run, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    nasty = "a|b <script>x</script> `c` [d](e)\n# f"
    config["name"] = nasty
    config["encoder"]["name"] = nasty
    config["pairs"]["source"] = nasty
    config["command"] = "x\n```\n# not a heading"
    config["collections"] = [
        {"name": nasty, "split": "t", "n_queries": 1, "n_documents": 1, "notes": [nasty]}
    ]
    config.pop("schema")
    write_run_json(tmp_path / "run", config)
    text = write_report(Run.load(tmp_path / "run"), tmp_path / "report").read_text()
    assert sections(text) == SECTIONS
    assert "<script>" not in re.sub(r"`+[^`]*`+", "", text.replace("\\<", ""))
    assert text.count("```") == 2
    assert_well_formed(text)


def test_the_same_run_gives_the_same_report(tmp_path, respred_run):
    texts = [write_report(Run.load(respred_run), tmp_path / str(i)) for i in range(2)]
    for path in texts[0].parent.rglob("*.*"):
        other = texts[1].parent / path.relative_to(texts[0].parent)
        assert path.is_dir() or path.read_bytes() == other.read_bytes()


def test_writing_again_replaces_its_own_files_and_keeps_an_edited_one(tmp_path, respred_run):
    path = write_report(Run.load(respred_run), tmp_path / "r")
    (path.parent / "notes.txt").write_text("mine")
    assert write_report(Run.load(respred_run), tmp_path / "r") == path
    assert not list(path.parent.glob("*.bak-*"))
    path.write_text("my own words")
    write_report(Run.load(respred_run), tmp_path / "r")
    assert (path.parent / "failure_analysis.md.bak-1").read_text() == "my own words"
    assert path.read_text() != "my own words"
    assert (path.parent / "notes.txt").read_text() == "mine"


def test_a_folder_with_something_else_is_left_alone(tmp_path, respred_run):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "failure_analysis.md").write_text("another's")
    path = write_report(Run.load(respred_run), tmp_path / "r")
    assert path == tmp_path / "r-2" / "failure_analysis.md"
    assert (tmp_path / "r" / "failure_analysis.md").read_text() == "another's"


def test_a_report_needs_no_torch(respred_run, tmp_path):
    script = (
        "import sys; from pathlib import Path\nfrom collapse_probe.journal import Run\n"
        "from collapse_probe.reporting import write_report\n"
        "write_report(Run.load(sys.argv[1]), Path(sys.argv[2]))\n"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(respred_run), str(tmp_path / "r")], check=True)
    assert (tmp_path / "r" / "failure_analysis.md").is_file()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.0009999, "9.999e-04"),
        (-3.2e-12, "-3.200e-12"),
        (5183.0, "5183"),
        (float("nan"), "not a number"),
        (float("-inf"), "-infinite"),
    ],
)
def test_numbers_are_never_rounded_to_zero(value, text):
    assert number(value) == text


def test_escaping_holds_for_cells_and_code():
    table = Table(["a"], [[md("x|y")], [code("``")]]).markdown
    assert table.splitlines()[2] == r"| x\|y |"
    assert table.splitlines()[3] == "| ``` `` ``` |"


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_lines_draw_the_series_and_leave_out_what_a_log_axis_cannot_show(axes):
    frame = pd.DataFrame({"step": [0, 1, 2, 3], "value": [1.0, 0.0, np.nan, 4.0]})
    before = frame.copy()
    _figures.lines_over_steps(axes, {"x": frame}, ends=[2, 3], ylabel="y")
    line = axes.get_lines()[0]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0, 3], [1.0, 4.0])
    assert frame.equals(before)
    assert (axes.get_ylabel(), axes.get_yscale()) == ("y", "log")


def test_the_histogram_draws_shares_of_everything_counted(axes):
    record = {
        "edges": np.array([1e-3, 1e-2, 1e-1]),
        "counts": np.array([3.0, 1.0]),
        "below": 4,
        "above": 0,
        "n": 2,
        "dimension": 4,
        "epoch": 1,
    }
    _figures.residual_histogram(axes, record, shade="k")
    assert axes.patches[0].get_data().values.tolist() == [37.5, 12.5]
    assert axes.get_title(loc="left") == "epoch 1: n = 2 queries, 8 entries"


def test_distances_are_densities(axes):
    record = {"edges": np.array([0.0, 0.5, 1.0]), "counts": np.array([1.0, 3.0]), "n": 4, "epoch": 2}
    _figures.distances(axes, record, None, xlabel="x")
    assert axes.patches[0].get_data().values.tolist() == [0.5, 1.5]


def test_retrieval_draws_both_paths_and_the_band(axes):
    band = {1: paired_difference([0.5, 0.6, 0.7], [0.4, 0.5, 0.5])}
    _figures.retrieval_by_epoch(axes, {"a": [(0, 0.6), (1, 0.5)]}, raw=0.6, band=band, title="t")
    assert [list(line.get_ydata()) for line in axes.get_lines()[1:]] == [[0.6, 0.5]]
    assert len(axes.collections) == 1


def test_a_spectrum_is_over_the_root_of_n(axes):
    record = {"values": np.array([4.0, 2.0, 0.0]), "n": 4, "epoch": 0}
    _figures.spectra(axes, [record], raw=None, title="t")
    assert axes.get_lines()[0].get_ydata().tolist() == [2.0, 1.0]
