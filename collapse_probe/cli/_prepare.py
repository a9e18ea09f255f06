"""From what the user named to texts, vectors and collections; nothing here writes into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..respred import EvaluationSet, Recipe, TrainingData, make_evaluation_set
from ..retrieval import (
    Collection,
    Encoder,
    FeatureStore,
    Pairs,
    build_embedded,
    open_collection,
    open_encoder,
    read_beir,
    read_pairs,
)
from ._display import counting, say

EMBEDDED_NAME = "embedded-docstrings"


@dataclass(frozen=True)
class Inputs:
    """What a run reads.

    Attributes:
        encoder: The frozen encoder.
        pairs: Training pairs; None for a recipe that trains nothing.
        validation: Held-out pairs of their own; None where a share of ``pairs`` is held out.
        collections: What is scored.
        embedded: Which of these are the embedded defaults.
    """

    encoder: Encoder
    pairs: Pairs | None
    validation: Pairs | None
    collections: list[Collection]
    embedded: tuple[str, ...]


def open_inputs(
    recipe: Recipe,
    *,
    pairs: Path | None,
    validation_pairs: Path | None,
    beir: Sequence[str],
    split: str,
    encoder: str | None,
    device: str,
    cache: Path,
) -> Inputs:
    """Open everything that a run reads, before anything is written.

    What is not named is the embedded default, and is said to be so.

    Raises:
        InputError: something named cannot be used.
    """
    opened = open_encoder(encoder, device=device, cache=cache)
    read = read_pairs(pairs) if pairs and recipe.trains else None
    validation = read_pairs(validation_pairs) if validation_pairs and recipe.trains else None
    collections = [open_collection(name, split=split, cache=cache / "beir") for name in beir]
    embedded = () if encoder else ("encoder",)
    if not beir or (recipe.trains and not pairs):
        with counting("reading docstrings") as update:
            text = build_embedded(cache / "embedded", progress=update)
        if recipe.trains and not pairs:
            read = read_pairs(text.pairs)
            embedded += ("pairs",)
        if not beir:
            found = read_beir(text.collection, split="test")
            collections = [_renamed(found, EMBEDDED_NAME)]
            embedded += ("collection",)
    if read is not None and len(read) < recipe.batch_size:
        raise InputError(
            f"{read.source}: {len(read)} pairs are fewer than one batch of {recipe.batch_size}: "
            "give more pairs or a smaller --batch-size"
        )
    _check_names(collections)
    return Inputs(opened, read, validation, collections, embedded)


def encode(inputs: Inputs, *, features: Sequence[Path], cache: Path) -> FeatureStore:
    """Return a store that holds every text of the inputs, encoding what is missing."""
    store = open_store(inputs.encoder, features=features, cache=cache)
    texts: list[str] = []
    for pairs in (inputs.pairs, inputs.validation):
        if pairs is not None:
            texts += [*pairs.queries, *pairs.documents]
    for collection in inputs.collections:
        texts += [*collection.queries.values(), *collection.documents.values()]
    encode_missing(store, inputs.encoder, texts)
    return store


def open_store(encoder: Encoder, *, features: Sequence[Path], cache: Path) -> FeatureStore:
    """Open the encoder's feature store in the cache, with the read-only ones beside it."""
    return FeatureStore.open(cache / "features" / encoder.identity.key, encoder.identity, extra=features)


def encode_missing(store: FeatureStore, encoder: Encoder, texts: Sequence[str]) -> None:
    """Encode the texts that a store lacks, with a bar; an interruption keeps what is done."""
    missing = store.missing(texts)
    if not missing:
        return
    say(f"encoding {len(missing):,} texts once with {encoder.identity.name}; they are kept for every later run")
    try:
        with counting("encoding") as update:
            store.add(missing, encoder.encode, progress=update)
    except KeyboardInterrupt:
        left = len(store.missing(missing))
        say(f"interrupted: {len(missing) - left:,} of {len(missing):,} texts are encoded and kept")
        raise


def training_data(inputs: Inputs, store: FeatureStore, *, share: float, seed: int) -> TrainingData | None:
    """Return the vectors of the pairs, split into those trained on and those held out."""
    import torch

    from ..respred._training import split_pairs

    if inputs.pairs is None:
        return None
    query = torch.from_numpy(store.vectors(inputs.pairs.queries))
    document = torch.from_numpy(store.vectors(inputs.pairs.documents))
    if inputs.validation is not None:
        held_out = (store.vectors(inputs.validation.queries), store.vectors(inputs.validation.documents))
        return TrainingData(query, document, torch.from_numpy(held_out[0]), torch.from_numpy(held_out[1]))
    kept, out = split_pairs(len(query), share=share, seed=seed)
    return TrainingData(query[kept], document[kept], query[out], document[out])


def evaluation_sets(inputs: Inputs, store: FeatureStore) -> list[EvaluationSet]:
    """Return the collections with their vectors."""
    return [make_evaluation_set(collection, store) for collection in inputs.collections]


def _renamed(collection: Collection, name: str) -> Collection:
    from dataclasses import replace

    return replace(collection, name=name)


def _check_names(collections: Sequence[Collection]) -> None:
    names = [collection.name for collection in collections]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--beir: two collections are named {name!r}: give folders of different names")
