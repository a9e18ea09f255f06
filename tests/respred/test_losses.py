"""The founding losses against slow references, their closed forms, and their documented blind spots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from collapse_probe.respred import RECIPES, Recipe, get_recipe
from collapse_probe.respred._isotropy import Isotropy
from collapse_probe.respred.losses import (
    Batch,
    Contrastive,
    Predictive,
    Residual,
    WeightedTerms,
    build_loss,
    make_batch,
)


def batch(rows: int = 12, dimension: int = 5, seed: int = 0, delta: bool = True) -> Batch:
    rng = np.random.default_rng(seed)
    make = lambda: torch.tensor(rng.normal(size=(rows, dimension)), dtype=torch.float64)  # noqa: E731
    return Batch(query=make(), document=make(), predicted=make(), delta=make() if delta else None)


def slow_isotropy(b: Batch) -> float:
    z = np.concatenate([b.query.numpy(), b.document.numpy()])
    n, dimension = z.shape
    mean = [sum(z[i, j] for i in range(n)) / n for j in range(dimension)]
    grand = z.sum() / z.size
    variance = sum((x - grand) ** 2 for x in z.flat) / (z.size - 1)
    total = 0.0
    for j in range(dimension):
        for k in range(dimension):
            c = sum((z[i, j] - mean[j]) * (z[i, k] - mean[k]) for i in range(n)) / (n - 1)
            total += (c - (variance if j == k else 0.0)) ** 2
    return math.sqrt(total) / dimension


def test_isotropy_equals_the_double_loop():
    b = batch()
    assert Isotropy()(b).item() == pytest.approx(slow_isotropy(b), rel=1e-12)


def test_isotropy_at_a_standard_normal_has_its_finite_sample_floor():
    """E ~ sqrt((D + 1) / ((n - 1) D)): 0.089 at n = 128, D = 768."""
    rng = torch.Generator().manual_seed(0)
    q, d = (torch.randn(64, 768, generator=rng, dtype=torch.float64) for _ in range(2))
    value = Isotropy()(Batch(query=q, document=d, predicted=q, delta=None)).item()
    assert value == pytest.approx(math.sqrt(769 / (127 * 768)), rel=0.02)


def test_isotropy_is_blind_to_scale_and_to_a_common_shift():
    b = batch()
    shrunk = Batch(query=b.query * 1e-3, document=b.document * 1e-3, predicted=b.predicted, delta=None)
    assert Isotropy()(shrunk).item() == pytest.approx(1e-6 * Isotropy()(b).item(), rel=1e-9)
    shifted = Batch(query=b.query + 7.0, document=b.document + 7.0, predicted=b.predicted, delta=None)
    assert Isotropy()(shifted).item() == pytest.approx(Isotropy()(b).item(), rel=1e-9)


def test_total_collapse_satisfies_isotropy():
    zero = torch.zeros(8, 5)
    assert Isotropy()(Batch(query=zero, document=zero, predicted=zero, delta=zero)).item() == 0.0


def test_predictive_is_the_mean_over_batch_and_dimensions():
    b = batch()
    expected = np.mean((b.predicted.numpy() - b.document.numpy()) ** 2)
    assert Predictive(stop_gradient=True)(b).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stop", [True, False])
def test_stop_gradient_is_on_the_documents_alone(stop):
    b = batch()
    predicted, document = b.predicted.clone().requires_grad_(), b.document.clone().requires_grad_()
    Predictive(stop_gradient=stop)(Batch(b.query, document, predicted, None)).backward()
    assert predicted.grad is not None
    assert (document.grad is None) == stop


def test_the_residual_reductions_differ_by_the_dimension():
    b = batch()
    summed, averaged = (Residual(reduction=r)(b).item() for r in ("sum", "mean"))
    assert b.delta is not None
    assert summed == pytest.approx(np.mean(np.sum(b.delta.numpy() ** 2, axis=1)), rel=1e-12)
    assert summed == pytest.approx(5 * averaged, rel=1e-12)


def test_the_residual_term_without_delta_says_so():
    with pytest.raises(ValueError, match="the residual term needs delta"):
        Residual(reduction="sum")(batch(delta=False))


def test_weighted_terms_need_matching_names():
    with pytest.raises(ValueError, match="need the same names"):
        WeightedTerms(torch.nn.Identity(), {"isotropy": Isotropy()}, {"predictive": 1.0})


def test_terms_are_weighted_by_the_recipe():
    b = batch()
    loss = build_loss(get_recipe("respred"), torch.nn.Identity())
    weighted = loss.weighted(b)
    raw = {name: term(b) for name, term in loss.terms.items()}
    for name, weight in (("isotropy", 1.5), ("predictive", 1.2), ("residual", 0.01)):
        assert weighted[name].item() == pytest.approx(weight * raw[name].item())


def test_a_direct_predictor_has_no_residual_term():
    assert "residual" not in build_loss(Recipe(predictor="direct"), torch.nn.Identity()).terms


def test_losses_are_computed_in_float32_whatever_the_model_made():
    half = torch.ones(2, 3, dtype=torch.bfloat16)
    made = make_batch({"sentence_embedding": half, "delta": half}, {"sentence_embedding": half})
    assert {made.query.dtype, made.document.dtype, made.predicted.dtype, made.delta.dtype} == {torch.float32}


def random_batch(n: int = 12, d: int = 5, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    q, d_, delta = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(3))
    return Batch(query=q, document=d_, predicted=q + 0.1 * delta, delta=delta)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "orthogonal"])
def test_penalties_are_the_slow_ones(penalty, reduction):
    b = random_batch()
    total = 0.0
    for q, delta in zip(b.query.tolist(), b.delta.tolist(), strict=True):
        if penalty == "l2":
            value = sum(v * v for v in delta)
        elif penalty == "l1":
            value = sum(abs(v) for v in delta)
        else:
            value = sum(x * y for x, y in zip(q, delta, strict=True)) ** 2
        total += value / (len(delta) if reduction == "mean" else 1)
    found = Residual(reduction=reduction, penalty=penalty)(b)
    assert found.item() == pytest.approx(total / len(b.query), rel=1e-12)


def test_an_orthogonal_delta_is_free():
    b = random_batch()
    unit = torch.nn.functional.normalize(b.query, dim=1)
    across = b.delta - (b.delta * unit).sum(dim=1, keepdim=True) * unit
    free = Batch(b.query, b.document, b.predicted, across)
    assert Residual(reduction="sum", penalty="orthogonal")(free).item() == pytest.approx(0.0, abs=1e-24)


def test_the_adaptive_weight_is_off_below_the_margin_and_carries_no_gradient():
    """0.01 * relu(mean ||delta|| - 0.1) as a weight of ||delta||^2."""
    b = random_batch()
    size = b.delta.norm(dim=1).mean().item()
    assert Residual(reduction="sum", margin=size + 1e-9)(b).item() == 0.0
    delta = b.delta.clone().requires_grad_()
    loss = Residual(reduction="sum", margin=size - 0.3)(Batch(b.query, b.document, b.predicted, delta))
    assert loss.item() == pytest.approx(0.3 * b.delta.square().sum(dim=1).mean().item())
    loss.backward()
    torch.testing.assert_close(delta.grad, 0.3 * 2 * b.delta / len(b.delta))


def test_infonce_is_the_slow_one():
    b = random_batch()
    total = 0.0
    for i, p in enumerate(b.predicted):
        logits = [float(torch.nn.functional.cosine_similarity(p, d, dim=0)) / 0.05 for d in b.document]
        top = max(logits)
        total += top + math.log(sum(math.exp(x - top) for x in logits)) - logits[i]
    assert Contrastive(temperature=0.05)(b).item() == pytest.approx(total / len(b.query), rel=1e-10)


def test_infonce_of_what_tells_nothing_is_log_n():
    z = torch.ones(8, 3, dtype=torch.float64)
    assert Contrastive(temperature=0.05)(Batch(z, z, z, None)).item() == pytest.approx(math.log(8))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_finite_losses_and_gradients(name):
    """Each recipe's own losses on the embeddings of its own head, on real shapes."""
    recipe = get_recipe(name)
    if not recipe.trains:
        pytest.skip("trains nothing")
    from sentence_transformers import SentenceTransformer
    from tests_support import toy_data

    from collapse_probe.respred.modules import build_head

    head = build_head(recipe, 16, seed=0)
    loss = build_loss(recipe, SentenceTransformer(modules=[head], device="cpu"))
    data = toy_data()
    features = [
        {"sentence_embedding": data.query[:64], "task": "query"},
        {"sentence_embedding": data.document[:64], "task": "document"},
    ]
    terms = loss(features)
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in head.parameters() if p.requires_grad]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)


