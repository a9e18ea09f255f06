"""Every example that is shown is run: the README's, the docstrings', and that every command shown can be parsed.

Examples that begin with ``>>>`` are run by pytest's own doctest collection of the package.
"""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sys
import textwrap
from pathlib import Path

import click
import pytest
import torch
from plain_loops import OneTower, TwoTowers, infonce, pairs
from watching.trainers_support import hf_trainer

import collapse_probe
from collapse_probe.cli._group import EXAMPLES, group
from collapse_probe.watching import _autolog

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "collapse_probe"
RUN = {
    "collapse_probe/__init__.py",
    "collapse_probe/watching/_dispatch.py",
    "collapse_probe/respred/session/_face.py",
}
"""Files whose docstrings have an example as a block: the first two are run here, the last in test_session."""


def blocks(text: str) -> list[str]:
    """Return the examples of Python in a file of Markdown."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def literal(docstring: str) -> str:
    """Return the blocks that follow a double colon."""
    return textwrap.dedent("\n".join(re.findall(r"::\n\n((?: {4}.*\n|\n)+)", docstring + "\n")))


def test_no_docstring_has_a_block_that_is_not_run():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, kinds) and literal(ast.get_docstring(node) or ""):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == RUN


def test_the_example_of_the_package_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # figures take longer than all the rest
    model = OneTower()
    known = {
        "collapse_probe": collapse_probe,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "trainer": hf_trainer(Path("out"), steps=3),
    }
    try:
        exec(literal(collapse_probe.__doc__ or ""), known)
    finally:
        for one in [*_autolog._current]:
            one.close()
    out, err = capsys.readouterr()
    assert (tmp_path / "reports" / "mine" / "failure_analysis.md").is_file() and "failed and is off" not in err
    assert "NOT MEASURED" in out  # its loop is three dots


def test_the_example_of_watch_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = TwoTowers(lambda query, document: (query, document))
    model.towers = torch.nn.ModuleDict({"query": model.query_tower, "document": model.doc_tower})
    known = {
        "collapse_probe": collapse_probe,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": pairs(25),
        "info_nce": lambda both: infonce(*both),
    }
    exec(literal(inspect.getdoc(collapse_probe.watch) or ""), known)
    assert known["w"].live.series("loss/info_nce").last is not None
    assert capsys.readouterr().out.startswith(("HEALTHY", "WARNING"))


def test_the_examples_of_the_documents_run(trained):
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {page.name: blocks(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: len(some) for name, some in found.items() if some} == {
        "README.md": 1,  # run in test_public_face
        "examine.md": 1,  # run in test_examine
        "plain-loop.md": 2,  # run below
        "fine-tuning.md": 2,  # the first is run below, and the second is the same with another rate
        "training.md": 1,
    }
    known: dict[str, torch.Tensor] = {}
    exec(found["training.md"][0], known)
    assert known["scores"].shape == (1, 1) and torch.isfinite(known["scores"]).all()


def test_the_tutorial_of_a_plain_loop_collapses_and_is_cured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known: dict[str, collapse_probe.Diagnosis] = {}
    for block in blocks((ROOT / "docs" / "plain-loop.md").read_text(encoding="utf-8")):
        exec(block, known)
    collapsed, cured = known["found"], known["cured"]
    assert (collapsed.exit_code, cured.exit_code) == (1, 0)
    assert collapsed.causes[0].cause == "no_repulsion", collapsed.summary


def test_the_tutorial_of_a_fine_tuning_forgets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = blocks((ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8"))
    known: dict[str, collapse_probe.Diagnosis] = {}
    # Encoding is most of its time: the evaluation between is left out.
    exec(first.replace("eval_steps=6", "eval_steps=12"), known)
    assert known["found"].exit_code == 1
    assert [one.kind for one in known["found"].kinds] == ["forgetting"], known["found"].summary
    assert second.startswith('cured = tuned("careful", learning_rate=2e-5)')


@pytest.mark.usefixtures("without_figures")
def test_the_founding_case_in_one_command_says_what_its_page_shows(one_command):
    """On the small texts of these tests: the same lines in the same order, with other numbers."""
    shown, printed = one_command
    labels = [line.split("  ")[0] for line in shown.splitlines() if re.match(r"[A-Za-z]", line)]
    assert {"UNHEALTHY", "Seen", "Why", "Retrieval", "Loss", "Do", "Measured"} <= set(labels)
    words = [label.split()[0] for label in labels if label[0].islower()]
    assert {"loading", "preflight", "raw", "step", "epoch", "report", "page"} <= set(words)
    for word in dict.fromkeys(word for word in words if word != "flags"):  # for remedies that are fields alone
        assert re.search(rf"^{word}\b", printed, re.MULTILINE), word
    assert max(map(len, shown.splitlines())) <= 150


@pytest.fixture
def one_command(train_once, inputs) -> tuple[str, str]:
    """Return what the page shows and what its command prints on small texts."""
    text = (ROOT / "docs" / "one-command.md").read_text(encoding="utf-8")
    command, shown = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)[:2]
    name, train, *flags = shlex.split(command)
    assert (name, train) == ("collapse-probe", "train") and shown.startswith("loading ")
    given = ("--pairs", inputs / "pairs.jsonl", "--beir", inputs / "beir", "--batch-size", 32)
    return shown, train_once(*flags, *given)[1]


def commands() -> list[str]:
    """Return every command line that the documents and the help show in a block."""
    found = [line.strip() for line in EXAMPLES.splitlines()]
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += [line.rpartition("&& ")[2].strip() for line in block.splitlines()]
    return sorted({line for line in found if line.startswith("collapse-probe ")})


@pytest.mark.parametrize("line", commands())
def test_every_command_that_is_shown_can_be_parsed(line):
    name, *given = shlex.split(line)[1:]
    command = group.get_command(click.Context(group), name)
    assert command is not None, line
    command.make_context(name, given)
