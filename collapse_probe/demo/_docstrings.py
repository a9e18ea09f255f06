"""The embedded collection: docstring search over the installed scientific packages, made at run time."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..errors import InputError

PACKAGES = {
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
}
"""Distribution name to the package that is read."""

DOCUMENT_WORDS = 60
N_QUERIES = 600
N_DOCUMENTS = 2500
N_PAIRS = 2000
"""Queries, documents and training pairs: about 6,000 texts, so that a first run on two cores stays below three
minutes (measured: about 70 seconds of encoding)."""

_MIN_SUMMARY_WORDS = 4
_MIN_REST_WORDS = 12
_SKIPPED = {"tests", "testing", "_vendor", "externals", "examples", "conftest.py", "setup.py"}
_FORMAT = 1


@dataclass(frozen=True)
class EmbeddedText:
    """Where the embedded collection lies.

    Attributes:
        pairs: JSON Lines of training pairs.
        collection: A BEIR folder with a ``test`` split.
        versions: Distribution name to the version that was read.
    """

    pairs: Path
    collection: Path
    versions: dict[str, str]


def build_embedded(folder: Path, *, progress: Callable[[int, int], None] | None = None) -> EmbeddedText:
    """Make the collection from the installed packages, or reuse it where their versions are the same.

    Query = the summary line of a docstring; document = the rest of it, cut to 60 words. The source is read
    with ``ast``; nothing is imported. For given versions the result is always the same. The training pairs
    share neither a query nor a document with the test queries; the corpus holds the documents of the test
    queries and, as distractors, documents of other pairs, some of which are trained on.

    Args:
        folder: Parent of one folder for each combination of versions.
        progress: Called with (files read, files).

    Raises:
        InputError: one of the packages is not installed.
    """
    versions = {name: _version(name) for name in PACKAGES}
    stamp = hashlib.sha256(json.dumps([_FORMAT, versions], sort_keys=True).encode()).hexdigest()[:12]
    target = folder / f"docstrings-{stamp}"
    if not (target / "source.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".building-"))
        try:
            _write(temporary, docstring_pairs(progress=progress), versions)
            os.chmod(temporary, 0o755)
            os.replace(temporary, target)
        except OSError:
            if not (target / "source.json").is_file():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return EmbeddedText(target / "pairs.jsonl", target / "beir", versions)


def docstring_pairs(*, progress: Callable[[int, int], None] | None = None) -> list[tuple[str, str]]:
    """Return every (summary line, rest) of the packages' public docstrings, each text once.

    In the order of package, path and line; of two with the same summary or the same rest the first stays.
    """
    files = [path for package in PACKAGES.values() for path in _sources(package)]
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    for number, path in enumerate(files):
        if progress is not None:
            progress(number, len(files))
        for summary, rest in _file_pairs(path):
            if summary not in seen and rest not in seen:
                seen.update((summary, rest))
                pairs.append((summary, rest))
    return pairs


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        fix = 'pip install "collapse-probe[embedded]"'
        raise InputError(f"the embedded collection reads {name}, which is not installed: {fix}") from None


def _sources(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the embedded collection reads {package}, which is not installed")
    root = Path(spec.submodule_search_locations[0])
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        parts = path.relative_to(root).parts
        if not _SKIPPED.intersection(parts) and not parts[-1].startswith("test_"):
            yield path


def _file_pairs(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in _public_nodes(tree):
        text = ast.get_docstring(node)
        pair = _split(text) if text else None
        if pair is not None:
            yield pair


def _public_nodes(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the module and its public classes, functions and methods, in the order of their lines."""
    yield tree
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                pending = list(node.body) + pending


def _split(text: str) -> tuple[str, str] | None:
    summary, _, rest = text.strip().partition("\n\n")
    summary = re.sub(r"\s+", " ", summary).strip()
    words = re.sub(r"[-=~^]{3,}", " ", rest).split()
    if len(summary.split()) < _MIN_SUMMARY_WORDS or len(words) < _MIN_REST_WORDS:
        return None
    return summary, " ".join(words[:DOCUMENT_WORDS])


def _write(folder: Path, pairs: list[tuple[str, str]], versions: dict[str, str]) -> None:
    # By hash of the query: every package is in every part, and another version moves few pairs.
    order = sorted(pairs, key=lambda pair: hashlib.sha256(pair[0].encode()).digest())
    test, rest = order[:N_QUERIES], order[N_QUERIES:]
    training, distractors = rest[:N_PAIRS], rest[-(N_DOCUMENTS - N_QUERIES) :]
    _write_lines(folder / "pairs.jsonl", ({"query": query, "document": text} for query, text in training))
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    corpus = [text for _, text in (*test, *distractors)]
    rows = ({"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(corpus))
    _write_lines(beir / "corpus.jsonl", rows)
    _write_lines(beir / "queries.jsonl", ({"_id": f"q{n}", "text": query} for n, (query, _) in enumerate(test)))
    judgements = "".join(f"q{number}\td{number}\t1\n" for number in range(len(test)))
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements, encoding="utf-8")
    source = {"versions": versions, "found": len(pairs), "pairs": len(training), "documents": len(corpus)}
    (folder / "source.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