def test_a_detached_delta_leaves_the_projection_alone():
    """The leak of the founding form: with it the penalty's gradient reaches the projection, detached it does not."""
    from sentence_transformers import SentenceTransformer
    from tests_support import toy_data

    from collapse_probe.respred.modules import build_head, head_parts

    data = toy_data()
    sizes = {}
    for name in ("respred", "detached"):
        head = build_head(get_recipe(name), 16, seed=0)
        loss = build_loss(get_recipe(name), SentenceTransformer(modules=[head], device="cpu"))
        features = [
            {"sentence_embedding": side[:64], "task": task}
            for side, task in ((data.query, "query"), (data.document, "document"))
        ]
        loss(features)["residual"].backward()
        gradients = [p.grad for p in head_parts(head).query_projection.parameters() if p.grad is not None]
        sizes[name] = sum(float(g.norm()) for g in gradients)
    assert sizes["detached"] == 0 < sizes["respred"]


def test_a_detached_orthogonal_penalty_leaves_q_alone():
    b = random_batch()
    query = b.query.clone().requires_grad_()
    delta = b.delta.clone().requires_grad_()
    Residual(reduction="sum", penalty="orthogonal", detach_query=True)(
        Batch(query, b.document, query, delta)
    ).backward()
    assert query.grad is None and delta.grad is not None


def test_terms_are_computed_in_float32_under_autocast():
    """In bfloat16 the cosines near 1 of a collapsing encoder are rounded away."""
    recipe = get_recipe("uniformity")
    loss = build_loss(recipe, torch.nn.Identity())
    b = random_batch()
    near = Batch(*(1.0 + 0.01 * z.float() for z in (b.query, b.document, b.predicted)), delta=b.delta.float())
    plain = loss.weighted(near)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss.weighted(near)
    assert all(torch.equal(plain[name], cast[name]) for name in plain)
