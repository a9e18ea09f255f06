"""BEIR by name: checked before it is unpacked, kept, and never half there."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import _download, open_collections


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "scifact.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("scifact/corpus.jsonl", '{"_id": "d1", "text": "one"}\n')
        file.writestr("scifact/queries.jsonl", '{"_id": "q1", "text": "first"}\n')
        file.writestr("scifact/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return path


def serve(monkeypatch: pytest.MonkeyPatch, source: Path, *, md5: str | None = None) -> list[str]:
    asked: list[str] = []

    def download(url: str, target: str) -> None:
        asked.append(url)
        Path(target).write_bytes(source.read_bytes())

    monkeypatch.setattr("beir.util.download_url", download)
    digest = md5 or hashlib.md5(source.read_bytes()).hexdigest()
    monkeypatch.setitem(_download.BEIR_MD5, "scifact", digest)
    return asked


def test_a_name_is_downloaded_once_and_kept(monkeypatch, archive, tmp_path):
    asked = serve(monkeypatch, archive)
    for _ in range(2):
        assert open_collections("scifact", cache=tmp_path / "cache")[0].qrels == {"q1": {"d1": 1}}
    assert asked == ["https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/scifact.zip"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["scifact"]


def test_another_md5_is_refused_and_nothing_is_kept(monkeypatch, archive, tmp_path):
    serve(monkeypatch, archive, md5="0" * 32)
    with pytest.raises(
        InputError, match=r"scifact\.zip: MD5 [0-9a-f]{32}, where BEIR publishes 0{32}; nothing was kept"
    ):
        open_collections("scifact", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_member_that_leaves_the_folder_is_not_unpacked(monkeypatch, tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../outside.txt", "x")
    serve(monkeypatch, path)
    with pytest.raises(InputError, match="would leave the folder"):
        open_collections("scifact", cache=tmp_path / "cache" / "deep")
    assert not list(tmp_path.rglob("outside.txt"))


def test_no_network_is_one_line_with_the_way_out(monkeypatch, tmp_path):
    def refuse(url: str, target: str) -> None:
        raise ConnectionError("refused\nover two lines")

    monkeypatch.setattr("beir.util.download_url", refuse)
    with pytest.raises(InputError, match=r"could not be downloaded .* fetch it by hand and give its folder") as caught:
        open_collections("scifact", cache=tmp_path)
    assert "\n" not in str(caught.value)


def test_neither_a_folder_nor_a_name_names_the_nearest(tmp_path):
    with pytest.raises(
        InputError, match=r"scifat: no such folder or file, and no BEIR name .* did you mean 'scifact'\?"
    ):
        open_collections("scifat", cache=tmp_path)


def test_every_published_md5_is_one():
    assert all(len(digest) == 32 and set(digest) <= set("0123456789abcdef") for digest in _download.BEIR_MD5.values())
