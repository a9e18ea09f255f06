"""What is said of a run's inputs before it begins, one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...errors import setting
from ...retrieval import TASKS, Encoder, Overlap, Pairs, is_half
from ..recipes import Recipe, get_recipe
from ._inputs import Inputs


def describe_inputs(recipe: Recipe, inputs: Inputs) -> list[str]:
    """Return what was read, one line each; embedded parts are said to be so."""
    lines = [f"recipe  {recipe.name}"]
    for field in sorted(set(recipe.changed_from(get_recipe(recipe.name))) & set(recipe.idle)):
        lines.append(f"        note: {setting(field)} plays no role here: it needs {recipe.idle[field]}")
    if inputs.pairs is not None:
        lines += _pairs_lines("pairs  ", inputs.pairs, _origin(inputs, "pairs"))
    if inputs.validation is not None:
        lines += _pairs_lines("held out", inputs.validation, "")
    for collection in inputs.collections:
        size = f"{len(collection.queries):,} queries, {len(collection.documents):,} documents"
        layout = "" if collection.form in ("", "BEIR folder") else f" ({collection.form})"
        origin = _origin(inputs, "collection")
        lines.append(f"scores  {collection.name} {collection.split}: {size}{layout}{origin}")
        lines += [f"        note: {note}" for note in collection.notes]
    if inputs.development is not None:
        found = inputs.development
        lines.append(f"chooses by {found.name} {found.split}: {len(found.queries):,} queries")
    return lines


def describe_encoder(recipe: Recipe, inputs: Inputs, raw_similarity: str | None, *, device: str) -> list[str]:
    """Return the encoder and those of its settings that are in force; ``raw_similarity`` None scores nothing."""
    encoder = inputs.encoder
    identity = encoder.identity
    cut = "" if identity.max_seq_length is None else f", texts cut at {identity.max_seq_length} tokens"
    lines = [f"encoder {identity.name}{_origin(inputs, 'encoder')} on {device}, D = {identity.dimension}{cut}"]
    if not identity.verified:
        lines.append("        note: not on this machine; its stored vectors are used unverified")
    for task, prompt in zip(TASKS, identity.prompts, strict=True):
        if prompt or encoder.prompts.of(task) is not None:
            whose = "the model's own" if encoder.prompts.of(task) is None else "given"
            lines.append(f"        {task} prompt {json.dumps(prompt, ensure_ascii=False)} ({whose})")
    if identity.routed:
        lines.append("        queries and documents take the model's own routes")
    if identity.truncate_dim is not None:
        lines.append(f"        vectors cut to {identity.truncate_dim} dimensions, as the model says")
    if identity.saved_dtype != identity.dtype:
        lines.append(f"        weights of {identity.saved_dtype}, used in {identity.dtype}")
    elif is_half(identity):
        lines.append(f"        weights of {identity.dtype}")
    if raw_similarity is not None:
        lines.append(f"        scored by {_scoring(recipe, encoder, raw_similarity)}")
    return lines


def _scoring(recipe: Recipe, encoder: Encoder, raw: str) -> str:
    identity = encoder.identity
    if raw == identity.similarity:
        whose = "the model's own"
    elif identity.normalised:
        whose = f"which ranks unit vectors as the model's own {identity.similarity} does"
    else:
        whose = f"as given; the model's own is {identity.similarity}"
    trained = f"; what is trained, by {recipe.similarity}" if recipe.trains and raw != recipe.similarity else ""
    return f"{raw}, {whose}{trained}"


def describe_overlaps(inputs: Inputs, shared: Sequence[Overlap]) -> list[str]:
    """Return what the training pairs have in common with what is scored, one line for each collection."""
    lines = []
    for collection, one in zip(inputs.collections, shared, strict=False):
        lines.append(f"overlap {collection.name}: {one.said}")
        if one.queries:
            count = f"{len(one.queries):,} of the {len(collection.queries):,} queries"
            lines.append(f"        note: {count} have a relevant document that is trained on; read the others apart")
    return lines


def _pairs_lines(label: str, pairs: Pairs, origin: str) -> list[str]:
    lines = [f"{label} {len(pairs):,} from {pairs.source}{origin}"]
    if pairs.form and not origin:
        lines.append(f"        {pairs.form}")
    lines += [f"        note: {note}" for note in pairs.notes]
    if pairs.n_negatives:
        lines.append(f"        note: {pairs.n_negatives:,} negatives, which no recipe uses")
    return lines


def _origin(inputs: Inputs, part: str) -> str:
    return " (embedded default)" if part in inputs.embedded else ""
