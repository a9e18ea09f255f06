"""Pairs that are written in some form and then handled as people handle files: the same pairs, or a refusal."""

from __future__ import annotations

import csv
import io
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from retrieval.forms.written import (
    arrow,
    as_tuples,
    assert_right_or_refused,
    columns_of,
    json_lines,
    pairs_or_refusal,
    parquet,
    plain_tsv,
    put,
    separated,
    zipped,
)

from collapse_probe.retrieval import Pairs

Rows = list[dict[str, Any]]
Triple = tuple[str, str, tuple[str, ...]]

COUPLES = [("query", "document"), ("anchor", "positive"), ("question", "answer"), ("sentence1", "sentence2")]
QUERIES = ["query", "anchor", "question", "Query", "query text", "claim", "search-query"]
DOCUMENTS = ["document", "positive", "answer", "passage", "text", "doc", "Document Text", "context", "contents"]
NEGATIVES = [("negative", "negative_2"), ("neg", "hard_negative"), ("negative_1", "Negative 2"), ("negs", "neg_doc")]

WORDS = ["how", "why", "7", "42", "007", "1", "0", "true", "query", "document", "answer", "id", "label", "null", "N/A"]
ONE_LINE = "ab \"',;|\\<{[#é日😀\u00a0"
SIGNS = ONE_LINE + "\n\r\t\f\u0085\u2028"
"""Only forms that quote or escape can hold line ends and tabs; the others hold texts of ``ONE_LINE``."""


def texts(signs: str, *, several_words: bool = False) -> st.SearchStrategy[str]:
    free = st.text(alphabet=signs, min_size=1, max_size=12)
    sentence = st.lists(st.sampled_from([*WORDS, *signs]), min_size=1, max_size=5).map(" ".join)
    if several_words:
        return sentence.filter(lambda text: len(text.split()) > 1)
    return st.one_of(free, sentence, st.sampled_from(WORDS)).filter(str.strip)


def in_lists(rows: Rows) -> str:
    return json_lines(list(row.values()) for row in rows)


def in_columns(rows: Rows) -> str:
    return json.dumps(columns_of(rows))


def as_pandas_does(rows: Rows) -> str:
    return json.dumps(
        {name: {str(n): cell for n, cell in enumerate(cells)} for name, cells in columns_of(rows).items()}
    )


def for_flag_embedding(rows: Rows) -> str:
    names = list(rows[0])
    return json_lines(
        {"query": row[names[0]], "pos": [row[names[1]]], "neg": [row[name] for name in names[2:] if row[name]]}
        for row in rows
    )


def sep(separator: str, quoting: int, *, header: bool = True, end: str = "\n") -> Callable[[Rows], str]:
    return lambda rows: separated(rows, separator, quoting=quoting, header=header, end=end)


