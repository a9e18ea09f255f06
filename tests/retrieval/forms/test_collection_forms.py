"""Collections in every layout that people have: always the documents, queries and judgements of BEIR's folder."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from retrieval.forms.written import (
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

from collapse_probe.retrieval import Collection, judged_pairs, read_beir, read_collections, read_pairs
from collapse_probe.retrieval.forms.collections import COLLECTION_FORMS

CORPUS = [
    {"_id": "d1", "title": "Chains", "text": 'Brush it, wipe it; then "dry" it.'},
    {"_id": "d2", "title": "", "text": "Dry parts rub."},
    {"_id": "d3", "title": "Cats", "text": "Feed\tthe cat.\nThen sleep."},
]
QUERIES = [
    {"_id": "q1", "text": "how do I clean a chain"},
    {"_id": "q2", "text": 'why does it "squeak", she asked'},
    {"_id": "q3", "text": "nobody judged this"},
]
QRELS = [("q1", "d1", 2), ("q1", "d3", 0), ("q2", "d2", 1), ("q2", "d3", 1)]
JUDGED = {"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 1, "d3": 1}}
BARE = [
    {"_id": row["_id"], "text": " ".join(f"{row['title']} {row['text']}".split())} for row in CORPUS
]  # For forms that have no titles, and neither tabs nor line ends in a cell.

Parts = Mapping[str, Content]


def qrels_tsv(rows: list[tuple[str, str, int]] = QRELS) -> str:
    return "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{s}\n" for q, d, s in rows)


def qrels_trec(rows: list[tuple[str, str, int]] = QRELS) -> str:
    return "".join(f"{q} 0 {d} {s}\n" for q, d, s in rows)


def named_qrels(query: str = "query-id", document: str = "corpus-id", score: str = "score") -> list[dict[str, Any]]:
    return [{query: q, document: d, score: s} for q, d, s in QRELS]


BEIR: dict[str, Content] = {
    "corpus.jsonl": json_lines(CORPUS),
    "queries.jsonl": json_lines(QUERIES),
    "qrels": {"test.tsv": qrels_tsv()},
}


def beir(folder: Path, **parts: Content) -> Path:
    """Write BEIR's folder with other parts, named as their files without the ending."""
    named = {"corpus": "corpus.jsonl", "queries": "queries.jsonl"}
    changed = {named[part]: content for part, content in parts.items() if part in named}
    if "qrels" in parts:
        changed["qrels"] = {"test.tsv": parts["qrels"]}
    return put(folder, BEIR | changed)


def assert_same(collection: Collection, *, titles: bool = True, split: str = "test") -> None:
    documents = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in CORPUS}
    if not titles:
        documents = {row["_id"]: row["text"] for row in BARE}
    assert collection.documents == documents
    assert collection.titles == ({"d1": "Chains", "d3": "Cats"} if titles else {})
    assert collection.queries == {row["_id"]: row["text"] for row in QUERIES[:2]}
    assert collection.qrels == JUDGED
    assert collection.split == split
    assert (collection.leave_out, collection.missing) == (frozenset(), 0)


def renamed(rows: list[dict[str, str]], **names: str) -> list[dict[str, str]]:
    return [{names.get(name.lstrip("_"), name): cell for name, cell in row.items()} for row in rows]


def shards(rows: list[dict[str, Any]], stem: str) -> dict[str, Content]:
    halves = (rows[:2], rows[2:])
    return {f"{stem}-{n:05}-of-00002.parquet": parquet(half) for n, half in enumerate(halves)}


