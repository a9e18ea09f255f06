"""The performance table: its numbers by hand, its families of tests, and what it refuses."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from journals_support import made
from plain_loops import TwoTowers, descend, infonce, pairs
from tests_support import FoundingWriter, founding_config

from collapse_probe.cli import main
from collapse_probe.diagnosis import compare
from collapse_probe.errors import InputError
from collapse_probe.journal import JournalWriter, Run, write_config
from collapse_probe.statistics import holm, paired_difference, seeded_difference
from collapse_probe.watching import Watch

QUERIES = 60


def scores(shift: float, *, n: int = QUERIES, seed: int = 0) -> np.ndarray:
    """Per-query scores around the raw encoder's, which is the shift 0.0."""
    raw = np.random.default_rng(99).beta(2, 2, size=n)
    if shift == 0:
        return raw
    return np.clip(raw + np.random.default_rng(seed).normal(shift, 0.1, size=n), 0, 1)


def made_run(
    folder: Path,
    evaluations: dict,
    *,
    name: str = "",
    encoder: str = "minilm",
    sha: str = "a" * 64,
    similarity: str = "cosine",
    **config,
) -> Run:
    """Return a run with evaluations {(collection, path, epoch): values}, or (collection, split, path, epoch)."""
    folder.mkdir(parents=True)
    records = []
    for number, (key, values) in enumerate(evaluations.items()):
        collection, split, path, epoch = key if len(key) == 4 else (key[0], "test", *key[1:])
        ids = [f"q{i}" for i in range(len(values))]
        order = ids[::-1] if number % 2 else ids
        by_id = dict(zip(ids, map(float, values), strict=True))
        content = {"query_ids": order, "ndcg@10": [by_id[i] for i in order], "mrr@10": [0.5 for _ in order]}
        (folder / f"{number}.json").write_text(json.dumps(content))
        records.append(
            {
                "kind": "evaluation",
                "collection": collection,
                "split": split,
                "path": path,
                "step": epoch,
                "epoch": epoch,
                "similarity": similarity,
                "metrics": {"ndcg@10": float(np.mean(values)), "mrr@10": 0.5},
                "n_documents": 100,
                "per_query": f"{number}.json",
            }
        )
    session = {"encoder": {"name": encoder, "weights_sha256": sha}}
    write_config(folder, founding_config(name or folder.name, session=session, **config))
    with FoundingWriter(folder / "journal.jsonl") as journal:
        for record in records:
            journal.append("evaluation", record)
    return Run.load(folder)


def rewritten(run: Run, *, config: dict | None = None, **fields) -> Run:
    """Return a run again with other fields in its evaluation records, or in its configuration."""
    path = run.folder / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, **fields}) + "\n" for line in lines))
    content = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**content, **(config or {})}))
    return Run.load(run.folder)


def trained(folder: Path, shift: float, *, seed: int = 1, collections=("toy",), epochs: int = 2, **more) -> Run:
    """Return a run whose scores move by a shift in its last epoch."""
    found = {}
    for k, collection in enumerate(collections):
        n = QUERIES + 20 * k
        found[(collection, "raw", 0)] = scores(0.0, n=n)
        for epoch in range(epochs + 1):
            found[(collection, "no_predictor", epoch)] = scores(shift * epoch / epochs or 1e-9, n=n, seed=seed + k)
            found[(collection, "predictor", epoch)] = np.zeros(n)
    return made_run(folder, found, **more)


def baseline(folder: Path, **more) -> Run:
    return made_run(folder, {("toy", "raw", 0): scores(0.0)}, trains=False, **more)


def test_the_numbers_are_those_of_the_scores(tmp_path):
    rows = compare([trained(tmp_path / "a", -0.2, seed=1), trained(tmp_path / "b", 0.1, seed=5)])
    assert [row.label for row in rows] == ["Baseline (raw encoder)", "a, epoch 2", "b, epoch 2"]
    raw, first, second = scores(0.0), scores(-0.2, seed=1), scores(0.1, seed=5)
    assert [row.average for row in rows] == pytest.approx([raw.mean(), first.mean(), second.mean()])
    expected = paired_difference(raw, first)
    found = rows[1].against_baseline
    assert found.difference.mean == pytest.approx(expected.mean)
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    assert found.difference.p_value == pytest.approx(expected.p_value)
    assert found.relative == pytest.approx(first.mean() / raw.mean() - 1)
    assert found.difference.smallest_resolvable == pytest.approx(expected.smallest_resolvable)
    assert rows[2].against_reference.reference == "a, epoch 2"
    assert rows[2].against_reference.difference.mean == pytest.approx(second.mean() - first.mean())


