"""Recipes: the founding hyper-parameters, and refusals that say what to write."""

from __future__ import annotations

import dataclasses

import pytest

from collapse_probe.errors import InputError
from collapse_probe.journal import ModuleInfo
from collapse_probe.respred import RECIPES, Recipe, get_recipe, head_modules, recipe_fields
from collapse_probe.respred.recipes._recipe import parse_change


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
        ({"alpha": float("nan")}, r"alpha is nan: a finite number is needed"),
        ({"lambda_residual": -1.0}, r"lambda_residual is -1.0: a number of at least 0 is needed"),
        ({"dropout": 1.0}, r"dropout is 1.0: a number of at least 0 and below 1 is needed"),
        ({"epochs": 0}, r"epochs is 0: a number of at least 1 is needed"),
        ({"batch_size": 1}, r"batch_size is 1: a number of at least 2 is needed"),
        ({"projection": "mpl"}, r"unknown projection 'mpl': did you mean 'mlp'\?"),
        ({"predictor": "none", "scoring_path": "predictor"}, r"scoring_path=predictor needs a predictor"),
        ({"projection": "none", "freeze_projection": True}, r"freeze_projection needs a projection"),
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


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("option_a", {"lambda_residual": 0.0, "tanh": False}),
        ("option_b", {"lambda_residual": 1e-4}),
        ("option_b_adaptive", {"residual_margin": 0.1}),
        ("option_c1", {"residual_penalty": "orthogonal"}),
        ("option_c2", {"residual_penalty": "l1"}),
        ("option_c3", {"lambda_residual": 0.0}),
        ("option_d", {"unfreeze_layers": 2}),
        ("option_e", {"asymmetric": True, "predictor": "none", "lambda_residual": 0.0}),
        ("alpha_02", {"alpha": 0.2}),
        ("alpha_03", {"alpha": 0.3}),
        ("mean_reduction", {"residual_reduction": "mean"}),
        ("detached", {"detach_delta": True}),
    ],
)
def test_every_option_changes_what_the_founding_document_says(name, changes):
    assert RECIPES[name].changes == changes
    assert RECIPES[name].summary and RECIPES[name].origin


def test_every_isotropy_term_has_a_recipe():
    from collapse_probe.respred import recipe_choices
    from collapse_probe.respred._isotropy import ISOTROPY

    assert set(recipe_choices()["isotropy"]) == set(ISOTROPY)
    assert {entry.recipe.isotropy for entry in RECIPES.values()} == set(ISOTROPY)


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("lambda_residual", "1e-4", {"lambda_residual": 1e-4}),
        ("lambda-residual", "0", {"lambda_residual": 0.0}),
        ("tanh", "off", {"tanh": False}),
        ("tanh", "On", {"tanh": True}),
        ("projection", "frozen", {"freeze_projection": True}),
        ("projection", "linear", {"projection": "linear"}),
        ("epochs", "5", {"epochs": 5}),
    ],
)
def test_a_field_is_read_from_text(name, text, changes):
    assert parse_change(name, text) == changes


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lambda_residul", "0", "unknown recipe field 'lambda_residul': did you mean 'lambda_residual'?"),
        ("lambda_residual", "zero", "lambda_residual=zero: a number is needed"),
        ("epochs", "1.5", "epochs=1.5: a whole number is needed"),
        ("tanh", "maybe", "tanh=maybe: on or off is needed"),
        ("projection", "frozn", "unknown projection 'frozn': did you mean 'frozen'?"),
    ],
)
def test_a_field_that_cannot_be_read_says_what_is_needed(name, text, message):
    with pytest.raises(InputError) as error:
        parse_change(name, text)
    assert message in str(error.value)


def test_modules_say_what_is_trained_and_scored():
    assert head_modules(get_recipe("respred")) == (
        ModuleInfo(name="projection", trained=True, scored=True),
        ModuleInfo(name="predictor", trained=True, scored=False),
    )
    names = {name: [module.name for module in head_modules(get_recipe(name))] for name in ("option_e", "option_d")}
    assert names == {
        "option_e": ["query_projection", "document_projection"],
        "option_d": ["encoder", "projection", "predictor"],
    }
    assert head_modules(get_recipe("contrastive"))[-1].scored
    assert head_modules(get_recipe("baseline")) == ()
