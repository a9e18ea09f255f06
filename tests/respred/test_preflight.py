"""Preflight: red where the founding system is, silent where there is nothing to say, and forecasts that come true."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests_support import toy_data
from torch.nn.functional import normalize

from collapse_probe.diagnosis import FindingRow as Finding
from collapse_probe.diagnosis import Status
from collapse_probe.measures import penalty_ratio, ridge_correction
from collapse_probe.respred import RECIPES, Recipe, get_recipe, preflight
from collapse_probe.respred._batch import Batch
from collapse_probe.respred._isotropy import collapse_value
from collapse_probe.respred.audits._preflight import _forecast
from collapse_probe.respred.audits._terms import degenerate_values, duplication_ratios, scaling_exponents
from collapse_probe.respred.losses import WeightedTerms, build_loss

SMALL = Recipe(batch_size=32, lambda_residual=0.05)


def found(recipe: Recipe) -> dict[tuple[str, str], Finding]:
    return {(f.code, f.subject): f for f in preflight(recipe, toy_data(), seed=0)}


def batches(seed: int = 0, d: int = 8) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    q, e, delta = (torch.randn(32, d, generator=generator, dtype=torch.float64) for _ in range(3))
    return [Batch(q, e, q + 0.1 * delta, delta)]


class Norms(torch.nn.Module):
    """A term that keeps the norms of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[torch.Tensor] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return a constant."""
        self.norms.append(torch.cat([batch.query, batch.document]).norm(dim=1))
        return torch.ones(())


def test_the_founding_recipe_is_red_before_its_first_step():
    result = found(SMALL)
    assert result[("CP301", "")].status is Status.CRITICAL
    assert result[("CP303", "")].status is Status.CRITICAL
    for solution in ("zero", "constant", "constant along all-ones", "rank 1"):
        assert result[("CP304", solution)].status is Status.CRITICAL
    assert result[("CP304", "zero")].value == 0.0
    assert result[("CP305", "isotropy")].status is Status.WARNING
    assert result[("CP306", "")].status is Status.WARNING
    assert result[("CP307", "")].expected == "0: predictor"


def test_the_forecast_names_the_weight_that_would_leave_half():
    finding = found(SMALL)[("CP301", "")]
    weight = float(finding.remedy.split("lambda_residual=")[1].split()[0])
    other = found(replace(SMALL, lambda_residual=weight))[("CP301", "")]
    assert other.value == pytest.approx(0.5, rel=0.01)
    assert other.status in (Status.HEALTHY, Status.WARNING)


def test_each_remedy_takes_its_red_line_away():
    assert found(replace(SMALL, residual_reduction="mean"))[("CP306", "")].status is Status.HEALTHY
    assert found(replace(SMALL, lambda_residual=0.0))[("CP301", "")].value == 1.0
    assert found(replace(SMALL, scoring_path="predictor"))[("CP307", "")].status is Status.HEALTHY
    frozen = found(replace(SMALL, freeze_projection=True))
    assert frozen[("CP303", "")].status is Status.NOT_APPLICABLE
    assert frozen[("CP304", "zero")].status is Status.NOT_APPLICABLE
    anchored = found(replace(SMALL, isotropy="vicreg", lambda_isotropy=1.0))
    assert anchored[("CP303", "")].status is Status.HEALTHY
    assert anchored[("CP304", "zero")].status is Status.HEALTHY
    assert found(replace(SMALL, normalise=True))[("CP303", "")].status is Status.HEALTHY
    for blind in ("koleo", "uniformity"):
        assert found(replace(SMALL, isotropy=blind, lambda_isotropy=0.0))[("CP303", "")].status is Status.CRITICAL


def test_no_solution_shrinks_where_embeddings_have_unit_length():
    """A recipe that cannot give zero is not red for it; what lies on the sphere is compared there."""
    result = found(replace(SMALL, normalise=True, isotropy="sigreg"))
    assert ("CP304", "zero") not in result
    seen = Norms()
    unit = [replace(b, query=normalize(b.query), document=normalize(b.document)) for b in batches()]
    solutions = degenerate_values(WeightedTerms(torch.nn.Identity(), {"x": seen}, {"x": 1.0}), unit, unit_length=True)
    assert len(seen.norms) == len(solutions) == 6
    for norms in seen.norms:
        torch.testing.assert_close(norms, torch.ones_like(norms))


def test_an_anchored_term_far_from_its_scale_reads_as_collapsed():
    finding = found(replace(SMALL, isotropy="sigreg"))[("CP305", "isotropy")]
    assert finding.status is Status.WARNING and "as one point" in finding.why
    assert finding.value > 0.9 * collapse_value("sigreg", n=64)


def test_what_has_no_delta_has_no_forecast():
    result = found(replace(SMALL, predictor="none", lambda_residual=0.0))
    assert result[("CP301", "")].status is Status.NOT_APPLICABLE
    assert result[("CP302", "")].status is Status.NOT_APPLICABLE
    assert ("CP304", "delta = 0") not in result
    assert preflight(get_recipe("baseline"), toy_data(), seed=0) == []


def test_shuffled_pairs_are_preferred_by_a_loss_that_does_not_see_pairs():
    blind = found(replace(SMALL, lambda_predictive=0.0, lambda_residual=0.0))
    assert blind[("CP304", "shuffled pairs")].status is Status.CRITICAL
    seeing = found(replace(SMALL, lambda_residual=0.0))
    assert seeing[("CP304", "shuffled pairs")].status is Status.HEALTHY


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_judged(name):
    recipe = replace(get_recipe(name), batch_size=16)
    for finding in preflight(recipe, toy_data(), seed=0):
        assert finding.title and finding.expected
        assert finding.status is not Status.NOT_MEASURED


@pytest.mark.parametrize("penalty", ["l1", "orthogonal"])
def test_other_penalties_forecast_what_minimising_them_gives(penalty):
    """The pointwise problem, minimised numerically, against the closed form that the forecast uses."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    d = q + 0.5 * q @ torch.randn(6, 6, generator=generator, dtype=torch.float64)
    recipe = Recipe(residual_penalty=penalty, lambda_residual=0.02)
    best = ridge_correction(q, d, penalty=1e-6)
    mu = penalty_ratio(lambda_residual=0.02, lambda_predictive=1.2, dimension=6, reduction="sum")
    delta = torch.zeros_like(q, requires_grad=True)
    optimiser = torch.optim.LBFGS([delta], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure():
        optimiser.zero_grad()
        gap = (0.1 * delta - best).square().sum()
        cost = delta.abs().sum() if penalty == "l1" else (delta * q).sum(dim=1).square().sum()
        (gap + mu * cost).backward()
        return gap + mu * cost

    optimiser.step(closure)
    measured = float((0.1 * delta).detach().norm() / best.norm())
    share, _ = _forecast(recipe, Batch(q, d, q, torch.zeros_like(q)))
    assert share == pytest.approx(measured, abs=0.02)


def test_exponents_are_the_degrees_of_the_terms():
    loss = build_loss(replace(SMALL, lambda_contrastive=1.0), torch.nn.Identity())
    result = scaling_exponents(loss, batches())
    for name, degree in (("isotropy", 2), ("predictive", 2), ("residual", 2), ("contrastive", 0)):
        assert result[name] == pytest.approx((degree, degree), abs=1e-9)


def test_duplication_tells_a_sum_from_a_mean():
    for reduction, ratio in (("sum", 2.0), ("mean", 1.0)):
        result = duplication_ratios(
            build_loss(replace(SMALL, residual_reduction=reduction), torch.nn.Identity()), batches()
        )
        assert result["residual"] == pytest.approx(ratio)
        assert result["predictive"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["uniformity", "koleo"])
def test_a_term_without_scale_anchors_nothing_whatever_its_sign(name):
    """Uniformity is negative: an exponent of the total would be no number, which has to be no pass."""
    recipe = replace(get_recipe(name), batch_size=32)
    finding = found(recipe)[("CP303", "")]
    assert finding.status is Status.CRITICAL and finding.value > 0
    assert ("CP305", "isotropy") not in found(recipe)
