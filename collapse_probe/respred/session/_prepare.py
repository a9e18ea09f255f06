"""Everything that stands between a request and the first step: opened, encoded, split and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...retrieval import Features, Overlap, resolve_device
from ..recipes import Recipe, Similarity
from . import _describe
from ._inputs import Inputs, open_inputs, with_own_similarity
from ._listener import Audience
from ._request import Request, check_precision
from ._vectors import encode, overlaps, training_data

if TYPE_CHECKING:
    from ...diagnosis import FindingRow as Finding
    from ..training import TrainingData


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a run is made of, ready to begin.

    Attributes:
        recipe: What is trained, with the similarity that is in force.
        request: What the user asked for.
        inputs: What is read.
        features: Vectors of all texts.
        data: Vectors of the pairs; None for a recipe that trains nothing.
        raw_similarity: What the raw encoder is scored by.
        device: ``cpu`` or ``cuda``.
        preflight: What preflight says of the recipe on this data.
        shared: What each scored collection has in common with the pairs.
    """

    recipe: Recipe
    request: Request
    inputs: Inputs
    features: Features
    data: TrainingData | None
    raw_similarity: Similarity
    device: str
    preflight: Sequence[Finding] = ()
    shared: Sequence[Overlap] = ()


def prepare(
    recipe: Recipe,
    request: Request,
    audience: Audience,
    *,
    similarity: str | None = None,
    scores: bool = True,
    bundled: bool = False,
) -> Preparation:
    """Open, encode and judge what a recipe is trained on; minutes where texts have no vectors yet.

    Args:
        recipe: What is going to be trained.
        request: What the user asked for.
        audience: Who is told.
        similarity: The recipe's, where the user gave it; None leaves a raw encoder its own.
        scores: Whether anything is going to be trained and scored, not judged alone.
        bundled: Whether bundled text stands in for pairs and collections that are not named.

    Raises:
        InputError: something named cannot be used.
    """
    inputs = open_inputs(recipe, request, audience, scores=scores, bundled=bundled)
    _say(_describe.describe_inputs(recipe, inputs), audience)
    device = inputs.encoder.device = resolve_device(request.device)
    # A store stands in for an encoder that is not here, so it is opened before the encoder is asked anything.
    features = Features(inputs.encoder, cache=request.cache, extra=request.features)
    raw: str | None = None
    if scores:
        check_precision(request.precision, device)
        if recipe.trains_from_text:
            check_layers(inputs, recipe)
        recipe, raw = with_own_similarity(recipe, inputs.encoder, similarity)
    _say(_describe.describe_encoder(recipe, inputs, raw, device=device), audience)
    encode(inputs, features, audience)
    data = training_data(inputs, features, share=request.validation_share, seed=request.seed)
    shared = overlaps(inputs, features)
    _say(_describe.describe_overlaps(inputs, shared), audience)
    return Preparation(
        recipe=recipe,
        request=request,
        inputs=inputs,
        features=features,
        data=data,
        raw_similarity=raw or recipe.similarity,  # type: ignore[arg-type]
        device=device,
        preflight=_judged(recipe, data, seed=request.seed),
        shared=shared,
    )


def check_layers(inputs: Inputs, recipe: Recipe) -> None:
    """Check that the encoder has the layers that a recipe trains, before anything is encoded or written.

    Raises:
        InputError: it has fewer, or none that can be found.
    """
    from ..training import top_layers

    top_layers(inputs.encoder.model, recipe.unfreeze_layers)


def _judged(recipe: Recipe, data: TrainingData | None, *, seed: int) -> list[Finding]:
    if data is None:
        return []
    from ..audits import preflight

    return preflight(recipe, data, seed=seed)


def _say(lines: Sequence[str], audience: Audience) -> None:
    for line in lines:
        audience.say(line)
