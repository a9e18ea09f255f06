"""What the cells of an ablation read: the run's own inputs, opened once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...journal import Run
from ..recipes import Recipe
from ._listener import Audience
from ._prepare import check_layers
from ._recorded import reopen
from ._vectors import evaluation_sets, pair_sides

if TYPE_CHECKING:
    from .._ablation import Material


def open_material(
    run: Run,
    recipes: Sequence[Recipe],
    *,
    features: Sequence[Path],
    device: str,
    cache: Path,
    workers: int,
    audience: Audience,
) -> Material:
    """Open and encode what the cells of an ablation read; minutes where texts have no vectors yet.

    Args:
        run: The run that is ablated.
        recipes: Those of the cells.
        features: Feature stores beside those of the run.
        device: ``cpu`` or ``cuda``.
        cache: Folder of encoded texts and downloads.
        workers: Processes that share the threads.
        audience: Who is told.

    Raises:
        InputError: an input is gone or has changed, or the encoder has fewer layers than a cell trains.
    """
    import torch

    from .._ablation import Material
    from ..training import vectors_digest

    prepared = reopen(run, features=features, device=device, cache=cache, audience=audience)
    inputs = prepared.inputs
    for one in {one.unfreeze_layers: one for one in recipes if one.trains_from_text}.values():
        check_layers(inputs, one)
    sides = pair_sides(inputs, prepared.features)
    digest = vectors_digest(*(vectors for side in sides for vectors in side[:2]))
    return Material(
        config=replace(run.config, device=device, session={**run.config.session, "vectors": digest}),
        pairs=sides[0],
        validation=sides[1] if len(sides) > 1 else None,
        share=prepared.request.validation_share,
        evaluations=evaluation_sets(inputs, prepared.features, run.config),
        device=device,
        threads=max(1, torch.get_num_threads() // workers),
        encoder=(prepared.request.encoder, cache, inputs.encoder.prompts),
        raw_similarity=prepared.raw_similarity,
    )