def test_queries_are_paired_by_their_ids_not_by_their_places(tmp_path):
    """The files hold the queries in either order, so a run like another has a difference of 0 everywhere."""
    rows = compare([trained(tmp_path / "a", -0.2), trained(tmp_path / "b", -0.2)])
    found = rows[2].against_reference.difference
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert rows[2].against_reference.difference.p_value == 1


def test_p_is_adjusted_over_every_comparison_of_the_table(tmp_path):
    runs = [trained(tmp_path / name, shift, seed=k) for k, (name, shift) in enumerate([("a", 0.03), ("b", 0.02)], 1)]
    rows = compare(runs)
    family = [one for row in rows for one in (row.against_baseline, row.against_reference) if one is not None]
    assert len(family) == 3
    assert [one.adjusted_p for one in family] == pytest.approx(holm([one.difference.p_value for one in family]))


def test_every_epoch_adds_to_the_family(tmp_path):
    runs = [trained(tmp_path / "a", -0.2), trained(tmp_path / "b", 0.1, seed=5)]
    rows = compare(runs, every_epoch=True)
    assert [row.label for row in rows[1:4]] == ["a, step 0", "a, epoch 1", "a, epoch 2"]
    assert sum(row.against_reference is not None for row in rows) == 5
    last, every = compare(runs)[2].against_baseline, rows[6].against_baseline
    assert last.difference.p_value == every.difference.p_value
    assert last.adjusted_p <= every.adjusted_p


def test_an_average_is_over_the_shared_collections_alone(tmp_path):
    first = trained(tmp_path / "a", -0.2, collections=("toy", "other", "mine"))
    second = trained(tmp_path / "b", 0.1, seed=5, collections=("toy", "other"))
    rows = compare([first, second])
    assert [list(row.by_collection) for row in rows] == [["toy", "other"]] * 3
    assert rows[1].average == pytest.approx(np.mean(list(rows[1].by_collection.values())))
    pairs = [(scores(0.0, n=n), scores(-0.2, n=n, seed=s)) for n, s in ((60, 1), (80, 2))]
    expected = seeded_difference(*((after - before)[None] for before, after in pairs))
    found = rows[1].against_baseline.difference
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n_queries == 140


def test_a_split_that_only_one_run_scored_hides_nothing(tmp_path):
    extra = {("toy", "train", "raw", 0): scores(0.0), ("toy", "train", "no_predictor", 1): scores(0.1)}
    first = made_run(
        tmp_path / "a", {("toy", "raw", 0): scores(0.0), ("toy", "no_predictor", 1): scores(-0.1), **extra}
    )
    rows = compare([first, trained(tmp_path / "b", 0.1)])
    assert [list(row.by_collection) for row in rows] == [["toy"]] * 3


def test_the_evaluated_path_is_the_one_that_is_shown(tmp_path):
    found = {("toy", "raw", 0): scores(0.0), ("toy", "predictor", 1): scores(0.1), ("toy", "no_predictor", 1): [0.0]}
    first = made_run(tmp_path / "a", found, recipe={"scoring_path": "predictor"})
    rows = compare([first, trained(tmp_path / "b", 0.1)])
    assert rows[1].label == "a, epoch 1, with predictor"
    assert rows[1].path == "predictor"
    assert rows[1].average == pytest.approx(scores(0.1).mean())


def test_a_run_that_is_the_raw_encoder_is_compared_once(tmp_path):
    """As the reference it would be the baseline again, and double the family of tests."""
    rows = compare([baseline(tmp_path / "base"), trained(tmp_path / "b", 0.02)])
    assert [(row.label, row.path) for row in rows[:2]] == [
        ("Baseline (raw encoder)", "raw"),
        ("base, raw encoder", "raw"),
    ]
    assert rows[1].against_baseline is None
    assert all(row.against_reference is None for row in rows)
    assert rows[2].against_baseline.adjusted_p == rows[2].against_baseline.difference.p_value
    rows = compare([trained(tmp_path / "c", 0.02), baseline(tmp_path / "base2")])
    assert rows[2].against_reference.reference == "c, epoch 2"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"similarity": "dot"}, ["minilm, cosine", "minilm, dot"]),
        ({"sha": "b" * 64}, ["minilm, cosine, weights aaaaaaaa", "minilm, cosine, weights bbbbbbbb"]),
        ({"encoder": "mpnet"}, ["minilm, cosine", "mpnet, cosine"]),
    ],
)
def test_every_raw_encoder_has_a_row(tmp_path, changes, expected):
    rows = compare([trained(tmp_path / "a", 0.1), trained(tmp_path / "b", 0.1, **changes)])
    labels = [f"Baseline (raw encoder), {name}" for name in expected]
    assert [row.label for row in rows[:2]] == labels
    assert [row.against_baseline.reference for row in rows[2:]] == labels


