"""What can be said of a run before its first step, from its data and its configuration."""

from __future__ import annotations

import math

import torch
from sentence_transformers import SentenceTransformer

from ...diagnosis import FindingRow as Finding
from ...diagnosis import Status
from ...measures import explained_residual, penalty_ratio, ridge_correction, shrinkage
from .._batch import Batch, make_batch
from .._isotropy import collapse_value, noise_floor
from ..losses import WeightedTerms, build_loss
from ..modules import build_head
from ..recipes import Recipe, head_modules
from ..training import PROBE_SET_SIZE, TrainingData
from . import _terms
from ._terms import TermValues

SHRINK_RED, SHRINK_AMBER = 0.05, 0.5
"""Shares of the best correction below which a forecast is red and amber (own choice)."""

EXPLAINED_AMBER = 0.05
"""Explained share of d - q below which a correction has little to gain (own choice)."""

MARGIN = 0.001
"""Share of the loss at step 0 by which a solution has to be lower to be called better (own choice)."""

BELOW_FLOOR, NEAR_COLLAPSE = 0.5, 0.9
"""Shares of an isotropy term's value at N(0, I) and at total collapse, below and above which it is amber (own)."""

BATCHES = 8
"""Batches that the audits of the loss are averaged over."""

_WITHOUT_ROOM = "no embedding that is scored can change: no trained projection or encoder"


def preflight(recipe: Recipe, data: TrainingData, *, seed: int) -> list[Finding]:
    """Judge a run before any training step; takes seconds.

    Args:
        recipe: What would be trained.
        data: The pairs that it would be trained on, as the encoder's vectors.
        seed: The seed that it would be trained with; the head is the one that it would begin with.

    Returns:
        Findings with codes ``CP3xx``; a red line has the status ``critical``. Empty for a recipe that trains nothing.
    """
    if not recipe.trains:
        return []
    head = build_head(recipe, data.dimension, seed=seed).eval()
    loss = build_loss(recipe, SentenceTransformer(modules=[head], device="cpu"))
    chosen = torch.randperm(len(data.query), generator=torch.Generator().manual_seed(seed))[:PROBE_SET_SIZE]
    with torch.no_grad():
        sides = [
            head({"sentence_embedding": side[chosen]}, task=task)
            for side, task in ((data.query, "query"), (data.document, "document"))
        ]
    everything = make_batch(*sides)
    batches = _batches(everything, recipe.batch_size)
    start = _terms.term_values(loss, batches)
    return [
        _shrink_forecast(recipe, everything),
        _explained(recipe, everything),
        _scale_anchor(recipe, loss, batches),
        *_degenerate(recipe, loss, batches, start),
        *_floors(recipe, batches, start),
        _reductions(recipe, loss, batches),
        _off_path(recipe),
    ]


