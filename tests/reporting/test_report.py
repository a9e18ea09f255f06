"""Reports: every section, honest gaps, escaped text, nothing lost, and the data that figures draw."""

from __future__ import annotations

import hashlib
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
from tests_support import FoundingWriter, Silent, founding_config, toy_data, toy_evaluation, toy_run

from collapse_probe.diagnosis import findings
from collapse_probe.errors import InputError
from collapse_probe.journal import Run, write_config
from collapse_probe.reporting import _budget, _drawing, _figures, write_report
from collapse_probe.reporting._drawing import FIGURES
from collapse_probe.reporting._text import Table, code, md, number, percent, score, signed
from collapse_probe.respred import Recipe, get_recipe
from collapse_probe.statistics import paired_difference

SECTIONS = [
    "What happened",
    "Why",
    "Retrieval",
    "Who fell",
    "Separation",
    "Embedding scale and rank",
    "Loss components",
    "Corrections",
    "Which model to keep",
    "Validation loss beside retrieval",
    "Which module holds the change",
    "What the predictor's delta is worth",
    "Before the first step",
    "Every finding and its range",
    "What was heard",
    "What was not measured",
    "What this does and does not show",
    "Settings and reproduction",
]


FOUNDING_FIGURES = (
    "retrieval",
    "residual_histograms",
    "residual_dynamics",
    "loss_terms",
    "validation_vs_ndcg",
    "scale_and_rank",
    "spectrum",
    "distances",
)


def sections(text: str) -> list[str]:
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.strip().splitlines()] for block in blocks]


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
    unread = [line for line in text.splitlines() if line.startswith("| CP") and "| not measured |" in line]
    assert {line[2:7] for line in unread} <= {"CP410", "CP205"}
    assert_well_formed(text)
    drawn = {path.stem for path in (report.parent / "figures").glob("*.svg")}
    assert drawn >= set(FOUNDING_FIGURES)
    shown = re.findall(r"!\[[^\n]*\]\(figures/(\w+)\.svg\)\n\n\*Figure (\d+)\.", text)
    assert {name for name, _ in shown} == drawn
    assert [int(number) for _, number in shown] == list(range(1, len(drawn) + 1))


def test_a_long_run_fits_into_its_report(tmp_path):
    """Bug: twenty epochs made a report of 47 kB. A few are shown, and all of them are beside it."""
    toy_run(tmp_path / "long", Recipe(batch_size=32, epochs=20), evaluations=[toy_evaluation(queries=8, documents=30)])
    path = write_report(Run.load(tmp_path / "long"), tmp_path / "report", figures=False)
    text = path.read_text()
    assert len(text.encode()) <= 30_000
    assert_well_formed(text)
    for file in ("terms", "query_by_epoch", "document_by_epoch", "corrections", "checkpoints"):
        assert re.search(rf"^1[56] more epochs are in `{file}.csv`\.$", text, re.MULTILINE)
        whole = pd.read_csv(path.parent / f"{file}.csv", dtype=str)
        assert {"20", "epoch 20", "19", "epoch 19"} & set(whole.astype(str).to_numpy().ravel())
    scores = text.partition("### toy\n")[2].partition("\n#")[0]
    with_and_without = re.findall(r"^\| (epoch \d+), (with(?:out)? predictor) \|", scores, re.MULTILINE)
    shown = {epoch for epoch, _ in with_and_without}
    assert {"epoch 20", "epoch 10"} <= shown and len(shown) < 20
    assert all((epoch, name) in with_and_without for epoch in shown for name in ("with predictor", "without predictor"))


def test_the_report_of_the_founding_system_fits(report):
    assert len(report.read_text().encode()) <= 30_000


def test_a_report_that_is_too_long_has_shorter_tables_and_every_sentence(report, tmp_path, monkeypatch):
    """Bug: the report of the founding case was 31 kB. Rows are in the page; what answers is not cut."""
    whole = report.read_text()
    monkeypatch.setattr(_budget, "MOST", len(whole.encode()) - 1500)
    short = _budget.fitted(whole)
    assert len(short.encode()) <= _budget.MOST
    said = [[line for line in text.splitlines() if line and not line.startswith("|")] for text in (whole, short)]
    counts = [
        line for line in said[1] if re.fullmatch(r"[\d,]+ more rows, before the last, are in `index.html`\.", line)
    ]
    assert counts and [line for line in said[1] if line not in counts] == said[0]
    rows = [sum(line.startswith("|") for line in text.splitlines()) for text in (whole, short)]
    assert rows[0] - rows[1] == sum(int(line.split()[0].replace(",", "")) for line in counts)
    folded = [text.partition("<details>")[2] for text in (whole, short)]
    assert folded[0] == folded[1] != ""
    assert_well_formed(short)


