"""Recipes: every choice that makes a training run, as one frozen dataclass. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from ..errors import InputError, unknown_name

ProjectionKind = Literal["none", "linear", "mlp"]
PredictorKind = Literal["none", "direct", "residual"]
Reduction = Literal["sum", "mean"]
Similarity = Literal["euclidean", "cosine", "dot"]
ScoringPath = Literal["no_predictor", "predictor"]


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A frozen encoder, what is trained on top of it, with which losses, and how it is scored.

    The defaults are the founding system's (ResPred). Every field is a flag of ``collapse-probe train``.

    Raises:
        InputError: a value out of its range, or a combination that has no meaning.
    """

    name: str = "respred"
    projection: ProjectionKind = _option("mlp", "map shared by queries and documents; linear starts at the identity")
    expansion: int = _option(2, "hidden width of the MLPs, as a multiple of the encoder's dimension")
    dropout: float = _option(0.1, "dropout inside the MLPs")
    freeze_projection: bool = _option(False, "keep the projection at its initial weights")
    predictor: PredictorKind = _option("residual", "q + alpha * delta(q), a direct MLP, or none")
    alpha: float = _option(0.1, "initial value of alpha")
    alpha_learnable: bool = _option(True, "train alpha")
    tanh: bool = _option(True, "bound delta to [-1, 1] by a tanh")
    lambda_isotropy: float = _option(1.5, "weight of the isotropy term")
    lambda_predictive: float = _option(1.2, "weight of the predictive term")
    lambda_residual: float = _option(0.01, "weight of the residual term ||delta||^2")
    residual_reduction: Reduction = _option("sum", "reduction of the residual term over dimensions")
    stop_gradient: bool = _option(True, "detach the documents in the predictive term")
    detach_delta: bool = _option(False, "detach delta's input, so that its losses do not reach the projection")
    epochs: int = _option(3, "passes over the training pairs")
    batch_size: int = _option(64, "pairs in a batch, on each device")
    learning_rate: float = _option(1e-3, "AdamW's learning rate, constant")
    weight_decay: float = _option(0.01, "AdamW's decoupled weight decay, on every parameter")
    max_grad_norm: float = _option(1.0, "gradient clipping norm; 0 clips nothing")
    similarity: Similarity = _option("euclidean", "score: negative Euclidean distance, cosine or dot product")
    scoring_path: ScoringPath = _option("no_predictor", "what encode_query returns and the verdict is about")

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(name.replace("_", " "), str(getattr(self, name)), allowed)
        for name in ("lambda_isotropy", "lambda_predictive", "lambda_residual", "weight_decay", "max_grad_norm"):
            self._check(name, at_least=0.0)
        for name in ("epochs", "expansion"):
            self._check(name, at_least=1)
        self._check("batch_size", at_least=2)
        self._check("dropout", at_least=0.0, below=1.0)
        self._check("learning_rate", at_least=0.0)
        self._check("alpha", at_least=-math.inf)
        if self.scoring_path == "predictor" and self.predictor == "none":
            raise InputError("--scoring-path predictor needs a predictor: give --predictor residual or direct")
        if self.freeze_projection and self.projection == "none":
            raise InputError("--freeze-projection needs a projection: give --projection mlp or linear")

    def _check(self, name: str, *, at_least: float, below: float = math.inf) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and at_least <= value < below):
            flag = "--" + name.replace("_", "-")
            upper = "" if below == math.inf else f" and below {below:g}"
            needed = "a finite number" if at_least == -math.inf else f"a number of at least {at_least:g}{upper}"
            raise InputError(f"{flag} is {value!r}: {needed} is needed")

    @property
    def trains(self) -> bool:
        """Whether there is anything to train; the raw encoder alone has nothing."""
        return (self.projection != "none" and not self.freeze_projection) or self.predictor != "none"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Return the recipe that :meth:`as_dict` came from.

        Raises:
            InputError: a field that this version does not know.
        """
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown_name("recipe field", name, known)
        return cls(**values)


_HINTS = get_type_hints(Recipe)
_CHOICES = {name: get_args(hint) for name, hint in _HINTS.items() if get_args(hint)}

RECIPES: dict[str, tuple[Recipe, str]] = {
    "baseline": (
        Recipe(
            name="baseline",
            projection="none",
            predictor="none",
            lambda_isotropy=0.0,
            lambda_predictive=0.0,
            lambda_residual=0.0,
            similarity="cosine",
        ),
        "the raw encoder, nothing trained: what every other recipe has to beat",
    ),
    "iso15_pred12": (
        Recipe(
            name="iso15_pred12",
            predictor="direct",
            lambda_residual=0.0,
            batch_size=16,
            learning_rate=5e-4,
        ),
        "shared projection with a direct MLP predictor, isotropy 1.5, predictive 1.2, batch 16, lr 5e-4",
    ),
    "respred": (
        Recipe(name="respred"),
        "the founding system: shared projection, q + alpha * delta(q), penalty 0.01 on ||delta||^2",
    ),
}
"""Every recipe by its name, with one line on what it is."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: no such recipe; says which is nearest.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name][0]


def recipe_choices() -> dict[str, tuple[str, ...]]:
    """Return the allowed values of every field that has a closed list of them."""
    return dict(_CHOICES)


def recipe_fields() -> list[tuple[str, Any, str]]:
    """Return ``(name, type, help)`` of every field that is a flag, in order."""
    return [(f.name, _HINTS[f.name], f.metadata["help"]) for f in fields(Recipe) if "help" in f.metadata]