def without_blank(row: dict[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if cell}


TITLED: dict[str, Parts] = {
    "BEIR's folder": BEIR,
    "gzipped parts": {
        "corpus.jsonl.gz": json_lines(CORPUS),
        "queries.jsonl.xz": json_lines(QUERIES),
        "qrels": {"test.tsv.bz2": qrels_tsv()},
    },
    "marks and CRLF": {
        "corpus.jsonl": "\ufeff" + json_lines(CORPUS).replace("\n", "\r\n"),
        "queries.jsonl": json_lines(QUERIES).encode("utf-16"),
        "qrels": {"test.tsv": "\ufeff" + qrels_tsv().replace("\n", "\r\n")},
    },
    "no title where there is none": BEIR | {"corpus.jsonl": json_lines(map(without_blank, CORPUS))},
    "hidden files beside": BEIR | {".DS_Store": b"\0", "._corpus.jsonl": b"\0", "README.md": "# A collection"},
    "mteb's Parquet folders": {
        "corpus": {"test-00000-of-00001.parquet": parquet(renamed(CORPUS, id="id"))},
        "queries": {"test-00000-of-00001.parquet": parquet(renamed(QUERIES, id="id"))},
        "qrels": {"test-00000-of-00001.parquet": parquet(named_qrels())},
    },
    "the hub's Parquet folders of parts": {
        "corpus": shards(CORPUS, "corpus"),
        "queries": shards(QUERIES, "queries"),
        "qrels": shards(named_qrels(), "test") | shards(named_qrels()[1:], "dev"),
    },
    "the hub's folders of JSON Lines": {
        "corpus": {"corpus.jsonl.gz": json_lines(CORPUS)},
        "queries": {"queries.jsonl.gz": json_lines(QUERIES)},
        "default": {"test.jsonl": json_lines(named_qrels())},
    },
    "Parquet files": {
        "corpus.parquet": parquet(CORPUS),
        "queries.parquet": parquet(QUERIES),
        "qrels": {"test.parquet": parquet(named_qrels(score="relevance"))},
    },
    "Arrow files": {
        "corpus.arrow": arrow(CORPUS),
        "queries.arrow": arrow(QUERIES, kind="file"),
        "qrels": {"test.arrow": arrow(named_qrels())},
    },
    "CSV files": {
        "corpus.csv": separated(CORPUS),
        "queries.csv": separated(QUERIES, quoting=csv.QUOTE_ALL),
        "qrels.csv": separated(named_qrels("qid", "docid", "rel")),
    },
    "quoted TSV files": {
        "corpus.tsv": separated(CORPUS, "\t"),
        "queries.tsv": separated(QUERIES, "\t"),
        "qrels.tsv": separated(named_qrels(), "\t", quoting=csv.QUOTE_NONNUMERIC),
    },
    "columns in another order, with others": {
        "documents.csv": separated([{"url": "u", **dict(reversed(row.items()))} for row in CORPUS]),
        "topics.csv": separated([{"text": row["text"], "extra": "1", "query_id": row["_id"]} for row in QUERIES]),
        "qrels": {"test.csv": separated([dict(reversed(row.items())) for row in named_qrels()])},
    },
    "JSON arrays": {
        "corpus.json": json.dumps(CORPUS),
        "queries.json": json.dumps(QUERIES, indent=1),
        "qrels": {"test.json": json.dumps(named_qrels())},
    },
}
BY_NAME: dict[str, Parts] = {
    "Pyserini": {
        "corpus.jsonl": json_lines({"id": row["_id"], "contents": row["text"]} for row in BARE),
        "topics.tsv": plain_tsv(QUERIES, header=False),
        "qrels.txt": qrels_trec(),
    },
    "MS MARCO": {
        "collection.tsv": plain_tsv(BARE, header=False),
        "queries.test.tsv": plain_tsv(QUERIES, header=False),
        "queries.dev.tsv": "q9\tanother\n",
        "qrels.test.tsv": qrels_trec().replace(" ", "\t"),
        "qrels.dev.tsv": "q9\t0\td1\t1\n",
    },
    "TREC": {
        "docs.trec": "".join(
            f"<DOC>\n<DOCNO> {row['_id']} </DOCNO>\n<TEXT>\n{row['text']}\n</TEXT>\n</DOC>\n" for row in BARE
        ),
        "topics.txt": "".join(
            f"<top>\n<num> Number: {row['_id']}\n<title> {row['text']}\n\n<desc> Description:\nMore.\n</top>\n\n"
            for row in QUERIES
        ),
        "qrels.txt": qrels_trec().replace(" ", "   "),
    },
    "TREC, closed tags and entities": {
        "docs.txt": "".join(
            f"<DOC><DOCNO>{row['_id']}</DOCNO><TEXT>{html.escape(row['text'])}</TEXT></DOC>" for row in BARE
        ),
        "topics.xml": "".join(f"<top><num>{r['_id']}</num><title>{r['text']}</title></top>" for r in QUERIES),
        "test.qrels.txt": qrels_trec(),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", TITLED)
def test_every_layout_gives_the_collection_of_beir_s_folder(tmp_path, case):
    plain = read_beir(put(tmp_path / "plain" / "c", BEIR))
    collection = read_beir(put(tmp_path / "c", TITLED[case]))
    assert_same(collection)
    assert collection.name == "c" and collection.form
    assert collection.fingerprint == plain.fingerprint


@pytest.mark.parametrize("case", BY_NAME)
def test_every_tool_s_layout_gives_the_collection_without_titles(tmp_path, case):
    assert_same(read_beir(put(tmp_path / "c", BY_NAME[case])), titles=False)


def test_the_split_of_ms_marco_is_that_of_its_files(tmp_path):
    folder = put(tmp_path / "c", BY_NAME["MS MARCO"])
    collection = read_beir(folder, split="dev")
    assert (collection.queries, collection.qrels) == ({"q9": "another"}, {"q9": {"d1": 1}})
    assert_refused(lambda: read_beir(folder, split="eval"), "queries of split dev, test, none of eval: give split=dev")


def test_the_split_of_judgements_is_the_one_that_is_asked_for(tmp_path):
    folder = put(tmp_path / "c", BEIR | {"qrels": {"dev.tsv": qrels_tsv(), "train.tsv": "q3\td1\t1\n"}})
    assert_same(read_beir(folder, split="dev"), split="dev")
    assert read_beir(folder, split="train").qrels == {"q3": {"d1": 1}}
    assert_refused(lambda: read_beir(folder), str(folder), "splits here are dev, train: give split=dev")


def test_judgements_without_splits_are_used_and_noted(tmp_path):
    collection = read_beir(put(tmp_path / "c", BY_NAME["Pyserini"]), split="dev")
    assert_same(collection, titles=False, split="dev")
    assert collection.notes == ("the judgements (qrels.txt) have no splits; all of them are used",)


def test_judgements_beside_the_folder_are_found_and_are_no_collection_alone(tmp_path):
    parts = dict(BEIR)
    qrels = parts.pop("qrels")
    put(tmp_path / "shop-qrels", qrels)
    assert_same(read_beir(put(tmp_path / "shop", parts)))
    alone = tmp_path / "shop-qrels"
    assert_refused(lambda: read_beir(alone), f"{alone}: judgements alone; give shop")


FLAT = {"corpus.jsonl": json_lines(CORPUS), "queries.jsonl": json_lines(QUERIES), "qrels/test.tsv": qrels_tsv()}


def below(*folders: str, files: Mapping[str, str] = FLAT) -> dict[str, str]:
    return {"/".join((*folders, name)): content for name, content in files.items()}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (FLAT, "archive"),
        (below("shop"), "shop"),
        (below("a", "b", "shop"), "shop"),
        (below("shop") | {"__MACOSX/shop/._corpus.jsonl": "x"}, "shop"),
        (below("shop") | {"README.md": "# A collection"}, "shop"),
    ],
)
def test_an_archive_is_the_collection_in_it(tmp_path, files, name):
    collection = read_beir(put(tmp_path / "archive.zip", zipped(files)))
    assert_same(collection)
    assert collection.name == name


def test_a_folder_around_one_collection_is_that_collection(tmp_path):
    put(tmp_path / "outer" / "shop", BEIR)
    (collection,) = read_collections(tmp_path / "outer")
    assert_same(collection)
    assert (collection.name, collection.group) == ("shop", None)


@pytest.mark.parametrize("packed", [False, True])
def test_every_part_of_a_group_is_read_and_says_so(tmp_path, packed):
    if packed:
        path = put(tmp_path / "cqadupstack.zip", zipped(below("cqadupstack", "bikes") | below("cqadupstack", "bread")))
    else:
        path = put(tmp_path / "cqadupstack", {"bikes": BEIR, "bread": BEIR, "README.md": "# Twelve"})
    found = read_collections(path)
    assert [(c.name, c.group) for c in found] == [
        ("cqadupstack-bikes", "cqadupstack"),
        ("cqadupstack-bread", "cqadupstack"),
    ]
    for collection in found:
        assert_same(collection)
    assert_refused(lambda: read_beir(path), str(path), "holds 2 collections (cqadupstack-bikes, cqadupstack-bread)")


OBJECT = {
    "queries": {row["_id"]: row["text"] for row in QUERIES},
    "corpus": {row["_id"]: row["text"] for row in BARE},
    "relevant_docs": JUDGED,
}


@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_object_is_a_collection(tmp_path, indent):
    (collection,) = read_collections(put(tmp_path / "data.json", json.dumps(OBJECT, indent=indent)))
    assert_same(collection, titles=False)
    assert collection.name == "data"


def test_relevant_documents_in_a_list_are_graded_one(tmp_path):
    given = OBJECT | {"relevant_docs": {"q1": ["d1"], "q2": ["d2", "d3"]}, "mode": "text"}
    (collection,) = read_collections(put(tmp_path / "data.json", json.dumps(given)))
    assert collection.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 1}}


