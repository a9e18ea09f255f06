"""The founding losses as named terms.

Each term is a module that maps a :class:`Batch` to a scalar, so that a forward hook on it reads its raw
value. :class:`WeightedTerms` runs the model on a batch of stored features and returns the weighted terms.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ._batch import Batch, make_batch
from ._isotropy import Isotropy
from ._recipe import Recipe, Reduction


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
    """The penalty on delta: the mean over the batch of its squared entries, summed or averaged over D.

    With ``sum`` beside a predictive term that is a mean over D, the weights differ by a hidden factor D:
    delta is shrunk to a share s = alpha^2 / (alpha^2 + mu) of the best correction, mu = lambda_residual *
    D / lambda_predictive for ``sum`` and lambda_residual / lambda_predictive for ``mean``.

    Args:
        reduction: ``sum`` (the founding form) or ``mean`` over dimensions.
    """

    def __init__(self, *, reduction: Reduction) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, batch: Batch) -> Tensor:
        """Return the penalty, a scalar of at least 0.

        Raises:
            ValueError: the batch has no delta.
        """
        if batch.delta is None:
            raise ValueError("the residual term needs delta: give it a batch of a residual predictor")
        squared = batch.delta.square()
        per_query = squared.sum(dim=1) if self.reduction == "sum" else squared.mean(dim=1)
        return per_query.mean()


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

    def forward(self, features: list[dict[str, Any]], labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the weighted terms of one batch.

        Args:
            features: The queries' features, then the documents', each with ``sentence_embedding`` ``[N, D]``.
            labels: Not used; the trainer passes it.
        """
        queries, documents = features
        return self.weighted(make_batch(self.model(dict(queries)), self.model(dict(documents))))

    def weighted(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``weight * term(batch)`` of every term that contributes, by name."""
        return {name: self.weights[name] * term(batch) for name, term in self.terms.items()}


def build_loss(recipe: Recipe, model: nn.Module) -> WeightedTerms:
    """Return the losses of a recipe over a model."""
    terms: dict[str, nn.Module] = {
        "isotropy": Isotropy(),
        "predictive": Predictive(stop_gradient=recipe.stop_gradient),
    }
    weights = {"isotropy": recipe.lambda_isotropy, "predictive": recipe.lambda_predictive}
    if recipe.predictor == "residual":
        terms["residual"] = Residual(reduction=recipe.residual_reduction)
        weights["residual"] = recipe.lambda_residual
    return WeightedTerms(model, terms, weights)
