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


def test_of_several_variants_it_is_said_which_one_is_judged(tmp_path):
    scored = [
        {"step": step, "metrics": {"ndcg@10": mean}, "variant": variant}
        for step, means in ((0, (0.7, 0.7)), (60, (0.3, 0.7)))
        for variant, mean in zip(("head", "tail"), means, strict=True)
    ]
    found = diagnosed(tmp_path, scored)
    (said,) = [one for one in found.not_measured if one.what == "variants of dev"]
    assert not said.essential and "head" in said.why and "tail" in said.why
    assert found.status is Status.CRITICAL


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