@pytest.mark.parametrize(
    "content",
    [
        qrels_tsv(),
        qrels_tsv().partition("\n")[2],
        qrels_tsv().replace("\t", ","),
        qrels_tsv().partition("\n")[2].replace("\t", ","),
        qrels_trec(),
        qrels_trec().replace(" ", "\t"),
        "query-id\titeration\tcorpus-id\tscore\n" + qrels_trec().replace(" ", "\t"),
        "qid\tQ0\tdocid\trel\n" + qrels_trec().replace(" ", "\t"),
        separated(named_qrels(), "\t", quoting=csv.QUOTE_ALL),
        separated(named_qrels(), "\t", quoting=csv.QUOTE_NONNUMERIC, header=False),
        separated([{"score": s, "corpus-id": d, "query-id": q} for q, d, s in QRELS], "\t"),
        separated([{"corpus-id": d, "query-id": q, "score": s} for q, d, s in QRELS]),
        separated([{"query-id": q, "corpus-id": d, "score": float(s)} for q, d, s in QRELS], "\t"),
        "".join(f"{q}\t{d}\t{float(s)}\n" for q, d, s in QRELS),
        "".join(f"{q} 0 {d} {float(s)}\n" for q, d, s in QRELS),
        qrels_tsv().replace("\n", "\n\n"),
        qrels_tsv().rstrip("\n"),
        qrels_tsv().replace("\t", " \t "),
        json_lines(named_qrels()),
        json_lines({"query-id": q, "corpus-id": d, "score": float(s)} for q, d, s in QRELS),
        json_lines(named_qrels("query_id", "doc_id", "relevance")),
        json.dumps(named_qrels("qid", "pid", "label")),
        parquet(named_qrels()),
    ],
)
def test_judgements_are_read_in_every_form_and_no_row_is_eaten(tmp_path, content):
    assert_same(read_beir(beir(tmp_path / "c", qrels=content)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "test.tsv: empty"),
        ("query-id\tcorpus-id\tscore\n", "test.tsv: no judgement in it; write query-id<TAB>corpus-id<TAB>score"),
        ("q1\td1\t1\nq2\td2\thigh\n", "test.tsv:2: score 'high' is no whole number"),
        ("q1\td1\t1\nq2\td2\t0.5\n", "test.tsv:2: score '0.5' is no whole number"),
        ("q1\td1\tnan\n", "test.tsv:1: score 'nan' is no whole number"),
        ("q1\td1\t1e300\n", "test.tsv:1: score '1e300' is no whole number"),
        ("q1\td1\t1\nq2\td2\n", "test.tsv:2: 2 columns"),
        ("q1\td1\n", "test.tsv:1: 2 columns, where query-id<TAB>corpus-id"),
        ("q1 d1 0 d1 1\n", "test.tsv:1: 5 columns"),
        ("q1\t\t1\n", "test.tsv:1: 'corpus-id' is ''"),
        ("query-id\tcorpus-id\tcomment\nq1\td1\tx\n", "test.tsv:1: the header is 'query-id', 'corpus-id', 'comment'"),
        ('{"query-id": "q1", "corpus-id": "d1"}\n', "test.tsv:1: has 'query-id', 'corpus-id', where"),
        ('{"query-id": "q1", "corpus-id": "d1", "score": true}\n', "test.tsv:1: score True is no whole number"),
        ('{"query-id": 1.5, "corpus-id": "d1", "score": 1}\n', "test.tsv:1: 'query-id' is 1.5"),
        ('["q1", "d1", 1]\n', "where 'query-id', 'corpus-id' and 'score' are needed"),
        ("q1\td1\t0\nq2\td2\t-1\n", "test.tsv: no judgement is above 0, so nothing could be found"),
        ("x\td1\t1\n", "no judgement names a query and a document that are there (1 unknown queries, 0 unknown"),
        ("q1\tx\t1\n", "judged are 'q1' with 'x', ids are 'q1', 'q2', 'q3' and 'd1', 'd2', 'd3'"),
    ],
)
def test_judgements_that_are_none_are_refused(tmp_path, content, said):
    folder = beir(tmp_path / "c", qrels=content)
    assert_refused(lambda: read_beir(folder), str(folder / "qrels"), said)


