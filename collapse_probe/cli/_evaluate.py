"""``collapse-probe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..journal import Artifact, JournalWriter, Run
from ..respred import Recipe
from ._options import identical_ids, resolve_device, shared_options

EPILOG = """\b
Examples:
  collapse-probe evaluate runs/respred --beir path/to/nfcorpus
  collapse-probe evaluate runs/respred --beir path/to/scifact --split train

The scores are added to the run's journal, so a later report holds them; nothing there is changed.
"""


@click.command("evaluate", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@shared_options
def command(run: Path, **options: Any) -> int:
    """Score RUN's raw encoder, step 0 and every saved epoch on further collections."""
    from ..retrieval import open_collections
    from . import _prepare
    from ._display import say
    from ._runfile import (
        check_encoder_unchanged,
        describe_encoder,
        recorded_features,
        recorded_options,
        recorded_recipe,
        recorded_similarity,
    )

    loaded = Run.load(run)
    if not options["beir"]:
        raise InputError("nothing to score: give --beir PATH|NAME, as in --beir path/to/scifact")
    recipe = recorded_recipe(loaded)
    rule = identical_ids(options["keep_identical_ids"])
    collections = [
        one
        for name in options["beir"]
        for one in open_collections(name, split=options["split"], cache=options["cache"] / "beir", identical_ids=rule)
    ]
    for collection in collections:
        _check_same(loaded, collection)
    stores = recorded_features(loaded, options["features"])
    recorded = {**recorded_options(loaded, cache=options["cache"]), "features": stores}
    encoder = _prepare.open_named_encoder(recipe, recorded)
    device = encoder.device = resolve_device(options["device"])
    features = _prepare.Features(encoder, cache=options["cache"], extra=stores)
    check_encoder_unchanged(loaded, encoder)
    inputs = _prepare.Inputs(encoder, None, None, collections, None, ())
    for line in describe_encoder(recipe, inputs, recorded_similarity(loaded, recipe), device=device):
        say(line)
    for collection in collections:
        for note in collection.notes:
            say(f"scores  {collection.name}: note: {note}")
        _prepare.encode_missing(features, [_prepare.texts_of(collection)])
        _score(loaded, recipe, collection, features, dimension=encoder.identity.dimension, device=device)
    say(f"added to {run / 'journal.jsonl'}; `collapse-probe report {run}` writes the report with them")
    return 0


def _check_same(loaded: Run, collection: Any) -> None:
    """Refuse a collection that would take the place of another one of its name.

    Raises:
        InputError: the run has scores of other texts or judgements under that name and split.
    """
    for record in loaded.records("evaluation"):
        same = (record["collection"], record["split"]) == (collection.name, collection.split)
        if same and record.get("fingerprint") not in (None, collection.fingerprint):
            size = f"{record['n_queries']:,} queries, {record['n_documents']:,} documents"
            raise InputError(
                f"{loaded.folder}: has scores of another collection that is named {collection.name!r} ({size}); "
                "give this one in a folder of another name"
            )


def _score(loaded: Run, recipe: Recipe, collection: Any, features: Any, *, dimension: int, device: str) -> None:
    from ..respred import evaluate_head, evaluate_raw, make_evaluation_set
    from ..respred.training import EpochScores, encoded_again, record_evaluation
    from ._display import TrainingDisplay
    from ._runfile import recorded_similarity

    data = make_evaluation_set(collection, features)
    display = TrainingDisplay()
    with JournalWriter(loaded.folder) as journal:
        raw = evaluate_raw(data, similarity=recorded_similarity(loaded, recipe), device=device)
        record_evaluation(journal, loaded.folder, data, raw, variant="raw", step=0, epoch=0)
        shown = [EpochScores(collection.name, {"raw": raw}, collection.group)]
        display.epoch(epoch=-1, epochs=recipe.epochs, values={}, scores=shown)
        for step, epoch, head, encode in saved_heads(loaded, recipe, dimension=dimension):
            now = data if encode is None else encoded_again(data, encode)
            by_path = evaluate_head(head.to(device), now, similarity=recipe.similarity, device=device)
            for path, scores in by_path.items():
                record_evaluation(journal, loaded.folder, now, scores, variant=path, step=step, epoch=epoch)
            shown = [EpochScores(collection.name, by_path, collection.group)]
            display.epoch(epoch=epoch, epochs=recipe.epochs, values={}, scores=shown)


def saved_heads(loaded: Run, recipe: Recipe, *, dimension: int):
    """Yield ``(step, epoch, head, encode)`` for the untrained head and for every checkpoint of a run.

    ``encode`` is the checkpoint's own encoder, for a recipe that trains layers of it; None for others.
    """
    from sentence_transformers import SentenceTransformer

    from ..respred.modules import build_head
    from ..respred.training import DamagedCheckpoint, load_encoder, load_head
    from ..retrieval import Prompts, encode_with
    from ._display import say

    # As they were applied, whether the model's own or given; version 0.1 applied none.
    prompts = Prompts(**(loaded.settings["encoder"].get("prompts") or {}))

    if not recipe.trains:
        return
    yield 0, 0, build_head(recipe, dimension, seed=loaded.settings["seed"]), None
    for artifact in loaded.of(Artifact):
        folder = loaded.folder / artifact.path
        if artifact.name == "checkpoint" and folder.is_dir():
            encode = None
            try:
                head = load_head(folder, recipe, dimension)
                if recipe.trains_from_text:
                    encoder = SentenceTransformer(modules=load_encoder(folder), device="cpu")
                    encode = partial(encode_with, encoder, prompts=prompts)
            except DamagedCheckpoint as error:
                say(f"note: epoch {artifact.epoch} is not scored: {error}")
                continue
            yield artifact.step, artifact.epoch, head, encode
