"""``collapse-probe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..journal import JournalWriter, Run
from ..respred import Recipe
from ._options import resolve_device, shared_options

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
    from ..retrieval import open_collection, open_encoder
    from . import _prepare
    from ._display import say
    from ._runfile import recorded_features, recorded_recipe

    loaded = Run.load(run)
    if not options["beir"]:
        raise InputError("nothing to score: give --beir PATH|NAME, as in --beir path/to/scifact")
    recipe = recorded_recipe(loaded)
    device = resolve_device(options["device"])
    recorded = loaded.config["options"]
    encoder = open_encoder(recorded["encoder"], device=device, cache=options["cache"])
    if encoder.identity.weights_sha256 != loaded.config["encoder"]["weights_sha256"]:
        raise InputError(f"{run}: the encoder's weights are not those that the run was made with")
    collections = [
        open_collection(name, split=options["split"], cache=options["cache"] / "beir") for name in options["beir"]
    ]
    features = recorded_features(loaded, options["features"])
    store = _prepare.open_store(encoder, features=features, cache=options["cache"])
    for collection in collections:
        texts = [*collection.queries.values(), *collection.documents.values()]
        _prepare.encode_missing(store, encoder, texts)
        _score(loaded, recipe, collection, store, dimension=encoder.identity.dimension, device=device)
    say(f"added to {run / 'journal.jsonl'}; `collapse-probe report {run}` writes the report with them")
    return 0


def _score(loaded: Run, recipe: Recipe, collection: Any, store: Any, *, dimension: int, device: str) -> None:
    from ..respred import evaluate_head, evaluate_raw, make_evaluation_set
    from ..respred._callback import EpochScores
    from ..respred._evaluation import record_evaluation
    from ..respred._vectors import encoded_again
    from ._display import TrainingDisplay

    data = make_evaluation_set(collection, store)
    display = TrainingDisplay()
    with JournalWriter(loaded.folder / "journal.jsonl") as journal:
        raw = evaluate_raw(data, similarity=recipe.similarity, device=device)
        record_evaluation(journal, loaded.folder, data, raw, path="raw", step=0, epoch=0)
        shown = [EpochScores(collection.name, {"raw": raw})]
        display.epoch(epoch=-1, epochs=recipe.epochs, values={}, scores=shown)
        for step, epoch, head, encode in saved_heads(loaded, recipe, dimension=dimension):
            now = data if encode is None else encoded_again(data, encode)
            by_path = evaluate_head(head.to(device), now, similarity=recipe.similarity, device=device)
            for path, scores in by_path.items():
                record_evaluation(journal, loaded.folder, now, scores, path=path, step=step, epoch=epoch)
            shown = [EpochScores(collection.name, by_path)]
            display.epoch(epoch=epoch, epochs=recipe.epochs, values={}, scores=shown)


def saved_heads(loaded: Run, recipe: Recipe, *, dimension: int):
    """Yield ``(step, epoch, head, encode)`` for the untrained head and for every checkpoint of a run.

    ``encode`` is the checkpoint's own encoder, for a recipe that trains layers of it; None for others.
    """
    from sentence_transformers import SentenceTransformer

    from ..respred.modules import build_head

    if not recipe.trains:
        return
    yield 0, 0, build_head(recipe, dimension, seed=loaded.config["seed"]), None
    for event in loaded.records("event"):
        folder = loaded.folder / str(event["message"])
        if event["name"] == "checkpoint" and folder.is_dir():
            model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
            encode = None
            if recipe.trains_from_text:
                encode = partial(
                    SentenceTransformer(modules=list(model.children())[:-1]).encode, show_progress_bar=False
                )
            yield event["step"], event["epoch"], model[-1], encode
