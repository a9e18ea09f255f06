"""The layers of ARCHITECTURE.md: who may import whom, read from the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_probe

ROOT = Path(collapse_probe.__file__).parent

ALLOWED = {
    "journal": set(),
    "measures": {"journal"},
    "recording": {"journal", "measures"},
    "audits": {"journal", "measures", "recording", "diagnosis"},
    "watching": {"journal", "measures", "recording", "retrieval", "diagnosis"},
    "demo": set(),
    "retrieval": {"journal", "demo"},
    "statistics": set(),
    "diagnosis": {"journal", "statistics"},
    "running": {"journal", "recording", "watching", "diagnosis"},
    "experiments": {"journal", "statistics", "diagnosis"},
    "reporting": {"journal", "statistics", "diagnosis", "experiments"},
    "exporting": {"journal", "diagnosis", "reporting"},
    "respred": {
        "journal",
        "measures",
        "recording",
        "demo",
        "retrieval",
        "diagnosis",
        "watching",
        "experiments",
        "audits",
    },
    "examining": {"journal", "measures", "recording", "retrieval", "diagnosis"},
    "cli": {
        "journal",
        "recording",
        "retrieval",
        "diagnosis",
        "experiments",
        "reporting",
        "exporting",
        "respred",
        "running",
        "examining",
    },
}

WITHOUT_TORCH = (
    "demo",
    "journal",
    "statistics",
    "diagnosis",
    "experiments",
    "reporting",
    "exporting",
    "errors",
    "imported",
    "running",
    "cli",
    "recording",
)


def imported_layers(path: Path) -> set[str]:
    """Return the layers of ours that a file imports, wherever in it."""
    layer, depth = path.relative_to(ROOT).parts[0], len(path.relative_to(ROOT).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found.update(names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("collapse_probe"):
            found.update((node.module or "").split(".")[1:2])
    return found - {layer, "errors", "imported", "__version__"}


def test_every_layer_is_in_the_table():
    assert {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ALLOWED)


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_those_above_it(layer):
    for path in (ROOT / layer).rglob("*.py"):
        assert imported_layers(path) <= ALLOWED[layer], path


def test_layers_that_a_laptop_needs_come_without_torch():
    """And without scipy.stats, which took most of the time of a diagnosis.

    One after the other in one process: what none of them imports, each alone does not either.
    """
    script = (
        "import sys, importlib\n"
        f"for layer in {WITHOUT_TORCH}:\n"
        "    importlib.import_module(f'collapse_probe.{layer}')\n"
        "    if {'torch', 'scipy.stats'} & set(sys.modules): sys.exit(layer)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_nothing_is_pickled():
    """No call that writes or reads pickles, in any file of the package."""
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in ("import pickle", "torch.save(", "torch.load(", "allow_pickle=True", "joblib", "yaml.load("):
            assert name not in text, f"{path}: {name}"


FLAG = re.compile(r"(?<![\w-])--[a-z]")

NOT_OURS = (
    "pip install --force-reinstall",
    "--porcelain",
    "--untracked-files",
    " --safe_serialization",
    "jupyter nbconvert --to script",
)
"""Flags of other programs."""


def test_messages_speak_of_settings_which_the_command_line_alone_spells_as_flags():
    """But for the document on forms, which is about the command line."""
    found = []
    for path in ROOT.rglob("*"):
        if path.relative_to(ROOT).parts[0] == "cli" or path.name == "__main__.py":
            continue
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        elif path.suffix == ".j2":
            strings = [path.read_text(encoding="utf-8")]
        else:
            continue
        texts = [one for one in strings if isinstance(one, str) and not any(other in one for other in NOT_OURS)]
        found += [(path.name, one) for one in texts if FLAG.search(one)]
    assert found == []
