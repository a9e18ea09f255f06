"""Which variant and which metric of a collection are judged: nothing that was scored drops out silently."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from journals_support import config, write

from collapse_probe.diagnosis import Diagnosis, Status, diagnose
from collapse_probe.journal import Evaluation, JournalWriter, write_config

QUERIES = [f"q{at}" for at in range(200)]


def diagnosed(folder, scored: list[dict]) -> Diagnosis:
    """Return the diagnosis of a healthy run in which collections were scored, one entry each.

    An entry has ``step``, ``metrics`` (name to mean), ``by_query`` (names that have scores by query), and fields of
    the evaluation.
    """
    folder.mkdir(exist_ok=True)
    write_config(folder, config(folder.name))
    with JournalWriter(folder) as writer:
        for at, entry in enumerate(scored):
            writer.write(evaluation(folder, f"scores-{at}.json", **entry))
        write(writer, steps=60)
    return diagnose(folder)


def evaluation(folder, file: str, *, metrics: Mapping[str, float], by_query=None, collection="dev", **fields):
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, len(QUERIES))
    names = list(metrics) if by_query is None else by_query
    if names:
        content = {name: (metrics[name] + noise - noise.mean()).tolist() for name in names}
        (folder / file).write_text(json.dumps({"query_ids": QUERIES, **content}))
        fields["per_query"] = file
    return Evaluation(collection=collection, metrics=metrics, n_queries=len(QUERIES), **fields)


def row(found: Diagnosis, collection: str = "dev") -> dict:
    return next(one for one in found.retrieval if one["collection"] == collection)


def test_a_variant_of_another_name_is_judged_beside_reference_pairs(tmp_path):
    scored = [
        {"step": step, "metrics": {"ndcg@10": mean}, "variant": "head", "domain": "out"}
        for step, mean in ((0, 0.7), (60, 0.3))
    ]
    found = diagnosed(tmp_path, scored)
    assert found.status is Status.CRITICAL
    assert [one.subject for one in found.kinds] == ["dev"]
    assert row(found)["change"]["value"] == pytest.approx(-0.4)
    assert row(found, "reference pairs")["change"] is not None


def variants(*steps: tuple[int, Mapping[str, float]]) -> list[dict]:
    """Return an entry for each step and variant, by the variants' means."""
    return [
        {"step": step, "metrics": {"ndcg@10": mean}, "variant": variant}
        for step, means in steps
        for variant, mean in means.items()
    ]


@pytest.mark.parametrize(("head", "tail", "fell"), [(0.3, 0.7, "dev"), (0.7, 0.3, "dev (tail)")])
def test_of_several_variants_none_of_which_is_declared_all_are_judged(tmp_path, head, tail, fell):
    """Bug: the fall of a variant that was scored as often as another one was not seen."""
    found = diagnosed(tmp_path, variants((0, {"head": 0.7, "tail": 0.7}), (60, {"head": head, "tail": tail})))
    assert found.status is Status.CRITICAL
    assert [one.subject for one in found.kinds] == [fell]
    assert [one["collection"] for one in found.retrieval[:2]] == ["dev", "dev (tail)"]
    assert fell in found.summary.splitlines()[0]


def test_the_variant_that_was_scored_most_is_the_first(tmp_path):
    scored = variants((0, {"head": 0.7, "tail": 0.7}), (30, {"tail": 0.7}), (60, {"head": 0.7, "tail": 0.7}))
    found = diagnosed(tmp_path, scored)
    assert [one["collection"] for one in found.retrieval[:2]] == ["dev", "dev (head)"]


def test_variants_beside_the_declared_one_are_not_judged(tmp_path):
    found = diagnosed(tmp_path, variants((0, {"model": 0.7, "tail": 0.7}), (60, {"model": 0.7, "tail": 0.3})))
    assert found.status is Status.HEALTHY
    assert [one["collection"] for one in found.retrieval] == ["dev", "reference pairs"]


def test_a_variant_that_was_scored_once_is_said_beside_others(tmp_path):
    found = diagnosed(tmp_path, variants((0, {"head": 0.7, "tail": 0.7}), (60, {"head": 0.7})))
    (said,) = [one for one in found.not_measured if one.what == "variants of dev"]
    assert not said.essential and said.why.startswith("tail: scored once")


def test_variants_count_as_many_tests(tmp_path):
    """Ten variants that do not change are ten chances: the p of each is that of ten."""
    alone = diagnosed(tmp_path / "one", variants((0, {"v0": 0.7}), (60, {"v0": 0.695})))
    many = {f"v{at}": 0.7 for at in range(10)}
    beside = diagnosed(tmp_path / "ten", variants((0, many), (60, {**many, "v0": 0.695})))
    assert row(beside)["change"]["p"] > row(alone)["change"]["p"]


@pytest.mark.parametrize(
    ("metrics", "by_query", "judged"),
    [
        (("hits@10", "recall@10"), ["recall@10"], "recall@10"),
        (("accuracy@1", "map@5", "mrr@5", "ndcg@5"), ["mrr@5", "ndcg@5"], "ndcg@5"),
        (("accuracy@1", "ndcg@5"), ["accuracy@1"], "accuracy@1"),
        (("map@100", "mrr@10", "precision@1", "recall@10"), [], "mrr@10"),
        (("ndcg@3", "ndcg@10", "ndcg@100"), ["ndcg@3", "ndcg@10"], "ndcg@10"),
        (("cosine_recall@10", "loss", "a_score"), ["cosine_recall@10", "loss", "a_score"], "cosine_recall@10"),
    ],
)
def test_the_judged_metric_is_the_best_known_one_that_has_an_interval(tmp_path, metrics, by_query, judged):
    scored = [
        {"step": step, "metrics": dict.fromkeys(metrics, mean), "by_query": by_query}
        for step, mean in ((0, 0.7), (60, 0.3))
    ]
    found = diagnosed(tmp_path, scored)
    assert row(found)["metric"] == judged
    assert (found.status is Status.CRITICAL) == bool(by_query)


@pytest.mark.parametrize("metric", ["loss", "eval_loss", "Perplexity", "recall_loss", "ranking error", "my_score"])
def test_what_is_no_metric_of_retrieval_is_said_and_never_judged(tmp_path, metric):
    scored = [{"step": step, "metrics": {metric: mean}} for step, mean in ((0, 0.7), (60, 0.3))]
    found = diagnosed(tmp_path, scored)
    assert found.status is Status.HEALTHY
    (said,) = [one for one in found.not_measured if one.what == "metrics of dev"]
    assert metric in said.why and not said.essential
    assert "metrics of reference pairs" not in [one.what for one in found.not_measured]
    assert "dev" not in [one["collection"] for one in found.retrieval]