def test_integer_ids_and_ids_in_text_are_the_same(tmp_path):
    numbered = {"q1": 1, "q2": 2, "q3": 3, "d1": 10, "d2": 20, "d3": 30}
    corpus, queries = ([row | {"_id": numbered[row["_id"]]} for row in rows] for rows in (CORPUS, QUERIES))
    judged = [(str(numbered[q]), str(numbered[d]), s) for q, d, s in QRELS]
    expected = {"1": {"10": 2, "30": 0}, "2": {"20": 1, "30": 1}}
    for number, written in enumerate((json_lines, parquet)):
        kind = "jsonl" if written is json_lines else "parquet"
        parts = {f"corpus.{kind}": written(corpus), f"queries.{kind}": written(queries)}
        collection = read_beir(put(tmp_path / str(number), {**parts, "qrels": {"test.tsv": qrels_tsv(judged)}}))
        assert collection.qrels == expected
        assert set(collection.documents) == {"10", "20", "30"} and collection.missing == 0
    whole = json_lines({"query-id": int(q), "corpus-id": float(d), "score": s} for q, d, s in judged)
    texts = [json_lines(row | {"_id": str(row["_id"])} for row in rows) for rows in (corpus, queries)]
    assert read_beir(beir(tmp_path / "c", corpus=texts[0], queries=texts[1], qrels=whole)).qrels == expected


