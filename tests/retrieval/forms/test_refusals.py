"""What cannot be read is refused by its name, in one line that names the file; nothing else is ever raised."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from retrieval.forms.written import (
    PACKERS,
    Content,
    arrow,
    assert_refused,
    json_lines,
    parquet,
    plain_tsv,
    put,
    separated,
    zipped,
)

from collapse_probe.errors import InputError
from collapse_probe.retrieval import read_collections, read_pairs
from collapse_probe.retrieval.forms.refused import REFUSED

ROWS = [{"query": "a b", "document": "c"}, {"query": "d", "document": "e f"}]
LINES = json_lines(ROWS)


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("p.jsonl")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES.encode()))
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 3), dtype=np.float32))
    return buffer.getvalue()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"
WORKBOOK = zipped({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<workbook/>"})
MADE: dict[str, dict[str, bytes]] = {
    "a Git LFS pointer, not the file itself": {"p.jsonl": POINTER.encode(), "p.parquet": POINTER.encode()},
    "a web page, not data": {
        "p.csv": b"<!DOCTYPE html>\n<html><body>404, not found</body></html>",
        "p.jsonl": b"\n  <html>\n",
        "p.tsv": b"<!doctype HTML><p>a\tb",
    },
    "a workbook (xlsx)": {"p.xlsx": WORKBOOK},
    "a tar archive": {"p.tar": tar(), "p.tar.gz": tar(), "p.tar.xz": tar()},
    "a pickle, which is never loaded": {f"p{n}.pkl": pickle.dumps(ROWS, protocol=n) for n in (2, 3, 4, 5)},
    "JSON Lines of sets of texts that mean the same": {
        "p.jsonl": json_lines([{"set": ["a", "b"]}, {"set": ["c", "d"]}]).encode(),
        "p.jsonl.gz": json_lines([{"set": ["a", "b"]}]).encode(),
    },
    "zstd-packed": {"p.jsonl.zst": b"\x28\xb5\x2f\xfd\x04\x00\x19\x00\x00abc"},
    "a SQLite database": {"p.db": b"SQLite format 3\0" + b"\0" * 84},
    "a PDF": {"p.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"},
    "a numpy array": {"p.npy": npy(), "p.npy.gz": npy()},
    "a 7-Zip archive": {"p.7z": b"7z\xbc\xaf\x27\x1c\0\x04" + b"\0" * 24},
}


@pytest.mark.parametrize(
    ("form", "name"), [(form, name) for form in REFUSED for name in MADE[form.name]], ids=lambda part: str(part)[-20:]
)
def test_every_form_that_is_never_read_is_refused_by_its_name(tmp_path, form, name):
    path = put(tmp_path / name, MADE[form.name][name])
    assert assert_refused(lambda: read_pairs(path)) == f"{path}: {form.name}; {form.instead}"
    inside = put(tmp_path / "p.zip", zipped({name: path.read_bytes()}))
    assert_refused(lambda: read_pairs(inside), f"{inside}: {form.name}; {form.instead}")


def test_every_form_that_is_never_read_was_made_here():
    assert set(MADE) == {form.name for form in REFUSED}
    assert all(form.instead and form.read is None for form in REFUSED)


@pytest.mark.parametrize("part", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("form", REFUSED, ids=lambda form: form.name)
def test_a_part_of_a_collection_that_is_never_read_is_refused_by_its_name(tmp_path, part, form):
    parts: dict[str, str | bytes] = {
        "corpus.jsonl": json_lines([{"_id": "d", "text": "x"}]),
        "queries.jsonl": json_lines([{"_id": "q", "text": "x"}]),
        "qrels/test.tsv": "q\td\t1\n",
    }
    for name, content in (parts | {part: next(iter(MADE[form.name].values()))}).items():
        put(tmp_path / "c" / name, content)
    assert_refused(lambda: read_collections(tmp_path / "c"), f"{tmp_path / 'c' / part}: {form.name}; {form.instead}")


HALF = '{"query": "\\ud800", "document": "b"}\n'
SEVERAL = "query,document\n" + '"a ""b"", c",d\n' * 3
BAD: dict[str, tuple[str, Content, str]] = {
    "empty": ("p.jsonl", "", "empty; write one object a line"),
    "empty but for line ends": ("p.tsv", "\n \r\n\t\n", "empty"),
    "empty, packed": ("p.jsonl.gz", "", "empty"),
    "a mark alone": ("p.tsv", "\ufeff", "a text of one column"),
    "an empty array": ("p.json", "[]", "JSON array without rows"),
    "an empty object": ("p.json", "{}\n", "no column as query"),
    "an empty Parquet file": ("p.parquet", parquet([{"query": "a", "document": "b"}])[:0], "empty"),
    "header alone, TSV": ("p.tsv", "query\tdocument\n", "TSV without rows; at least one pair is needed"),
    "header alone, CSV": ("p.csv", "query,document\n", "CSV without rows; at least one pair is needed"),
    "one column": ("p.txt", "how do I clean a chain\nwhy does it squeak\n", "a text of one column"),
    "one column with a name": ("p.csv", "query\nhow do I clean a chain\n", "a text of one column"),
    "one column of JSON Lines": ("p.jsonl", json_lines([{"query": "a"}] * 2), "no column as document"),
    "one column of lists": ("p.jsonl", '["a"]\n["b"]\n', "a query and a document are needed in every row"),
    "two columns without names": ("p.tsv", "a b\tc d e f\ng h\ti j k l\n", "the first line does not name them"),
    "a short row, TSV": ("p.tsv", "query\tdocument\na\tb\nc\n", ":3: 1 columns, where the header has 2 (TSV)"),
    "a long row, CSV": ("p.csv", "query,document\na,b\nc,d,e\n", ":3: 3 columns, where the header has 2 (CSV)"),
    "a long row below lines": ("p.csv", 'query,document\n"a\nb\nc",d\ne,f,g\n', ":5: 3 columns, where the"),
    "a short list": ("p.jsonl", '["a", "b"]\n["c"]\n', "are needed in every row"),
    "a row without a document": ("p.jsonl", LINES + '{"query": "a"}\n', ":3: has 'query'; 'document' is needed"),
    "the same column twice, TSV": ("p.tsv", "query\tdocument\tdocument\na\tb\tc\n", ":1: two columns are named"),
    "the same column twice, CSV": ("p.csv", "query,query,document\na,b,c\n", ":1: two columns are named 'query'"),
    "the same column in two writings": ("p.csv", "query,Query,document\na,b,c\n", "are called the same"),
    "the same key twice": ("p.jsonl", LINES + '{"query": "a", "query": "b"}\n', ":3: has 'query' twice"),
    "the same key twice in an array": ("p.json", '[{"query": "a", "query": "b"}]', "has 'query' twice"),
    "the same key twice inside": ("p.jsonl", '{"query": "a", "pos": {"text": "a", "text": "b"}}\n', "has 'text' twice"),
    "an unclosed mark, CSV": ("p.csv", SEVERAL + '"a,b\n', ":5: quotation marks that do not close as they should"),
    "a mark in the middle of a quoted cell": ("p.csv", SEVERAL + '"a"b",c\n', ":5: quotation marks that do not close"),
    "marks after backslashes, CSV": ("p.csv", 'query,document\n"a \\"b\\"",c\n', "quotation marks written as"),
    "marks after backslashes, TSV": ("p.tsv", 'query\tdocument\n"a \\"b\\""\tc\n', "quotation marks written as"),
    "Latin-1": ("p.tsv", plain_tsv([{"query": "a", "document": "é à"}]).encode("latin-1"), ":2: not UTF-8 at byte 2"),
    "Latin-1, far below": ("p.csv", b"query,document\n" + b"a,b\n" * 30000 + b"\xe9,b\n", ":30002: not UTF-8 at"),
    "half of UTF-16": ("p.tsv", "query\tdocument\na\tb\n".encode("utf-16") + b"\n", "not UTF-16"),
    "UTF-16 without a mark": ("p.tsv", LINES.encode("utf-16-le"), "bytes of no known form"),
    "half a surrogate pair": ("p.jsonl", HALF, ":1: 'query' has half of a surrogate pair"),
    "half a surrogate pair in a list": ("p.jsonl", '["a", "\\udfff"]\n', ":1: '2' has half of a surrogate pair"),
    "half a surrogate pair in a passage": (
        "p.jsonl",
        '{"query": "a", "positive_passages": [{"text": "\\ud83d"}]}\n',
        "half of a surrogate pair",
    ),
    "JSON nested deeply": ("p.jsonl", '{"query": ' + "[" * 99_999 + "]" * 99_999 + "}\n", "JSON nested too deeply"),
    "an array nested deeply": ("p.json", "[" * 99_999, "JSON nested too deeply"),
    "broken JSON": ("p.jsonl", LINES + "{broken\n", ":3: not JSON (Expecting property name"),
    "broken JSON array": ("p.json", json.dumps(ROWS)[:-1], "not JSON"),
    "broken JSON object": ("p.json", json.dumps({"query": ["a"], "document": ["b"]}, indent=1)[:-1], "not JSON"),
    "a list among objects": ("p.jsonl", LINES + "[1]\n", ":3: a JSON list, where an object is needed"),
    "an object among lists": ("p.jsonl", '["a", "b"]\n{"query": "c"}\n', ":2: a JSON dict, where a list is needed"),
    "an array of both": ("p.json", '[{"query": "a", "document": "b"}, ["c", "d"]]', "a JSON array of mixed kinds"),
    "an array of texts": ("p.json", '[\n"a",\n"b"\n]', "a JSON str, where an object is needed"),
    "a number": ("p.jsonl", json_lines([{"query": "a", "document": 3}]), "'document' must be text, got int '3'"),
    "nothing as text": ("p.jsonl", json_lines([{"query": None, "document": "b"}]), "'query' must be text, got nothing"),
    "a blank text": ("p.csv", 'query,document\na," "\n', ":2: 'document' is blank"),
    "columns of other lengths": ("p.json", json.dumps({"query": ["a"], "document": []}), "must be text, got list"),
    "bytes": ("p.bin", bytes(range(256)), "bytes of no known form"),
    "a passage without text": ("p.jsonl", '{"query": "a", "positive_passages": [{"docid": "7"}]}\n', "but no 'text'"),
    "truncated Parquet": ("p.parquet", parquet(ROWS)[:-9], "a Parquet file that cannot be read"),
    "truncated Arrow file": ("p.arrow", arrow(ROWS, kind="file")[:-9], "an Arrow file that cannot be read"),
    "truncated Arrow stream": ("p.arrow", arrow(ROWS)[:200], "an Arrow file that cannot be read"),
    "truncated zip": ("p.zip", zipped({"p.jsonl": LINES})[:-9], "a zip archive that cannot be unpacked"),
    "a zip with a changed member": (
        "p.zip",
        zipped({"p.jsonl": LINES}, compression=0).replace(b"a b", b"a c"),
        "a zip archive that cannot be unpacked (Bad CRC-32",
    ),
    "an empty zip": ("p.zip", zipped({}), "is a folder of no known form (empty)"),
    "a zip that leaves the folder": ("p.zip", zipped({"../x": LINES}), "member '../x' would leave the folder"),
    "a zip that leaves it within": ("p.zip", zipped({"a/../../x": LINES}), "would leave the folder; not unpacked"),
    "a zip with the root": ("p.zip", zipped({"p.jsonl": LINES, "/x": LINES}), "member '/x' would leave the folder"),
    "a zip of texts": ("p.zip", zipped({"a.txt": "a", "b.txt": "b"}), "is a folder of no known form (a.txt, b.txt)"),
    "an empty folder": ("p", {}, "is a folder of no known form (empty)"),
    "a folder of texts": ("p", {"a.txt": "a", "b.py": "b"}, "is a folder of no known form (a.txt, b.py)"),
    "a saved data set without its rows": (
        "p",
        {"dataset_info.json": "{}", "state.json": '{"_data_files": [{"filename": "x.arrow"}]}'},
        "a saved data set that cannot be read",
    ),
    "a folder with a broken file": (
        "p",
        {"train-00000-of-00002.jsonl": LINES, "train-00001-of-00002.jsonl": "{broken\n"},
        "train-00001-of-00002.jsonl: not JSON",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_broken_is_refused_with_the_file_and_what_is_wrong(tmp_path, case):
    name, content, said = BAD[case]
    path = put(tmp_path / name, content)
    message = assert_refused(lambda: read_pairs(path), said)
    assert message.startswith(str(path))
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("written", [json_lines, separated, plain_tsv])
def test_truncated_packed_texts_are_refused(tmp_path, suffix, written):
    rows = [{"query": f"question {n * 7919 % 10007}", "document": f"answer {n * n % 99991}"} for n in range(9000)]
    whole = put(tmp_path / f"p{suffix}", written(rows)).read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 20, 8):
        path = tmp_path / f"{length}{suffix}"
        path.write_bytes(whole[:length])
        assert_refused(lambda path=path: read_pairs(path), f"{path}: not a readable")


def test_what_is_not_there_is_refused_with_what_is_near(tmp_path):
    path = put(tmp_path / "pairs.jsonl", LINES)
    missing = tmp_path / "pair.jsonl"
    said = f"{missing}: no such file or folder; did you mean {path}?"
    assert assert_refused(lambda: read_pairs(missing)) == said
    assert assert_refused(lambda: read_collections(missing)) == said
    other = tmp_path / "something else"
    assert assert_refused(lambda: read_pairs(other)) == f"{other}: no such file or folder; check the path"
    assert_refused(lambda: read_pairs(tmp_path / "no" / "where"), "no such file or folder; check the path")
    assert_refused(lambda: read_pairs(path / "below"), str(path / "below"), "cannot be read (Not a directory)")
    assert_refused(lambda: read_pairs(Path("a\0b")), "no path (embedded null byte)")


def test_a_device_is_refused_as_what_it_is():
    assert_refused(lambda: read_pairs(Path("/dev/null")), "/dev/null: neither a file nor a folder; give one of them")


def test_a_folder_of_collections_is_no_pairs(tmp_path):
    for name in ("bikes", "bread"):
        put(tmp_path / "c" / name, {"corpus.jsonl": "", "queries.jsonl": "", "qrels": {"train.tsv": ""}})
    said = f"{tmp_path / 'c'}: a folder of collections (bikes, bread); give one of them"
    assert assert_refused(lambda: read_pairs(tmp_path / "c")) == said


def test_a_file_is_no_collection(tmp_path):
    for name, content in (("p.jsonl", LINES), ("p.csv", separated(ROWS)), ("p.json", json.dumps(ROWS))):
        path = put(tmp_path / name, content)
        assert_refused(lambda path=path: read_collections(path), f"{path}: is a file, where a folder with corpus.jsonl")


DOORS: list[Callable[[Path], object]] = [read_pairs, read_collections]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("seed", range(4))
def test_no_damage_to_a_file_raises_anything_but_a_refusal(tmp_path, door, seed):
    """Arrow is left out: see the suspected faults."""
    rng = np.random.default_rng(seed)
    rows = [{"query": f"q {n}", "document": f'd "é" {n}'} for n in range(30)]
    kinds: dict[str, Content] = {
        "jsonl": json_lines(rows),
        "json": json.dumps(rows),
        "csv": separated(rows),
        "tsv": plain_tsv(rows),
        "utf16": json_lines(rows).encode("utf-16"),
        "parquet": parquet(rows, compression="none"),
        "zip": zipped({"p.jsonl": json_lines(rows)}),
        "jsonl.gz": json_lines(rows),
        "jsonl.bz2": json_lines(rows),
        "jsonl.xz": json_lines(rows),
    }
    for name, content in kinds.items():
        path = put(tmp_path / f"p.{name}", content)
        whole = path.read_bytes()
        for _ in range(12):
            raw = bytearray(whole)
            for place in rng.integers(len(raw), size=rng.integers(1, 4)):
                raw[place] = rng.integers(256)
            path.write_bytes(bytes(raw[: rng.integers(1, len(raw))] if rng.random() < 0.3 else raw))
            message = refusal(door, path)
            assert message is None or (message.startswith(str(path)) and "\n" not in message)


def refusal(door: Callable[[Path], object], path: Path) -> str | None:
    try:
        door(path)
    except InputError as error:
        return str(error)
    return None
