"""Counterfactuals and grafting: what they change, that they add up, and that they train nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests_support import toy_evaluation, toy_run

from collapse_probe.diagnosis import attribution, counterfactual_differences
from collapse_probe.journal import Run
from collapse_probe.respred import Recipe
from collapse_probe.respred.modules import build_head, head_parts
from collapse_probe.respred.training._counterfactuals import delta_variants, graft_counterfactuals
from collapse_probe.respred.training._evaluation import Embedded, embed

FAST = Recipe(batch_size=32, epochs=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run whose scores move, so that there is something to divide."""
    folder = tmp_path_factory.mktemp("runs") / "fast"
    toy_run(folder, FAST)
    return Run.load(folder)


def values(run: Run, path: str, epoch: int) -> np.ndarray:
    record = next(r for r in run.records("evaluation") if (r["path"], r["epoch"], r["role"]) == (path, epoch, "test"))
    return np.array(run.per_query(record["per_query"])["ndcg@10"])


def test_every_epoch_has_its_counterfactuals(run):
    families = {(r["epoch"], r["family"]) for r in run.records("counterfactual")}
    assert families == {(0, "delta"), (1, "delta"), (1, "graft"), (2, "delta"), (2, "graft"), (2, "interpolation")}


def test_alpha_times_one_is_the_model_and_alpha_times_zero_is_without_the_predictor(run):
    for epoch in (0, 1, 2):
        rows = {r["name"]: r for r in run.records("counterfactual") if r["family"] == "delta" and r["epoch"] == epoch}
        for name, path in (("alpha x 1", "predictor"), ("alpha x 0", "no_predictor")):
            stored = run.per_query(rows[name]["per_query"])[rows[name]["key"]]
            assert np.array_equal(stored, values(run, path, epoch))


@pytest.mark.parametrize("path", ["no_predictor", "predictor"])
def test_grafted_effects_and_interaction_add_up(run, path):
    found = attribution(run, "toy", path)
    assert found is not None and found.epoch == 2
    total = values(run, path, 2).mean() - values(run, path, 0).mean()
    assert abs(total) > 0.01
    assert found.total.mean == pytest.approx(total, abs=1e-12)
    assert sum(e.alone.mean for e in found.effects) + found.interaction.mean == pytest.approx(total, abs=1e-6)
    assert sum(e.share.mean for e in found.effects) == pytest.approx(total, abs=1e-6)
    assert sum(found.fraction(e.module) for e in found.effects) == pytest.approx(1.0)


def test_a_module_off_the_path_holds_nothing(run):
    found = attribution(run, "toy", "no_predictor")
    effects = {effect.module: effect for effect in found.effects}
    assert found.fraction("projection") == 1.0
    assert not effects["predictor"].share.differences.any()
    assert not effects["predictor"].put_back.differences.any()
    assert effects["projection"].put_back.mean == pytest.approx(-found.total.mean)


def test_a_frozen_projection_is_no_module_to_put_back(tmp_path):
    toy_run(tmp_path / "run", Recipe(batch_size=32, epochs=1, freeze_projection=True))
    found = attribution(Run.load(tmp_path / "run"), "toy", "predictor")
    assert [effect.module for effect in found.effects] == ["predictor"]


def test_asymmetric_projections_are_two_modules(tmp_path):
    recipe = Recipe(batch_size=32, epochs=1, learning_rate=1e-2, asymmetric=True, predictor="none", lambda_residual=0.0)
    toy_run(tmp_path / "run", recipe)
    found = attribution(Run.load(tmp_path / "run"), "toy", "no_predictor")
    assert [effect.module for effect in found.effects] == ["document_projection", "query_projection"]
    total = sum(e.alone.mean for e in found.effects) + found.interaction.mean
    assert total == pytest.approx(found.total.mean, abs=1e-12)


def test_put_back_is_the_module_of_step_0():
    """Grafting by hand: the trained predictor on the projection of step 0."""
    before, after = (build_head(Recipe(), 16, seed=seed) for seed in (0, 1))
    data = toy_evaluation()
    found = graft_counterfactuals(
        head_parts(before),
        head_parts(after),
        modules=["projection", "predictor"],
        initial_data=data,
        data=data,
        similarity="cosine",
        device="cpu",
    )
    by_hand = copy.deepcopy(before)
    by_hand.sub_modules["query"][1].load_state_dict(after.sub_modules["query"][1].state_dict())
    from collapse_probe.respred import evaluate_head

    expected = evaluate_head(by_hand, data, similarity="cosine", device="cpu")["predictor"]
    one = next(c for c in found if c.path == "predictor" and c.trained == ("predictor",))
    assert one.scores.per_query == expected.per_query


def test_variants_of_delta():
    generator = torch.Generator().manual_seed(0)
    query, delta = (torch.randn(5, 3, generator=generator) for _ in range(2))
    embedded = Embedded(query, query, query + 0.5 * delta, delta, 0.5)
    found = delta_variants(embedded)
    torch.testing.assert_close(found["alpha x 2"], query + delta)
    torch.testing.assert_close(found["mean delta"] - query, (0.5 * delta.mean(dim=0)).expand(5, 3))
    shuffled = 2 * (found["another query's delta"] - query)
    partners = torch.cdist(shuffled, delta).argmin(dim=1)
    assert sorted(partners.tolist()) == list(range(5))
    assert (partners != torch.arange(5)).all()
    cosine = torch.nn.functional.cosine_similarity(found["delta along q"], query)
    torch.testing.assert_close(cosine.abs(), torch.ones(5))


def test_a_direct_predictor_has_no_delta_to_change():
    parts = head_parts(build_head(Recipe(predictor="direct", lambda_residual=0.0), 16, seed=0))
    assert delta_variants(embed(parts, toy_evaluation(), device="cpu")) == {}


def test_differences_are_from_the_model_as_it_is(run):
    rows = {name: (value, change) for name, value, change in counterfactual_differences(run, "toy", 2)}
    assert rows["alpha x 1"][1].mean == 0
    value, change = rows["alpha x 0"]
    assert change.mean == pytest.approx(value - rows["alpha x 1"][0], abs=1e-12)


def test_without_initial_head_nothing_is_scored_beside(tmp_path):
    toy_run(tmp_path / "run", Recipe(batch_size=32, epochs=1), counterfactuals=False)
    run = Run.load(tmp_path / "run")
    assert not run.records("counterfactual")
    assert attribution(run, "toy", "no_predictor") is None
