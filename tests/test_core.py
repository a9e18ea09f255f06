"""The core alone: what is installed without extras watches a training, and says which extra brings the rest."""

from __future__ import annotations

import configparser
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import collapse_probe
from collapse_probe.journal import RunConfig, write_config

ROOT = Path(collapse_probe.__file__).resolve().parent

LOOP = """
import torch
import collapse_probe

torch.manual_seed(0)
model = torch.nn.Linear(8, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
with collapse_probe.watch(model, optimizer=optimizer, query="", document="", run="mine") as w:
    for _ in range(40):
        loss = (model(torch.randn(16, 8)) - model(torch.randn(16, 8))).square().mean()
        w.terms(agreement=loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
run = collapse_probe.Run.load("mine")
assert run.status == "completed" and run.steps == 40, (run.status, run.steps)
assert len(run.series("query/norm_mean")), sorted(run.keys)
assert "sentence_transformers" not in sys.modules and "matplotlib" not in sys.modules
from collapse_probe import diagnosis
if hasattr(diagnosis, "diagnose"):
    found = collapse_probe.diagnose("mine")
    print(found.summary)
    assert found.exit_code == 1
"""


def core_distributions() -> set[str]:
    """Return the names of what ``install_requires`` brings, without extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT.parent / "setup.cfg")
    waiting = [Requirement(line) for line in setup["options"]["install_requires"].split("\n") if line]
    found: set[str] = set()
    while waiting:
        one = waiting.pop()
        if one.name.lower() in found or (one.marker is not None and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name.lower())
        waiting += map(Requirement, metadata.requires(one.name) or ())
    return found


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Path:
    """A folder of links to the core's distributions and to this package, as ``site-packages`` would hold them."""
    if not (ROOT.parent / "setup.cfg").is_file():
        pytest.skip("the package is not run from its repository")
    folder = tmp_path_factory.mktemp("core")
    for name in core_distributions():
        distribution = metadata.distribution(name)
        for top in {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    (folder / "collapse_probe").mkdir()
    for path in ROOT.iterdir():
        (folder / "collapse_probe" / path.name).symlink_to(path)
    (folder / "collapse_probe" / "shipped_probes").symlink_to(ROOT.parent / "probes")
    return folder


def in_core(core: Path, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that sees the standard library and the core, and nothing else."""
    whole = f"import sys; sys.path.insert(0, {str(core)!r})\n{script}"
    return subprocess.run([sys.executable, "-S", "-I", "-c", whole], cwd=folder, capture_output=True, text=True)


def command(*arguments: str) -> str:
    return f"sys.argv = {['collapse-probe', *arguments]}\nfrom collapse_probe.cli import main; main()"


def test_the_core_lacks_what_the_extras_bring(core, tmp_path):
    extras = ["sentence_transformers", "transformers", "datasets", "beir", "pyarrow", "matplotlib", "sklearn", "pytest"]
    script = f"from importlib.util import find_spec; print([name for name in {extras} if find_spec(name)])"
    assert in_core(core, script, tmp_path).stdout.strip() == "[]"


def test_the_core_alone_watches_a_plain_loop(core, tmp_path):
    result = in_core(core, LOOP, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["train", "--help"], ["compare", "--help"]])
def test_the_core_alone_lists_and_helps(core, tmp_path, arguments):
    result = in_core(core, command(*arguments), tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_the_core_alone_reports_without_figures_and_names_the_extra(core, tmp_path):
    (tmp_path / "mine").mkdir()
    write_config(tmp_path / "mine", RunConfig(name="mine"))
    result = in_core(core, command("report", "mine"), tmp_path)
    assert result.returncode == 1, result.stderr
    text = (tmp_path / "reports" / "mine" / "failure_analysis.md").read_text()
    assert "collapse-probe[report]" in text and "NOT MEASURED" in text


@pytest.mark.parametrize(
    ("script", "code", "extra"),
    [
        (command("train"), 2, "collapse-probe[embedded]"),
        ("from collapse_probe import respred; respred.train('baseline', pairs=None)", 1, "collapse-probe[embedded]"),
        ("from collapse_probe.respred import train_recipe", 1, "collapse-probe[train]"),
        ("from collapse_probe.retrieval import evaluate_vectors", 1, "collapse-probe[train]"),
    ],
)
def test_what_the_core_lacks_is_one_line_with_the_extra(core, tmp_path, script, code, extra):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").write_text('{"schema": 3, "name": "mine"}')
    (tmp_path / "mine" / "journal.jsonl").write_text("")
    result = in_core(core, script, tmp_path)
    assert result.returncode == code, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert f'pip install "{extra}"' in last
    assert code == 1 or result.stderr.count("\n") == 1


def test_importing_the_package_is_cheap(core, tmp_path):
    heavy = ["torch", "numpy", "pandas", "scipy", "click", "rich"]
    script = f"import collapse_probe; print([name for name in {heavy} if name in sys.modules])"
    assert in_core(core, script, tmp_path).stdout.strip() == "[]"


def test_reading_journals_needs_no_pandas(core, tmp_path):
    script = "import collapse_probe.journal; print([n for n in ('torch', 'pandas', 'scipy') if n in sys.modules])"
    assert in_core(core, script, tmp_path).stdout.strip() == "[]"