def test_raw_encoders_that_score_differently_are_told_apart_by_their_runs(tmp_path):
    """The same weights with another prompt or length: each run is compared with its own raw scores."""
    other = {("toy", "raw", 0): scores(0.2), ("toy", "no_predictor", 1): scores(0.2)}
    rows = compare([trained(tmp_path / "a", 0.1), made_run(tmp_path / "b", other)])
    assert [row.label.split(", ")[-1] for row in rows[:2]] == ["a", "b"]
    assert rows[3].against_baseline.difference.mean == 0


def test_runs_of_one_name_are_shown_by_folder(tmp_path):
    runs = [trained(tmp_path / "a", 0.1, name="same"), trained(tmp_path / "b", 0.2, name="same")]
    rows = compare(runs, against=str(tmp_path / "b"))
    assert [row.label for row in rows[1:]] == [f"{tmp_path / name}, epoch 2" for name in "ab"]
    assert rows[1].against_reference.reference == f"{tmp_path / 'b'}, epoch 2"


def test_a_reference_without_score_has_no_relative_change(tmp_path):
    nothing = {("toy", "raw", 0): np.zeros(QUERIES), ("toy", "no_predictor", 1): scores(0.1)}
    found = compare([made_run(tmp_path / name, nothing) for name in "ab"])[1].against_baseline
    assert math.isnan(found.relative)
    assert found.difference.mean > 0


