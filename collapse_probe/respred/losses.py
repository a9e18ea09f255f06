"""The founding losses as named terms.

Each term is a module that maps a :class:`Batch` to a scalar, so that a forward hook on it reads its raw
value. :class:`WeightedTerms` runs the model on a batch of stored features and returns the weighted terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ._recipe import Recipe, Reduction


@dataclass(frozen=True)
class Batch:
    """What the model made of one batch of pairs; every tensor is float32, ``[N, D]``.

    Attributes:
        query: q, the query embeddings before any predictor.
        document: d.
        predicted: The predictor's estimate of d; q itself where there is no predictor.
        delta: delta(q) of a residual predictor; None for others.
    """

    query: Tensor
    document: Tensor
    predicted: Tensor
    delta: Tensor | None


class Isotropy(nn.Module):
    """The founding covariance penalty ``||C - var I||_F / D`` over queries and documents together.

    C is the covariance of the 2N embeddings of the batch and var the variance of all their entries
    flattened. Two blind spots: it is homogeneous of degree 2 in the embeddings, so shrinking them to zero
    satisfies it (no scale anchor), and the flattened variance ignores a common shift along the all-ones
    vector. It is 0.0000 to four decimals for any embedding of tiny scale, isotropic or not; at unit
    variance its floor for r = 2N - 1 samples is sqrt(1/r - 1/D), about 0.08 at N = 64, D = 768.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the penalty, a scalar of at least 0."""
        both = torch.cat([batch.query, batch.document])
        covariance = torch.cov(both.T)
        dimension = both.shape[1]
        target = both.var() * torch.eye(dimension, device=both.device, dtype=both.dtype)
        return torch.linalg.matrix_norm(covariance - target) / dimension


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


def make_batch(query_features: dict[str, Any], document_features: dict[str, Any]) -> Batch:
    """Return the batch that the losses and the pair readings see, in float32 whatever the autocast."""
    scored = query_features["sentence_embedding"]
    query = query_features.get("query_embedding", scored).float()
    delta = query_features.get("delta")
    return Batch(
        query=query,
        document=document_features["sentence_embedding"].float(),
        predicted=query_features.get("predicted_embedding", query).float(),
        delta=None if delta is None else delta.float(),
    )


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
