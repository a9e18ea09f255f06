"""Recipes: every choice that makes a training run, as one frozen dataclass. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from ...errors import InputError, setting, unknown_name
from ...journal import ModuleInfo, StreamInfo
from ...journal.vocabulary import Similarity

ProjectionKind = Literal["none", "linear", "mlp"]
PredictorKind = Literal["none", "direct", "residual"]
Reduction = Literal["sum", "mean"]
ScoringPath = Literal["no_predictor", "predictor"]
IsotropyTerm = Literal["covariance", "sigreg", "sigreg_paper", "vicreg", "koleo", "uniformity"]
Penalty = Literal["l2", "l1", "orthogonal"]
DeltaMap = Literal["mlp", "linear"]
StopRule = Literal["none", "ndcg@10"]
SelectionRule = Literal["auto", "ndcg@10", "validation_loss", "last"]


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
    normalise: bool = _option(False, "give projected embeddings unit length, which anchors their scale")
    asymmetric: bool = _option(False, "a projection each for queries and documents, alike before the first step")
    predictor: PredictorKind = _option("residual", "q + alpha * delta(q), a direct MLP, or none")
    alpha: float = _option(0.1, "initial value of alpha")
    alpha_learnable: bool = _option(True, "train alpha")
    delta: DeltaMap = _option("mlp", "map from q to delta; a linear one has a closed-form optimum")
    tanh: bool = _option(True, "bound delta to [-1, 1] by a tanh")
    isotropy: IsotropyTerm = _option(
        "covariance", "isotropy term; covariance is the founding one, without scale anchor"
    )
    lambda_isotropy: float = _option(1.5, "weight of the isotropy term")
    lambda_predictive: float = _option(1.2, "weight of the predictive term")
    lambda_residual: float = _option(0.01, "weight of the residual term")
    residual_penalty: Penalty = _option("l2", "residual term: ||delta||^2, ||delta||_1, or <delta, q>^2 (orthogonal)")
    residual_reduction: Reduction = _option("sum", "reduction of the residual term over dimensions")
    residual_margin: float = _option(
        0.0, "above 0 the residual weight is lambda_residual * relu(mean ||delta|| - margin)"
    )
    lambda_contrastive: float = _option(0.0, "weight of in-batch InfoNCE on the predicted query")
    temperature: float = _option(0.05, "temperature of the contrastive term, on cosines")
    stop_gradient: bool = _option(True, "detach the documents in the predictive term")
    detach_delta: bool = _option(False, "detach delta's input, so that its losses do not reach the projection")
    epochs: int = _option(3, "passes over the training pairs")
    max_steps: int = _option(0, "stop after this many optimiser steps; 0 trains all epochs")
    batch_size: int = _option(64, "pairs in a batch, on each device")
    learning_rate: float = _option(1e-3, "AdamW's learning rate, constant")
    weight_decay: float = _option(0.01, "AdamW's decoupled weight decay, on every parameter")
    max_grad_norm: float = _option(1.0, "gradient clipping norm; 0 clips nothing")
    unfreeze_layers: int = _option(0, "train the encoder's top layers too, from text; 0 trains on stored vectors")
    encoder_learning_rate: float = _option(2e-5, "AdamW's learning rate for the unfrozen encoder layers")
    similarity: Similarity = _option("euclidean", "score: negative Euclidean distance, cosine or dot product")
    scoring_path: ScoringPath = _option("no_predictor", "what encode_query returns and the verdict is about")

    early_stop: StopRule = _option("none", "stop where this falls on the development split")
    patience: int = _option(1, "evaluations without a new best after which early_stop stops")
    select: SelectionRule = _option(
        "auto", "which checkpoint is saved; auto: by nDCG@10 on the development split, the last one without a split"
    )

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(name.replace("_", " "), str(getattr(self, name)), allowed)
        for name in _NON_NEGATIVE:
            self._check(name, at_least=0)
        for name in ("epochs", "expansion", "patience"):
            self._check(name, at_least=1)
        self._check("batch_size", at_least=2)
        self._check("dropout", at_least=0.0, below=1.0)
        self._check("temperature", at_least=1e-4)
        self._check("alpha", at_least=-math.inf)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.scoring_path == "predictor" and self.predictor == "none":
            given, needed = setting("scoring_path", "predictor"), setting("predictor", "residual")
            raise InputError(f"{given} needs a predictor: give {needed} or direct")
        for name in ("freeze_projection", "normalise", "asymmetric"):
            if getattr(self, name) and self.projection == "none":
                needed = setting("projection", "mlp")
                raise InputError(f"{setting(name)} needs a projection: give {needed} or linear")

    def _check(self, name: str, *, at_least: float, below: float = math.inf) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and at_least <= value < below):
            upper = "" if below == math.inf else f" and below {below:g}"
            needed = "a finite number" if at_least == -math.inf else f"a number of at least {at_least:g}{upper}"
            raise InputError(f"{setting(name)} is {value!r}: {needed} is needed")

    @property
    def trains(self) -> bool:
        """Whether there is anything to train; the raw encoder alone has nothing."""
        head = (self.projection != "none" and not self.freeze_projection) or self.predictor != "none"
        return head or self.unfreeze_layers > 0

    @property
    def trains_from_text(self) -> bool:
        """Whether encoder layers are trained, so that stored vectors are not enough."""
        return self.unfreeze_layers > 0

    @property
    def _has_mlp(self) -> bool:
        by_predictor = self.predictor == "direct" or (self.predictor == "residual" and self.delta == "mlp")
        return self.projection == "mlp" or by_predictor

    def changed_from(self, other: Recipe) -> dict[str, Any]:
        """Return this recipe's values of the fields, name aside, in which it differs from another."""
        mine, theirs = self.as_dict(), other.as_dict()
        return {field: value for field, value in mine.items() if field != "name" and value != theirs[field]}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Return the recipe that :meth:`as_dict` came from.

        Raises:
            InputError: a field that this version does not know, or a value of another type.
        """
        known = {f.name for f in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise unknown_name("recipe field", name, known)
            kinds = _TYPES.get(_HINTS[name], (str,))
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise InputError(
                    f"recipe field {name} is {value!r}: {' or '.join(k.__name__ for k in kinds)} is needed"
                )
        return cls(**values)

    @property
    def idle(self) -> dict[str, str]:
        """Fields that change no training and no score in this configuration, and what they would need."""
        return {name: needs for names, active, needs in _ROLES if not active(self) for name in names}


_NON_NEGATIVE = (
    "lambda_isotropy",
    "lambda_predictive",
    "lambda_residual",
    "lambda_contrastive",
    "residual_margin",
    "weight_decay",
    "max_grad_norm",
    "learning_rate",
    "encoder_learning_rate",
    "unfreeze_layers",
    "max_steps",
)
_HINTS = get_type_hints(Recipe)
_CHOICES = {name: get_args(hint) for name, hint in _HINTS.items() if get_args(hint)}


_TYPES: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float)}
_RESIDUAL = ("alpha", "alpha_learnable", "delta", "tanh", "lambda_residual")
_PENALTY = ("residual_penalty", "residual_reduction", "residual_margin")
_ROLES: tuple[tuple[tuple[str, ...], Callable[[Recipe], bool], str], ...] = (
    (_RESIDUAL, lambda r: r.predictor == "residual", "predictor residual"),
    (_PENALTY, lambda r: r.predictor == "residual" and r.lambda_residual > 0, "a residual term (lambda_residual)"),
    (("detach_delta",), lambda r: r.predictor != "none", "a predictor"),
    (("isotropy",), lambda r: r.lambda_isotropy > 0, "lambda_isotropy above 0"),
    (("temperature",), lambda r: r.lambda_contrastive > 0, "lambda_contrastive above 0"),
    (("stop_gradient",), lambda r: r.lambda_predictive > 0, "lambda_predictive above 0"),
    (("expansion", "dropout"), lambda r: r._has_mlp, "an MLP"),
    (("encoder_learning_rate",), lambda r: r.unfreeze_layers > 0, "unfreeze_layers above 0"),
    (("patience",), lambda r: r.early_stop != "none", "early_stop"),
)


def recipe_choices() -> dict[str, tuple[str, ...]]:
    """Return the allowed values of every field that has a closed list of them."""
    return dict(_CHOICES)


def recipe_fields() -> list[tuple[str, Any, str]]:
    """Return ``(name, type, help)`` of every field that is a flag, in order."""
    return [(f.name, _HINTS[f.name], f.metadata["help"]) for f in fields(Recipe) if "help" in f.metadata]


_ALIASES: dict[tuple[str, str], dict[str, Any]] = {
    ("projection", "frozen"): {"freeze_projection": True},
    ("delta", "detached"): {"detach_delta": True},
}
_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


def parse_change(name: str, text: str) -> dict[str, Any]:
    """Return the fields that ``name=text`` sets.

    ``projection=frozen`` and ``delta=detached`` stand for the fields that do that.

    Raises:
        InputError: no such field, or a value of another type.

    >>> parse_change("tanh", "off"), parse_change("projection", "frozen")
    ({'tanh': False}, {'freeze_projection': True})
    """
    name = name.strip().lstrip("-").replace("-", "_")
    kinds = {field: kind for field, kind, _ in recipe_fields()}
    if name not in kinds:
        raise unknown_name("recipe field", name, kinds)
    if (name, text) in _ALIASES:
        return dict(_ALIASES[(name, text)])
    choices = _CHOICES.get(name)
    if choices is not None:
        aliases = [value for field, value in _ALIASES if field == name]
        if text not in choices:
            raise unknown_name(name.replace("_", " "), text, [*choices, *aliases])
        return {name: text}
    if kinds[name] is bool:
        if text.lower() not in _WORDS:
            raise InputError(f"{name}={text}: on or off is needed")
        return {name: _WORDS[text.lower()]}
    try:
        return {name: kinds[name](text)}
    except ValueError:
        needed = "a whole number" if kinds[name] is int else "a number"
        raise InputError(f"{name}={text}: {needed} is needed") from None


def head_modules(recipe: Recipe) -> tuple[ModuleInfo, ...]:
    """Return every module that a recipe may train: whether it does, and whether the evaluated score uses it."""
    modules = []
    if recipe.trains_from_text:
        modules.append(ModuleInfo(name="encoder", trained=True, scored=True))
    if recipe.projection != "none":
        names = ("query_projection", "document_projection") if recipe.asymmetric else ("projection",)
        modules += [ModuleInfo(name=name, trained=not recipe.freeze_projection, scored=True) for name in names]
    if recipe.predictor != "none":
        scored = recipe.scoring_path == "predictor"
        modules.append(ModuleInfo(name="predictor", trained=True, scored=scored))
    return tuple(modules)


def head_streams(recipe: Recipe) -> tuple[StreamInfo, ...]:
    """Return the streams that a run of a recipe declares; none where nothing is trained."""
    if not recipe.trains:
        return ()
    streams = (StreamInfo(name="query", role="query"), StreamInfo(name="document", role="document"))
    if recipe.predictor == "residual":
        streams += (StreamInfo(name="delta", role="correction"), StreamInfo(name="alpha", role="gate"))
    return streams
