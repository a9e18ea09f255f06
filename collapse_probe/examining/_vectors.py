"""Vectors of all texts by every model: stored ones where there are some, encoded once where not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..journal.vocabulary import Role
from ..measures import Neighbours, Sample
from ..retrieval import (
    Encoder,
    Features,
    Scores,
    Task,
    Told,
    encode_missing,
    evaluate_vectors,
    own_similarity,
    stored_identity,
    texts_of,
)
from ._texts import Examined, Material


def encoded(
    encoder: Encoder, material: Material, *, cache: Path, extra: Sequence[Path], told: Told, constant: bool = False
) -> Features:
    """Return the vectors of all texts by a model; minutes where they are not stored.

    Args:
        encoder: The model.
        material: The texts.
        cache: Folder of the caches.
        extra: Read-only stores made elsewhere; those of this model are used.
        told: Who is told.
        constant: Whether the same vector for every text will do: among others it is their end, and no mistake.

    Raises:
        InputError: it gives vectors that cannot be used.
    """
    weights = encoder.identity.weights_sha256
    mine = [folder for folder in extra if stored_identity(folder).weights_sha256 == weights]
    features = Features(encoder, cache=cache, extra=mine)
    sources: list[dict[Task, list[str]]] = [texts_of(one.collection) for one in material.examined]
    sources.append({"query": list(material.queries), "document": list(material.documents)})
    encode_missing(features, sources, told)
    found = features.vectors(list(material.documents), "document")
    if not constant and len(set(material.documents)) > 1 and not np.ptp(found, axis=0).any():
        raise InputError(
            f"{encoder.name}: gives the same vector for every text, bit for bit, so nothing can be examined; "
            "leave it out, and look at how it was saved"
        )
    return features


def sample(features: Features, material: Material, *, earlier: Neighbours | None) -> Sample:
    """Return the reference pairs by a model: every document once, with whose it is.

    Args:
        features: The model's vectors.
        material: The texts.
        earlier: Who was near whom under the first model; None for that itself.
    """
    distinct = {text: at for at, text in enumerate(dict.fromkeys(material.documents))}
    own = torch.tensor([distinct[text] for text in material.documents])
    return Sample(
        streams={
            "query": _tensor(features.vectors(list(material.queries), "query")),
            "document": _tensor(features.vectors(list(distinct), "document")),
        },
        roles={"query": Role.query, "document": Role.document},
        similarity=own_similarity(features.encoder.identity),  # type: ignore[arg-type]
        own=None if len(distinct) == len(own) else own,
        earlier=earlier,
    )


def scored(features: Features, one: Examined, *, device: str) -> Scores:
    """Return a model's scores on a collection."""
    collection = one.collection
    return evaluate_vectors(
        features.vectors(list(collection.queries.values()), "query"),
        features.vectors(list(collection.documents.values()), "document"),
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        qrels=collection.qrels,
        similarity=own_similarity(features.encoder.identity),  # type: ignore[arg-type]
        device=device,
        leave_out=collection.leave_out,
    )


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(rows))