def refused(runs: list[Run], **options) -> str:
    with pytest.raises(InputError) as caught:
        compare(runs, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fewer_than_two_runs_are_refused(tmp_path):
    one = trained(tmp_path / "a", 0.1)
    assert refused([]).startswith("compare needs at least two runs, got 0")
    assert refused([one]).startswith("compare needs at least two runs, got 1")
    assert "given twice" in refused([one, one])


def test_no_common_collection_is_refused(tmp_path):
    runs = [trained(tmp_path / "a", 0.1), trained(tmp_path / "b", 0.1, collections=("other",))]
    assert refused(runs) == (
        "no collection is scored in all runs (a: toy test; b: other test): evaluate them on one, collections=DIR"
    )


def test_runs_of_other_programs_are_told_how_they_get_scores(tmp_path):
    text = refused([made(tmp_path / name, reference=False) for name in ("a", "b")])
    assert text.startswith("no collection is scored in all runs (a: none; b: none): score them on one while they train")
    assert "w.evaluation(" in text and "evaluate" not in text.replace("evaluator", "")


def test_different_queries_are_refused_whichever_evaluation_has_them(tmp_path):
    short = {("toy", "raw", 0): scores(0.0), ("toy", "no_predictor", 1): scores(0.1)[:50]}
    text = refused([trained(tmp_path / "a", 0.1), made_run(tmp_path / "b", short)])
    assert text == (
        "toy (test): a and b are two runs on different queries (60 and 50, 50 shared); "
        "evaluate both on the same folder, collections=DIR"
    )


def test_different_corpora_are_refused(tmp_path):
    runs = [trained(tmp_path / name, 0.1) for name in "ab"]
    runs[1] = rewritten(runs[1], n_documents=50)
    assert "a and b searched different corpora (100 and 50 documents)" in refused(runs)


def test_other_texts_under_the_same_ids_are_refused(tmp_path):
    """By the record where it says so, by the run's configuration where it does not; unknown is no difference."""
    runs = [trained(tmp_path / name, 0.1) for name in "ab"]
    known = {"collections": [{"name": "toy", "split": "test", "fingerprint": "1"}]}
    runs = [rewritten(run, config=known) for run in runs]
    assert compare(runs)
    runs[1] = rewritten(runs[1], fingerprint="2")
    assert "a and b were scored on other texts or judgements" in refused(runs)
    runs[0] = rewritten(runs[0], config={"collections": []})
    assert compare(runs)


def test_a_run_that_failed_is_marked(tmp_path):
    runs = [trained(tmp_path / name, 0.1) for name in "ab"]
    with JournalWriter(runs[1].folder) as journal:
        journal.end("failed", step=2)
    runs[1] = Run.load(runs[1].folder)
    assert [row.label for row in compare(runs)][1:] == ["a, epoch 2", "b (failed), epoch 2"]


def test_a_run_that_trained_but_was_not_scored_is_not_shown_as_the_raw_encoder(tmp_path):
    torn = made_run(tmp_path / "torn", {("toy", "raw", 0): scores(0.0)})
    assert refused([trained(tmp_path / "a", 0.1), torn]).startswith("torn: no epoch is scored on all of toy test: ")


def test_unknown_names_are_refused_with_the_nearest(tmp_path):
    runs = [trained(tmp_path / "first", 0.1), trained(tmp_path / "second", 0.1)]
    assert "unknown metric 'ndcg10': did you mean 'ndcg@10'?" in refused(runs, metric="ndcg10")
    assert "unknown run 'secnd': did you mean 'second'?" in refused(runs, against="secnd")
    assert compare(runs, metric="mrr@10")[1].average == 0.5


def test_a_metric_without_scores_of_queries_has_no_interval(tmp_path):
    runs = [trained(tmp_path / name, 0.1) for name in "ab"]
    for record in runs[0].records("evaluation"):
        file = runs[0].folder / record["per_query"]
        content = json.loads(file.read_text())
        del content["mrr@10"]
        file.write_text(json.dumps(content))
    rows = compare(runs, metric="mrr@10")
    assert [row.average for row in rows[1:]] == [0.5, 0.5]
    found = rows[-1].against_reference
    assert found.difference.mean == 0 and found.difference.n_queries == 0
    assert math.isnan(found.difference.low) and math.isnan(found.adjusted_p)


def scored_loop(folder: Path | bool, mean: float, *, by_query: bool = True, variant: str = "model") -> Watch:
    """Return the closed watch of a plain loop that is scored by hand before and after."""
    torch.manual_seed(0)
    model = TwoTowers(lambda query, document: (query, document))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(model, optimizer=optimizer, query="query_tower", document="doc_tower", run=folder) as watch:
        for at, shift in ((0, 0.0), (3, mean)):
            values = {f"q{i}": float(value) for i, value in enumerate(scores(shift, seed=3))}
            found = {"ndcg@10": values} if by_query else None
            average = math.fsum(values.values()) / len(values)
            watch.evaluation("dev", {"ndcg@10": average}, per_query=found, variant=variant)
            for a, b in pairs(3 if at == 0 else 0):
                descend(optimizer, infonce(*model(a, b)))
    return watch


def test_watched_loops_are_compared_as_paths_runs_and_watches(tmp_path):
    first, second = scored_loop(tmp_path / "a", -0.2), scored_loop(tmp_path / "b", 0.1, variant="head")
    rows = compare([first, second])
    assert [row.label for row in rows] == ["a, step 3", "b, step 3"]
    found = rows[1].against_reference.difference
    assert found.mean == pytest.approx(scores(0.1, seed=3).mean() - scores(-0.2, seed=3).mean()) and found.low > 0
    assert compare([tmp_path / "a", str(tmp_path / "b")]) == compare([Run.load(first), second.live]) == rows
    assert [row.label for row in compare([first, second], labels=["x", "y"], against="y")] == ["x, step 3", "y, step 3"]
    assert compare([scored_loop(False, -0.2), scored_loop(False, 0.1)])[1].against_reference.difference == found


@pytest.mark.parametrize("labels", [["x"], ["x", "x"], ["x", "y", "z"]])
def test_labels_are_one_for_each_run(tmp_path, labels):
    assert "2 different ones are needed" in refused([trained(tmp_path / n, 0.1) for n in "ab"], labels=labels)


def test_a_run_without_scores_of_queries_has_no_interval_and_says_so(tmp_path, monkeypatch, capsys):
    scored_loop(tmp_path / "a", -0.2)
    scored_loop(tmp_path / "b", 0.1, by_query=False)
    monkeypatch.setattr(sys, "argv", ["collapse-probe", "compare", str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit) as caught:
        main()
    out = capsys.readouterr().out
    assert not caught.value.code and "nan" not in out
    assert "[no interval]" in out and "b, step 3 vs a, step 3: no interval: one of the two has no scores" in out
