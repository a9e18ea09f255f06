"""From the texts of a run's inputs to vectors: encoded once, then kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...journal import RunConfig
from ...retrieval import Features, Overlap, Task, encode_missing, find_overlap, texts_of
from ._inputs import Inputs
from ._listener import Audience

if TYPE_CHECKING:
    from ..training import EvaluationSet, Side, TrainingData


def encode(inputs: Inputs, features: Features, audience: Audience) -> None:
    """Encode every text of the inputs that has no vector yet; this can take minutes."""
    sources: list[dict[Task, list[str]]] = [
        {"query": list(pairs.queries), "document": list(pairs.documents)}
        for pairs in (inputs.pairs, inputs.validation)
        if pairs is not None
    ]
    sources += [texts_of(collection) for collection in inputs.collections]
    if inputs.development is not None:
        sources.append(texts_of(inputs.development))
    encode_missing(features, sources, audience)


def overlaps(inputs: Inputs, features: Features) -> list[Overlap]:
    """Return what each scored collection has in common with the training pairs; none without pairs."""
    if inputs.pairs is None:
        return []
    return [
        find_overlap(collection, inputs.pairs, lambda texts: features.vectors(texts, "document"))
        for collection in inputs.collections
    ]


def training_data(inputs: Inputs, features: Features, *, share: float, seed: int) -> TrainingData | None:
    """Return the vectors and texts of the pairs, split into those trained on and those held out."""
    from ..training import training_split

    sides = pair_sides(inputs, features)
    if not sides:
        return None
    return training_split(sides[0], sides[1] if len(sides) > 1 else None, share=share, seed=seed)


def pair_sides(inputs: Inputs, features: Features) -> list[Side]:
    """Return vectors and texts of the training pairs and, where there are any, of the held-out pairs of their own."""
    import torch

    sides: list[Side] = []
    for texts in (inputs.pairs, inputs.validation):
        if texts is not None:
            query = torch.from_numpy(features.vectors(texts.queries, "query"))
            document = torch.from_numpy(features.vectors(texts.documents, "document"))
            sides.append((query, document, texts.queries, texts.documents))
    return sides


def evaluation_sets(
    inputs: Inputs, features: Features, config: RunConfig, shared: Sequence[Overlap] = ()
) -> list[EvaluationSet]:
    """Return the collections with their vectors and the domains that a run recorded, the development split last.

    ``shared`` is what each collection has in common with the training pairs, where that was found.
    """
    from ..training import make_evaluation_set

    domains = {one.fingerprint: one.domain for one in config.collections}
    trained = [one.documents for one in shared] or [None] * len(inputs.collections)
    sets = [
        make_evaluation_set(collection, features, domain=domains.get(collection.fingerprint), trained=known)
        for collection, known in zip(inputs.collections, trained, strict=True)
    ]
    if inputs.development is not None:
        sets.append(make_evaluation_set(inputs.development, features, role="development"))
    return sets