def test_spaces_around_ids_are_no_part_of_them(tmp_path):
    spaced = {"corpus": CORPUS, "queries": QUERIES}
    parts = {part: json_lines(row | {"_id": f" {row['_id']} "} for row in rows) for part, rows in spaced.items()}
    assert_same(read_beir(beir(tmp_path / "a", **parts)))
    assert_same(read_beir(beir(tmp_path / "b", qrels=qrels_tsv([(f" {q}", f"{d} ", s) for q, d, s in QRELS]))))
    lines = json_lines({"query-id": f" {q}", "corpus-id": f"{d} ", "score": s} for q, d, s in QRELS)
    assert_same(read_beir(beir(tmp_path / "c", qrels=lines)))


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_blank_query_is_refused_where_it_is_judged(tmp_path, blank):
    unjudged = [*QUERIES[:2], {"_id": "q3", "text": blank}]
    assert_same(read_beir(beir(tmp_path / "a", queries=json_lines(unjudged))))
    judged = [QUERIES[0], {"_id": "q2", "text": blank}]
    folder = beir(tmp_path / "b", queries=json_lines(judged))
    assert_refused(lambda: read_beir(folder), str(folder), "query 'q2' is judged and has no 'text'")


def test_blank_documents_are_kept_and_noted(tmp_path):
    corpus = [*CORPUS, {"_id": "d4", "title": None, "text": ""}]
    collection = read_beir(beir(tmp_path / "c", corpus=json_lines(corpus)))
    assert collection.documents["d4"] == ""
    assert collection.notes == ("1 of 4 documents have no text",)


