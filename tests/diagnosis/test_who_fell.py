"""Which queries lost, what took their places, and that no text of theirs does harm or is written where none may be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from journals_support import made

from collapse_probe.diagnosis import diagnose, fallen
from collapse_probe.journal import Evaluation, JournalWriter, Rankings, Run, Store, read_rankings
from collapse_probe.recording import Texts, keep_rankings
from collapse_probe.recording._rankings import keep_evaluation
from collapse_probe.reporting import write_report

QUERIES = 60
NASTY = "=1+1 | <script>x</script> \x1b[2J\u202e`a`\nb [l](http://x) " + "long " * 100
BEFORE = Rankings(
    query_ids=["a", "b", "c"],
    documents=["right", "x", "y", "hub"],
    top=[[0, 1], [0, 2], [2, 0]],
    best=[1, 1, 2],
    right=[0, 0, 0],
    depth=100,
    n_documents=100,
)
AFTER = Rankings(
    query_ids=["a", "b", "c"],
    documents=["hub", "x", "right", "y"],
    top=[[0, 1, 2], [0, 3], [3, 0, 2]],
    best=[3, None, 3],
    right=[2, None, 2],
    depth=100,
    n_documents=100,
    about={"hub": {"length": 10, "language": "English", "seen": True}},
)


def test_takers_are_what_newly_stands_above_the_right_document():
    before, after = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.0}, {"a": 0.5, "b": 0.0, "c": 0.25, "d": 0.6}
    found = fallen(before, after, BEFORE, AFTER, collection="c")
    assert [one.query for one in found.lost] == ["b", "a", "c"]
    b, a, c = found.lost
    assert (b.rank_before, b.rank_after, b.right, b.takers) == (1, None, "right", ("hub", "y"))
    assert (a.rank_before, a.rank_after, a.takers) == (1, 3, ("hub", "x"))
    assert c.takers == ("hub",)
    assert (found.places, found.gained, found.worst_tenth) == (5, 1, pytest.approx(1.0 / 1.75))
    (hub,) = found.half
    assert (hub.document, hub.places, hub.before, hub.after, hub.hub, hub.length, hub.seen) == (
        *("hub", 3, 0, 3, True),
        *(10, True),
    )
    assert found.share == pytest.approx(0.6) and found.spread == ""
    json.dumps(found.to_dict(), allow_nan=False)


def test_scores_without_rankings_say_who_lost_and_nothing_more():
    found = fallen({"a": 1.0, "b": 0.5}, {"a": 0.0, "b": 0.5}, None, None)
    assert [one.query for one in found.lost] == ["a"] and not found.kept
    plain = found.to_dict()
    assert [plain[name] for name in ("places", "takers", "takers_share", "hubs", "seen")] == [None] * 5


def ranks(step: int, ids: list[str]) -> Rankings:
    """Return rankings in which four fifths of the queries find a hub before their document from step 1 on."""
    documents = ["hub", "noise", *(f"d{at}" for at in range(QUERIES))]
    hit = [not step or at % 5 == 0 for at in range(QUERIES)]
    return Rankings(
        query_ids=ids,
        documents=documents,
        top=[[at + 2, 1] if hit[at] else [0, 1, at + 2] for at in range(QUERIES)],
        best=[1 if one else 3 for one in hit],
        right=[at + 2 for at in range(QUERIES)],
        depth=100,
        n_documents=len(documents),
    )


def run_with(folder: Path, *, shown: bool = True, kept: bool = True) -> Run:
    """Return a run on disk in which most queries of a collection lose half."""
    made(folder, ends=False, reference=False)
    ids = [f"=q{at}" for at in range(QUERIES)]
    texts = Texts(
        queries=lambda: [(one, NASTY) for one in ids],
        documents=lambda: [(one, f"the body of {NASTY}") for one in ranks(0, ids).documents],
        titles={},
        seen=lambda document, _: document == "noise",
        shown=shown,
    )
    with JournalWriter(folder, store=Store()) as journal:
        for step in (0, 100, 200):
            best = ranks(step, ids).best
            values = {query: 1.0 if rank == 1 else 0.5 for query, rank in zip(ids, best, strict=True)}
            scores = {"ndcg@10": values}
            file = journal.attach(f"toy-{step}", {"query_ids": ids, "ndcg@10": list(values.values())})
            if kept:
                keep_evaluation(journal, file, "toy", "model", ranks(step, ids), texts, scores)
            mean = sum(values.values()) / QUERIES
            journal.write(
                Evaluation(collection="toy", step=step, metrics={"ndcg@10": mean}, per_query=file, n_queries=QUERIES)
            )
        journal.end("completed", step=200)
    return Run.load(folder)


def test_the_report_shows_few_rows_escaped_and_the_files_all(tmp_path):
    run = run_with(tmp_path / "run")
    report = write_report(run, tmp_path / "report", figures=False)
    text = report.read_text()
    section = text.split("## Who fell")[1].split("\n## ")[0]
    assert (
        "48 of 60 queries lost more than .2 nDCG@10 against step 0, and 0 gained as much. The fall is broad" in section
    )
    assert "1 of 2 documents took 50 % of the 96 places" in section and "trained on 1 of 1 (2 % of all)" in section
    assert len(section.encode()) <= 2_500 and 1 <= section.count("| =q") <= 20
    assert not any(one in text for one in ("<script>", "\x1b", "\u202e", "[l]("))
    with (tmp_path / "report" / "failing_queries.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48 and rows[0]["query"].startswith("'=q") and rows[0]["text"].startswith("'=1+1 | <script>")
    assert (rows[0]["rank_before"], rows[0]["rank_after"], rows[0]["taken_by"]) == ("1", "3", "hub noise")
    assert not any(one in row["text"] for row in rows for one in ("\x1b", "\u202e", "\n"))
    found = diagnose(run)
    line = next(one for one in found.summary.splitlines() if one.startswith("Who fell"))
    assert line == "Who fell   toy: 48 of 60 queries lost more than .2; 1 document took 50 % of their places"
    assert "script" not in json.dumps(found.to_dict()["who_fell"])


def test_without_texts_there_are_ids_alone(tmp_path):
    report = write_report(run_with(tmp_path / "run", shown=False), tmp_path / "report", figures=False)
    written = [one for place in (tmp_path / "run", report.parent) for one in place.rglob("*") if one.is_file()]
    assert not any(b"script" in one.read_bytes() for one in written)
    assert "=q1 |" in report.read_text()


def test_an_older_run_says_that_rankings_were_not_kept(tmp_path):
    run = run_with(tmp_path / "run", kept=False)
    text = write_report(run, tmp_path / "report", figures=False).read_text()
    assert "Which documents took their places was not kept." in text
    (one,) = diagnose(run).to_dict()["who_fell"]
    assert (one["lost"], one["kept"], one["takers_share"]) == (48, False, None)


def test_the_first_and_the_last_rankings_are_kept_and_damage_is_none(tmp_path):
    run = run_with(tmp_path / "run")
    files = {one.step: one.per_query for one in run.of(Evaluation) if one.collection == "toy"}
    assert [read_rankings(run, files[step]) is not None for step in (0, 100, 200)] == [True, False, True]
    place = tmp_path / "run" / "evaluations" / "toy-200.ranks.json"
    for broken in ("{", "[]", '{"query_ids": ["a"]}', place.read_text().replace('"best":[1', '"best":[-1')):
        place.write_text(broken)
        assert read_rankings(run, files[200]) is None
    assert not diagnose(run).to_dict()["who_fell"][0]["kept"]


def test_a_run_in_memory_keeps_them_too():
    journal = JournalWriter(None, store=Store())
    for file in ("before", "after"):
        journal.store.files[file] = {"query_ids": ["a"], "ndcg@10": [1.0 if file == "before" else 0.0]}
    texts = Texts(queries=lambda: [("a", "q")], documents=lambda: [("hub", "t" * 500), ("no", "u")], titles={})
    keep_rankings(journal, "before", BEFORE, scores={}, texts=texts)
    keep_rankings(journal, "after", AFTER, scores={"ndcg@10": {"a": 0.0}}, texts=texts, against=["before"])
    found = read_rankings(journal, "after")
    assert found.texts == {"queries": {"a": "q"}, "documents": {"hub": "t" * 300}}
    assert found.about["hub"]["length"] == 500 and found.about["hub"]["seen"] is None