def _batches(everything: Batch, size: int) -> list[Batch]:
    count = max(1, min(BATCHES, len(everything.query) // size))
    return [
        Batch(
            everything.query[rows],
            everything.document[rows],
            everything.predicted[rows],
            None if everything.delta is None else everything.delta[rows],
        )
        for rows in (slice(i * size, (i + 1) * size) for i in range(count))
    ]


def _shrink_forecast(recipe: Recipe, everything: Batch) -> Finding:
    base = {
        "code": "CP301",
        "title": "shrink forecast: share of the best correction that the penalty leaves",
        "why": "the penalty pulls delta towards zero by this much, whatever the data",
        "source": "closed form at the initial alpha, methods 3.2: alpha^2 / (alpha^2 + mu); own cuts 0.05 and 0.5",
        "n": len(everything.query),
    }
    if recipe.predictor != "residual":
        return Finding(status=Status.NOT_APPLICABLE, expected="the recipe has no residual predictor", **base)
    if recipe.lambda_predictive == 0:
        return Finding(status=Status.NOT_APPLICABLE, expected="no predictive term pulls against the penalty", **base)
    share, words = _forecast(recipe, everything)
    if share is None:
        return Finding(status=Status.NOT_APPLICABLE, expected=words, **base)
    dimension = everything.query.shape[1]
    half = recipe.lambda_predictive * recipe.alpha**2 / (dimension if recipe.residual_reduction == "sum" else 1)
    status = Status.CRITICAL if share < SHRINK_RED else Status.WARNING if share < SHRINK_AMBER else Status.HEALTHY
    remedy = "Lower lambda_residual, or give residual_reduction=mean"
    if recipe.residual_penalty == "l2":
        remedy += f"; lambda_residual={half:.3g} would leave half"
    return Finding(status=status, value=share, expected=f"at least {SHRINK_AMBER}; {words}", remedy=remedy, **base)


def _forecast(recipe: Recipe, everything: Batch) -> tuple[float | None, str]:
    """Return the share of the best correction that is left, and how it was found."""
    weights = {
        "lambda_residual": recipe.lambda_residual,
        "lambda_predictive": recipe.lambda_predictive,
        "dimension": everything.query.shape[1],
        "reduction": recipe.residual_reduction,
    }
    mu = penalty_ratio(**weights)  # type: ignore[arg-type]
    if recipe.residual_margin > 0 and recipe.lambda_residual > 0:
        return None, f"the penalty ends where mean ||delta|| is {recipe.residual_margin:g}"
    if recipe.residual_penalty == "l2":
        share = shrinkage(recipe.alpha, mu)
        return share, f"mu / alpha^2 = {mu / recipe.alpha**2 if recipe.alpha else math.inf:.3g}"
    best = ridge_correction(everything.query, everything.document, penalty=1e-6)
    if recipe.residual_penalty == "l1":
        cut = mu / (2 * abs(recipe.alpha)) if recipe.alpha else math.inf
        left = (best.abs() - cut).clamp(min=0)
        words = f"entries of the best correction below {cut:.3g} are set to 0, the largest is {best.abs().max():.3g}"
    else:
        q = everything.query.double()
        unit = torch.nn.functional.normalize(q, dim=1)
        along = (best * unit).sum(dim=1, keepdim=True)
        strength = mu * q.square().sum(dim=1, keepdim=True)
        kept = recipe.alpha**2 / (recipe.alpha**2 + strength)
        left = best - along * unit + kept * along * unit
        words = f"only the part along q is shrunk, to {kept.mean():.3g} of it"
    size = best.norm()
    return float(left.norm() / size) if size > 0 else 0.0, words


def _explained(recipe: Recipe, everything: Batch) -> Finding:
    base = {
        "code": "CP302",
        "title": "explained residual: the most that a correction of the query could gain",
        "source": "ridge regression of d - q on q at step 0, two folds; own cut",
        "n": len(everything.query),
        "why": "what cannot be predicted from q on other pairs cannot be corrected",
        "remedy": "Change the embeddings or the training pairs; a larger correction fits noise",
    }
    if recipe.predictor == "none" or len(everything.query) < 8:
        return Finding(status=Status.NOT_APPLICABLE, expected="the recipe has no predictor", **base)
    value = float(explained_residual(everything.query, everything.document))
    status = Status.HEALTHY if value >= EXPLAINED_AMBER else Status.WARNING
    return Finding(status=status, value=value, expected=f"at least {EXPLAINED_AMBER} of E||d - q||^2", **base)


def _scale_anchor(recipe: Recipe, loss: WeightedTerms, batches: list[Batch]) -> Finding:
    exponents = _terms.scaling_exponents(loss, batches)
    gain = _terms.gain_of_shrinking(loss, batches)
    active = {name: pair for name, pair in exponents.items() if loss.weights[name] > 0}
    words = ", ".join(f"{name} {below:+.2f} / {above:+.2f}" for name, (below, above) in active.items())
    base = {
        "code": "CP303",
        "title": "scale anchor: share of the weighted loss that is gained by halving all embeddings",
        "expected": f"at most 0 at the step-0 scale; d log L / d log c of each term, below / above it: {words}",
        "why": "the loss falls when all embeddings shrink, so shrinking them is the first thing that is learnt",
        "remedy": "Anchor the scale (isotropy=vicreg or normalise), or freeze the projection",
        "source": "each term at half and at double scale of the step-0 embeddings",
        "n": sum(len(batch.query) for batch in batches),
    }
    if not _embeddings_move(recipe):
        return Finding(status=Status.NOT_APPLICABLE, **{**base, "expected": _WITHOUT_ROOM})  # type: ignore[arg-type]
    # Cosines do not depend on scale, but for rounding.
    status = Status.CRITICAL if not gain <= 1e-5 else Status.HEALTHY
    if recipe.normalise:
        status, base["expected"] = Status.HEALTHY, "the projection gives unit length, whatever the loss prefers"
    return Finding(status=status, value=gain, **base)  # type: ignore[arg-type]


def _degenerate(recipe: Recipe, loss: WeightedTerms, batches: list[Batch], start: TermValues) -> list[Finding]:
    values = _terms.degenerate_values(loss, batches, unit_length=recipe.normalise)
    # An untrained delta costs more than none, so that any solution without one would seem better than the model.
    fair = min(start.total, values["delta = 0"].total) if "delta = 0" in values else start.total
    findings = []
    for name, found in values.items():
        of_delta = name == "delta = 0"
        of_pairs = name == "shuffled pairs"
        now = start.total if of_delta or of_pairs else fair
        reachable = of_delta or of_pairs or _embeddings_move(recipe)
        # A loss that is the same for shuffled pairs does not see the pairs; others are better by a margin.
        better = found.total <= now - (0.0 if of_pairs else MARGIN * abs(now))
        status = Status.HEALTHY
        if not reachable:
            status = Status.NOT_APPLICABLE
        elif better:
            status = Status.WARNING if of_delta else Status.CRITICAL
        findings.append(
            Finding(
                code="CP304",
                title=f"degenerate solution: {name}",
                status=status,
                value=found.total,
                expected=_expected(now, without_delta=now < start.total) if reachable else _WITHOUT_ROOM,
                why=(
                    "the untrained correction costs more than none"
                    if of_delta
                    else "the loss prefers a solution that retrieves nothing to the model that training begins with"
                ),
                remedy=(
                    "Start delta nearer to 0 (a smaller alpha), or lower lambda_residual"
                    if of_delta
                    else "Add a term that this solution does not satisfy, or raise its weight"
                ),
                source=f"the recipe's own loss, the solution at the step-0 scale; own cut: lower by {MARGIN:.1%}",
                n=sum(len(batch.query) for batch in batches),
                subject=name,
            )
        )
    return findings


def _expected(loss: float, *, without_delta: bool) -> str:
    return f"not below the loss at step 0{' without its untrained delta' if without_delta else ''}, {loss:.4g}"


def _floors(recipe: Recipe, batches: list[Batch], start: TermValues) -> list[Finding]:
    n, dimension = 2 * len(batches[0].query), batches[0].query.shape[1]
    floor = noise_floor(recipe.isotropy, n=n, dimension=dimension)
    if recipe.lambda_isotropy == 0 or floor is None or floor < 0:
        return []
    value = start.raw["isotropy"]
    collapsed = collapse_value(recipe.isotropy, n=n)
    below, near = value < BELOW_FLOOR * floor, collapsed > floor and value > NEAR_COLLAPSE * collapsed
    why = "a value below that of standard normal embeddings tells of a tiny scale, not of isotropy"
    remedy = "Read the embeddings' standard deviation beside the term; normalise before it, or anchor the scale"
    if near:
        remedy = "Watch the standard deviation of a dimension, which the term asks to be 1, from the first step on"
        why = "the term reads the embeddings as one point: their scale or spread is far from what it asks for"
    words = f"near {floor:.3g}, its value for N(0, I) at {n} embeddings a batch, D = {dimension}"
    if collapsed > floor:
        words += f", and away from {collapsed:.4g}, that of total collapse"
    return [
        Finding(
            code="CP305",
            title=f"noise floor: {recipe.isotropy} at step 0",
            status=Status.WARNING if below or near else Status.HEALTHY,
            value=value,
            expected=words,
            why=why,
            remedy=remedy,
            source=f"closed forms; own cuts: {BELOW_FLOOR:g} of the first, {NEAR_COLLAPSE:g} of the second",
            n=sum(len(batch.query) for batch in batches),
            subject="isotropy",
        )
    ]


def _reductions(recipe: Recipe, loss: WeightedTerms, batches: list[Batch]) -> Finding:
    ratios = _terms.duplication_ratios(loss, batches)
    judged = {
        name: ratio
        for name, ratio in ratios.items()
        if name in ("predictive", "residual") and loss.weights[name] > 0 and not math.isnan(ratio)
    }
    mixed = len(judged) == 2 and abs(judged["predictive"] - judged["residual"]) > 0.25
    words = ", ".join(f"{name} {ratio:.2f}" for name, ratio in judged.items())
    return Finding(
        code="CP306",
        title="reductions over dimensions: largest ratio when every dimension is there twice",
        status=(Status.WARNING if mixed else Status.HEALTHY) if judged else Status.NOT_APPLICABLE,
        value=max(judged.values(), default=None),
        expected=f"the same for all terms, 1 for a mean and 2 for a sum: {words}" if judged else "no such term",
        why=f"a sum beside a mean hides a factor of {batches[0].query.shape[1]} in the weights",
        remedy="Use one reduction: residual_reduction=mean",
        source="each term on the batch with every vector beside itself",
        n=sum(len(batch.query) for batch in batches),
    )


def _off_path(recipe: Recipe) -> Finding:
    off = [module.name for module in head_modules(recipe) if module.trained and not module.scored]
    return Finding(
        code="CP307",
        title="trained modules off the evaluated path",
        status=Status.WARNING if off else Status.HEALTHY,
        value=float(len(off)),
        expected=f"0{': ' + ', '.join(off) if off else ''}",
        why="what they learn cannot change the score, except through gradients into what they share",
        remedy="Score with them (scoring_path=predictor), or read no fall of the score as theirs",
        source="the recipe's scoring path",
    )


def _embeddings_move(recipe: Recipe) -> bool:
    return recipe.trains_from_text or (recipe.projection != "none" and not recipe.freeze_projection)