def test_judged_documents_that_the_corpus_lacks_stay_judged_and_are_noted(tmp_path):
    judged = [*QRELS, ("q1", "gone", 1), ("q2", "lost", 0)]
    collection = read_beir(beir(tmp_path / "c", qrels=qrels_tsv(judged)))
    assert collection.qrels == {"q1": {"d1": 2, "d3": 0, "gone": 1}, "q2": {"d2": 1, "d3": 1, "lost": 0}}
    assert collection.missing == 2
    (note,) = collection.notes
    # (2 / (2 + 1 / log2(3)) + 1) / 2
    assert note.startswith("2 judged documents are not in the corpus, 1 of them relevant") and "0.8801" in note
    assert len(judged_pairs(collection, source="here")) == 3


def test_judgements_of_unknown_queries_are_left_out_and_counted(tmp_path):
    collection = read_beir(beir(tmp_path / "c", qrels=qrels_tsv([*QRELS, ("ghost", "d1", 1)])))
    assert collection.qrels == JUDGED
    assert collection.notes == ("judgements of 1 unknown queries left out",)


def test_a_document_that_is_judged_twice_differently_is_noted(tmp_path):
    collection = read_beir(beir(tmp_path / "a", qrels=qrels_tsv([*QRELS, ("q1", "d1", 1)])))
    assert collection.qrels["q1"]["d1"] == 1
    assert collection.notes == ("1 documents are judged twice, differently; the last judgement counts, as in BEIR",)
    assert read_beir(beir(tmp_path / "b", qrels=qrels_tsv([*QRELS, QRELS[0]]))).notes == ()


def counted_from_one(folder: Path) -> Path:
    """A collection in which documents and queries are both numbered, and query 1 is answered by document 1."""
    corpus = json_lines({"_id": str(n), "text": f"document {n}"} for n in (1, 2, 3))
    queries = json_lines({"_id": str(n), "text": f"query {n}"} for n in (1, 2))
    return beir(folder, corpus=corpus, queries=queries, qrels="1\t1\t1\n2\t3\t1\n")


@pytest.mark.parametrize(
    ("rule", "left_out", "notes"),
    [
        (
            "auto",
            {"2"},
            (
                "1 documents with their query's id are left out, as in BEIR",
                "1 relevant documents have their query's id and can be retrieved, where BEIR leaves them out",
            ),
        ),
        ("keep", set(), ("2 documents with their query's id are retrieved like others",)),
        ("drop", {"1", "2"}, ("2 documents with their query's id are never retrieved, 1 of them relevant",)),
    ],
)
def test_documents_with_the_id_of_their_query_follow_the_rule_and_are_noted(tmp_path, rule, left_out, notes):
    (collection,) = read_collections(counted_from_one(tmp_path / "c"), identical_ids=rule)
    assert collection.leave_out == left_out
    assert collection.notes == notes
    assert collection.qrels == {"1": {"1": 1}, "2": {"3": 1}}