def test_healthy_findings_are_counted_by_code_where_there_are_many(report):
    text = report.read_text()
    shown = [line for line in text.splitlines() if re.match(r"\| CP\d{3} ", line) and "| healthy |" in line]
    assert not shown and re.search(r"^Healthy: CP001, .*; their values are in `findings.json`.$", text, re.MULTILINE)


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


@pytest.mark.usefixtures("unrendered")
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
    assert [one for one in SECTIONS if one in sections(text)] == sections(text)
    assert_well_formed(text)
    corrected = recipe.predictor == "residual"
    assert ("Corrections" in sections(text)) == corrected
    assert ("What the predictor's delta is worth" in sections(text)) == corrected
    if corrected and changes:
        assert "Not measured: no probe of it was watched." in text


class Interrupting(Silent):
    def step(self, *, step, steps, epoch):
        if step == 3:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("unrendered")
def test_interrupted_and_failed_runs_are_reported(tmp_path):
    toy_run(tmp_path / "cut", Recipe(batch_size=32), listener=Interrupting())
    data = toy_data()
    data.query[0] = float("nan")
    toy_run(tmp_path / "nan", Recipe(batch_size=32), data=data)
    for name, words in (("cut", "The run is interrupted"), ("nan", "The run is failed")):
        text = write_report(Run.load(tmp_path / name), tmp_path / "reports" / name).read_text()
        assert words in text
        assert [one for one in SECTIONS if one in sections(text)] == sections(text)
        for table in tables(text):
            assert len({len(row) for row in table}) == 1


def planted(folder: Path, names: tuple[str, ...], *, queries: int = 40) -> Run:
    """Return a run that was scored on several collections and on which nothing else was measured."""
    folder.mkdir()
    write_config(folder, founding_config("planted", recipe={"predictor": "residual"}, trains=False))
    rng = np.random.default_rng(0)
    with FoundingWriter(folder / "journal.jsonl") as journal:
        for index, name in enumerate(names):
            start = rng.uniform(0.4, 0.9, size=queries)
            for path, epoch in (("raw", 0), ("no_predictor", 0), ("no_predictor", 1), ("predictor", 1)):
                values = start - 0.2 * epoch + rng.normal(0, 0.01, size=queries)
                file = f"{index}-{path}-{epoch}.json"
                scores = {"query_ids": [f"q{i}" for i in range(queries)], "ndcg@10": values.tolist()}
                (folder / file).write_text(json.dumps(scores))
                where = {
                    "collection": name,
                    "split": "test",
                    "step": 10 * epoch,
                    "epoch": epoch,
                    "path": path,
                }
                size = {"n_queries": queries, "n_documents": 9, "tied_share": 0.0, "per_query": file}
                metrics = {"ndcg@10": float(values.mean())}
                journal.append("evaluation", {**where, **size, "similarity": "dot", "metrics": metrics})
    return Run.load(folder)


@pytest.mark.usefixtures("quick")
def test_several_collections_are_averaged_and_named_as_they_are(tmp_path):
    run = planted(tmp_path / "run", ("a: b|c", "nfcorpus"))
    text = write_report(run, tmp_path / "report").read_text()
    assert_well_formed(text)
    frame = run.evaluations()
    last = frame[(frame["path"] == "no_predictor") & (frame["epoch"] == 1)]["value"]
    assert f"| epoch 1, without predictor | {last.mean():.4f} |" in text
    assert text.count("so **adding delta at scoring time is not what changed the scores**") == 3
    assert r"On a: b\|c, nDCG@10 without predictor is" in text
    assert "n = 40 queries over 9 documents, scored by dot." in text


@pytest.mark.usefixtures("quick")
def test_one_query_gives_no_interval_and_no_verdict(tmp_path):
    text = write_report(planted(tmp_path / "run", ("x",), queries=1), tmp_path / "report").read_text()
    assert_well_formed(text)
    assert "It differs, without an interval, against step 0" in text
    assert "**fell**" not in text
    assert "no interval from n = 1 queries" in text


@pytest.mark.usefixtures("quick")
def test_scores_without_their_queries_are_reported_without_differences(tmp_path):
    run = planted(tmp_path / "run", ("x",))
    for path in run.folder.glob("0-*.json"):
        path.unlink()
    text = write_report(run, tmp_path / "report").read_text()
    assert_well_formed(text)
    assert "It **fell**" not in text


