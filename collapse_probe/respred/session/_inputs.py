"""From what the user named to texts and an encoder. Writes nothing, and imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...demo import build_embedded
from ...errors import InputError, setting
from ...retrieval import (
    Collection,
    Encoder,
    Pairs,
    Prompts,
    open_collections,
    open_encoder,
    own_similarity,
    parse_columns,
    read_beir,
    read_pairs,
    stored_identity,
)
from ..recipes import Recipe
from ._listener import Audience
from ._request import Request

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


def open_inputs(recipe: Recipe, request: Request, audience: Audience, *, scores: bool, bundled: bool) -> Inputs:
    """Open everything that a run reads, before anything is written and before torch is imported.

    Args:
        recipe: What is going to be trained.
        request: What the user named.
        audience: Who is told.
        scores: Whether anything is scored.
        bundled: Whether bundled text stands in for pairs and collections that are not named.

    Raises:
        InputError: something named cannot be used.
    """
    encoder = open_named_encoder(recipe, request)
    read, validation = _open_pairs(recipe, request)
    where: dict[str, Any] = {"cache": request.cache / "beir", "identical_ids": request.identical_ids}
    scored = open_scored(request)
    development = _open_development(request, **where)
    embedded = () if request.encoder else ("encoder",)
    no_pairs, no_collections = recipe.trains and read is None, scores and not request.collections
    if bundled and (no_pairs or no_collections):
        with audience.counting("reading docstrings") as update:
            text = build_embedded(request.cache / "embedded", progress=update)
        if no_pairs:
            read = read_pairs(text.pairs)
            embedded += ("pairs",)
        if no_collections:
            scored = [replace(read_beir(text.collection, split="test"), name=EMBEDDED_NAME)]
            embedded += ("collection",)
    if recipe.trains and read is None:
        raise InputError(f"recipe {recipe.name} trains: it needs pairs ({setting('pairs', 'FILE')})")
    _check_batch(recipe, read)
    _check_names(scored)
    if scores:
        _check_development(recipe, development, scored, read)
    return Inputs(encoder, read, validation, scored, development, embedded)


def open_named_encoder(recipe: Recipe, request: Request) -> Encoder:
    """Find the encoder with the prompts that the user gave.

    Half-precision weights are cast to float32 where anything is trained, once, when they are loaded.

    Raises:
        InputError: it is not there and no feature store can stand in for it, or one named is none.
    """
    prompts = Prompts(request.query_prompt, request.document_prompt)
    encoder = open_encoder(request.encoder, cache=request.cache, prompts=prompts, full_precision=recipe.trains)
    for folder in request.features:
        stored_identity(folder)
    if not request.features:
        encoder.check_here()
    return encoder


def open_scored(request: Request) -> list[Collection]:
    """Open the collections that are scored.

    Raises:
        InputError: one named cannot be used.
    """
    found: list[Collection] = []
    where: dict[str, Any] = {"cache": request.cache / "beir", "identical_ids": request.identical_ids}
    for one in request.collections:
        given = isinstance(one, Collection)
        found += [one] if given else open_collections(one, split=request.split, **where)
    return found


def with_own_similarity(recipe: Recipe, encoder: Encoder, given: str | None) -> tuple[Recipe, str]:
    """Return the recipe with what it is scored by, and what the raw encoder is scored by.

    A raw encoder is scored by its own similarity, unless the user gave one. A trained head has the recipe's. Where
    vectors have unit norm all of them rank alike, and the recipe's serves for both.
    """
    identity = encoder.identity
    if given is not None or (identity.normalised and recipe.trains):
        return recipe, recipe.similarity
    own = own_similarity(identity)
    return (recipe if recipe.trains else replace(recipe, similarity=own)), own  # type: ignore[arg-type]


def _open_pairs(recipe: Recipe, request: Request) -> tuple[Pairs | None, Pairs | None]:
    named = parse_columns(",".join(request.columns)) if request.columns else None
    if request.pairs is None and (named or request.min_score is not None):
        about, score, pairs = setting("columns"), setting("min_score"), setting("pairs")
        raise InputError(f"{about} and {score} are about {pairs}: give them together")
    if not recipe.trains:
        return None, None
    read, held_out = request.pairs, request.validation_pairs
    if isinstance(read, Path):
        read = read_pairs(read, columns=named, min_score=request.min_score)
    if isinstance(held_out, Path):
        held_out = _read_held_out(held_out, named, request.min_score)
    return read, held_out


def _read_held_out(path: Path, columns: dict[str, str] | None, min_score: float | None) -> Pairs:
    """Read held-out pairs with the columns of the training pairs, where they have these; else by their own names."""
    if columns is not None:
        try:
            return read_pairs(path, columns=columns, min_score=min_score)
        except InputError as error:
            if ": no column " not in error.args[0]:
                raise
    return read_pairs(path, min_score=min_score)


def _open_development(request: Request, **where: Any) -> Collection | None:
    if request.dev is None or isinstance(request.dev, Collection):
        return request.dev
    try:
        found = open_collections(request.dev, split=request.dev_split, **where)
    except InputError as error:
        told = error.told(lambda name, value: setting("dev_split" if name == "split" else name, value))
        raise InputError(told) from None
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:4])
        raise InputError(f"{setting('dev', request.dev)}: a folder of collections ({names}); give one of them")
    return found[0]


def _check_batch(recipe: Recipe, pairs: Pairs | None) -> None:
    if pairs is not None and len(pairs) < recipe.batch_size:
        counted = "1 pair, fewer" if len(pairs) == 1 else f"{len(pairs):,} pairs, fewer"
        fix = f"give more pairs or a smaller {setting('batch_size')}"
        raise InputError(f"{pairs.source}: {counted} than one batch of {recipe.batch_size}: {fix}")


def _check_development(
    recipe: Recipe, development: Collection | None, collections: Sequence[Collection], pairs: Pairs | None
) -> None:
    if development is None:
        for name in ("early_stop", "select"):
            if getattr(recipe, name) == "ndcg@10":
                fix = f"give {setting('dev', 'NAME')} ({setting('dev_split', 'train')})"
                raise InputError(f"{setting(name, 'ndcg@10')} needs a development split: {fix}")
        return
    named = setting("dev", development.name)
    for collection in collections:
        if (collection.name, collection.split) == (development.name, development.split):
            scored = setting("collections")
            raise InputError(f"{named}: split {development.split} is what {scored} scores: give another")
    trained = set(development.queries.values()) & set(pairs.queries if pairs is not None else ())
    if trained:
        raise InputError(
            f"{named}: {len(trained)} of its {len(development.queries)} queries are in {setting('pairs')}: "
            "give a split that is not trained on"
        )


def _check_names(collections: Sequence[Collection]) -> None:
    names = [collection.name for collection in collections]
    for name in names:
        if names.count(name) > 1:
            given = setting("collections")
            raise InputError(f"{given}: two collections are named {name!r}: give folders of different names")
