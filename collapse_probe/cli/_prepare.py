"""From what the user named to texts, vectors and collections; nothing here writes into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..respred import EvaluationSet, Recipe, TrainingData, make_evaluation_set
from ..retrieval import (
    Collection,
    Encoder,
    FeatureStore,
    Pairs,
    build_embedded,
    judged_pairs,
    open_collection,
    open_encoder,
    read_beir,
    read_pairs,
)
from ._display import counting, say

if TYPE_CHECKING:
    from ..respred._vectors import Side

EMBEDDED_NAME = "embedded-docstrings"


@dataclass(frozen=True)
class Inputs:
    """What a run reads.

    Attributes:
        encoder: The frozen encoder.
        pairs: Training pairs; None for a recipe that trains nothing.
        validation: Held-out pairs of their own; None where a share of ``pairs`` is held out.
        collections: What is scored.
        development: What checkpoints are chosen by; None where nothing was named.
        embedded: Which of these are the embedded defaults.
    """

    encoder: Encoder
    pairs: Pairs | None
    validation: Pairs | None
    collections: list[Collection]
    development: Collection | None
    embedded: tuple[str, ...]


def open_inputs(
    recipe: Recipe,
    *,
    pairs: Path | None,
    validation_pairs: Path | None,
    encoder: str | None,
    device: str,
    cache: Path,
    beir: Sequence[str] = (),
    split: str = "test",
    dev: str | None = None,
    dev_split: str = "train",
    collections: bool = True,
) -> Inputs:
    """Open everything that a run reads, before anything is written.

    What is not named is the embedded default, and is said to be so. ``collections`` False leaves out what is scored.

    Raises:
        InputError: something named cannot be used.
    """
    opened = open_encoder(encoder, device=device, cache=cache)
    read = _read_pairs(pairs) if pairs and recipe.trains else None
    validation = _read_pairs(validation_pairs) if validation_pairs and recipe.trains else None
    scored = [open_collection(name, split=split, cache=cache / "beir") for name in beir]
    development = None if dev is None else open_collection(dev, split=dev_split, cache=cache / "beir")
    embedded = () if encoder else ("encoder",)
    if (collections and not beir) or (recipe.trains and not pairs):
        with counting("reading docstrings") as update:
            text = build_embedded(cache / "embedded", progress=update)
        if recipe.trains and not pairs:
            read = read_pairs(text.pairs)
            embedded += ("pairs",)
        if collections and not beir:
            found = read_beir(text.collection, split="test")
            scored = [_renamed(found, EMBEDDED_NAME)]
            embedded += ("collection",)
    if read is not None and len(read) < recipe.batch_size:
        raise InputError(
            f"{read.source}: {len(read)} pairs are fewer than one batch of {recipe.batch_size}: "
            "give more pairs or a smaller --batch-size"
        )
    _check_names(scored)
    if collections:
        _check_development(recipe, development, scored, read)
    return Inputs(opened, read, validation, scored, development, embedded)


def check_layers(inputs: Inputs, recipe: Recipe) -> None:
    """Check that the encoder has the layers that a recipe trains, before anything is encoded or written.

    Raises:
        InputError: it has fewer, or none that can be found.
    """
    from ..respred._encoder_layers import top_layers

    top_layers(inputs.encoder.model, recipe.unfreeze_layers)


def encode(inputs: Inputs, *, features: Sequence[Path], cache: Path) -> FeatureStore:
    """Return a store that holds every text of the inputs, encoding what is missing."""
    store = open_store(inputs.encoder, features=features, cache=cache)
    texts: list[str] = []
    for pairs in (inputs.pairs, inputs.validation):
        if pairs is not None:
            texts += [*pairs.queries, *pairs.documents]
    for collection in (*inputs.collections, *([inputs.development] if inputs.development else ())):
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
    """Return the vectors and texts of the pairs, split into those trained on and those held out."""
    from ..respred._vectors import training_split

    sides = pair_sides(inputs, store)
    if not sides:
        return None
    return training_split(sides[0], sides[1] if len(sides) > 1 else None, share=share, seed=seed)


def pair_sides(inputs: Inputs, store: FeatureStore) -> list[Side]:
    """Return vectors and texts of the training pairs and, where there are any, of the held-out pairs of their own."""
    import torch

    sides: list[Side] = []
    for texts in (inputs.pairs, inputs.validation):
        if texts is not None:
            query, document = (torch.from_numpy(store.vectors(side)) for side in (texts.queries, texts.documents))
            sides.append((query, document, texts.queries, texts.documents))
    return sides


def evaluation_sets(inputs: Inputs, store: FeatureStore) -> list[EvaluationSet]:
    """Return the collections with their vectors, the development split last."""
    sets = [make_evaluation_set(collection, store) for collection in inputs.collections]
    if inputs.development is not None:
        sets.append(make_evaluation_set(inputs.development, store, role="development"))
    return sets


def _read_pairs(path: Path) -> Pairs:
    """Read a file of pairs, or the relevant pairs of a BEIR folder's train split."""
    return judged_pairs(read_beir(path, split="train"), source=str(path)) if path.is_dir() else read_pairs(path)


def _check_development(
    recipe: Recipe, development: Collection | None, collections: Sequence[Collection], pairs: Pairs | None
) -> None:
    if development is None:
        for rule, flag in ((recipe.early_stop, "--early-stop"), (recipe.select, "--select")):
            if rule == "ndcg@10":
                raise InputError(f"{flag} ndcg@10 needs a development split: give --dev PATH|NAME (--dev-split train)")
        return
    for collection in collections:
        if (collection.name, collection.split) == (development.name, development.split):
            raise InputError(f"--dev {development.name}: split {development.split} is what --beir scores: give another")
    trained = set(development.queries.values()) & set(pairs.queries if pairs is not None else ())
    if trained:
        raise InputError(
            f"--dev {development.name}: {len(trained)} of its {len(development.queries)} queries are in --pairs: "
            "give a split that is not trained on"
        )


def _renamed(collection: Collection, name: str) -> Collection:
    from dataclasses import replace

    return replace(collection, name=name)


def _check_names(collections: Sequence[Collection]) -> None:
    names = [collection.name for collection in collections]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--beir: two collections are named {name!r}: give folders of different names")