def test_findings_are_written_at_full_precision(report, respred_run):
    written = json.loads((report.parent / "findings.json").read_text())
    found = findings(Run.load(respred_run))
    assert [(f["code"], f["status"], f["subject"]) for f in written] == [
        (f.code, f.status.value, f.subject) for f in found
    ]
    assert [f["value"] for f in written] == [f.value for f in found]


def test_findings_that_share_a_reason_give_it_once(report):
    reasons = re.findall(r"^- \*\*CP.*\*\*: (.*)$", report.read_text(), re.MULTILINE)
    assert len(reasons) == len(set(reasons))


@pytest.mark.usefixtures("quick")
def test_foreign_text_becomes_no_markup(tmp_path, respred_run):
    shutil.copytree(respred_run, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    nasty = "a|b <script>x</script> `c` [d](e)\n# f"
    config["session"]["encoder"]["name"] = nasty
    config["session"]["pairs"]["source"] = nasty
    config["session"]["recipe"]["name"] = nasty
    config["command"] = "x\n```\n# not a heading"
    config["collections"] = [{"name": nasty, "split": "t", "n_queries": 1, "n_documents": 1, "notes": [nasty]}]
    (tmp_path / "run" / "run.json").write_text(json.dumps(config))
    text = write_report(Run.load(tmp_path / "run"), tmp_path / "report").read_text()
    assert sections(text) == SECTIONS
    assert "<script>" not in re.sub(r"`+[^`]*`+", "", text.replace("\\<", ""))
    assert len(re.findall(r"^`{3,}$", text, re.MULTILINE)) == 4
    assert_well_formed(text)


@pytest.fixture
def quick(monkeypatch, unrendered):
    """One figure in place of all of them, and no line of it, where it is about files."""
    monkeypatch.setattr(_drawing, "FIGURES", {"retrieval": FIGURES["retrieval"]})


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """The folder of a run of which there is little to say, where it is about files."""
    return planted(tmp_path_factory.mktemp("few") / "run", ("toy",)).folder


@pytest.mark.usefixtures("quick")
def test_writing_again_replaces_its_own_files_and_keeps_an_edited_one(tmp_path, few):
    path = write_report(Run.load(few), tmp_path / "r")
    (path.parent / "notes.txt").write_text("mine")
    assert write_report(Run.load(few), tmp_path / "r") == path
    assert not list(path.parent.glob("*.bak-*"))
    path.write_text("my own words")
    write_report(Run.load(few), tmp_path / "r")
    assert (path.parent / "failure_analysis.md.bak-1").read_text() == "my own words"
    assert path.read_text() != "my own words"
    assert (path.parent / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("quick")
def test_a_figure_that_is_no_longer_drawn_goes_with_its_report(tmp_path, few, monkeypatch):
    path = write_report(Run.load(few), tmp_path / "r")
    monkeypatch.setattr(_drawing, "FIGURES", {})
    write_report(Run.load(few), tmp_path / "r")
    assert not (path.parent / "figures" / "retrieval.svg").exists()


@pytest.mark.usefixtures("quick")
def test_a_record_that_points_elsewhere_deletes_nothing(tmp_path, few):
    path = write_report(Run.load(few), tmp_path / "r")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    record = json.loads((path.parent / ".report.json").read_text())
    record["files"]["../mine.txt"] = hashlib.sha256(b"mine").hexdigest()
    record["files"][str(mine)] = record["files"]["../mine.txt"]
    (path.parent / ".report.json").write_text(json.dumps(record))
    write_report(Run.load(few), tmp_path / "r")
    assert mine.read_text() == "mine"


@pytest.mark.usefixtures("quick")
def test_a_failure_half_way_leaves_the_old_report_and_no_litter(tmp_path, few, monkeypatch):
    path = write_report(Run.load(few), tmp_path / "r")
    before = path.read_text()

    def broken(facts: object, path: Path) -> str:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(_drawing, "FIGURES", {"retrieval": broken})
    with pytest.raises(OSError, match="disk full"):
        write_report(Run.load(few), tmp_path / "r")
    assert path.read_text() == before
    assert (path.parent / "figures" / "retrieval.svg").read_bytes() != b"half"
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


@pytest.mark.usefixtures("quick")
def test_a_file_in_the_folders_place_is_left_alone(tmp_path, few):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(InputError, match="is a file, where the report's folder is needed"):
        write_report(Run.load(few), tmp_path / "r")
    assert (tmp_path / "r").read_text() == "mine"


@pytest.mark.usefixtures("quick")
def test_a_folder_with_something_else_is_left_alone(tmp_path, few):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "failure_analysis.md").write_text("another's")
    path = write_report(Run.load(few), tmp_path / "r")
    assert path == tmp_path / "r-2" / "failure_analysis.md"
    assert (tmp_path / "r" / "failure_analysis.md").read_text() == "another's"


def test_the_same_run_gives_the_same_report_where_there_is_no_torch(tmp_path, respred_run, report):
    script = (
        "import sys; from pathlib import Path\nfrom collapse_probe.journal import Run\n"
        "from collapse_probe.reporting import write_report\n"
        "write_report(Run.load(sys.argv[1]), Path(sys.argv[2]))\n"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)\n"
    )
    again = tmp_path / "again"
    subprocess.run([sys.executable, "-c", script, str(respred_run), str(again)], check=True)
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(report.parent) for p in report.parent.rglob("*") if p.is_file())
    for file in files:
        assert (again / file).read_bytes() == (report.parent / file).read_bytes(), file


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
        (1e12, "1.000e+12"),
    ],
)
def test_numbers_are_never_rounded_to_zero(value, text):
    assert number(value) == text


