"""The founding losses as named terms.

Each term is a module that maps a :class:`Batch` to a scalar, so that a forward hook on it reads its raw
value. :class:`WeightedTerms` runs the model on a batch of stored features and returns the weighted terms.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ._batch import Batch, make_batch
from ._isotropy import ISOTROPY
from .recipes import Penalty, Recipe, Reduction


class Predictive(nn.Module):
    """The mean squared error between the prediction and the document, over batch and dimensions.

    Args:
        stop_gradient: Detach the documents, as the founding system does. It halves the shrinking force on a
            shared projection; it does not remove it.
    """

    def __init__(self, *, stop_gradient: bool) -> None:
        super().__init__()
        self.stop_gradient = stop_gradient

    def forward(self, batch: Batch) -> Tensor:
        """Return the error, a scalar of at least 0."""
        target = batch.document.detach() if self.stop_gradient else batch.document
        return nn.functional.mse_loss(batch.predicted, target)


class Residual(nn.Module):
    """The penalty on delta, averaged over the batch.

    With ``sum`` beside a predictive term that is a mean over D, the weights differ by a hidden factor D:
    delta is shrunk to a share s = alpha^2 / (alpha^2 + mu) of the best correction, mu = lambda_residual *
    D / lambda_predictive for ``sum`` and lambda_residual / lambda_predictive for ``mean``. ``l1`` sets an entry of
    alpha delta to zero unless the best correction's exceeds lambda_residual D / (2 lambda_predictive alpha), and
    so collapses harder than ``l2`` at the same weight. ``orthogonal`` leaves what is orthogonal to q free.

    Args:
        penalty: ``l2`` (the founding form), ``l1``, or ``orthogonal`` (the squared inner product with q, which
            scales with the fourth power of the embeddings).
        reduction: ``sum`` (the founding form) or ``mean`` over dimensions; of ``orthogonal``, division by D.
        margin: Above 0, the penalty is multiplied by relu(mean ||delta|| - margin), as a weight: no gradient
            goes through it.
        detach_query: Keep the orthogonal penalty's gradient from q, as the input of delta is kept from it.
    """

    def __init__(
        self, *, reduction: Reduction, penalty: Penalty = "l2", margin: float = 0.0, detach_query: bool = False
    ) -> None:
        super().__init__()
        self.detach_query = detach_query
        self.reduction = reduction
        self.penalty = penalty
        self.margin = margin

    def forward(self, batch: Batch) -> Tensor:
        """Return the penalty, a scalar of at least 0.

        Raises:
            ValueError: the batch has no delta.
        """
        if batch.delta is None:
            raise ValueError("the residual term needs delta: give it a batch of a residual predictor")
        query = batch.query.detach() if self.detach_query else batch.query
        per_query = self._per_query(batch.delta, query)
        if self.reduction == "mean":
            per_query = per_query / batch.delta.shape[1]
        if self.margin > 0:
            excess = batch.delta.detach().norm(dim=1).mean() - self.margin
            return per_query.mean() * excess.clamp(min=0)
        return per_query.mean()

    def _per_query(self, delta: Tensor, query: Tensor) -> Tensor:
        if self.penalty == "l1":
            return delta.abs().sum(dim=1)
        if self.penalty == "orthogonal":
            return (delta * query).sum(dim=1).square()
        return delta.square().sum(dim=1)


class Contrastive(nn.Module):
    """In-batch InfoNCE on the predicted query (van den Oord et al. 2018), on cosines over a temperature.

    An uninformed model has log N. Cosines keep the norm from acting as a temperature of its own. Other queries'
    documents count as negatives even where they are relevant too.

    Args:
        temperature: Divisor of the cosines, above 0.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, batch: Batch) -> Tensor:
        """Return the cross entropy of every query's own document among the batch's, a scalar of at least 0."""
        predicted = nn.functional.normalize(batch.predicted, dim=1)
        document = nn.functional.normalize(batch.document, dim=1)
        own = torch.arange(len(predicted), device=predicted.device)
        return nn.functional.cross_entropy(predicted @ document.T / self.temperature, own)


class WeightedTerms(nn.Module):
    """A weighted sum of terms, in the form that the library's trainer takes.

    Args:
        model: The model that is trained; its output features hold what :class:`Batch` needs.
        terms: Name to term.
        weights: Name to weight; the same names. A term of weight 0 is still computed, so that it is seen.

    Raises:
        ValueError: names of terms and weights differ.
    """

    def __init__(self, model: nn.Module, terms: dict[str, nn.Module], weights: dict[str, float]) -> None:
        super().__init__()
        if terms.keys() != weights.keys():
            raise ValueError(f"terms {sorted(terms)} and weights {sorted(weights)} need the same names")
        self.model = model
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)

    def set_step(self, step: int) -> None:
        """Tell the terms that draw at random which step it is, so that every process and resumption draws alike."""
        for term in self.terms.values():
            if hasattr(term, "step"):
                term.step = step  # type: ignore[assignment]

    def forward(self, features: list[dict[str, Any]], labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the weighted terms of one batch.

        Args:
            features: The queries' features, then the documents', each with ``sentence_embedding`` ``[N, D]``.
            labels: Not used; the trainer passes it.
        """
        queries, documents = features
        return self.weighted(make_batch(self.model(dict(queries)), self.model(dict(documents))))

    def weighted(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``weight * term(batch)`` by name, in the batch's float32 whatever the autocast around it."""
        with torch.autocast(batch.query.device.type, enabled=False):
            return {name: self.weights[name] * term(batch) for name, term in self.terms.items()}


def build_loss(recipe: Recipe, model: nn.Module) -> WeightedTerms:
    """Return the losses of a recipe over a model."""
    terms: dict[str, nn.Module] = {
        "isotropy": ISOTROPY[recipe.isotropy](),
        "predictive": Predictive(stop_gradient=recipe.stop_gradient),
    }
    weights = {"isotropy": recipe.lambda_isotropy, "predictive": recipe.lambda_predictive}
    if recipe.predictor == "residual":
        terms["residual"] = Residual(
            reduction=recipe.residual_reduction,
            penalty=recipe.residual_penalty,
            margin=recipe.residual_margin,
            detach_query=recipe.detach_delta,
        )
        weights["residual"] = recipe.lambda_residual
    if recipe.lambda_contrastive > 0:
        terms["contrastive"] = Contrastive(temperature=recipe.temperature)
        weights["contrastive"] = recipe.lambda_contrastive
    return WeightedTerms(model, terms, weights)
