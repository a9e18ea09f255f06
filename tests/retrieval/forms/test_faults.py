"""Faults that the readers had, each with the file that showed it."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from retrieval.forms.written import (
    Content,
    arrow,
    as_tuples,
    assert_refused,
    assert_right_or_refused,
    json_lines,
    parquet,
    put,
    separated,
    zipped,
)

from collapse_probe.errors import InputError
from collapse_probe.retrieval import read_collections, read_pairs

TEXTS = {"queries.tsv": "1\twhat is a\n2\twhat is b\n", "collection.tsv": "10\tIt is a.\n20\tIt is b.\n30\tIt is c.\n"}
ROWS = [{"query": "a b", "document": "c"}, {"query": "d", "document": "e f"}]
PLAIN = [("a b", "c", ()), ("d", "e f", ())]


class Fault(NamedTuple):
    """Files, which of them is read, and what its writer meant; None where nothing but a refusal is right."""

    files: Mapping[str, Content]
    name: str
    expected: Sequence[tuple[str, str, tuple[str, ...]]] | None
    options: dict[str, Any] = {}


def one(content: Content, expected: Sequence[tuple[str, str, tuple[str, ...]]] | None, **options: Any) -> Fault:
    return Fault({"p": content}, "p", expected, options)


def llama(**parts: Any) -> str:
    whole = {
        "queries": {"q": "what is it"},
        "corpus": {"1": "It is a.", "2": "It is b."},
        "relevant_docs": {"q": ["1"]},
    }
    return json.dumps(whole | parts)


def many(header: str, row: str) -> str:
    return header + "".join(row.replace("#", str(number)) for number in range(40))


MANY = [(f"what is it {n}", f"It is {n}.", (f"Not it {n}.",)) for n in range(40)]


def table(*columns: tuple[str, list[Any]]) -> pa.Table:
    return pa.Table.from_arrays([pa.array(cells) for _, cells in columns], names=[name for name, _ in columns])


def as_parquet(made: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(made, buffer)
    return buffer.getvalue()


def as_arrow(made: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, made.schema) as writer:
        writer.write_table(made)
    return buffer.getvalue()


TWICE = table(("query", ["a"]), ("document", ["b"]), ("document", ["c"]))
# Milliseconds that somebody took for seconds.
LATE = pa.Table.from_pylist(ROWS).append_column("seen", pa.array([1_700_000_000_000] * 2, pa.timestamp("s")))

# Gave other pairs than the file's, without a word.
SILENT: dict[str, Fault] = {
    "pairs/ids.py does not look for a label: rows of label 0 become positives": Fault(
        TEXTS | {"p": "query_id\tpos_id\tlabel\n1\t10\t1\n1\t30\t0\n"}, "p", [("what is a", "It is a.", ("It is c.",))]
    ),
    "pairs/ids.py takes ids before the texts and the label of the same rows": Fault(
        TEXTS | {"p": "qid\tquery\tpid\tpassage\tlabel\n1\thow x\t10\tdo y\t1\n1\thow x\t30\tdo z\t0\n"},
        "p",
        [("how x", "do y", ("do z",))],
    ),
    "pairs/ids.py drops min_score": Fault(TEXTS | {"p": "1\t10\t30\n"}, "p", None, {"min_score": 0.5}),
    "pairs/ids.py takes judgements of three columns for triples, their grades for negatives": Fault(
        TEXTS | {"p": "1\t10\t2\n1\t30\t0\n2\t20\t1\n2\t10\t0\n"},
        "p",
        [("what is a", "It is a.", ("It is c.",)), ("what is b", "It is b.", ("It is a.",))],
    ),
    "pairs/llama_index.py reads one id in text letter by letter": one(
        llama(corpus={"1": "It is a.", "2": "It is b.", "12": "It is c."}, relevant_docs={"q": "12"}, mode="text"),
        [("what is it", "It is c.", ())],
    ),
    "pairs/llama_index.py takes documents of grade 0 for positives": one(
        llama(relevant_docs={"q": {"1": 1, "2": 0}}), [("what is it", "It is a.", ("It is b.",))]
    ),
    "pairs/llama_index.py drops min_score": one(llama(), None, min_score=0.5),
    "pairs/unnamed_columns.py takes labels in text for negatives": one(
        json_lines([["how x", "do y", "1"], ["how x", "do z", "0"]]), [("how x", "do y", ("do z",))]
    ),
    "a list of names above JSON lists is a pair": one(
        json_lines([["query", "document"], ["a", "b"]]), [("a", "b", ())]
    ),
    "a list of names above lists in an array is a pair": one(
        json.dumps([["query", "document"], ["a", "b"]]), [("a", "b", ())]
    ),
    "pairs/_roles.py does not see a label under an unknown name where one of its cells is blank": one(
        json_lines({"query": "a", "document": d, "match": m} for d, m in (("b", 1), ("c", 0), ("d", None))), None
    ),
    "pairs/tools.py takes the last of two columns that are called the same but for their case": one(
        json_lines([{"query": "a", "Query": "b", "pos": ["c"]}]), None
    ),
    "rows/_separated.py: a question mark in one name makes the header a pair": one(
        many("query\tdocument\tany comment?\n", "what is it #\tIt is #.\tNot it #.\n"),
        [(query, document, ()) for query, document, _ in MANY],
    ),
    "rows/_separated.py: NA that R leaves bare makes all quotation marks part of the texts, and the header a pair": one(
        many('"query"\t"positive"\t"negative"\n', '"what is it #"\t"It is #."\t"Not it #."\n').replace(
            '"Not it 7."', "NA"
        ),
        [(q, d, () if q.endswith(" 7") else n) for q, d, n in MANY],
    ),
    "rows/_separated.py: one cell without marks in a column of others makes all of them part of the texts": one(
        many("query\tpositive\tnegative\n", '"what is it #"\t"It is #."\t"Not it #."\n').replace('"Not it 7."', ""),
        [(q, d, () if q.endswith(" 7") else n) for q, d, n in MANY],
    ),
    "rows/_separated.py: an empty cell in marks, as Polars and Spark have it, makes all of them part of the texts": one(
        'query\tpositive\tnegative\nhow x\tdo y\teat z\n"say ""hi"""\tdo v\t""\n',
        [("how x", "do y", ("eat z",)), ('say "hi"', "do v", ())],
    ),
    "rows/_separated.py: a quoted TSV file that is cut off is read as plain": one(
        'query\tdocument\n"say ""hi"" now"\tdo y\nwhy\t"it ""is', None
    ),
    "rows/_separated.py looks for escaped marks in the first 64 KB alone": one(
        "query\tdocument\n" + "a\tb\n" * 20_000 + '"say \\"hi\\""\tb\n', None
    ),
    "rows/_separated.py reads two columns without names, between commas, as three between semicolons": one(
        "what is a; what is b; and what is c,It is a.\n" * 3, None
    ),
    "rows/data_files.py reads a split twice that is there in two forms": Fault(
        {"p": {"train.jsonl": json_lines(ROWS), "train.csv": separated(ROWS)}}, "p", PLAIN
    ),
    "rows/data_files.py reads a split twice that is there packed and unpacked": Fault(
        {"p": {"train.jsonl": json_lines(ROWS), "train.jsonl.gz": json_lines(ROWS)}}, "p", PLAIN
    ),
    "rows/data_files.py counts the parts of a split and does not look at their numbers": Fault(
        {"p": {"train-00000-of-00002.jsonl": json_lines(ROWS), "train-00000-of-00002-ab12.jsonl": json_lines(ROWS)}},
        "p",
        None,
    ),
    "rows/data_files.py takes the first row of a part without names for its header": Fault(
        {"p": {"train-00000-of-00002.tsv": "query\tdocument\na b\tc\n", "train-00001-of-00002.tsv": "d\te f\n"}},
        "p",
        PLAIN,
    ),
    "rows/parquet.py takes the last of two columns of one name": one(as_parquet(TWICE), None),
    "rows/arrow.py takes the last of two columns of one name": one(as_arrow(TWICE), None),
}  # fmt: skip

