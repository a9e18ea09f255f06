"""The founding system as sentence-transformers modules.

Saved models name these classes by their path, so this module's name and the classes' names are part of
the file format. :func:`build_head` puts them together with the library's own ``Router``.
"""

from __future__ import annotations

import copy
import os
from typing import Any, NamedTuple, Self, cast

import torch
from sentence_transformers.base.modules import Module, Router
from torch import Tensor, nn

from ..errors import InputError
from .recipes import DeltaMap, PredictorKind, ProjectionKind, Recipe, ScoringPath

Features = dict[str, Any]


def _mlp(dimension: int, *, expansion: int, dropout: float) -> nn.Sequential:
    hidden = expansion * dimension
    return nn.Sequential(nn.Linear(dimension, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dimension))


class _HeadModule(Module):
    """Saving and loading shared by the modules: a JSON configuration beside safetensors weights."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    def get_embedding_dimension(self) -> int:
        """Return the number of dimensions of the embeddings that come out."""
        return self.dimension

    get_sentence_embedding_dimension = get_embedding_dimension

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the configuration and the weights into a folder; always safetensors."""
        os.makedirs(output_path, exist_ok=True)
        self.save_config(output_path)
        if any(True for _ in self.parameters()):
            self.save_torch_weights(output_path, safe_serialization=True)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> Self:
        """Read the module that :meth:`save` wrote.

        The signature, with its open keyword arguments, is the library's.
        """
        where = {key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs}
        module = cls(**cls.load_config(model_name_or_path, subfolder=subfolder, **where))
        if any(True for _ in module.parameters()):
            cls.load_torch_weights(model_name_or_path, subfolder=subfolder, model=module, **where)
        return module


class Projection(_HeadModule):
    """The map from the encoder's space to the one that is searched, shared by queries and documents.

    Args:
        dimension: D, of the encoder's embeddings and of the result.
        kind: ``none`` (the identity, no parameters), ``linear`` (initialised to the identity) or ``mlp``
            (Linear, GELU, Dropout, Linear at PyTorch's default initialisation, as the founding system's).
        expansion: Hidden width of the MLP over D.
        dropout: Dropout probability inside the MLP.
        normalise: Give what comes out unit length, so that its scale cannot collapse.

    A random-initialised MLP costs retrieval before the first step (MiniLM on SciFact: nDCG@10 .645 to
    about .60) and shrinks the embeddings some twentyfold, so step 0 is a reference of its own.
    """

    config_keys = ["dimension", "kind", "expansion", "dropout", "normalise"]

    def __init__(
        self,
        dimension: int,
        kind: ProjectionKind = "mlp",
        expansion: int = 2,
        dropout: float = 0.1,
        normalise: bool = False,
    ) -> None:
        super().__init__(dimension)
        self.normalise = normalise
        self.kind = kind
        self.expansion = expansion
        self.dropout = dropout
        self.net: nn.Module
        if kind == "mlp":
            self.net = _mlp(dimension, expansion=expansion, dropout=dropout)
        elif kind == "linear":
            self.net = _identity_linear(dimension)
        else:
            self.net = nn.Identity()

    def forward(self, features: Features) -> Features:
        """Replace ``sentence_embedding``, ``[N, D]``, by its projection."""
        projected = self.net(features["sentence_embedding"])
        if self.normalise:
            projected = nn.functional.normalize(projected.float(), dim=1)
        features["sentence_embedding"] = projected
        return features


class ResidualPredictor(_HeadModule):
    """The residual predictor: ``q + alpha * delta(q)``.

    Beside ``sentence_embedding`` it leaves in the features ``query_embedding`` (q), ``delta`` and
    ``predicted_embedding`` (q + alpha delta), each ``[N, D]``.

    Args:
        dimension: D.
        kind: ``mlp``, or ``linear``, whose optimum under an l2 penalty has a closed form.
        alpha: Initial value of alpha.
        alpha_learnable: Whether alpha is a parameter or fixed.
        tanh: Whether delta is bounded to [-1, 1].
        expansion: Hidden width of the MLP over D.
        dropout: Dropout probability inside the MLP.
        detach_input: Compute delta from a detached q. Without it the residual penalty's gradient reaches
            the projection through delta(q); at initialisation it is the largest one there.
        scoring_path: What ``sentence_embedding`` is: q as it is (``no_predictor``, as the founding
            system was evaluated) or q + alpha * delta (``predictor``).
    """

    config_keys = [
        "dimension",
        "kind",
        "alpha",
        "alpha_learnable",
        "tanh",
        "expansion",
        "dropout",
        "detach_input",
        "scoring_path",
    ]

    def __init__(
        self,
        dimension: int,
        kind: DeltaMap = "mlp",
        alpha: float = 0.1,
        alpha_learnable: bool = True,
        tanh: bool = True,
        expansion: int = 2,
        dropout: float = 0.1,
        detach_input: bool = False,
        scoring_path: ScoringPath = "no_predictor",
    ) -> None:
        super().__init__(dimension)
        self.alpha_learnable = alpha_learnable
        self.tanh = tanh
        self.expansion = expansion
        self.dropout = dropout
        self.detach_input = detach_input
        self.scoring_path = scoring_path
        self.kind = kind
        mlp = kind == "mlp"
        self.net = _mlp(dimension, expansion=expansion, dropout=dropout) if mlp else nn.Linear(dimension, dimension)
        self.scale = nn.Parameter(torch.tensor(float(alpha)), requires_grad=alpha_learnable)

    @property
    def alpha(self) -> float:
        """Alpha's value now; waits for the device, so not for use on a training step."""
        return float(self.scale.detach())

    def delta(self, query: Tensor) -> Tensor:
        """Return the unscaled correction, ``[N, D]``, of queries ``[N, D]``."""
        delta = self.net(query.detach() if self.detach_input else query)
        return torch.tanh(delta) if self.tanh else delta

    def forward(self, features: Features) -> Features:
        """Add q, delta and the prediction to the features, and set what is scored."""
        query = features["sentence_embedding"]
        delta = self.delta(query)
        predicted = query + self.scale * delta
        features["query_embedding"] = query
        features["delta"] = delta
        features["predicted_embedding"] = predicted
        features["sentence_embedding"] = predicted if self.scoring_path == "predictor" else query
        return features


