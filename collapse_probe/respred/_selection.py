"""Which checkpoint becomes the saved model, and when training stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sentence_transformers import SentenceTransformer

from ..diagnosis import HEADLINE, Choice, evaluation_records
from ..journal import Artifact, Run
from ..retrieval import Encoder
from ._encoder_layers import encoder_modules
from ._recipe import Recipe
from .modules import build_head


def development_history(run: Run, recipe: Recipe) -> list[float]:
    """Return nDCG@10 on the development split by epoch, step 0 first, on the recipe's scoring path."""
    records = evaluation_records(run, role="development")
    scored = {epoch: record for (_, path, epoch), record in records.items() if path == recipe.scoring_path}
    return [float(scored[epoch]["metrics"][HEADLINE]) for epoch in sorted(scored)]


def should_stop(history: Sequence[float], *, patience: int) -> bool:
    """Return whether the last ``patience`` evaluations brought no new best.

    >>> should_stop([0.60, 0.61, 0.59], patience=1), should_stop([0.60, 0.61, 0.59], patience=2)
    (True, False)
    """
    if not history:
        return False
    return len(history) - 1 - max(range(len(history)), key=lambda i: history[i]) >= patience


def save_chosen(choice: Choice, run: Run, recipe: Recipe, encoder: Encoder, folder: Path) -> None:
    """Save the chosen checkpoint as one sentence-transformers model.

    ``encode_query`` and ``encode_document`` of the saved model give what the run evaluated on the recipe's
    scoring path, and its ``similarity`` scores as the run did. Where the raw encoder is chosen, it is the raw
    encoder.

    Args:
        choice: What was chosen.
        run: The run.
        recipe: Its recipe.
        encoder: Its encoder; read from its files again where its layers were trained.
        folder: Where the model goes.
    """
    fresh = encoder.anew()
    raw = choice.path == "raw"
    modules = list(fresh.model.children()) if raw else encoder_modules(fresh)
    if not raw and choice.epoch == 0:
        modules.append(build_head(recipe, encoder.identity.dimension, seed=run.settings["seed"]))
    elif not raw:
        trained = SentenceTransformer(str(checkpoint_of(run, choice.epoch)), device="cpu", trust_remote_code=True)
        modules = list(trained.children()) if recipe.trains_from_text else [*modules, *trained.children()]
    query, document = fresh.applied_prompts()
    model = SentenceTransformer(
        modules=modules,
        device="cpu",
        # Those that were applied, under the names that the library looks up first.
        prompts={**fresh.model.prompts, "query": query, "document": document},
        default_prompt_name=fresh.model.default_prompt_name,
        similarity_fn_name=run.settings.get("raw_similarity", recipe.similarity) if raw else recipe.similarity,
        truncate_dim=fresh.model.truncate_dim if raw else None,
    )
    model.save(str(folder), create_model_card=False)
    note = {"rule": choice.rule, "epoch": choice.epoch, "path": choice.path, "why": choice.why}
    (folder / "selection.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def checkpoint_of(run: Run, epoch: int) -> Path:
    """Return the folder of an epoch's checkpoint.

    Raises:
        FileNotFoundError: the run has none.
    """
    for artifact in reversed(run.of(Artifact)):
        if artifact.name == "checkpoint" and artifact.epoch == epoch:
            return run.folder / artifact.path
    raise FileNotFoundError(f"{run.folder}: no checkpoint of epoch {epoch}")
