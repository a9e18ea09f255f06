"""What the cells of an ablation show: effects, shares and verdicts, paired by seed and query."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ablation_support import over

from collapse_probe.errors import InputError
from collapse_probe.experiments import CONTROL, Ablation, Effect, Verdict, effects, module_shares, verdict
from collapse_probe.experiments._effects import _judged
from collapse_probe.statistics import SeededDifference, seeded_difference


def test_freezing_the_projection_keeps_the_score_while_delta_shrinks(ablation):
    found = {effect.intervention: effect for effect in effects(Ablation.load(ablation), "toy")}
    frozen = found["projection frozen"]
    assert (frozen.since_start.mean, frozen.since_start.low, frozen.since_start.high) == (0, 0, 0)
    assert frozen.delta_kept < 0.5
    assert found[CONTROL].against_control is None
    assert found["predictor off"].ratios["correction"] is None
    scale = found["penalty off"].ratios["scale"]
    assert scale.low < scale.value < scale.high


def test_the_shares_of_the_modules_add_up(ablation):
    shares = module_shares(Ablation.load(ablation), "toy")
    assert [one.module for one in shares] == ["predictor", "projection", "interaction"]
    assert shares[1].fraction == pytest.approx(1.0)
    assert shares[0].fraction == 0.0
    with_predictor = module_shares(Ablation.load(ablation), "toy", "predictor")
    control = next(e for e in effects(Ablation.load(ablation), "toy") if e.intervention == CONTROL)
    assert sum(one.fraction for one in with_predictor[:2]) == pytest.approx(1.0)
    assert shares[1].share.mean == pytest.approx(control.since_start.mean)


def test_the_table_is_tidy(ablation):
    table = Ablation.load(ablation).table
    assert not table.duplicated(["intervention", "seed", "collection", "path", "epoch", "measure"]).any()
    assert set(table["intervention"]) == {entry["name"] for entry in Ablation.load(ablation).config["interventions"]}
    assert set(table["seed"]) == {0, 1}
    assert {"ndcg@10", "correction", "scale", "rank"} <= set(table["measure"])
    assert table["value"].notna().all()


def test_what_is_no_ablation_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no ablation\.json"):
        Ablation.load(tmp_path)
    (tmp_path / "ablation.json").write_text('{"schema": 7}')
    with pytest.raises(InputError, match="schema is not 1; upgrade"):
        Ablation.load(tmp_path)


@pytest.mark.parametrize(
    ("low", "mean", "high", "fall", "expected"),
    [
        (0.05, 0.10, 0.15, 0.10, Verdict.RESTORES),
        (0.01, 0.03, 0.05, 0.10, Verdict.IN_PART),
        (-0.005, 0.0, 0.005, 0.10, Verdict.NO_EFFECT),
        (-0.02, 0.02, 0.06, 0.10, Verdict.UNRESOLVED),
        (-0.15, -0.1, -0.05, 0.10, Verdict.WORSE),
        (0.01, 0.03, 0.05, None, Verdict.BETTER),
        (-0.004, 0.0, 0.004, None, Verdict.NO_EFFECT),
    ],
)
def test_verdicts(low, mean, high, fall, expected):
    def difference(low: float, mean: float, high: float) -> SeededDifference:
        return replace(over(3, mean), mean=mean, low=low, high=high)

    control = None if fall is None else difference(-fall - 0.03, -fall, -fall + 0.03)
    assert verdict(difference(low, mean, high), control) is expected


def test_a_verdict_needs_its_adjusted_p():
    gain = over(3, 0.1)
    effect = Effect("x", "toy", 0.5, gain, gain, 0.2, 1.0, Verdict.RESTORES, float("nan"), {})
    assert _judged(effect, 0.2).verdict is Verdict.UNRESOLVED
    assert _judged(effect, 0.01).verdict is Verdict.RESTORES
    assert _judged(replace(effect, verdict=Verdict.NO_EFFECT), 0.9).verdict is Verdict.NO_EFFECT


def test_one_query_resolves_nothing():
    assert verdict(seeded_difference(np.array([[-0.3]])), None) is Verdict.UNRESOLVED


def test_runs_are_paired_by_the_ids_of_their_queries(ablation, tmp_path):
    """Bug: the per-query scores of two runs were subtracted by their places in the files."""
    expected = effects(Ablation.load(ablation), "toy")
    shutil.copytree(ablation, tmp_path / "turned")
    for number, file in enumerate(sorted((tmp_path / "turned").rglob("*.json"))):
        content = json.loads(file.read_text())
        if "query_ids" in content and number % 2:
            file.write_text(json.dumps({name: values[::-1] for name, values in content.items()}))
    turned = Ablation.load(tmp_path / "turned")
    for one, other in zip(effects(turned, "toy"), expected, strict=True):
        assert one.since_start == other.since_start and one.against_control == other.against_control
    assert module_shares(turned, "toy") == module_shares(Ablation.load(ablation), "toy")


def test_a_seed_whose_scores_cannot_be_read_is_left_out(ablation, tmp_path):
    shutil.copytree(ablation, tmp_path / "torn")
    for cell in (tmp_path / "torn" / "cells").glob("control-*-seed-0"):
        for file in cell.rglob("*.json"):
            if "query_ids" in file.read_text():
                file.unlink()
    before, after = (effects(Ablation.load(folder), "toy") for folder in (ablation, tmp_path / "torn"))
    assert after[0].since_start.n_seeds == before[0].since_start.n_seeds - 1