NAMED: dict[str, Callable[[Rows], str | bytes]] = {
    "JSON Lines": json_lines,
    "JSON array": json.dumps,
    "JSON array laid out": lambda rows: json.dumps(rows, indent=1, ensure_ascii=False),
    "JSON columns": in_columns,
    "JSON as pandas writes it": as_pandas_does,
    "CSV": sep(",", csv.QUOTE_MINIMAL),
    "CSV, CRLF": sep(",", csv.QUOTE_MINIMAL, end="\r\n"),
    "CSV, all quoted": sep(",", csv.QUOTE_ALL),
    "CSV with ;": sep(";", csv.QUOTE_MINIMAL),
    "CSV with |": sep("|", csv.QUOTE_NONNUMERIC),
    "TSV, quoted": sep("\t", csv.QUOTE_MINIMAL),
    "TSV, all quoted": sep("\t", csv.QUOTE_ALL),
    "TSV, texts quoted": sep("\t", csv.QUOTE_NONNUMERIC),
    "TSV": plain_tsv,
    "Parquet": parquet,
    "Arrow": arrow,
}
UNNAMED: dict[str, Callable[[Rows], str | bytes]] = {
    "JSON lists": in_lists,
    "JSON array of lists": lambda rows: json.dumps([list(row.values()) for row in rows]),
    "FlagEmbedding": for_flag_embedding,
    "TSV without a header": lambda rows: plain_tsv(rows, header=False),
    "CSV without a header": sep(",", csv.QUOTE_MINIMAL, header=False),
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"]
PLAIN = ("TSV", "TSV without a header")
BARE_RETURNS = ("CSV", "CSV with ;", "CSV without a header", "TSV, quoted")
SUFFIXES = ["", ".gz", ".bz2", ".xz", ".zip"]


class Case(NamedTuple):
    """Pairs and the file that somebody made of them."""

    form: str
    name: str
    content: bytes
    expected: list[Triple]


@st.composite
def extra_columns(draw, count: int) -> list[tuple[str, list[Any]]]:
    """Columns that are no part of a pair."""
    known: list[tuple[str, list[Any]]] = [
        ("id", [f"row-{n}" for n in range(count)]),
        ("qid", [str(n) for n in range(count)]),
        ("pid", [str(n + 7) for n in range(count)]),
        ("doc_id", list(range(count))),
        ("url", [f"https://example.org/{n}?a=b,c" for n in range(count)]),
        ("comment", [""] * count),
        ("length", [17 * n + 3 for n in range(count)]),
        ("lang", ["en"] * count),
        ("split", ["train"] * count),
        ("label", [1] * count),
        ("seen on", ["2024-01-01, noon"] * count),
    ]
    return draw(st.lists(st.sampled_from(known), max_size=3, unique_by=lambda column: column[0]))


@st.composite
def cases(draw) -> Case:
    form = draw(st.sampled_from([*NAMED, *UNNAMED]))
    headless = form.endswith("without a header")
    text, width = texts(signs_of(form), several_words=headless), 1 if headless else draw(st.integers(0, 2))
    negative = text if headless else st.one_of(text, text, text, st.none())
    made = draw(st.lists(st.tuples(text, text, *[negative] * width), min_size=1, max_size=5))
    names = draw(st.one_of(st.sampled_from(COUPLES), st.tuples(st.sampled_from(QUERIES), st.sampled_from(DOCUMENTS))))
    columns = [*names, *draw(st.sampled_from(NEGATIVES))[:width]]
    rows: Rows = [dict(zip(columns, cells, strict=True)) for cells in made]
    if form in NAMED:
        for name, cells in draw(extra_columns(len(rows))):
            rows = [row | {name: cell} for row, cell in zip(rows, cells, strict=True)]
        order = draw(st.permutations(list(rows[0])))
        rows = [{name: row[name] for name in order} for row in rows]
    negatives = [name for name in rows[0] if name in columns[2:]]
    expected = [(row[columns[0]], row[columns[1]], tuple(row[n] for n in negatives if row[n])) for row in rows]
    content = (NAMED | UNNAMED)[form](rows)
    if isinstance(content, str):
        if form in PLAIN:
            assume(not reads_otherwise_as_quoted(content, made))
        content = draw(encoded(content))
    suffix = draw(st.sampled_from(SUFFIXES))
    if suffix == ".zip":
        content = zipped({"pairs.data": content})
    return Case(form, f"pairs{suffix}", content, expected)


def signs_of(form: str) -> str:
    """What texts are made of: all that the form can hold."""
    if form in PLAIN:
        return ONE_LINE
    # csv.writer leaves a lone carriage return bare before Python 3.13, as if it were the end of a line.
    signs = SIGNS.replace("\r", "") if form in BARE_RETURNS else SIGNS
    # Without names, what separates cells is told from the first line alone.
    return "".join(sign for sign in signs if sign not in "\t;|") if form == "CSV without a header" else signs


@st.composite
def encoded(draw, content: str) -> bytes:
    encoding = draw(st.sampled_from(ENCODINGS))
    if encoding == "utf-16-be":
        return "\ufeff".encode(encoding) + content.encode(encoding)
    try:
        raw = content.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
        raise
    if encoding == "latin-1":
        assume(content.isascii() or not is_utf8(raw))
    return raw


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def reads_otherwise_as_quoted(content: str, cells: Sequence[Sequence[str | None]]) -> bool:
    """Whether a file is byte for byte what a writer of quoted TSV makes of other texts, so that nobody can tell."""
    try:
        rows = list(csv.reader(io.StringIO(content, newline=""), delimiter="\t", strict=True))
    except csv.Error:
        return False
    said = {cell for row in cells for cell in row if cell}
    if len({len(row) for row in rows}) != 1 or said <= {cell for row in rows for cell in row}:
        return False

    def quoted(cell: str, needs: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if not needs or any(sign in cell for sign in needs) else cell

    styles = ("", '"\t\r\n', '"\t\r\n,')
    bare = content.replace("\r\n", "\n")
    heads = [(rows[:1], rows[1:]), ([], rows)]
    return any(
        "".join("\t".join(row) + "\n" for row in head)
        + "".join("\t".join(map(quoted, row, chosen)) + "\n" for row in body)
        == bare
        for head, body in heads
        for chosen in itertools.product(styles, repeat=len(rows[0]))
    )


def test_a_file_gives_its_pairs_or_is_refused_however_it_was_handled():
    outcomes: dict[str, list[bool]] = {}

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(cases())
    def check(case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = pairs_or_refusal(put(Path(folder) / case.name, case.content))
        outcomes.setdefault(case.form, []).append(isinstance(found, Pairs))
        if isinstance(found, Pairs):
            assert as_tuples(found) == case.expected, case.form

    check()
    # Refusing everything would pass too.
    assert sum(map(sum, outcomes.values())) > sum(map(len, outcomes.values())) / 2, outcomes


SMALLEST = {
    "stray marks begin one cell and stand inside another, so that no writer of quoted TSV made the file": (
        'query\tdocument\na 5" pipe\tA.\n"\tB.\n"\tC.\n',
        [('a 5" pipe', "A.", ()), ('"', "B.", ()), ('"', "C.", ())],
    ),
    "a form feed in one cell makes quotation marks of another the writer's": (
        'query\tdocument\n"hello"\tA.\nx\fy\tB.\n',
        [('"hello"', "A.", ()), ("x\fy", "B.", ())],
    ),
    "a line separator in one cell makes quotation marks of another the writer's": (
        'query\tdocument\n"hello"\tA.\nx\u2028y\tB.\n',
        [('"hello"', "A.", ()), ("x\u2028y", "B.", ())],
    ),
    "a lone carriage return, bare as csv.writer and pandas leave it, makes quotation marks part of the texts": (
        'query\tdocument\n"say ""hi"""\tA.\nx\ry\tB.\n',
        [('say "hi"', "A.", ()), ("x\ry", "B.", ())],
    ),
}


@pytest.mark.parametrize("case", SMALLEST)
def test_the_smallest_files_that_gave_other_pairs_are_read_or_refused(tmp_path, case):
    content, expected = SMALLEST[case]
    assert_right_or_refused(put(tmp_path / "p.tsv", content), expected)
