"""Recipes: the founding hyper-parameters, and refusals that say what to write."""

from __future__ import annotations

import dataclasses

import pytest

from collapse_probe.errors import InputError
from collapse_probe.respred import RECIPES, Recipe, get_recipe, recipe_fields


def test_respred_has_the_founding_hyper_parameters():
    recipe = get_recipe("respred")
    assert (recipe.lambda_isotropy, recipe.lambda_predictive, recipe.lambda_residual) == (1.5, 1.2, 0.01)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (3, 64, 1e-3, 0.01)
    assert (recipe.alpha, recipe.alpha_learnable, recipe.tanh, recipe.max_grad_norm) == (0.1, True, True, 1.0)
    assert (recipe.projection, recipe.predictor, recipe.residual_reduction) == ("mlp", "residual", "sum")
    assert (recipe.similarity, recipe.scoring_path) == ("euclidean", "no_predictor")


def test_iso15_pred12_differs_in_more_than_the_predictor():
    recipe = get_recipe("iso15_pred12")
    assert (recipe.lambda_isotropy, recipe.lambda_predictive, recipe.predictor) == (1.5, 1.2, "direct")
    assert (recipe.batch_size, recipe.learning_rate) == (16, 5e-4)


def test_baseline_trains_nothing():
    assert not get_recipe("baseline").trains
    assert get_recipe("respred").trains


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_dictionary(name):
    recipe = get_recipe(name)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    assert recipe.name == name


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_recipe("respred").alpha = 0.2  # type: ignore[misc]


def test_every_field_but_the_name_is_a_flag_with_help():
    assert {name for name, _, _ in recipe_fields()} == {f.name for f in dataclasses.fields(Recipe)} - {"name"}
    assert all(text for _, _, text in recipe_fields())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": float("nan")}, r"--alpha is nan: a finite number is needed"),
        ({"lambda_residual": -1.0}, r"--lambda-residual is -1.0: a number of at least 0 is needed"),
        ({"dropout": 1.0}, r"--dropout is 1.0: a number of at least 0 and below 1 is needed"),
        ({"epochs": 0}, r"--epochs is 0: a number of at least 1 is needed"),
        ({"batch_size": 1}, r"--batch-size is 1: a number of at least 2 is needed"),
        ({"projection": "mpl"}, r"unknown projection 'mpl': did you mean 'mlp'\?"),
        ({"predictor": "none", "scoring_path": "predictor"}, r"--scoring-path predictor needs a predictor"),
        ({"projection": "none", "freeze_projection": True}, r"--freeze-projection needs a projection"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe(**changes)


def test_an_unknown_recipe_and_an_unknown_field_name_the_nearest():
    with pytest.raises(InputError, match=r"unknown recipe 'resped': did you mean 'respred'\?"):
        get_recipe("resped")
    with pytest.raises(InputError, match=r"unknown recipe field 'lambda_residul': did you mean 'lambda_residual'\?"):
        Recipe.from_dict({"lambda_residul": 1.0})
