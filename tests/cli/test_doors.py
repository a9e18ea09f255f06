"""What is wrong with a path, a name or an option is said before torch is imported, and nothing is written."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from collapse_probe.journal import Run
from collapse_probe.retrieval.forms.__main__ import page

WITHOUT_TORCH = """
import contextlib, io, json, sys
from pathlib import Path
sys.modules["torch"] = None
from collapse_probe.cli import main
listing = lambda: sorted(str(path) for path in Path().rglob("*"))
for arguments in json.load(sys.stdin):
    before, out, err, code = listing(), io.StringIO(), io.StringIO(), None
    sys.argv = ["collapse-probe", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, err.getvalue(), listing() == before]))
"""
DOCS = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
pytestmark = pytest.mark.usefixtures("without_figures")

WRONG = [
    (["train", "--pairs", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
    (["train", "--pairs", "pairs.json"], "pairs.json: no such file or folder; did you mean pairs.jsonl?"),
    (["train", "--recipe", "baseline", "--beir", "beirr"], "beirr: no such folder or file"),
    (["train", "--recipe", "baseline", "--beir", "scifactt"], "did you mean 'scifact'?"),
    (
        ["train", "--encoder", "there/all-MiniLM-L6-v2"],
        "--encoder there/all-MiniLM-L6-v2: no such folder; there has",
    ),
    (["train", "--encoder", "no/such/path"], "--encoder no/such/path: no such folder"),
    (["train", "--encoder", ""], "a model's name or folder is needed"),
    (["train", "--encoder", "beir"], "beir: no model: modules.json or config.json is needed"),
    (["train", "--features", "nofeatures"], "nofeatures: no such folder; a feature store has manifest.json"),
    (["train", "--recipe", "baseline", "--beir", "beir", "--split", "dev"], "give --split test"),
    (["train", "--pairs", "graded.csv"], "give --min-score 0.9: rows below it are left out"),
    (["train", "--pairs", "unknown.csv"], "give --map query=frage,document=antwort"),
    (["train", "--map", "query=a,document=b"], "--map and --min-score are about --pairs"),
    (["train", "--pairs", "pairs.jsonl", "--map", "query"], "write query=COLUMN,document=COLUMN"),
    (["train", "--pairs", "pairs.jsonl", "--map", "question=a"], "unknown role of a column 'question'"),
    (["train", "--pairs", "pairs.jsonl", "--map", "query=x,document=document"], "no column 'x'"),
    (["train", "--pairs", ""], "an empty path"),
    (["train", "--pairs", "pairs.jsonl", "--pairs", "other.jsonl"], "is given twice"),
    (["train", "--reports", "pairs.jsonl"], "pairs.jsonl is a file, where a folder is needed"),
    (["train", "--runs", "pairs.jsonl/runs"], "pairs.jsonl is a file, where a folder is needed"),
    (["train", "--pairs", "x" * 5000], "no path that can be used"),
    (["train", "--encoder", "pairs.jsonl"], "pairs.jsonl: a file, where a model's folder is needed"),
    (["train", "--pairs", "pairs.jsonl", "--map", "query=a,query=b"], "names query twice"),
    (["train", "--pairs", "pairs.jsonl", "--dev", "beir", "--dev-split", "x"], "give --dev-split test"),
    (["preflight", "--pairs", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
    (["evaluate", "runs/nothing", "--beir", "beir"], "runs/nothing: no such run folder"),
]


@pytest.fixture(scope="module")
def refused(inputs, tmp_path_factory) -> list[tuple[int, str, bool]]:
    """Exit code, what was said, and whether every file stayed as it was, of each case; one process runs them all."""
    folder = tmp_path_factory.mktemp("doors")
    for name in ("beir", "pairs.jsonl"):
        (folder / name).symlink_to(inputs / name)
    (folder / "there" / "other").mkdir(parents=True)
    (folder / "graded.csv").write_text("sentence1,sentence2,score\na,b,0.1\nc,d,0.9\n")
    (folder / "unknown.csv").write_text("frage,antwort\na,b\nc,d\n")
    cases = [[*a, *([] if a[0] == "evaluate" else ["--cache", "cache"])] for a, _ in WRONG]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps(cases),
        cwd=folder,
        capture_output=True,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "HOME": "."},
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("case", range(len(WRONG)), ids=[" ".join(a)[:60] for a, _ in WRONG])
def test_wrong_use_is_said_without_torch(refused, case):
    code, said, untouched = refused[case]
    assert code == 2, said
    assert said.startswith("collapse-probe: ") and said.count("\n") == 1
    assert WRONG[case][1] in said
    assert untouched


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["train", "--runs", "locked"], "--runs"),
        (["train", "--reports", "locked/deep/er"], "--reports"),
        (["train", "--resume", "runs/respred", "--reports", "locked"], "--reports"),
        (["ablate", "runs/respred", "--out", "locked"], "--out"),
        (["ablate", "runs/respred", "--reports", "locked"], "--reports"),
        (["evaluate", "runs/respred", "--beir", "beir", "--reports", "locked"], "--reports"),
        (["report", "runs/respred", "--reports", "locked"], "--reports"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, monkeypatch, arguments, flag):
    """H1, H3: everything was trained, and then there was a traceback."""
    make = tempfile.mkdtemp

    def refuse(*, dir: Path, **more: str) -> str:
        if Path(dir).name == "locked":
            raise PermissionError(13, "Permission denied")
        return make(dir=dir, **more)

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    code, out, err = run(*arguments)
    assert code == 2 and not out and err.count("\n") == 1, err
    assert flag in err and "locked cannot be written" in err
    assert [path.name for path in tmp_path.iterdir()] == ["locked"] and not any((tmp_path / "locked").iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder here that nobody can write")
def test_what_nobody_can_write_is_found_out_by_trying(run, tmp_path):
    code, _, err = run("train", "--runs", "/proc/runs")
    assert code == 2 and "/proc/runs cannot be made, since /proc cannot be written" in err
    assert not any(tmp_path.iterdir())


def test_the_page_of_inputs_is_the_generated_one():
    assert DOCS.read_text(encoding="utf-8") == page(), "python -m collapse_probe.retrieval.forms > docs/inputs.md"


def test_forms_are_listed(run):
    code, out, _ = run("list", "forms")
    assert code == 0 and "tevatron's training data" in out and "[refused]" in out


def test_parts_of_one_collection_are_scored_each_and_averaged(run, inputs, tmp_path):
    for part, split in (("bikes", slice(0, 20)), ("bread", slice(20, 30))):
        folder = tmp_path / "many" / part / "qrels"
        folder.mkdir(parents=True)
        for name in ("corpus.jsonl", "queries.jsonl"):
            (folder.parent / name).write_bytes((inputs / "beir" / name).read_bytes())
        lines = (inputs / "beir" / "qrels" / "test.tsv").read_text().splitlines()[split]
        (folder / "test.tsv").write_text("\n".join(lines) + "\n")
    code, out, err = run("train", "--recipe", "baseline", "--beir", tmp_path / "many")
    assert code == 0, err
    records = Run.load("runs/baseline").records("evaluation")
    assert [record["collection"] for record in records] == ["many-bikes", "many-bread"]
    mean = sum(record["metrics"]["ndcg@10"] for record in records) / 2
    assert f"many, mean of 2, {mean:.4f}" in out
    text = Path("reports/baseline/failure_analysis.md").read_text()
    table = text.partition("### many: mean over its parts")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert f"| raw encoder | {mean:.4f} | - | 2 | 30 |" in table
    assert "Average over the collections" not in text


@pytest.mark.parametrize(("grade", "status", "code"), [(1, "warning", 0), (0, "critical", 1)])
def test_a_raw_score_of_exactly_one_or_nothing_is_a_finding(run, inputs, tmp_path, grade, status, code):
    folder = tmp_path / "small"
    (folder / "qrels").mkdir(parents=True)
    corpus = [json.loads(line) for line in (inputs / "beir" / "corpus.jsonl").read_text().splitlines()]
    queries = [json.loads(line) for line in (inputs / "beir" / "queries.jsonl").read_text().splitlines()][:3]
    for query, document in zip(queries, corpus, strict=False):
        query["text"] = f"{document['title']} {document['text']}"
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # Where nothing can be found, the relevant documents are not in the corpus, but for one that is not relevant.
    judged = [f"q{i}\td{i}\t1\n" if grade else f"q{i}\tmissing{i}\t1\nq{i}\td{i}\t0\n" for i in range(3)]
    (folder / "qrels" / "test.tsv").write_text("".join(judged))
    found, out, err = run("train", "--recipe", "baseline", "--beir", folder)
    assert found == code, err
    findings = json.loads(Path("reports/baseline/findings.json").read_text())
    (one,) = [finding for finding in findings if finding["code"] == "CP511"]
    assert (one["status"], one["value"]) == (status, float(grade))
    assert "CP511" in out