def test_another_rule_is_another_collection(tmp_path):
    folder = counted_from_one(tmp_path / "c")
    prints = {read_collections(folder, identical_ids=rule)[0].fingerprint for rule in ("auto", "keep", "drop")}
    assert len(prints) == 3


def test_ids_that_no_query_shares_are_not_mentioned(tmp_path):
    folder = put(tmp_path / "c", BEIR)
    for rule in ("auto", "keep", "drop"):
        (collection,) = read_collections(folder, identical_ids=rule)
        assert (collection.leave_out, collection.notes) == (frozenset(), ())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"queries.jsonl": json_lines(QUERIES)}, "no corpus.jsonl in it (there is queries.jsonl)"),
        ({"corpus.jsonl": json_lines(CORPUS)}, "no queries.jsonl in it (there is corpus.jsonl)"),
        ({key: BEIR[key] for key in ("corpus.jsonl", "queries.jsonl")}, "no qrels in it, so nothing is judged"),
        (BEIR | {"corpus.jsonl": ""}, "corpus.jsonl: empty"),
        (BEIR | {"corpus.jsonl": '{"text": "a"}\n'}, "corpus.jsonl:1: '_id' is None"),
        (BEIR | {"corpus.jsonl": '{"_id": "d1"}\n'}, "corpus.jsonl:1: document 'd1' has neither 'title' nor 'text'"),
        (BEIR | {"corpus.jsonl": '{"_id": "d1", "text": 3}\n'}, "corpus.jsonl:1: 'text' must be text, got int"),
        (BEIR | {"corpus.jsonl": '{"_id": "1", "text": "a"}\n{"_id": 1, "text": "b"}\n'}, "corpus.jsonl:2: id '1' is"),
        (BEIR | {"queries.jsonl": json_lines(QUERIES * 2)}, "queries.jsonl:4: id 'q1' is there twice"),
        (BEIR | {"queries.jsonl": '{"_id": "q1", "title": "a"}\n'}, "queries.jsonl:1: query 'q1' has no 'text'"),
        (BEIR | {"queries.jsonl": "{broken\n"}, "queries.jsonl: not JSON"),
        (
            {"corpus": {"corpus-00000-of-00002.parquet": parquet(CORPUS)}, "queries.jsonl": json_lines(QUERIES)},
            "1 of 2 files of a split are there",
        ),
    ],
)
def test_parts_that_are_missing_or_broken_are_refused(tmp_path, parts, said):
    folder = put(tmp_path / "c", parts)
    assert_refused(lambda: read_beir(folder), str(folder), said)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.tsv", separated(CORPUS, "\t")),
        ("corpus.tsv.gz", separated(CORPUS, "\t", quoting=csv.QUOTE_ALL)),
        ("corpus.csv", separated(CORPUS)),
        ("corpus.csv.bz2", separated(CORPUS, ";")),
        ("corpus.parquet", parquet(CORPUS)),
        ("corpus.arrow", arrow(CORPUS)),
        ("corpus.json", json.dumps(CORPUS)),
        ("corpus.txt", json_lines(CORPUS)),
        ("collection.jsonl", json_lines(renamed(CORPUS, id="docid", text="contents"))),
        ("documents.jsonl", json_lines(renamed(CORPUS, id="docno", text="body"))),
        ("passages.jsonl", json_lines(renamed(CORPUS, id="pid", text="passage"))),
        ("docs.csv", separated(renamed(CORPUS, id="Doc ID", title="Title", text="Text"))),
        ("msmarco-docs.tsv", "".join(f"{r['_id']}\thttp://x\t{r['title']}\t{r['text']}\n" for r in CORPUS[:2])),
    ],
)
def test_the_corpus_is_read_in_every_form(tmp_path, name, content):
    parts = dict(BEIR)
    del parts["corpus.jsonl"]
    collection = read_beir(put(tmp_path / "c", {**parts, name: content}))
    if name == "msmarco-docs.tsv":
        assert collection.documents == {"d1": f"Chains {CORPUS[0]['text']}", "d2": "Dry parts rub."}
    else:
        assert_same(collection)


