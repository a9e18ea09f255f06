"""The inputs of a run that was started before, opened again and checked to be still the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError, setting
from ...journal import Run
from ...retrieval import Encoder, Features, resolve_device
from ._inputs import Inputs, open_inputs
from ._listener import Audience
from ._prepare import Preparation
from ._record import SessionRecord
from ._request import Request
from ._vectors import encode, training_data

if TYPE_CHECKING:
    from ..training import TrainingData


def reopen(run: Run, *, features: Sequence[Path], device: str, cache: Path, audience: Audience) -> Preparation:
    """Open and encode what a run was started with.

    Args:
        run: The run.
        features: Feature stores beside those that it was started with.
        device: ``auto`` for the run's own.
        cache: Folder of encoded texts and downloads.
        audience: Who is told.

    Raises:
        InputError: an input is gone, or its content has changed.
    """
    record = SessionRecord.of(run)
    _check_paths(run, record)
    on = resolve_device(run.config.device if device == "auto" else device)
    request = recorded_request(record, features=features, device=on, cache=cache)
    inputs = _recorded_inputs(run, record, request, audience)
    inputs.encoder.device = on
    stored = Features(inputs.encoder, cache=cache, extra=request.features)
    encode(inputs, stored, audience)
    return Preparation(
        recipe=record.recipe,
        request=request,
        inputs=inputs,
        features=stored,
        data=training_data(inputs, stored, share=request.validation_share, seed=request.seed),
        raw_similarity=record.raw_similarity,
        device=on,
    )


def recorded_request(record: SessionRecord, *, features: Sequence[Path], device: str, cache: Path) -> Request:
    """Return what a run was started with, the stores that are named now before its own."""
    request = record.request(cache=cache)
    return replace(request, features=(*features, *request.features), device=device)


def check_encoder_unchanged(run: Run, encoder: Encoder) -> None:
    """Refuse to go on with another encoder than a run's.

    Raises:
        InputError: its weights, or any file that decides its vectors, are others; or it is asked in another way.
    """
    recorded, now = SessionRecord.of(run).encoder, encoder.identity.as_dict()
    # Version 0.1 recorded the weights alone, and a run without its encoder what a store said of it.
    known = {"fingerprint": "weights or files", "prompts": "prompts"}
    keys = known if recorded.get("fingerprint") and now["verified"] else {"weights_sha256": "weights"}
    if recorded.get("prompts"):
        keys = {**keys, "prompts": "prompts"}
    for key, what in keys.items():
        if recorded[key] != now[key]:
            raise InputError(f"{run.folder}: the encoder's {what} have changed since this run began; start a new run")


def check_vectors(run: Run, data: TrainingData | None) -> None:
    """Refuse to go on with vectors in other bits than those that a run began with.

    Raises:
        InputError: they differ.
    """
    recorded = (SessionRecord.of(run).pairs or {}).get("vectors")
    if data is not None and recorded is not None and data.digest != recorded:
        raise InputError(
            f"{run.folder}: the vectors of its pairs differ from those it began with (encoded elsewhere, or by another "
            f"number of threads); give the same {setting('features')} and {setting('cache')}, or start a new run"
        )


def _check_paths(run: Run, record: SessionRecord) -> None:
    """Refuse a run that no path leads back to the inputs of.

    Raises:
        InputError: pairs or collections were given as objects.
    """
    objects = record.options.get("objects")
    if objects:
        what = " and ".join(name.replace("_", " ") for name in objects)
        raise InputError(
            f"{run.folder}: its {what} were given in memory, so they cannot be opened again; train from files"
        )


def _recorded_inputs(run: Run, record: SessionRecord, request: Request, audience: Audience) -> Inputs:
    config, scored = run.config, bool(run.config.collections)
    inputs = open_inputs(record.recipe, request, audience, scores=scored, bundled=True)
    if inputs.encoder.is_here:
        check_encoder_unchanged(run, inputs.encoder)
    recorded = record.pairs or {}
    if inputs.pairs is not None and recorded and inputs.pairs.fingerprint != recorded["fingerprint"]:
        raise InputError(f"{inputs.pairs.source}: the pairs have changed since this run began; start a new run")
    if inputs.validation is not None and inputs.validation.fingerprint != recorded.get("validation_fingerprint"):
        raise InputError(f"{inputs.validation.source}: the held-out pairs have changed; start a new run")
    split = config.development
    if inputs.development is not None and split and inputs.development.fingerprint != split.fingerprint:
        raise InputError(f"{inputs.development.name}: the development split has changed; start a new run")
    for collection, before in zip(inputs.collections, config.collections, strict=True):
        if collection.fingerprint != before.fingerprint:
            raise InputError(f"{collection.name}: the collection has changed since this run began; start a new run")
    return inputs
