"""Plans and fields of an ablation: what they change, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ablation_support import RECIPE

from collapse_probe.diagnosis import MECHANISMS
from collapse_probe.errors import InputError
from collapse_probe.experiments import CONTROL, Intervention, distinct, make_cells
from collapse_probe.respred import Recipe, get_recipe
from collapse_probe.respred._plans import plan, vary


def test_the_causes_plan_has_what_separates_the_causes():
    recipe = get_recipe("respred")
    found = {one.name: one for one in plan("causes", recipe)}
    tested = {name: one.tests for name, one in found.items() if one.tests}
    assert tested == {
        "penalty off": "penalty_too_strong",
        "penalty detached": "penalty_leak",
        "scale anchored": "no_scale_anchor",
        "contrastive term added": "no_repulsion",
        "pulling term off": "no_repulsion",
        "identity start": "random_head",
        "learning rate / 10": "steps_too_large",
    }
    assert set(tested.values()) <= {one.cause for one in MECHANISMS}
    others = {"projection frozen", "predictor off", "contrastive term, identity start, small steps"}
    assert found.keys() - tested.keys() == others
    assert [name for name, one in found.items() if one.by_construction] == ["projection frozen"]
    assert [name for name, one in found.items() if one.trains_less] == ["learning rate / 10"]
    assert found["learning rate / 10"].apply(recipe).learning_rate == pytest.approx(1e-4)
    assert found["identity start"].apply(recipe).projection == "linear"


def test_full_precision_is_tried_where_a_run_had_half():
    """It is a setting of the run and no field of its recipe: another cell, trained in another precision."""
    recipe = get_recipe("respred")
    found = {one.name: one for one in plan("causes", recipe, precision="bf16")}
    assert found["fp32"].tests == "half_precision" and found["fp32"].apply(recipe) == recipe
    kept = distinct([Intervention(CONTROL, {}), found["fp32"]], recipe)
    assert [one.name for one in kept] == [CONTROL, "fp32"] and kept[1].all_changes == {"precision": "fp32"}
    control, cell = make_cells(kept, recipe, seeds=[0])
    assert control.name != cell.name and control.fingerprint({}) != cell.fingerprint({})


def test_the_founding_plan_has_every_option():
    names = [one.name for one in plan("founding", get_recipe("respred"))]
    assert names[:3] == ["option_a", "option_b", "option_b_adaptive"]
    assert {"option_c1", "option_c2", "option_c3", "option_d", "option_e", "alpha_02", "alpha_03"} <= set(names)


def test_a_plan_leaves_out_what_changes_nothing():
    recipe = get_recipe("option_e")
    names = [one.name for one in plan("causes", recipe)]
    assert "scale anchored" in names and not {"penalty off", "penalty detached", "predictor off"} & set(names)
    pushed = [one.name for one in plan("causes", replace(recipe, lambda_contrastive=0.5, projection="linear"))]
    assert not {"contrastive term added", "identity start"} & set(pushed) and "pulling term off" in pushed
    assert "option_e" not in [one.name for one in plan("founding", recipe)]
    # Without a predictor, what options A to C and other alphas change plays no role: each would be the control again.
    assert [one.name for one in plan("founding", recipe)] == ["option_d"]


def test_patience_is_a_change_where_training_is_stopped_by_it():
    stopping = replace(RECIPE, early_stop="ndcg@10")
    assert [one.changes for one in vary(["patience=3"], stopping, grid=False)] == [{"patience": 3}]


def test_one_configuration_is_one_intervention():
    recipe = get_recipe("respred")
    found = [
        Intervention(CONTROL, {}),
        *plan("founding", recipe),
        *plan("causes", recipe),
        *vary(["lambda_residual=0", "lambda_residual=0.0", "alpha=0.2"], recipe, grid=False),
    ]
    kept = distinct(found, recipe)
    names = [one.name for one in kept]
    assert names[0] == CONTROL
    assert "option_c3 = penalty off = lambda_residual=0 = lambda_residual=0.0" in names
    assert "alpha_02 = alpha=0.2" in names
    assert len({one.apply(recipe) for one in kept}) == len(kept) == len(found) - 4
    merged = next(one for one in kept if "penalty off" in one.name)
    assert merged.claim == "the residual penalty causes the fall" and merged.changes == {"lambda_residual": 0.0}


def test_fields_vary_one_at_a_time_or_as_a_grid():
    given = ["lambda_residual=0,1e-4", "tanh=off"]
    assert [one.name for one in vary(given, RECIPE, grid=False)] == [
        "lambda_residual=0",
        "lambda_residual=1e-4",
        "tanh=off",
    ]
    assert [one.changes for one in vary(given, RECIPE, grid=True)] == [
        {"lambda_residual": 0.0, "tanh": False},
        {"lambda_residual": 1e-4, "tanh": False},
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tanh", "write FIELD=VALUE,VALUE"),
        ("tanh=", "write FIELD=VALUE,VALUE"),
        ("tnh=off", "unknown recipe field 'tnh': did you mean 'tanh'?"),
        ("tanh=on", "the run has this value already"),
        ("alpha=x", "alpha=x: a number is needed"),
        ("batch_size=1", "batch_size is 1"),
        ("temperature=0.1", "temperature plays no role in this run: it needs lambda_contrastive above 0"),
        ("encoder_learning_rate=1e-3", "encoder_learning_rate plays no role in this run: it needs unfreeze_layers"),
    ],
)
def test_a_bad_specification_says_what_is_needed(given, message):
    with pytest.raises(InputError) as error:
        vary([given], RECIPE, grid=False)
    assert message in str(error.value)


def test_a_field_is_varied_once_in_a_grid():
    for given in (["alpha=0.1,0.2", "alpha=0.3"], ["projection=frozen", "freeze_projection=on"]):
        with pytest.raises(InputError, match=r"grid: (alpha|freeze_projection) is varied twice"):
            vary([*given, "lambda_residual=0"], RECIPE, grid=True)


def test_an_unknown_plan_is_named():
    with pytest.raises(InputError, match="unknown plan 'cause': did you mean 'causes'"):
        plan("cause", RECIPE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("select=last", "it changes no training, only which checkpoint is kept"),
        ("patience=3", "it changes no training, only which checkpoint is kept"),
    ],
)
def test_what_cannot_change_a_cell_is_refused(given, message):
    with pytest.raises(InputError) as error:
        vary([given], RECIPE, grid=False)
    assert message in str(error.value)


def test_a_grid_leaves_out_the_control():
    names = [one.name for one in vary(["alpha=0.1,0.3", "lambda_residual=0.01,0"], RECIPE, grid=True)]
    assert names == ["alpha=0.1, lambda_residual=0", "alpha=0.3, lambda_residual=0.01", "alpha=0.3, lambda_residual=0"]


def test_plans_apply_to_runs_that_are_scored_with_the_predictor():
    recipe = get_recipe("contrastive")
    assert "option_e" not in [one.name for one in plan("founding", recipe)]
    with_path = Recipe(scoring_path="predictor")
    option_e = next(one for one in plan("founding", with_path) if one.name == "option_e")
    assert option_e.apply(with_path).scoring_path == "no_predictor"