def test_scores_that_are_not_numbers_are_named():
    nothing = float("nan")
    assert (score(nothing), signed(nothing), percent(nothing)) == ("not a number", "not a number", "-")


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


def test_a_series_without_a_point_to_draw_is_named_as_such_and_one_point_is_seen(axes):
    frames = {
        "gone": pd.DataFrame({"step": [0, 1], "value": [np.nan, 0.0]}),
        "one": pd.DataFrame({"step": [0], "value": [2.0]}),
    }
    _figures.lines_over_steps(axes, frames, ends=[], ylabel="y")
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["gone (nothing to draw)", "one"]
    assert axes.get_lines()[1].get_marker() not in (None, "None")


def test_negative_terms_are_drawn_on_a_symmetric_log_axis(axes):
    frames = {
        "isotropy": pd.DataFrame({"step": [0, 1], "value": [-3.2, -3.4]}),
        "residual": pd.DataFrame({"step": [0, 1], "value": [1e-3, 0.0]}),
    }
    _figures.lines_over_steps(axes, frames, ends=[], ylabel="term")
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[-3.2, -3.4], [1e-3, 0.0]]
    assert (axes.get_ylabel(), axes.get_yscale()) == ("term (symmetric log)", "symlog")
    assert axes.transData.transform((0, 1e-3))[1] - axes.transData.transform((0, 0))[1] > 5


def test_a_negative_loss_by_epoch_is_seen(axes):
    loss = {"validation loss": [(0, -3.1), (1, -3.3)]}
    _figures.values_by_epoch(axes, loss, references={}, ylabel="loss", log=True)
    assert axes.get_yscale() == "linear"
    low, high = axes.get_ylim()
    assert low < -3.3 and high > -3.1


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


def test_an_interval_of_one_epoch_is_seen(axes):
    band = {0: paired_difference([0.5, 0.6, 0.7], [0.4, 0.5, 0.5])}
    _figures.retrieval_by_epoch(axes, {"a": [(0, 0.5)]}, raw=0.6, band=band, title="t")
    (drawn,) = axes.collections
    ends = drawn.get_segments()[0][:, 1]
    assert ends == pytest.approx([0.6 + band[0].low, 0.6 + band[0].high])


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
    _figures.spectra(axes, {"step 0": record}, raw=None, title="t")
    assert axes.get_lines()[0].get_ydata().tolist() == [2.0, 1.0]


def test_a_long_run_draws_a_few_of_its_epochs():
    from collapse_probe.reporting._moments import MOST_EPOCHS, thinned

    records = [{"epoch": epoch} for epoch in range(21)]
    kept = [record["epoch"] for record in thinned(records)]
    assert len(kept) == MOST_EPOCHS and kept[0] == 0 and kept[-1] == 20 and kept == sorted(set(kept))
    assert thinned(records[:4]) == records[:4]


def test_a_file_in_the_way_of_a_report_is_said(tmp_path):
    run = planted(tmp_path / "run", ("toy",))
    place = tmp_path / "train.py"
    place.write_text("mine")
    with pytest.raises(InputError, match=r"train\.py: is a file, where the report's folder is needed"):
        write_report(run, place)
    assert place.read_text() == "mine" and not (tmp_path / "train.py-2").exists()