def test_a_title_is_no_part_of_a_document_s_body(tmp_path):
    collection = read_beir(put(tmp_path / "c", BEIR))
    assert [collection.body(name) for name in collection.documents] == [row["text"] for row in CORPUS]


def test_every_form_of_collections_was_read_here():
    assert {form.name for form in COLLECTION_FORMS} == {
        "folder of corpus, queries and judgements",
        "folder of collections",
        "one JSON object of queries, corpus and relevant_docs",
    }


def test_the_relevant_documents_of_an_archive_are_pairs(tmp_path):
    pairs = read_pairs(put(tmp_path / "shop.zip", zipped(below("shop"))), split="test")
    assert pairs.queries == (QUERIES[0]["text"], QUERIES[1]["text"], QUERIES[1]["text"])
    assert pairs.n_negatives == 1


def test_parts_that_datasets_saved_to_disk_are_read(tmp_path):
    from datasets import Dataset, DatasetDict

    folder = tmp_path / "c"
    judged = [{"query-id": "q1", "corpus-id": "d1", "score": 1.0}, {"query-id": "q2", "corpus-id": "d2", "score": 2.0}]
    Dataset.from_list([{"_id": "d1", "text": "one"}, {"_id": "d2", "text": "two"}]).save_to_disk(folder / "corpus")
    Dataset.from_list([{"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"}]).save_to_disk(
        folder / "queries"
    )
    other = Dataset.from_list([{"query-id": "q1", "corpus-id": "d2", "score": 1.0}])
    DatasetDict({"test": Dataset.from_list(judged), "train": other}).save_to_disk(folder / "qrels")
    assert read_beir(folder).qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}
    assert read_beir(folder, split="train").qrels == {"q1": {"d2": 1}}


def test_a_collection_that_lacks_a_part_among_others_is_not_passed_over(tmp_path):
    whole = {"corpus.jsonl": '{"_id": "d", "text": "t"}\n', "queries.jsonl": '{"_id": "q", "text": "t"}\n'}
    put(tmp_path / "many" / "a", {**whole, "qrels": {"test.tsv": "q\td\t1\n"}})
    put(tmp_path / "many" / "b", {"corpus.jsonl": whole["corpus.jsonl"], "qrels": {"test.tsv": "q\td\t1\n"}})
    assert_refused(lambda: read_collections(tmp_path / "many"), "many/b: no queries in it")


def test_columns_of_a_corpus_that_are_not_read_are_said(tmp_path):
    corpus = [{"_id": "d", "headline": "H", "text": "one", "metadata": {}}]
    files = {"corpus.jsonl": json_lines(corpus), "queries.jsonl": json_lines([{"_id": "q", "text": "t", "n": 1}])}
    put(tmp_path / "c", {**files, "qrels": {"test.tsv": "q\td\t1\n"}})
    assert read_beir(tmp_path / "c").form == "BEIR folder; left out: headline of corpus; n of queries"


def test_judgements_in_one_object_are_read_as_pytrec_eval_has_them(tmp_path):
    files = {"corpus.jsonl": '{"_id": "d", "text": "t"}\n', "queries.jsonl": '{"_id": "q", "text": "t"}\n'}
    put(tmp_path / "c", {**files, "qrels.json": '{"q": {"d": 2, "e": 0}}'})
    assert read_beir(tmp_path / "c").qrels == {"q": {"d": 2, "e": 0}}
