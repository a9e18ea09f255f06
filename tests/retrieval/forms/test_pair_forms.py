"""Training pairs in every form that people have them in: always the pairs of the plain JSON Lines form."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from retrieval.forms.written import (
    Content,
    arrow,
    as_tuples,
    assert_refused,
    columns_of,
    json_lines,
    parquet,
    plain_tsv,
    put,
    separated,
    zipped,
)

from collapse_probe.retrieval import FORMS, Pairs, read_pairs
from collapse_probe.retrieval.forms.pairs import PAIR_FORMS
from collapse_probe.retrieval.forms.rows import ROW_FORMS

RICH = [
    {"query": "how do I clean a chain", "document": 'Brush it, wipe it; then "dry" it.'},
    {"query": '"why", she asked, "does it squeak?"', "document": "Dry parts rub.\nOil them.\n\nThen wipe, or not."},
    {"query": "  naïve 日本 😀 ", "document": "Über | bars\tand tabs; 'quoted' \\ \u2028 and so on"},
    {"query": "7", "document": "42"},
]
LINES = [
    {"query": "how do I clean a chain", "document": 'Brush it, wipe it; then "dry" it.'},
    {"query": '"why" does it squeak, she asked', "document": '"Dry" parts rub, and others do not'},
    {"query": "  naïve 日本 😀 ", "document": "Über | bars; 'quoted' \\ and so on"},
    {"query": 'a 5" pipe', "document": "'"},
]
TRIPLES = [
    {"query": "how do I clean a chain", "positive": "Brush it, then wipe it.", "negative": "Feed the cat first."},
    {
        "query": "why does it squeak so",
        "positive": 'Because "dry" parts rub.',
        "negative": "An oven, so far, is hot.",
    },
    {"query": "where is the oil kept", "positive": "Below the bench.", "negative": "In a bag of flour."},
]


def same(folder: Path, rows: list[dict[str, str]]) -> Pairs:
    """The pairs of rows in the plain form."""
    return read_pairs(put(folder / "plain" / "same.jsonl", json_lines(rows)))


def assert_equal(pairs: Pairs, expected: Pairs) -> None:
    assert as_tuples(pairs) == as_tuples(expected)
    assert pairs.fingerprint == expected.fingerprint


def frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def laid_out(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def utf16(text: str) -> bytes:
    return text.encode("utf-16")


ROWS: dict[str, tuple[str, str, Content]] = {
    "JSON Lines": ("JSON Lines", "p.jsonl", json_lines(RICH)),
    "JSON Lines under another name": ("JSON Lines", "p.txt", json_lines(RICH)),
    "JSON Lines without an end": ("JSON Lines", "p.jsonl", json_lines(RICH).rstrip("\n")),
    "JSON Lines with blank lines": ("JSON Lines", "p.jsonl", "\n" + json_lines(RICH).replace("\n", "\n\n")),
    "JSON Lines, CRLF": ("JSON Lines", "p.jsonl", json_lines(RICH).replace("\n", "\r\n")),
    "JSON Lines after a mark": ("JSON Lines", "p.jsonl", "\ufeff" + json_lines(RICH)),
    "JSON Lines in UTF-16": ("JSON Lines", "p.jsonl", utf16(json_lines(RICH))),
    "JSON Lines in UTF-16, big end first": (
        "JSON Lines",
        "p.jsonl",
        ("\ufeff" + json_lines(RICH)).encode("utf-16-be"),
    ),
    "JSON Lines in UTF-32": ("JSON Lines", "p.jsonl", json_lines(RICH).encode("utf-32")),
    "JSON Lines in escapes": ("JSON Lines", "p.jsonl", "".join(json.dumps(row) + "\n" for row in RICH)),
    "JSON Lines, gzip": ("JSON Lines, gzip", "p.jsonl.gz", json_lines(RICH)),
    "JSON Lines, bzip2": ("JSON Lines, bzip2", "p.jsonl.bz2", json_lines(RICH)),
    "JSON Lines, xz": ("JSON Lines, xz", "p.jsonl.xz", json_lines(RICH)),
    "JSON Lines in a zip": ("JSON Lines, zip", "p.zip", zipped({"p.jsonl": json_lines(RICH)})),
    "JSON Lines in a folder of a zip": ("JSON Lines, zip", "p.zip", zipped({"a/b/p.jsonl": json_lines(RICH)})),
    "JSON Lines of pandas": ("JSON Lines", "p.jsonl", frame(RICH).to_json(orient="records", lines=True)),
    "JSON columns": ("JSON object", "p.json", laid_out(columns_of(RICH))),
    "JSON columns on one line": ("JSON Lines", "p.json", json.dumps(columns_of(RICH))),
    "JSON of pandas": ("JSON Lines", "p.json", frame(RICH).to_json()),
    "JSON of pandas, laid out": ("JSON object", "p.json", frame(RICH).to_json(indent=2)),
    "JSON array": ("JSON array", "p.json", json.dumps(RICH)),
    "JSON array of pandas": ("JSON array", "p.json", frame(RICH).to_json(orient="records")),
    "JSON array, laid out": ("JSON array", "p.json", laid_out(RICH)),
    "JSON array of lists": ("JSON array", "p.json", json.dumps([list(row.values()) for row in RICH])),
    "JSON array of lists, laid out": ("JSON array", "p.json", laid_out([list(row.values()) for row in RICH])),
    "JSON lists": ("JSON lists, one a line", "p.jsonl", json_lines(list(row.values()) for row in RICH)),
    "JSON lists, gzip": ("JSON lists, one a line", "p.jsonl.gz", json_lines(list(row.values()) for row in RICH)),
    "CSV": ("CSV", "p.csv", separated(RICH)),
    "CSV of pandas": ("CSV", "p.csv", frame(RICH).to_csv(index=False)),
    "CSV of pandas with its index": ("CSV", "p.csv", frame(RICH).to_csv()),
    "CSV, all quoted": ("CSV", "p.csv", separated(RICH, quoting=csv.QUOTE_ALL)),
    "CSV, CRLF": ("CSV", "p.csv", separated(RICH, end="\r\n")),
    "CSV with ;": ("CSV with ';'", "p.csv", separated(RICH, ";")),
    "CSV with |": ("CSV with '|'", "p.csv", separated(RICH, "|")),
    "CSV in UTF-16": ("CSV", "p.csv", utf16(separated(RICH))),
    "CSV, xz": ("CSV, xz", "p.csv.xz", separated(RICH)),
    "TSV, quoted": ("TSV, quoted", "p.tsv", separated(RICH, "\t")),
    "TSV, all quoted": ("TSV, quoted", "p.tsv", separated(RICH, "\t", quoting=csv.QUOTE_ALL)),
    "TSV, texts quoted": ("TSV, quoted", "p.tsv", separated(RICH, "\t", quoting=csv.QUOTE_NONNUMERIC)),
    "TSV of pandas": ("TSV, quoted", "p.tsv", frame(RICH).to_csv(sep="\t", index=False)),
    "TSV of pandas with its index": ("TSV, quoted", "p.tsv", frame(RICH).to_csv(sep="\t")),
    "TSV, quoted, CRLF": ("TSV, quoted", "p.tsv", separated(RICH, "\t", end="\r\n")),
    "TSV in UTF-16, as Excel saves it": ("TSV, quoted", "p.txt", utf16(separated(RICH, "\t", end="\r\n"))),
    "Parquet": ("Parquet", "p.parquet", parquet(RICH)),
    "Parquet, gzip": ("Parquet", "p.parquet.gz", parquet(RICH)),
    "Parquet of pandas with its index": ("Parquet", "p.parquet", frame(RICH).set_index(np.arange(4) + 5).to_parquet()),
    "Arrow file": ("Arrow file", "p.arrow", arrow(RICH, kind="file")),
    "Arrow stream": ("Arrow file", "p.arrow", arrow(RICH, kind="stream")),
    "folder of one file": ("JSON Lines of split anything, 1 file", "p", {"anything.jsonl": json_lines(RICH)}),
    "folder of parts": (
        "Parquet of split train, 2 files",
        "p",
        {f"train-{n:05}-of-00002.parquet": parquet(RICH[2 * n : 2 * n + 2]) for n in (0, 1)},
    ),
    "folder of parts in data": (
        "Arrow file of split train, 2 files",
        "p",
        {"README.md": "#", "data": {f"train-{n:05}-of-00002.arrow": arrow(RICH[2 * n : 2 * n + 2]) for n in (0, 1)}},
    ),
    "folder of splits": (
        "JSON Lines of split train, 1 file",
        "p",
        {"train.jsonl.gz": json_lines(RICH), "test.jsonl": json_lines(RICH[:1]), ".gitattributes": "*.gz lfs"},
    ),
    "folder of splits in a zip": (
        "CSV of split train, 1 file, zip",
        "p.zip",
        zipped({"p/train.csv": separated(RICH), "p/test.csv": separated(RICH[:1]), "__MACOSX/p/._train.csv": b"\0"}),
    ),
}  # fmt: skip
PLAIN: dict[str, tuple[str, str, Content]] = {
    "TSV": ("TSV", "p.tsv", plain_tsv(LINES)),
    "TSV, CRLF": ("TSV", "p.tsv", plain_tsv(LINES, end="\r\n")),
    "TSV after a mark": ("TSV", "p.tsv", "\ufeff" + plain_tsv(LINES)),
    "TSV in UTF-16": ("TSV", "p.tsv", utf16(plain_tsv(LINES))),
    "TSV with old line ends": ("TSV", "p.tsv", plain_tsv(LINES, end="\r")),
    "TSV, bzip2": ("TSV, bzip2", "p.tsv.bz2", plain_tsv(LINES)),
    "TSV with an index": ("TSV", "p.tsv", plain_tsv([{"": str(n)} | row for n, row in enumerate(LINES)])),
}


@pytest.mark.parametrize("case", ROWS)
def test_every_form_of_rows_gives_the_pairs_of_plain_json_lines(tmp_path, case):
    form, name, content = ROWS[case]
    pairs = read_pairs(put(tmp_path / name, content))
    assert_equal(pairs, same(tmp_path, RICH))
    assert pairs.form.startswith(form) and "query" in pairs.form
    assert pairs.source == str(tmp_path / name) and pairs.notes == ()


@pytest.mark.parametrize("case", PLAIN)
def test_stray_quotation_marks_of_plain_tsv_stay(tmp_path, case):
    form, name, content = PLAIN[case]
    pairs = read_pairs(put(tmp_path / name, content))
    assert_equal(pairs, same(tmp_path, LINES))
    assert pairs.form.startswith(f"{form}: ")


def test_a_saved_data_set_gives_the_pairs_of_plain_json_lines(tmp_path):
    Dataset.from_list(RICH).save_to_disk(tmp_path / "saved")
    pairs = read_pairs(tmp_path / "saved")
    assert_equal(pairs, same(tmp_path, RICH))
    assert pairs.form.startswith("Arrow data set")


def test_of_a_saved_data_set_with_splits_train_is_read_or_the_one_that_is_asked_for(tmp_path):
    whole = Dataset.from_list(RICH)
    DatasetDict(train=whole, dev=Dataset.from_list(RICH[:2])).save_to_disk(tmp_path / "saved")
    assert_equal(read_pairs(tmp_path / "saved"), same(tmp_path, RICH))
    assert_equal(read_pairs(tmp_path / "saved", split="dev"), same(tmp_path, RICH[:2]))
    assert_equal(read_pairs(tmp_path / "saved" / "dev"), same(tmp_path, RICH[:2]))
    DatasetDict(mined=whole).save_to_disk(tmp_path / "only")
    assert_equal(read_pairs(tmp_path / "only"), same(tmp_path, RICH))
    DatasetDict(test=whole).save_to_disk(tmp_path / "held-out")
    assert_refused(lambda: read_pairs(tmp_path / "held-out"), "without split 'train'; it has test", "held-out/test")
    DatasetDict(test=whole, dev=whole).save_to_disk(tmp_path / "none")
    assert_refused(lambda: read_pairs(tmp_path / "none"), "without split 'train'; it has test, dev")


def test_of_a_folder_of_splits_the_one_that_is_asked_for_is_read(tmp_path):
    folder = put(tmp_path / "p", {"train.csv": separated(RICH), "dev.csv": separated(RICH[:2])})
    assert_equal(read_pairs(folder, split="dev"), same(tmp_path, RICH[:2]))
    assert_refused(lambda: read_pairs(folder, split="test"), str(folder), "without split 'test'; it has dev, train")


def test_a_folder_with_a_part_missing_is_refused(tmp_path):
    folder = put(tmp_path / "p", {"train-00000-of-00002.parquet": parquet(RICH)})
    assert_refused(lambda: read_pairs(folder), str(folder), "1 of 2 files of a split are there")


def test_marked_up_documents_and_topics_are_no_pairs(tmp_path):
    documents = put(tmp_path / "d", "<DOC>\n<DOCNO>d1</DOCNO>\n<TEXT>a b</TEXT>\n</DOC>\n")
    topics = put(tmp_path / "t", "<top>\n<num> Number: 1\n<title> a b\n</top>\n")
    assert_refused(lambda: read_pairs(documents), str(documents), "TREC documents")
    assert_refused(lambda: read_pairs(topics), str(topics), "TREC topics")


def tevatron(row: dict[str, str], title: str) -> dict[str, object]:
    passages = [[{"docid": "1", "title": title, "text": row[name]}] for name in ("positive", "negative")]
    return {"query_id": "7", "query": row["query"], "positive_passages": passages[0], "negative_passages": passages[1]}


def dpr(row: dict[str, str], title: str) -> dict[str, object]:
    return {
        "question": row["query"],
        "answers": [],
        "positive_ctxs": [{"title": title, "text": row["positive"], "score": 1000, "passage_id": "3"}],
        "negative_ctxs": [],
        "hard_negative_ctxs": [{"title": title, "text": row["negative"], "passage_id": "4"}],
    }


FLAG_EMBEDDING = [
    {
        "query": row["query"],
        "pos": [row["positive"]],
        "neg": [row["negative"]],
        "pos_scores": [0.9],
        "neg_scores": [0.1],
        "prompt": "Find what answers:",
        "type": "normal",
    }
    for row in TRIPLES
]
TOOLS: dict[str, tuple[str, str, Content]] = {
    "FlagEmbedding": ("FlagEmbedding's fine-tuning data (JSON Lines)", "p.jsonl", json_lines(FLAG_EMBEDDING)),
    "FlagEmbedding, array": ("FlagEmbedding's fine-tuning data (JSON array)", "p.json", json.dumps(FLAG_EMBEDDING)),
    "FlagEmbedding, Parquet": ("FlagEmbedding's fine-tuning data (Parquet)", "p.parquet", parquet(FLAG_EMBEDDING)),
    "tevatron": ("tevatron's training data (JSON Lines)", "p.jsonl", json_lines(tevatron(row, "") for row in TRIPLES)),
    "tevatron, Arrow": ("tevatron's training data (Arrow", "p.arrow", arrow([tevatron(row, "") for row in TRIPLES])),
    "DPR": ("DPR's training data (JSON array)", "p.json", laid_out([dpr(row, "") for row in TRIPLES])),
    "named triples": ("JSON Lines: ", "p.jsonl", json_lines(TRIPLES)),
    "named triples, CSV": ("CSV: ", "p.csv", separated(TRIPLES)),
    "named triples, TSV": ("TSV: ", "p.tsv", plain_tsv(TRIPLES)),
    "MS MARCO's triples": ("TSV: query = column 1", "p.tsv", plain_tsv(TRIPLES, header=False)),
    "lists of three": (
        "JSON lists, one a line, gzip: ",
        "p.jsonl.gz",
        json_lines(list(row.values()) for row in TRIPLES),
    ),
    "lists in lists": (
        "JSON lists, one a line: ",
        "p.jsonl",
        json_lines([row["query"], [row["positive"]], [row["negative"]]] for row in TRIPLES),
    ),
}


@pytest.mark.parametrize("case", TOOLS)
def test_every_tool_s_triples_give_the_pairs_and_negatives_of_plain_json_lines(tmp_path, case):
    form, name, content = TOOLS[case]
    pairs = read_pairs(put(tmp_path / name, content))
    assert_equal(pairs, same(tmp_path, TRIPLES))
    assert pairs.form.startswith(form)
    assert pairs.n_negatives == 3


@pytest.mark.parametrize("written", [tevatron, dpr])
def test_titles_of_passages_stand_before_their_texts(tmp_path, written):
    pairs = read_pairs(put(tmp_path / "p.jsonl", json_lines(written(row, "Workshop") for row in TRIPLES)))
    named = [row | {name: f"Workshop {row[name]}" for name in ("positive", "negative")} for row in TRIPLES]
    assert_equal(pairs, same(tmp_path, named))


def test_every_positive_of_a_query_is_a_pair(tmp_path):
    row = {"query": "q", "pos": ["a", "b"], "neg": ["c", "d"]}
    assert as_tuples(read_pairs(put(tmp_path / "p.jsonl", json_lines([row])))) == [
        ("q", "a", ("c", "d")),
        ("q", "b", ("c", "d")),
    ]


LLAMA_INDEX = {
    "queries": {"q1": "how do I clean a chain", "q2": "why does it squeak so"},
    "corpus": {"n1": "Brush it.", "n2": "Dry parts rub.", "n3": "Feed the cat."},
    "relevant_docs": {"q1": ["n1"], "q2": ["n2", "n3"]},
    "mode": "text",
}
LLAMA_PAIRS = [
    ("how do I clean a chain", "Brush it.", ()),
    ("why does it squeak so", "Dry parts rub.", ()),
    ("why does it squeak so", "Feed the cat.", ()),
]


@pytest.mark.parametrize("content", [json.dumps(LLAMA_INDEX), laid_out(LLAMA_INDEX)])
def test_llama_index_s_object_gives_a_pair_for_every_relevant_document(tmp_path, content):
    pairs = read_pairs(put(tmp_path / "p.json", content))
    assert as_tuples(pairs) == LLAMA_PAIRS
    assert pairs.form.startswith("LlamaIndex's fine-tuning data (JSON ") and pairs.notes == ()


def test_relevant_documents_of_llama_index_that_are_not_there_are_counted(tmp_path):
    relevant = {"q1": ["n1", "n9"], "q2": ["n2", "n3"]}
    pairs = read_pairs(put(tmp_path / "p.json", json.dumps(LLAMA_INDEX | {"relevant_docs": relevant})))
    assert as_tuples(pairs) == LLAMA_PAIRS
    assert pairs.notes == ("1 relevant documents left out: not in the corpus",)


@pytest.mark.parametrize(
    "names",
    [
        ("anchor", "positive"),
        ("question", "answer"),
        ("Question", "Answer"),
        ("sentence1", "sentence2"),
        ("sentence_1", "sentence_2"),
        ("sentence-A", "sentence-B"),
        ("text1", "text2"),
        ("question1", "question2"),
        ("query", "passage"),
        ("query", "text"),
        ("query text", "doc text"),
        ("claim", "abstract"),
        ("queries", "positives"),
        ("search_query", "contents"),
    ],
)
@pytest.mark.parametrize("written", [json_lines, separated, parquet])
def test_the_names_that_people_use_tell_the_columns(tmp_path, names, written):
    rows = [{"uid": f"r{n}", names[1]: row["document"], names[0]: row["query"]} for n, row in enumerate(RICH)]
    pairs = read_pairs(put(tmp_path / "p", written(rows)))
    assert_equal(pairs, same(tmp_path, RICH))
    assert pairs.form.endswith(f"query = {names[0]}, document = {names[1]}, left out: uid")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "a", "answer": "b", "context": "c"}, "'answer' or 'context' as document"),
        ({"query": "a", "document": "b", "anchor": "a", "positive": "b"}, "'anchor' or 'query' as query"),
        ({"query": "a", "Query": "b", "document": "c"}, "columns 'query' and 'Query' are called the same"),
        ({"query": "a", "doc text": "b", "doc_text": "c"}, "columns 'doc text' and 'doc_text' are called the same"),
        ({"text": "a"}, "no column as query"),
        ({"source": "a", "target": "b"}, "columns=query=source,document=target"),
    ],
)
def test_columns_that_do_not_tell_are_refused_with_what_to_give(tmp_path, row, said):
    path = put(tmp_path / "p.jsonl", json_lines([row, row]))
    assert_refused(lambda: read_pairs(path), str(path), said, "give columns=query=")


def test_a_line_separator_that_unicode_has_ends_no_line(tmp_path):
    rows = [TRIPLES[0] | {"query": "how do I\u2028clean \x85 a chain"}, *TRIPLES[1:]]
    pairs = read_pairs(put(tmp_path / "p.tsv", plain_tsv(rows, header=False)))
    assert_equal(pairs, same(tmp_path, rows))


LABELLED = [("how do I x", "do y", True), ("how do I x", "eat z", False), ("why is v", "for w", True)]
BY_LABEL = [("how do I x", "do y", ("eat z",)), ("why is v", "for w", ())]


@pytest.mark.parametrize(
    "labels", [(1, 0), ("1", "0"), (True, False), (1.0, 0.0), ("True", "FALSE"), ("yes", "no"), (1, -1), ("pos", "neg")]
)
@pytest.mark.parametrize("name", ["label", "Labels", "score", "is_duplicate", "gold_label", "relevance"])
@pytest.mark.parametrize("written", [json_lines, separated, parquet])
def test_rows_that_are_labelled_negative_are_negatives(tmp_path, labels, name, written):
    rows = [{"query": q, "document": d, name: labels[0 if positive else 1]} for q, d, positive in LABELLED]
    pairs = read_pairs(put(tmp_path / "p", written(rows)))
    assert as_tuples(pairs) == BY_LABEL
    assert pairs.notes == (f"1 of 3 rows left out: {name} is 0, so they are negatives",)


def test_the_third_cell_of_lists_is_a_label_where_it_is_a_number(tmp_path):
    for labels in ((1, 0), (True, False), (1.0, 0.0)):
        lists = [[q, d, labels[0 if positive else 1]] for q, d, positive in LABELLED]
        assert as_tuples(read_pairs(put(tmp_path / "p.jsonl", json_lines(lists)))) == BY_LABEL


@pytest.mark.parametrize("name", ["score", "similarity", "similarity_score", "rating", "label"])
@pytest.mark.parametrize("written", [json_lines, separated, parquet])
def test_graded_scores_are_refused_until_the_least_is_said(tmp_path, name, written):
    rows = [{"sentence1": q, "sentence2": d, name: 4.2 if positive else 0.4} for q, d, positive in LABELLED]
    path = put(tmp_path / "p", written(rows))
    assert_refused(lambda: read_pairs(path), str(path), f"{name!r} is graded (0.4 to 4.2)", "min_score=")
    pairs = read_pairs(path, min_score=3)
    assert as_tuples(pairs) == BY_LABEL
    assert pairs.notes == (f"1 of 3 rows left out: {name} is below 3, so they are negatives",)
    assert as_tuples(read_pairs(path, min_score=4.2)) == BY_LABEL
    assert len(read_pairs(path, min_score=0.4)) == 3
    assert_refused(lambda: read_pairs(path, min_score=5), str(path), "no row is positive")


@pytest.mark.parametrize("labels", [(1, 0), ("true", "false"), (True, False), (1.0, 0.0)])
@pytest.mark.parametrize("written", [json_lines, separated, parquet])
def test_a_label_under_an_unknown_name_is_refused(tmp_path, labels, written):
    rows = [{"query": q, "document": d, "is it": labels[0 if positive else 1]} for q, d, positive in LABELLED]
    path = put(tmp_path / "p", written(rows))
    give = "give columns=query=query,document=document,score=is it"
    assert_refused(lambda: read_pairs(path), str(path), "'is it' says yes or no on every row", give)
    chosen = {"query": "query", "document": "document", "score": "is it"}
    assert as_tuples(read_pairs(path, columns=chosen)) == BY_LABEL
    del chosen["score"]
    assert len(read_pairs(path, columns=chosen)) == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "b", 1), ("a", "c", None)], ":2: 'label' is blank"),
        ([("a", "b", 1), ("a", "c", "maybe")], "'label' holds 'maybe'"),
        ([("a", "b", 0), ("a", "c", 0)], "no row is positive"),
        ([("a", "b", "entailment"), ("a", "c", "neutral")], "neither a number nor yes or no"),
        ([("a", "b", 0.5), ("a", "c", float("nan"))], "'label' holds 'nan'"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path, rows, said):
    rows = [{"query": q, "document": d, "label": label} for q, d, label in rows]
    path = put(tmp_path / "p.jsonl", json_lines(rows))
    assert_refused(lambda: read_pairs(path), str(path), said)


def test_two_columns_that_may_be_labels_are_refused(tmp_path):
    path = put(tmp_path / "p.csv", "query,document,label,score\na,b,1,0.3\n")
    assert_refused(lambda: read_pairs(path), str(path), "'label', 'score' may all say", "score=label")


def test_a_least_score_needs_scores(tmp_path):
    path = put(tmp_path / "p.jsonl", json_lines(RICH))
    assert_refused(lambda: read_pairs(path, min_score=0.5), str(path), "min_score=0.5 needs a column of scores")


def test_chosen_columns_are_read_whatever_they_are_called(tmp_path):
    rows = [{"Frage": r["query"], "Titel": "T", "Rumpf": r["positive"], "x": r["negative"]} for r in TRIPLES]
    chosen = {"query": "Frage", "document": "Titel+Rumpf", "negative": "x"}
    expected = same(tmp_path, [row | {"positive": f"T {row['positive']}"} for row in TRIPLES])
    for number, written in enumerate((json_lines, separated, parquet)):
        assert_equal(read_pairs(put(tmp_path / f"p{number}", written(rows)), columns=chosen), expected)
    bare = {"query": "1", "document": "3", "negative": "4"}
    lists = put(tmp_path / "lists.jsonl", json_lines(list(row.values()) for row in rows))
    assert_equal(read_pairs(lists, columns=bare), same(tmp_path, TRIPLES))


@pytest.mark.parametrize("written", [plain_tsv, separated])
def test_columns_without_names_are_chosen_by_number(tmp_path, written):
    path = put(tmp_path / "p", written([{"1": row["positive"], "2": row["query"]} for row in TRIPLES], header=False))
    assert_refused(
        lambda: read_pairs(path), str(path), "the first line does not name them", "columns=query=1,document=2"
    )
    expected = [(row["query"], row["positive"], ()) for row in TRIPLES]
    assert as_tuples(read_pairs(path, columns={"query": "2", "document": "1"})) == expected


def test_columns_that_are_not_there_are_refused(tmp_path):
    path = put(tmp_path / "p.csv", separated(LINES))
    assert_refused(lambda: read_pairs(path, columns={"query": "query", "document": "x"}), str(path), "no column 'x'")
    assert_refused(
        lambda: read_pairs(path, columns={"query": "query"}),
        str(path),
        "document=COLUMN is missing; write query=COLUMN,document=COLUMN",
    )


TEXTS = {"queries.tsv": "1\twhat is a\n2\twhat is b\n", "collection.tsv": "10\tIt is a.\n20\tIt is b.\n30\tIt is c.\n"}
BY_ID = [("what is a", "It is a.", ("It is c.",)), ("what is b", "It is b.", ("It is a.",))]


@pytest.mark.parametrize(
    "content",
    [
        "1\t10\t30\n2\t20\t10\n",
        "qid\tpos\tneg\n1\t10\t30\n2\t20\t10\n",
        "query_id,positive_id,negative_id\n1,10,30\n2,20,10\n",
        json_lines([{"qid": 1, "pos": [10], "neg": {"bm25": [30]}}, {"qid": 2, "pos": [20], "neg": {"bm25": [10]}}]),
        json_lines([[1, 10, 30], [2, 20, 10]]),
        json_lines([[1, [10], [30]], [2, [20], [10]]]),
        parquet([{"query": 1, "positive": 10, "negative": 30}, {"query": 2, "positive": 20, "negative": 10}]),
    ],
)
@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        {
            "queries.jsonl": json_lines([{"_id": "1", "text": "what is a"}, {"_id": "2", "text": "what is b"}]),
            "corpus.jsonl.gz": json_lines(
                {"_id": n, "text": f"It is {t}."} for n, t in ((10, "a"), (20, "b"), (30, "c"))
            ),
        },
    ],
)
def test_texts_of_ids_are_taken_from_the_collection_beside_them(tmp_path, content, texts):
    put(tmp_path, texts)
    pairs = read_pairs(put(tmp_path / "p", content))
    assert as_tuples(pairs) == BY_ID
    assert pairs.form.startswith("ids with a collection beside them (")


def test_ids_without_their_texts_are_refused_or_counted(tmp_path):
    path = put(tmp_path / "p.tsv", "1\t10\t30\n2\t20\t10\n9\t10\t30\n")
    assert_refused(lambda: read_pairs(path), str(path), "ids, not texts; put the collection beside it")
    put(tmp_path, TEXTS)
    pairs = read_pairs(path)
    assert as_tuples(pairs) == BY_ID
    assert pairs.notes == ("1 of 3 rows left out: their ids are not in the collection",)
    put(path, "7\t70\t80\n")
    assert_refused(lambda: read_pairs(path), str(path), "none of its ids are in the collection")


def test_judgements_alone_are_no_pairs(tmp_path):
    put(tmp_path, TEXTS)
    for content in ("1 0 10 1\n".replace(" ", "\t"), "query-id\tcorpus-id\tscore\n1\t10\t1\n"):
        path = put(tmp_path / "p.tsv", content)
        assert_refused(
            lambda path=path: read_pairs(path), str(path), "judgements of ids", "give the collection's folder"
        )


def test_a_collection_gives_the_pairs_that_are_judged_relevant(tmp_path):
    folder = put(tmp_path / "c", TEXTS | {"qrels": {"train.tsv": "1\t10\t2\n1\t30\t0\n2\t20\t1\n"}})
    pairs = read_pairs(folder)
    assert as_tuples(pairs) == [("what is a", "It is a.", ("It is c.",)), ("what is b", "It is b.", ())]
    assert as_tuples(read_pairs(folder, min_score=2)) == [("what is a", "It is a.", ("It is c.",))]
    columns = {"query": "1", "document": "2"}
    assert_refused(
        lambda: read_pairs(folder, columns=columns), str(folder), "a collection, whose parts have no columns"
    )


def test_every_form_of_rows_and_of_pairs_was_read_here():
    row_forms = {"Arrow data set", "folder of data files", "TREC documents", "TREC topics"}
    for form in (*ROW_FORMS,):
        row_forms |= {form.name for said, _, _ in (*ROWS.values(), *PLAIN.values()) if said.startswith(form.name)}
    assert row_forms == {form.name for form in ROW_FORMS}
    pair_forms = {"LlamaIndex's fine-tuning data", "ids with a collection beside them", "named columns"}
    pair_forms |= {"columns without names"} | {said.partition(" (")[0] for said, _, _ in TOOLS.values() if " (" in said}
    assert pair_forms == {form.name for form in PAIR_FORMS}


def test_every_form_has_a_name_of_its_own_and_says_what_it_looks_like():
    assert len({form.name for form in FORMS}) == len(FORMS)
    for form in FORMS:
        assert form.name.strip() and form.looks.strip() and "\n" not in form.looks
        assert (form.holds == "nothing") == bool(form.instead)
    assert {form.name for form in (*ROW_FORMS, *PAIR_FORMS)} <= {form.name for form in FORMS}


def test_labels_count_where_only_query_and_document_are_named(tmp_path):
    rows = [{"frage": "a b", "antwort": "c", "label": 1}, {"frage": "a b", "antwort": "d", "label": 0}]
    path = put(tmp_path / "p.jsonl", json_lines(rows))
    named = {"query": "frage", "document": "antwort"}
    assert as_tuples(read_pairs(path, columns=named)) == [("a b", "c", ("d",))]
    assert len(read_pairs(path, columns=named | {"score": "-"})) == 2