BIG = "".join(f"{n * 7919 % 1000003}-{n}" for n in range(60_000))
DEEP = 500
# Raised another exception than a refusal.
RAISED: dict[str, Fault] = {
    "pairs/ids.py: KeyError, a row without the query's id below the 200 that are looked at": Fault(
        TEXTS | {"p": json_lines([*[{"qid": 1, "pos": [10]}] * 201, {"pos": [10]}])}, "p", None
    ),
    "pairs/ids.py: IndexError, a query's id that is nothing below the 200 that are looked at": Fault(
        TEXTS | {"p": json_lines([*[{"qid": 1, "pos": [10]}] * 201, {"qid": None, "pos": [10]}])}, "p", None
    ),
    "pairs/ids.py: IndexError, a query's id that is an empty object": Fault(
        TEXTS | {"p": json_lines([{"qid": {}, "pos": [10]}])}, "p", None
    ),
    "pairs/llama_index.py: TypeError, relevant documents that are nothing": one(llama(relevant_docs={"q": None}), None),
    "pairs/llama_index.py: TypeError, relevant documents that are a number": one(llama(relevant_docs={"q": 1}), None),
    "pairs/_roles.py: OverflowError, a score that is a huge whole number": one(
        '{"query": "a", "document": "b", "score": 1' + "0" * 400 + "}\n", None
    ),
    "pairs/_roles.py: RecursionError, lists in lists": one(
        '{"query": "a", "pos": ' + "[" * DEEP + '"b"' + "]" * DEEP + "}\n", None
    ),
    "pairs/ids.py: RecursionError, objects in objects": one(
        '{"qid": 1, "pos": 10, "neg": ' + '{"a": ' * DEEP + "30" + "}" * DEEP + "}\n", None
    ),
    "rows/parquet.py: OverflowError, a time in a column that is not needed": one(as_parquet(LATE), PLAIN),
    "rows/arrow.py: OverflowError, a time in a column that is not needed": one(as_arrow(LATE), PLAIN),
    "rows/parquet.py: EOFError, a truncated gzip file of more than 64 KB": one(
        gzip.compress(parquet([{"query": BIG, "document": "b"}], compression="none"))[:-200_000], None
    ),
    "rows/arrow.py: EOFError, a truncated xz file of more than 64 KB": one(
        lzma.compress(arrow([{"query": BIG, "document": "b"}]))[:-100_000], None
    ),
    "_peek.py: LZMAError, a damaged member of a zip archive": one(
        (lambda raw: raw[:80] + b"\xff" * 40 + raw[120:])(zipped({"p": BIG}, compression=14)), None
    ),
    "_peek.py: UnicodeDecodeError, a member of a zip archive whose name is no UTF-8": one(
        zipped({"\xe9.jsonl": json_lines(ROWS)}).replace("\xe9.jsonl".encode(), b"\xff\xff.jsonl"), None
    ),
}

