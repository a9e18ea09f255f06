"""Reading pairs and collections: what works, and what is refused with file, line and fix."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import read_beir, read_pairs


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


JSONL = '{"query": "a b", "document": "c"}\n{"query": "d", "document": "e f"}\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", JSONL),
        ("p.jsonl.gz", JSONL),
        ("p.txt", JSONL.replace("query", "anchor").replace("document", "positive")),
        ("p.tsv", "query\tdocument\na b\tc\nd\te f\n"),
        ("p.tsv.gz", "id\tanchor\tpositive\n1\ta b\tc\n2\td\te f\n"),
        ("p.jsonl", "\ufeff" + JSONL + "\n\n"),
        ("p.jsonl", JSONL.replace("\n", "\r\n")),
    ],
)
def test_pairs_are_read_in_every_form(tmp_path, name, content):
    pairs = read_pairs(write(tmp_path / name, content))
    assert (pairs.queries, pairs.documents) == (("a b", "d"), ("c", "e f"))
    assert pairs.fingerprint == read_pairs(write(tmp_path / "q.jsonl", JSONL)).fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"p\.jsonl: empty; write one object a line"),
        ("\n \n", r"p\.jsonl: empty"),
        (b'{"query": "\xff"}', r"p\.jsonl:1: not UTF-8 at byte 11; convert the file"),
        (JSONL + "{broken\n", r"p\.jsonl:3: not JSON"),
        (JSONL + "[1]\n", r"p\.jsonl:3: a JSON list, where an object is needed"),
        (
            '{"query": "a", "dok": "b"}\n',
            r"p\.jsonl: JSON Lines with columns 'query', 'dok' .* are needed: give columns=query=query,document=dok",
        ),
        (JSONL + '{"query": " ", "document": "b"}\n', r"p\.jsonl:3: 'query' is blank"),
        ('{"query": "a", "document": 3}\n', r"p\.jsonl:1: 'document' must be text, got int '3'"),
        ("a\tb\nc\td\n", r"p\.jsonl: TSV with columns 'a', 'b' .* give columns=query=a,document=b"),
        ("a b c\td e f\nc\td\n", r"p\.jsonl: TSV with 2 columns without names .* give columns=query=1,document=2"),
        ("query\tdocument\na\n", r"p\.jsonl:2: 1 columns, where the header has 2 \(TSV\)"),
        ("query\tdocument\n", r"p\.jsonl: TSV without rows"),
    ],
)
def test_bad_pairs_are_refused_with_file_and_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(write(tmp_path / "p.jsonl", content))
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_broken_gzip_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such file or folder; check the path"):
        read_pairs(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is a folder of no known form \(empty\)"):
        read_pairs(tmp_path)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(JSONL.encode())[:20])
    with pytest.raises(InputError, match=r"p\.jsonl\.gz: not a readable gzip file"):
        read_pairs(tmp_path / "p.jsonl.gz")


def beir(
    folder: Path, *, qrels: str = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n", split: str = "test"
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": "d1", "title": "T", "text": "one"}, {"_id": "d2", "title": "", "text": "two"}]
    write(folder / "corpus.jsonl", "".join(json.dumps(row) + "\n" for row in corpus))
    queries = [{"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"}, {"_id": "q3", "text": "unjudged"}]
    write(folder / "queries.jsonl", "".join(json.dumps(row) + "\n" for row in queries))
    write(folder / "qrels" / f"{split}.tsv", qrels)
    return folder


def test_a_beir_folder_is_read_with_title_and_text(tmp_path):
    collection = read_beir(beir(tmp_path / "c"))
    assert collection.documents == {"d1": "T one", "d2": "two"}
    assert collection.queries == {"q1": "first", "q2": "second"}
    assert collection.qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}
    assert (collection.name, collection.split, collection.notes) == ("c", "test", ())


@pytest.mark.parametrize(
    "qrels", ["q1\td1\t1\nq2\td2\t2\n", "q1 0 d1 1\nq2 0 d2 2\n", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2"]
)
def test_the_first_row_of_qrels_without_a_header_is_not_eaten(tmp_path, qrels):
    assert read_beir(beir(tmp_path / "c", qrels=qrels)).qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}


def test_unknown_ids_are_counted(tmp_path):
    qrels = "q1\td1\t1\nq1\tx\t1\nq2\ty\t1\nghost\td1\t1\n"
    collection = read_beir(beir(tmp_path / "c", qrels=qrels))
    assert collection.qrels == {"q1": {"d1": 1, "x": 1}, "q2": {"y": 1}}
    assert collection.missing == 2
    assert collection.notes == (
        "judgements of 1 unknown queries left out",
        "2 judged documents are not in the corpus, 2 of them relevant; they stay judged, as in BEIR and trec_eval, so "
        f"nDCG@10 can reach {0.5 / (1 + 1 / np.log2(3)):.4f} at most",
    )


def test_queries_without_a_relevant_document_are_noted(tmp_path):
    assert read_beir(beir(tmp_path / "c", qrels="q1\td1\t0\nq2\td2\t1\n")).notes == (
        "1 queries have no relevant document and score 0",
    )


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "corpus.jsonl").unlink(), r"c: no corpus\.jsonl in it"),
        (lambda f: (f / "queries.jsonl").unlink(), r"c: no queries\.jsonl in it"),
        (
            lambda f: (f / "qrels" / "test.tsv").rename(f / "qrels" / "dev.tsv"),
            r"splits here are dev: give split=dev",
        ),
        (lambda f: (f / "qrels" / "test.tsv").unlink(), r"c: no qrels in it, so nothing is judged"),
        (lambda f: write(f / "qrels" / "test.tsv", ""), r"test\.tsv: empty"),
        (
            lambda f: write(f / "qrels" / "test.tsv", "q1\td1\t1\nq1\td2\thigh\n"),
            r"test\.tsv:2: score 'high' is no whole",
        ),
        (lambda f: write(f / "qrels" / "test.tsv", "q1\td1\n"), r"test\.tsv:1: 2 columns, where query-id<TAB>"),
        (
            lambda f: write(f / "qrels" / "test.tsv", "x\ty\t1\n"),
            r"no judgement names a query and a document .* judged are 'x' with 'y', ids are 'q1', 'q2', 'q3' and 'd1'",
        ),
        (lambda f: write(f / "qrels" / "test.tsv", "q1\td1\t0\n"), r"no judgement is above 0"),
        (lambda f: write(f / "corpus.jsonl", ""), r"corpus\.jsonl: empty"),
        (lambda f: write(f / "corpus.jsonl", '{"_id": "d1"}\n'), r"corpus\.jsonl:1: document 'd1' has neither"),
        (lambda f: write(f / "corpus.jsonl", '{"text": "a"}\n'), r"corpus\.jsonl:1: '_id' is None"),
        (
            lambda f: write(f / "queries.jsonl", '{"_id": "q1", "text": ""}\n'),
            r"query 'q1' is judged and has no 'text'",
        ),
        (
            lambda f: write(f / "queries.jsonl", '{"_id": "q", "text": "a"}\n' * 2),
            r"queries\.jsonl:2: id 'q' is there twice",
        ),
    ],
)
def test_broken_beir_folders_are_refused(tmp_path, break_it, message):
    folder = beir(tmp_path / "c")
    break_it(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_beir(folder)
    assert "\n" not in str(caught.value)


def test_scifact_is_complete(shared):
    collection = read_beir(shared / "data" / "scifact")
    assert (len(collection.documents), len(collection.queries)) == (5183, 300)
    assert sum(len(judgements) for judgements in collection.qrels.values()) == 339
    assert collection.notes == ()


def test_medquad_is_complete(shared):
    assert len(read_pairs(shared / "data" / "medquad_smoke_10k.jsonl")) == 10_000


def test_a_collection_without_a_train_split_gives_no_pairs_and_no_advice_to_name_another(tmp_path):
    with pytest.raises(
        InputError, match=r"splits here are test: give pairs, which are those of split train alone"
    ) as caught:
        read_pairs(beir(tmp_path / "c"))
    assert "split=" not in str(caught.value)
