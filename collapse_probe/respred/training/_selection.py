"""Which checkpoint becomes the saved model, and when training stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sentence_transformers import SentenceTransformer
from torch import nn

from ...diagnosis import HEADLINE, Choice, evaluation_records
from ...journal import Artifact, Run
from ...retrieval import Encoder, between
from ..modules import build_head
from ..recipes import Recipe, Similarity
from ._encoder_layers import encoder_modules
from ._saved import library_head, load_encoder, load_head

_PLAIN = "plain sentence-transformers loads it"
_OURS = "the predictor is scored: loading it needs collapse-probe installed, and trust_remote_code=True"
_CARD = """\
---
library_name: sentence-transformers
---

# {name}

The checkpoint that `collapse-probe train` chose: {why}.

To load it: {needs}.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder"{more})
scores = model.similarity(model.encode_query(["a query"]), model.encode_document(["a document"]))
```
"""


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


def save_chosen(
    choice: Choice, run: Run, recipe: Recipe, encoder: Encoder, folder: Path, *, raw_similarity: Similarity
) -> str:
    """Save the chosen checkpoint as one sentence-transformers model, with a model card.

    ``encode_query`` and ``encode_document`` of the saved model give what the run evaluated on the recipe's
    scoring path, and its ``similarity`` scores as the run did. Where the raw encoder is chosen, it is the raw
    encoder. The modules are the library's own, unless the predictor is scored.

    An interpolation is that of the weights of step 0 and of its epoch, the encoder's too where they were trained.

    Args:
        choice: What was chosen.
        run: The run.
        recipe: Its recipe.
        encoder: Its encoder; read from its files again where its layers were trained.
        folder: Where the model goes.
        raw_similarity: What the raw encoder is scored by.

    Returns:
        How the saved model is loaded, in words.
    """
    fresh = encoder.anew()
    raw = choice.path == "raw"
    modules, plain = _chosen_modules(choice, run, recipe, fresh)
    query, document = fresh.applied_prompts()
    model = SentenceTransformer(
        modules=modules,
        device="cpu",
        # Those that were applied, under the names that the library looks up first.
        prompts={**fresh.model.prompts, "query": query, "document": document},
        default_prompt_name=fresh.model.default_prompt_name,
        similarity_fn_name=raw_similarity if raw else recipe.similarity,
        truncate_dim=fresh.model.truncate_dim if raw else None,
    )
    model.save(str(folder), create_model_card=False)
    note = {"rule": choice.rule, "epoch": choice.epoch, "path": choice.path, "t": choice.t, "why": choice.why}
    (folder / "selection.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    card = _CARD.format(
        name=run.name,
        why=choice.why,
        needs=_PLAIN if plain else _OURS,
        more="" if plain else ", trust_remote_code=True",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return _PLAIN if plain else _OURS


def _chosen_modules(choice: Choice, run: Run, recipe: Recipe, fresh: Encoder) -> tuple[list[nn.Module], bool]:
    """Return the modules of the chosen model, and whether all of them are the library's own."""
    if choice.path == "raw":
        return list(fresh.model.children()), True
    dimension = fresh.identity.dimension
    if choice.epoch == 0:
        modules, head = encoder_modules(fresh), build_head(recipe, dimension, seed=run.config.seed or 0)
    else:
        checkpoint = checkpoint_of(run, choice.epoch)
        modules = load_encoder(checkpoint) if recipe.trains_from_text else encoder_modules(fresh)
        head = load_head(checkpoint, recipe, dimension)
        if choice.t is not None:
            start = build_head(recipe, dimension, seed=run.config.seed or 0)
            _interpolate([*encoder_modules(fresh), start], [*modules, head], choice.t)
    own = library_head(head)
    return [*modules, *([head] if own is None else own)], own is not None


def _interpolate(start: list[nn.Module], end: list[nn.Module], t: float) -> None:
    """Put modules in place at a share of the way from those of step 0; a frozen one is its own step 0."""
    for before, now in zip(start, end, strict=True):
        if before is not now:
            now.load_state_dict(between(before.state_dict(), now.state_dict(), t))


def checkpoint_of(run: Run, epoch: int) -> Path:
    """Return the folder of an epoch's checkpoint.

    Raises:
        FileNotFoundError: the run has none.
    """
    for artifact in reversed(run.of(Artifact)):
        if artifact.name == "checkpoint" and artifact.epoch == epoch:
            return run.folder / artifact.path
    raise FileNotFoundError(f"{run.folder}: no checkpoint of epoch {epoch}")