# Were refused, with a reason that was not so.
REFUSED: dict[str, Fault] = {
    "pairs/ids.py takes texts with their ids, in four columns, for judgements": one(
        "qid\tquery\tpid\tpassage\n1\thow x\t10\tdo y\n", [("how x", "do y", ())]
    ),
    "pairs/ids.py takes texts with their ids, in five columns, for ids": one(
        "qid\tquery\tpid\tpassage\tlabel\n1\thow x\t10\tdo y\t1\n1\thow x\t30\tdo z\t0\n",
        [("how x", "do y", ("do z",))],
    ),
    "pairs/ids.py refuses all rows where one has no positive": Fault(
        TEXTS | {"p": json_lines([{"qid": 1, "pos": [10]}, {"qid": 2, "pos": []}])},
        "p",
        [("what is a", "It is a.", ())],
    ),
    "rows/_json.py spreads one object of queries, corpus and relevant_docs that have the same ids": one(
        llama(queries={"1": "what is it"}, corpus={"1": "It is a."}, relevant_docs={"1": ["1"]}),
        [("what is it", "It is a.", ())],
    ),
    "pairs/_roles.py takes the index of two rows of a pandas frame for a label": one(
        parquet([row | {"__index_level_0__": n} for n, row in enumerate(ROWS)]), PLAIN
    ),
}


def marked(kind: str, faults: Mapping[str, Any]) -> list[Any]:
    return [pytest.param(fault, id=f"{kind} {number}") for number, fault in enumerate(faults.values())]


@pytest.mark.parametrize("fault", [*marked("silent", SILENT), *marked("raised", RAISED)])
def test_a_file_gives_what_its_writer_meant_or_is_refused(tmp_path, fault):
    path = put(tmp_path, fault.files) / fault.name
    if fault.expected is None:
        assert_refused(lambda: read_pairs(path, **fault.options), str(path))
    else:
        assert_right_or_refused(path, fault.expected, **fault.options)


