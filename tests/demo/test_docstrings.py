"""The docstring collection."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collapse_probe.demo import _docstrings, build_embedded
from collapse_probe.demo._docstrings import PACKAGES, _split
from collapse_probe.retrieval import read_beir, read_pairs


def test_the_embedded_text_is_an_ordinary_pairs_file_and_beir_folder(embedded):
    pairs, collection = read_pairs(embedded.pairs), read_beir(embedded.collection)
    assert (len(pairs), len(collection.queries), len(collection.documents)) == (2000, 600, 2500)
    assert collection.notes == ()
    assert all(len(document.split()) <= 60 for document in collection.documents.values())


def test_training_and_test_share_neither_queries_nor_their_documents(embedded):
    pairs, collection = read_pairs(embedded.pairs), read_beir(embedded.collection)
    judged = {collection.documents[d] for judgements in collection.qrels.values() for d in judgements}
    assert not set(pairs.queries) & set(collection.queries.values())
    assert not set(pairs.documents) & judged


def test_the_embedded_text_is_made_the_same_again_without_importing_the_packages(tmp_path, monkeypatch):
    """Of one package: reading all of them takes seven seconds."""
    one = {"networkx": "networkx"}
    monkeypatch.setattr(_docstrings, "PACKAGES", one)
    made = build_embedded(tmp_path / "here").pairs.parents[1]
    script = (
        "import sys; from pathlib import Path\n"
        "sys.modules['torch'] = None\n"
        "from collapse_probe.demo import _docstrings\n"
        f"_docstrings.PACKAGES = {one!r}\n"
        "_docstrings.build_embedded(Path(sys.argv[1]))\n"
        f"print([p for p in {sorted(PACKAGES.values())!r} if p in sys.modules])\n"
    )
    again = tmp_path / "again"
    arguments = [sys.executable, "-c", script, str(again)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(files) > 3 and len(list(again.iterdir())) == 1
    assert all((again / file).read_bytes() == (made / file).read_bytes() for file in files)


def test_the_embedded_text_is_reused(embedded):
    folder = embedded.pairs.parents[1]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert build_embedded(folder) == embedded
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Too short.\n\n" + "word " * 30, None),
        ("A summary of four words.\n\nshort rest", None),
        ("A summary of\n  four words.\n\n" + "w " * 80, ("A summary of four words.", " ".join(["w"] * 60))),
    ],
)
def test_docstrings_are_split_into_summary_and_sixty_words(text, expected):
    assert _split(text) == expected