class DirectPredictor(_HeadModule):
    """An MLP that predicts the document from the query, as ISO15_PRED12 did.

    Leaves ``query_embedding`` and ``predicted_embedding``, each ``[N, D]``, in the features. Nothing in its
    loss makes the evaluated query move, and its prediction is not meant to be scored: where
    ``scoring_path`` is ``predictor``, expect scores near zero for a recipe trained to score without it.

    Args:
        dimension: D.
        expansion: Hidden width of the MLP over D.
        dropout: Dropout probability inside the MLP.
        scoring_path: As in :class:`ResidualPredictor`.
    """

    config_keys = ["dimension", "expansion", "dropout", "scoring_path"]

    def __init__(
        self,
        dimension: int,
        expansion: int = 2,
        dropout: float = 0.1,
        scoring_path: ScoringPath = "no_predictor",
    ) -> None:
        super().__init__(dimension)
        self.expansion = expansion
        self.dropout = dropout
        self.scoring_path = scoring_path
        self.net = _mlp(dimension, expansion=expansion, dropout=dropout)

    def forward(self, features: Features) -> Features:
        """Add q and the prediction to the features, and set what is scored."""
        query = features["sentence_embedding"]
        predicted = self.net(query)
        features["query_embedding"] = query
        features["predicted_embedding"] = predicted
        features["sentence_embedding"] = predicted if self.scoring_path == "predictor" else query
        return features


Predictor = ResidualPredictor | DirectPredictor


def _identity_linear(dimension: int) -> nn.Linear:
    linear = nn.Linear(dimension, dimension)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _make_predictor(kind: PredictorKind, recipe: Recipe, dimension: int) -> Predictor | None:
    if kind == "residual":
        return ResidualPredictor(
            dimension,
            kind=recipe.delta,
            alpha=recipe.alpha,
            alpha_learnable=recipe.alpha_learnable,
            tanh=recipe.tanh,
            expansion=recipe.expansion,
            dropout=recipe.dropout,
            detach_input=recipe.detach_delta,
            scoring_path=recipe.scoring_path,
        )
    if kind == "direct":
        return DirectPredictor(
            dimension, expansion=recipe.expansion, dropout=recipe.dropout, scoring_path=recipe.scoring_path
        )
    return None


def build_head(recipe: Recipe, dimension: int, *, seed: int) -> Router:
    """Return what a recipe trains on top of the encoder, as the library's router.

    Queries go through a projection and the predictor, documents through a projection alone: the same one, or
    for an asymmetric recipe one of their own with the same initial weights, so that step 0 is a shared one's.
    Weights are drawn from a generator of their own: the global one is left as it was.

    Args:
        recipe: What to build.
        dimension: D of the encoder.
        seed: Seed of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = Projection(
            dimension,
            kind=recipe.projection,
            expansion=recipe.expansion,
            dropout=recipe.dropout,
            normalise=recipe.normalise,
        )
        predictor = _make_predictor(recipe.predictor, recipe, dimension)
    if recipe.freeze_projection:
        projection.requires_grad_(False)
    query_route: list[Module] = [projection] if predictor is None else [projection, predictor]
    documents = copy.deepcopy(projection) if recipe.asymmetric else projection
    return Router.for_query_document(query_modules=query_route, document_modules=[documents])


class HeadParts(NamedTuple):
    """The modules of a head; the projections are one and the same unless the recipe is asymmetric."""

    query_projection: Projection
    document_projection: Projection
    predictor: Predictor | None

    def named(self) -> dict[str, Module]:
        """Return each module once, by the name that run.json and the reports use."""
        if self.query_projection is self.document_projection:
            modules: dict[str, Module] = {"projection": self.query_projection}
        else:
            modules = {"query_projection": self.query_projection, "document_projection": self.document_projection}
        return modules if self.predictor is None else {**modules, "predictor": self.predictor}


def head_parts(head: Router) -> HeadParts:
    """Return the modules of a head.

    Raises:
        InputError: a router that :func:`build_head` did not make.
    """
    routes = [list(head.sub_modules[task]) if task in head.sub_modules else [] for task in ("query", "document")]
    if not all(routes) or not all(isinstance(route[0], Projection) for route in routes):
        raise InputError("this model has no collapse-probe head: give a model that `collapse-probe train` saved")
    predictor = routes[0][1] if len(routes[0]) > 1 else None
    if predictor is not None and not isinstance(predictor, ResidualPredictor | DirectPredictor):
        raise InputError(f"unknown predictor {type(predictor).__name__}: give a model that collapse-probe saved")
    return HeadParts(cast(Projection, routes[0][0]), cast(Projection, routes[1][0]), predictor)