@pytest.mark.parametrize("fault", marked("refused", REFUSED))
def test_what_can_be_read_is_not_refused(tmp_path, fault):
    path = put(tmp_path, fault.files) / fault.name
    assert as_tuples(read_pairs(path, **fault.options)) == fault.expected


def test_a_damaged_arrow_file_is_refused(tmp_path):
    whole = arrow([{"query": f"q {n}", "document": f"d {n}"} for n in range(50)])
    last = whole.index(b"q 0q 1") - 64
    path = put(tmp_path / "p.arrow", whole[:last] + b"\x7f" * 60 + whole[last + 60 :])
    code = f"""
from pathlib import Path
from collapse_probe.errors import InputError
from collapse_probe.retrieval import read_pairs
try:
    read_pairs(Path({str(path)!r}))
except InputError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n")


def test_a_path_that_is_too_long_is_refused():
    assert_refused(lambda: read_pairs(Path("/tmp") / ("x" * 5000)))


@pytest.mark.parametrize("name", ["/", "-qrels"])
def test_a_folder_without_a_name_of_its_own_is_refused(tmp_path, name):
    folder = put(tmp_path / name, {"test.tsv": "q\td\t1\n"}) if name != "/" else Path("/")
    assert_refused(lambda: read_collections(folder))


def test_a_line_end_in_a_column_s_name_leaves_the_message_one_line(tmp_path):
    rows = [{"query": "a", "document": d, "is\nit": n} for n, d in enumerate("bc")]
    path = put(tmp_path / "p.jsonl", json_lines(rows))
    assert_refused(lambda: read_pairs(path), "says yes or no on every row")


def test_a_workbook_of_openpyxl_is_refused_by_its_name(tmp_path):
    sheets = {"docProps/app.xml": "<Properties/>", "xl/worksheets/sheet1.xml": BIG, "[Content_Types].xml": "<Types/>"}
    path = put(tmp_path / "p.xlsx", zipped(sheets))
    assert_refused(lambda: read_pairs(path), "a workbook (xlsx); save the sheet as CSV")


def test_a_file_of_torch_is_refused_as_a_pickle(tmp_path):
    path = put(tmp_path / "p.pt", zipped({"archive/data.pkl": b"\x80\x02}q\x00.", "archive/version": "3\n"}))
    assert_refused(lambda: read_pairs(path), "a pickle, which is never loaded")


def test_a_least_score_for_labels_in_words_is_refused_with_the_reason(tmp_path):
    path = put(tmp_path / "p.csv", "query,document,label\na,b,yes\na,c,no\n")
    message = assert_refused(lambda: read_pairs(path, min_score=0.5), str(path))
    assert "neither a number nor yes or no" not in message


def test_ids_that_are_left_out_of_a_row_are_counted(tmp_path):
    rows = json_lines([{"qid": 1, "pos": [10, 99], "neg": {"bm25": [30, 98]}}])
    pairs = read_pairs(put(tmp_path, TEXTS | {"p.jsonl": rows}) / "p.jsonl")
    assert as_tuples(pairs) == [("what is a", "It is a.", ("It is c.",))]
    assert pairs.notes


CORPUS = [{"_id": "d1", "text": "one"}, {"_id": "d2", "text": "two"}]
QUERIES = [{"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"}]
BEIR: dict[str, Content] = {
    "corpus.jsonl": json_lines(CORPUS),
    "queries.jsonl": json_lines(QUERIES),
    "qrels": {"test.tsv": "q1\td1\t1\nq2\td2\t2\n"},
}
JUDGED = {"q1": {"d1": 1}, "q2": {"d2": 2}}


def without(*names: str) -> dict[str, Content]:
    return {name: content for name, content in BEIR.items() if name not in names}


NUMBERED: dict[str, Content] = {
    "corpus.jsonl": json_lines([{"_id": "1", "text": "one"}, {"_id": "2", "text": "two"}]),
    "queries.jsonl": json_lines(
        [{"query_id": "1", "doc_id": "2", "text": "first"}, {"query_id": "2", "doc_id": "1", "text": "second"}]
    ),
    "qrels": {"test.tsv": "1\t1\t1\n2\t2\t1\n"},
}
TWO_TEXTS = [{"_id": f"q{n}", "query": q, "passage": p} for n, q, p in ((1, "first", "one"), (2, "second", "two"))]
TOPICS = "<top>\n<num> q1\n<title> price < 100 euro\n</top>\n<top>\n<num> q2\n<title> second\n</top>\n"
DOCUMENTS = "".join(
    f"<DOC>\n<DOCNO>{name}</DOCNO>\n<TEXT>\n{text}\n</TEXT>\n</DOC>\n"
    for name, text in (("d1", "if a < b and c > d"), ("d2", "two"))
)
# Layout, and what queries, documents and judgements should be where it is not refused.
COLLECTIONS: dict[str, tuple[Mapping[str, Content], dict[str, Any]]] = {
    "judgements.py takes a first row whose grade is blank for a header": (
        BEIR | {"qrels": {"test.tsv": "q1\td1\t\nq2\td2\t2\n"}},
        {"qrels": None},
    ),
    "judgements.py takes a first row whose grade is a word for a header": (
        BEIR | {"qrels": {"test.tsv": "q1\td1\thigh\nq2\td2\t2\n"}},
        {"qrels": None},
    ),
    "judgements.py reads a grade of 1_0 as 10": (BEIR | {"qrels": {"test.tsv": "q1\td1\t1_0\n"}}, {"qrels": None}),
    "judgements.py reads a split from two files, and says nothing of it": (
        BEIR | {"qrels": {"test.tsv": "q1\td1\t1\nq2\td2\t2\n", "test.csv": "q1,d2,1\n"}},
        {"qrels": JUDGED},
    ),
    "parts.py takes a query's document id for the query's own": (
        NUMBERED,
        {"queries": {"1": "first", "2": "second"}},
    ),
    "parts.py takes a query's passage for the query's text": (
        BEIR | {"queries.jsonl": json_lines(TWO_TEXTS)},
        {"queries": {"q1": "first", "q2": "second"}},
    ),
    "parts.py takes a header whose second name is unknown for a document": (
        without("corpus.jsonl") | {"corpus.tsv": "docno\tsentence\nd1\tone\nd2\ttwo\n"},
        {"documents": {"d1": "one", "d2": "two"}},
    ),
    "parts.py takes the last of two columns that are called the same but for their case": (
        BEIR | {"corpus.jsonl": json_lines({**row, "Text": f"not {row['text']}"} for row in CORPUS)},
        {"documents": None},
    ),
    "trec.py cuts a topic's title off at a bracket": (
        without("queries.jsonl") | {"topics.txt": TOPICS},
        {"queries": {"q1": "price < 100 euro", "q2": "second"}},
    ),
    "trec.py takes what stands between two brackets of a text for a tag": (
        without("corpus.jsonl") | {"docs.trec": DOCUMENTS},
        {"documents": {"d1": "if a < b and c > d", "d2": "two"}},
    ),
}


@pytest.mark.parametrize("case", marked("collection", COLLECTIONS))
def test_a_collection_is_what_its_writer_meant_or_is_refused(tmp_path, case):
    parts, expected = case
    try:
        (collection,) = read_collections(put(tmp_path / "c", parts))
    except InputError as error:
        message = str(error)
        assert message.startswith(str(tmp_path / "c")) and "\n" not in message
        return
    for name, value in expected.items():
        assert getattr(collection, name) == value or (name == "qrels" and collection.notes and value is not None)


# one_object.py; each of them has to be refused.
OBJECTS: dict[str, dict[str, Any]] = {
    "grade 0.9 is cut to 0": {"relevant_docs": {"q": {"1": 0.9, "2": 1}}},
    "ValueError, a grade in words": {"relevant_docs": {"q": {"1": "high"}}},
    "TypeError, a grade that is nothing": {"relevant_docs": {"q": {"1": None}}},
    "a grade that no judgement can be": {"relevant_docs": {"q": {"1": 10**30}}},
    "TypeError, documents that are nothing": {"relevant_docs": {"q": None}},
    "TypeError, documents that are a number": {"relevant_docs": {"q": 1}},
    "AttributeError, judgements that are a list": {"relevant_docs": ["q"]},
    "AttributeError, judgements that are nothing": {"relevant_docs": None},
    "documents in one text, read letter by letter": {"relevant_docs": {"q": "12"}},
    "two ids that differ by spaces alone": {"corpus": {"1": "It is a.", " 1": "It is b."}},
}


@pytest.mark.parametrize("parts", marked("object", OBJECTS))
def test_an_object_that_is_no_collection_is_refused(tmp_path, parts):
    path = put(tmp_path / "o.json", llama(mode="text", **parts))
    assert_refused(lambda: read_collections(path), str(path))


def test_an_object_whose_queries_and_documents_have_the_same_ids_is_a_collection(tmp_path):
    content = llama(queries={"1": "what is it"}, corpus={"1": "It is a."}, relevant_docs={"1": ["1"]})
    (collection,) = read_collections(put(tmp_path / "o.json", content))
    assert collection.qrels == {"1": {"1": 1}}


def test_ids_with_commas_are_read_from_judgements_between_spaces(tmp_path):
    corpus = json_lines([{"_id": "d,1", "text": "one"}, {"_id": "d2", "text": "two"}])
    parts = BEIR | {"corpus.jsonl": corpus, "qrels": {"test.txt": "q1 0 d,1 1\nq2 0 d2 2\n"}}
    (collection,) = read_collections(put(tmp_path / "c", parts))
    assert collection.qrels == {"q1": {"d,1": 1}, "q2": {"d2": 2}}


@pytest.mark.parametrize(
    "broken", [{"corpus.jsonl": "{broken\n"}, {"qrels/test.tsv": "x\ty\t1\n"}, {"qrels/test.tsv": None}]
)
def test_what_is_wrong_in_an_archive_is_said_of_the_archive(tmp_path, broken):
    flat = {"corpus.jsonl": json_lines(CORPUS), "queries.jsonl": json_lines(QUERIES), "qrels/test.tsv": "q1\td1\t1\n"}
    files = {name: content for name, content in (flat | broken).items() if content is not None}
    path = put(tmp_path / "shop.zip", zipped(files))
    message = assert_refused(lambda: read_collections(path), str(path))
    assert "collapse-probe-" not in message


NEWCOMERS: dict[str, tuple[Mapping[str, Content], str, dict[str, Any]]] = {
    "labels that stand in lists": (
        {"p": json_lines([{"query": "a", "document": d, "label": [n]} for d, n in (("b", 1), ("c", 0))])},
        "does not hold one value a row",
        {},
    ),
    "a column of labels called neg": ({"p": "query,document,neg\na,b,1\na,c,0\n"}, "may be a label", {}),
    "a split that is held out": ({"p/test.jsonl": json_lines(ROWS)}, "without split 'train'; it has test", {}),
    "three columns of a frame without names": ({"p": "0,how x y,do y\n1,how z y,do z\n"}, "by their numbers", {}),
}


@pytest.mark.parametrize("case", NEWCOMERS)
def test_what_newcomers_gave_is_refused(tmp_path, case):
    files, said, options = NEWCOMERS[case]
    for name, content in files.items():
        put(tmp_path / name, content)
    message = assert_refused(lambda: read_pairs(tmp_path / "p", **options), said)
    assert "query=1,document=2" not in message


def test_part_files_of_one_table_are_read_together(tmp_path):
    put(tmp_path / "p", {f"part-0000{n}-ab.jsonl": json_lines([row]) for n, row in enumerate(ROWS)} | {"_SUCCESS": ""})
    assert as_tuples(read_pairs(tmp_path / "p")) == PLAIN


def test_a_message_does_not_list_thousands_of_columns(tmp_path):
    path = put(tmp_path / "p.json", json.dumps({f"key {n}": "x" for n in range(3000)}))
    message = assert_refused(lambda: read_pairs(path), "and 2990 more")
    assert len(message) < 900


@pytest.mark.parametrize("name", ["not_relevant", "non_duplicate", "negative_score", "is_negative", "is_irrelevant"])
def test_a_label_that_says_the_opposite_is_never_read_the_wrong_way_round(tmp_path, name):
    rows = [{"query": "a", "document": "b", name: 0}, {"query": "a", "document": "c", name: 1}]
    assert_refused(lambda: read_pairs(put(tmp_path / "p.jsonl", json_lines(rows))), "may be a label")
