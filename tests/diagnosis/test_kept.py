"""A finished model in a cone: critical where its scores are gone, or may be, and a warning where they are kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from journals_support import PAIRS, STREAM, config

from collapse_probe.diagnosis import Diagnosis, Status, diagnose
from collapse_probe.journal import End, Evaluation, ExaminedInfo, JournalWriter, Readings, ReferenceInfo, write_config

NOISE = np.random.default_rng(0).normal(0, 1, 2_000)


def diagnosed(folder, scores, *, left: float = 0.005, ratio: float = 1.0) -> Diagnosis:
    """Return the diagnosis of a model in a cone, whose d' fell by half, against what it began as.

    Args:
        folder: A new one.
        scores: Collection to mean before, mean after, spread of the queries' differences, queries, and domain.
        left: 1 - common share over the first model's.
        ratio: Participation ratio over the first model's.
    """
    models = (ExaminedInfo(name="base", step=0), ExaminedInfo(name="mine", step=1))
    pairs = ReferenceInfo(source="given", n=400, declared=True, domain="in")
    write_config(folder, config(trains=False, examined=models, reference=pairs, similarity="cosine"))
    with JournalWriter(folder) as journal:
        for step in (0, 1):
            shape = {**STREAM, "common_share": 1 - 0.8 * left if step else 0.2}
            shape["participation_ratio_corrected"] = 60 * (ratio if step else 1)
            values = {f"{stream}/{name}": value for stream in ("query", "document") for name, value in shape.items()}
            values |= {f"pairs/{name}": value for name, value in PAIRS.items()}
            values |= {"pairs/d_prime": 1.7 if step else 3.4, "pairs/mrr": 0.97, "pairs/mrr_centred": 0.97}
            journal.write(Readings(step=step, on="reference", values=values, n=400, dimension=32))
            for name, (before, after, spread, queries, domain) in scores.items():
                moved = NOISE[:queries] - NOISE[:queries].mean()
                one = np.full(queries, before) + (after - before + spread * moved if step else 0)
                file = f"{name}-{step}.json"
                content = {"query_ids": [str(at) for at in range(queries)], "ndcg@10": one.tolist()}
                (folder / file).write_text(json.dumps(content))
                mean = {"ndcg@10": float(one.mean())}
                evaluation = Evaluation(
                    step=step, collection=name, metrics=mean, per_query=file, n_queries=queries, domain=domain
                )
                journal.write(evaluation)
        journal.write(End(status="completed", step=1))
    return diagnose(folder)


def shown(found: Diagnosis) -> str:
    return " ".join(found.summary.partition("Seen")[0].split())


def test_scores_that_are_kept_make_it_a_warning_with_their_interval(tmp_path):
    found = diagnosed(tmp_path, {"pairs": (0.7, 0.703, 0.1, 400, "in"), "other": (0.6, 0.59, 0.2, 400, "out")})
    assert found.status is Status.WARNING and {one.kind for one in found.kinds} == {"cone"}
    said = shown(found)
    assert said.startswith("WARNING cone (document, query), and the scores are kept: pairs nDCG@10 +.003 [-.00")
    assert "other nDCG@10 -.010 [" in said and "easy" not in said


def test_scores_that_are_kept_where_nearly_all_are_found_say_little(tmp_path):
    found = diagnosed(tmp_path, {"pairs": (0.98, 0.985, 0.01, 60, "in")})
    assert found.status is Status.WARNING and "scores are kept: pairs nDCG@10 +.005 [+.00" in shown(found)
    assert shown(found).endswith(".980 at the start is too easy to show a loss: give a larger collection")


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ((0.6, 0.05, 0.2, 300, "out"), "complete_collapse"),
        ((0.6, 0.5, 0.2, 300, "out"), "cone"),
        ((0.6, 0.58, 0.5, 40, "out"), "cone"),
        ((0.6, 0.5, 0.9, 12, "out"), "complete_collapse"),
    ],
    ids=["gone", "lower", "a tenth may be lost", "half may be lost"],
)
def test_an_easy_collection_does_not_stand_for_one_where_scores_are_not_kept(tmp_path, other, kind):
    found = diagnosed(tmp_path, {"pairs": (0.98, 0.98, 0.01, 60, "in"), "other": other})
    assert found.status is Status.CRITICAL and found.kinds[0].kind == kind
    assert "kept" not in shown(found)


def test_few_dimensions_with_scores_kept_on_an_easy_collection_warn(tmp_path):
    found = diagnosed(tmp_path, {"pairs": (0.98, 0.98, 0.01, 60, "in")}, left=0.05, ratio=0.05)
    assert found.status is Status.WARNING and "dimensional_collapse" in {one.kind for one in found.kinds}
