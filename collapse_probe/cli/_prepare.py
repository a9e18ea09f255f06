"""From what the user named to texts, vectors and collections; nothing here writes into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, setting
from ..respred import Recipe
from ..retrieval import (
    TASKS,
    Collection,
    Encoder,
    Features,
    Overlap,
    Pairs,
    Prompts,
    Task,
    build_embedded,
    find_overlap,
    open_collections,
    open_encoder,
    own_similarity,
    parse_columns,
    read_beir,
    read_pairs,
    stored_identity,
)
from ._display import counting, say
from ._options import identical_ids, is_main_process

if TYPE_CHECKING:
    from ..respred import EvaluationSet, TrainingData
    from ..respred.training import Side

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


def open_inputs(recipe: Recipe, options: dict[str, Any], *, collections: bool = True) -> Inputs:
    """Open everything that a run reads, before anything is written and before torch is imported.

    What is not named is the embedded default, and is said to be so. ``collections`` False leaves out what is scored.

    Args:
        recipe: What is going to be trained.
        options: What the user named, by the flags' names; what is missing was not named.
        collections: Whether anything is scored.

    Raises:
        InputError: something named cannot be used.
    """
    pairs, cache, beir = options.get("pairs"), options["cache"], options.get("beir") or ()
    encoder = open_named_encoder(recipe, options)
    named = parse_columns(",".join(options["columns"])) if options.get("columns") else None
    reading = {"columns": named, "min_score": options.get("min_score")}
    if not pairs and (named or reading["min_score"] is not None):
        raise InputError("--map and --min-score are about --pairs: give them together")
    read = read_pairs(pairs, **reading) if pairs and recipe.trains else None
    held_out = options.get("validation_pairs")
    validation = _read_held_out(held_out, named, reading["min_score"]) if held_out and recipe.trains else None
    where: dict[str, Any] = {
        "cache": cache / "beir",
        "identical_ids": identical_ids(options.get("keep_identical_ids")),
    }
    scored = [one for name in beir for one in open_collections(name, split=options["split"], **where)]
    development = _open_development(options, **where)
    embedded = () if options.get("encoder") else ("encoder",)
    if (collections and not beir) or (recipe.trains and not pairs):
        with counting("reading docstrings") as update:
            text = build_embedded(cache / "embedded", progress=update)
        if recipe.trains and not pairs:
            read = read_pairs(text.pairs)
            embedded += ("pairs",)
        if collections and not beir:
            scored = [replace(read_beir(text.collection, split="test"), name=EMBEDDED_NAME)]
            embedded += ("collection",)
    if read is not None and len(read) < recipe.batch_size:
        counted = "1 pair, fewer" if len(read) == 1 else f"{len(read):,} pairs, fewer"
        raise InputError(
            f"{read.source}: {counted} than one batch of {recipe.batch_size}: give more pairs or a smaller --batch-size"
        )
    _check_names(scored)
    if collections:
        _check_development(recipe, development, scored, read)
    return Inputs(encoder, read, validation, scored, development, embedded)


def open_named_encoder(recipe: Recipe, options: dict[str, Any]) -> Encoder:
    """Find the encoder with the prompts that the user gave.

    Half-precision weights are cast to float32 where anything is trained, once, when they are loaded.

    Raises:
        InputError: it is not there and no feature store can stand in for it, or one named is none.
    """
    prompts = Prompts(options.get("query_prompt"), options.get("document_prompt"))
    encoder = open_encoder(
        options.get("encoder"), cache=options["cache"], prompts=prompts, full_precision=recipe.trains
    )
    stores = options.get("features") or ()
    for folder in stores:
        stored_identity(folder)
    if not stores:
        encoder.check_here()
    return encoder


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


def check_layers(inputs: Inputs, recipe: Recipe) -> None:
    """Check that the encoder has the layers that a recipe trains, before anything is encoded or written.

    Raises:
        InputError: it has fewer, or none that can be found.
    """
    from ..respred.training import top_layers

    top_layers(inputs.encoder.model, recipe.unfreeze_layers)


def encode(inputs: Inputs, features: Features) -> None:
    """Encode every text of the inputs that has no vector yet."""
    sources: list[dict[Task, list[str]]] = [
        {"query": list(pairs.queries), "document": list(pairs.documents)}
        for pairs in (inputs.pairs, inputs.validation)
        if pairs is not None
    ]
    sources += [texts_of(collection) for collection in inputs.collections]
    if inputs.development is not None:
        sources.append(texts_of(inputs.development))
    encode_missing(features, sources)


def texts_of(collection: Collection) -> dict[Task, list[str]]:
    """Return the texts of a collection by task."""
    return {"query": list(collection.queries.values()), "document": list(collection.documents.values())}


def encode_missing(features: Features, sources: Sequence[dict[Task, list[str]]]) -> None:
    """Verify the stores, then encode the texts that they lack, with a bar; an interruption keeps what is done."""
    said = features.verify(*sources)
    # Of an encoder that is not here, what it is was said to be unverified.
    for line in said if is_main_process() and features.encoder.is_here else ():
        say(f"vectors {line}")
    texts: dict[Task, list[str]] = {task: [text for part in sources for text in part[task]] for task in TASKS}
    missing = features.missing(texts)
    count = sum(map(len, missing.values()))
    if not count:
        return
    if features.encoder.is_here:
        say(f"encoding {count:,} texts once with {features.encoder.name}; they are kept for every later run")
    try:
        with counting("encoding") as update:
            features.add(missing, progress=update)
    except KeyboardInterrupt:
        left = sum(map(len, features.missing(missing).values()))
        say(f"interrupted: {count - left:,} of {count:,} texts are encoded and kept")
        raise


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
    from ..respred.training import training_split

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


def evaluation_sets(inputs: Inputs, features: Features) -> list[EvaluationSet]:
    """Return the collections with their vectors, the development split last."""
    from ..respred import make_evaluation_set

    sets = [make_evaluation_set(collection, features) for collection in inputs.collections]
    if inputs.development is not None:
        sets.append(make_evaluation_set(inputs.development, features, role="development"))
    return sets


def _read_held_out(path: Path, columns: dict[str, str] | None, min_score: float | None) -> Pairs:
    """Read held-out pairs with the columns of the training pairs, where they have these; else by their own names."""
    if columns is not None:
        try:
            return read_pairs(path, columns=columns, min_score=min_score)
        except InputError as error:
            if ": no column " not in error.args[0]:
                raise
    return read_pairs(path, min_score=min_score)


def _open_development(options: dict[str, Any], **where: Any) -> Collection | None:
    if options.get("dev") is None:
        return None
    try:
        found = open_collections(options["dev"], split=options["dev_split"], **where)
    except InputError as error:
        told = error.told(lambda name, value: setting("dev_split" if name == "split" else name, value))
        raise InputError(told) from None
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:4])
        raise InputError(f"--dev {options['dev']}: a folder of collections ({names}); give one of them")
    return found[0]


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


def _check_names(collections: Sequence[Collection]) -> None:
    names = [collection.name for collection in collections]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--beir: two collections are named {name!r}: give folders of different names")
