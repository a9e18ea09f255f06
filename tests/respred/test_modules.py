"""The modules: what they compute, what they leave in the features, and that they survive saving."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer

from collapse_probe.errors import InputError
from collapse_probe.respred import Recipe, get_recipe
from collapse_probe.respred.modules import DirectPredictor, Projection, ResidualPredictor, build_head, head_parts
from collapse_probe.respred.training._saved import load_head


def embeddings(rows: int = 5, dimension: int = 8) -> torch.Tensor:
    return torch.randn(rows, dimension, generator=torch.Generator().manual_seed(1))


def test_the_linear_projection_starts_at_the_identity():
    z = embeddings()
    out = Projection(8, kind="linear")({"sentence_embedding": z})["sentence_embedding"]
    torch.testing.assert_close(out, z)


def test_no_projection_has_no_parameters_and_changes_nothing():
    projection = Projection(8, kind="none")
    z = embeddings()
    assert projection({"sentence_embedding": z})["sentence_embedding"] is z
    assert not list(projection.parameters())


def test_the_residual_predictor_adds_alpha_delta():
    predictor = ResidualPredictor(8, alpha=0.3).eval()
    q = embeddings()
    out = predictor({"sentence_embedding": q})
    first, _, _, last = predictor.net
    by_hand = torch.tanh(torch.nn.functional.gelu(q @ first.weight.T + first.bias) @ last.weight.T + last.bias)
    torch.testing.assert_close(out["delta"], by_hand)
    torch.testing.assert_close(out["predicted_embedding"], q + 0.3 * by_hand)
    assert out["sentence_embedding"] is q


def test_without_tanh_delta_is_unbounded():
    predictor = ResidualPredictor(8, tanh=False).eval()
    with torch.no_grad():
        predictor.net[3].bias.fill_(50.0)
    assert predictor({"sentence_embedding": embeddings()})["delta"].abs().max() > 1


def test_the_scoring_path_decides_what_is_scored():
    predictor = ResidualPredictor(8, scoring_path="predictor").eval()
    out = predictor({"sentence_embedding": embeddings()})
    assert torch.equal(out["sentence_embedding"], out["predicted_embedding"])


@pytest.mark.parametrize("detach", [True, False])
def test_a_detached_input_keeps_the_penalty_from_the_projection(detach):
    z = embeddings().requires_grad_()
    predictor = ResidualPredictor(8, detach_input=detach)
    predictor({"sentence_embedding": z})["delta"].square().sum().backward()
    assert (z.grad is None) == detach


def test_a_fixed_alpha_is_not_trained():
    assert not ResidualPredictor(8, alpha_learnable=False).scale.requires_grad


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (build_head(get_recipe("respred"), 8, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    weights = [head_parts(head)[0].net[0].weight for head in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_queries_and_documents_share_one_projection():
    head = build_head(get_recipe("respred"), 8, seed=0)
    assert head.sub_modules["query"][0] is head.sub_modules["document"][0]


def test_the_seed_configurations_initial_delta_has_the_documented_size():
    """E||delta||^2 at default initialisation is 0.2075 to 0.2124, simulated, at D = 768."""
    head = build_head(get_recipe("respred"), 768, seed=0).eval()
    z = torch.nn.functional.normalize(torch.randn(256, 768, generator=torch.Generator().manual_seed(0)), dim=1)
    with torch.no_grad():
        delta = head({"sentence_embedding": z}, task="query")["delta"]
    assert 0.19 < delta.square().sum(1).mean() < 0.23


@pytest.mark.parametrize("name", ["respred", "iso15_pred12"])
def test_saved_heads_give_the_same(tmp_path, name):
    """Loaded by sentence-transformers alone; in a fresh process in `tests/cli/test_cli.py`."""
    head = build_head(get_recipe(name), 8, seed=3)
    model = SentenceTransformer(modules=[head], device="cpu", similarity_fn_name="euclidean").eval()
    model.save(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True).eval()
    assert loaded[0] is not head and loaded.similarity_fn_name == "euclidean"
    for task, keys in {
        "query": ("sentence_embedding", "predicted_embedding"),
        "document": ("sentence_embedding",),
    }.items():
        with torch.no_grad():
            mine, other = (one({"sentence_embedding": embeddings(), "task": task}) for one in (model, loaded))
        for key in keys:
            torch.testing.assert_close(other[key], mine[key])


def test_no_pickle_is_written(tmp_path):
    model = SentenceTransformer(modules=[build_head(get_recipe("respred"), 8, seed=3)], device="cpu")
    model.save(str(tmp_path), create_model_card=False)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_a_foreign_router_is_refused():
    head = build_head(Recipe(predictor="none"), 8, seed=0)
    head.sub_modules["query"] = torch.nn.Sequential(DirectPredictor(8))
    with pytest.raises(InputError, match="has no collapse-probe head"):
        head_parts(head)


def test_asymmetric_projections_begin_alike_and_are_trained_apart():
    recipe = get_recipe("option_e")
    parts = head_parts(build_head(recipe, 8, seed=0))
    assert parts.query_projection is not parts.document_projection
    for a, b in zip(parts.query_projection.parameters(), parts.document_projection.parameters(), strict=True):
        assert torch.equal(a, b) and a is not b
    shared = head_parts(build_head(Recipe(), 8, seed=0)).query_projection
    assert torch.equal(shared.net[0].weight, parts.query_projection.net[0].weight)
    assert list(parts.named()) == ["query_projection", "document_projection"]


def test_an_asymmetric_model_survives_saving(tmp_path):
    model = SentenceTransformer(modules=[build_head(get_recipe("option_e"), 8, seed=3)], device="cpu")
    with torch.no_grad():
        head_parts(model[0]).document_projection.net[0].weight.add_(1.0)
    model.save(str(tmp_path / "model"), create_model_card=False)
    loaded = head_parts(load_head(tmp_path / "model", get_recipe("option_e"), 8))
    for name, module in head_parts(model[0]).named().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, loaded.named()[name].state_dict()[key])


def test_normalised_embeddings_have_unit_length():
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    found = Projection(8, normalise=True).eval()({"sentence_embedding": z})["sentence_embedding"]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


def test_a_linear_delta_is_linear():
    predictor = ResidualPredictor(8, kind="linear", tanh=False).eval()
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    zero = predictor.delta(torch.zeros(1, 8))
    torch.testing.assert_close(predictor.delta(2 * z) - zero, 2 * (predictor.delta(z) - zero))
