"""Scoring a run's raw encoder, step 0 and every saved epoch on more collections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, setting
from ...journal import Artifact, Evaluation, JournalWriter, Run
from ...retrieval import Collection, Features, Prompts, encode_missing, encode_with, resolve_device, texts_of
from . import _describe
from ._inputs import Inputs, open_named_encoder, open_scored
from ._listener import Audience
from ._record import SessionRecord
from ._recorded import check_encoder_unchanged, recorded_request
from ._request import Request

if TYPE_CHECKING:
    from torch import nn

    from ..training import EvaluationSet, Listener


def evaluate_run(run: Run, request: Request, audience: Audience) -> None:
    """Score a run on more collections and append the scores to its journal; nothing there is changed.

    Args:
        run: The run.
        request: Its collections, split, features, device and cache are used.
        audience: Who is told.

    Raises:
        InputError: nothing to score, a collection that cannot be used, or that would take another one's place.
    """
    if not request.collections:
        named, example = setting("collections", "NAME"), setting("collections", "path/to/scifact")
        raise InputError(f"nothing to score: give {named}, as in {example}")
    record = SessionRecord.of(run)
    collections = open_scored(request)
    for collection in collections:
        _check_same(run, collection)
    asked = recorded_request(record, features=request.features, device=request.device, cache=request.cache)
    encoder = open_named_encoder(record.recipe, asked)
    device = encoder.device = resolve_device(request.device)
    features = Features(encoder, cache=request.cache, extra=asked.features)
    check_encoder_unchanged(run, encoder)
    inputs = Inputs(encoder, None, None, collections, None, ())
    for line in _describe.describe_encoder(record.recipe, inputs, record.raw_similarity, device=device):
        audience.say(line)
    for collection in collections:
        for note in collection.notes:
            audience.say(f"scores  {collection.name}: note: {note}")
        encode_missing(features, [texts_of(collection)], audience)
        _score(run, record, collection, features, device=device, audience=audience)


def saved_heads(
    run: Run, record: SessionRecord, *, dimension: int, say: Callable[[str], None]
) -> Iterator[tuple[int, int, nn.Module, Callable[..., Any] | None]]:
    """Yield ``(step, epoch, head, encode)`` for the untrained head and for every checkpoint of a run.

    ``encode`` is the checkpoint's own encoder, for a recipe that trains layers of it; None for others.
    """
    from ..modules import build_head
    from ..training import DamagedCheckpoint, load_head

    if not record.recipe.trains:
        return
    yield 0, 0, build_head(record.recipe, dimension, seed=run.config.seed or 0), None
    for artifact in run.of(Artifact):
        folder = run.folder / artifact.path
        if artifact.name == "checkpoint" and folder.is_dir():
            try:
                head = load_head(folder, record.recipe, dimension)
                encode = _own_encode(folder, record) if record.recipe.trains_from_text else None
            except DamagedCheckpoint as error:
                say(f"note: epoch {artifact.epoch} is not scored: {error}")
                continue
            yield artifact.step, artifact.epoch or 0, head, encode


def _own_encode(folder: Path, record: SessionRecord) -> Callable[..., Any]:
    from sentence_transformers import SentenceTransformer

    from ..training import load_encoder

    # As they were applied, whether the model's own or given; version 0.1 applied none.
    prompts = Prompts(**(record.encoder.get("prompts") or {}))
    encoder = SentenceTransformer(modules=load_encoder(folder), device="cpu")
    return partial(encode_with, encoder, prompts=prompts)


def _check_same(run: Run, collection: Collection) -> None:
    """Refuse a collection that would take the place of another one of its name.

    Raises:
        InputError: the run has scores of other texts or judgements under that name and split.
    """
    for one in run.of(Evaluation):
        same = (one.collection, one.split) == (collection.name, collection.split)
        if same and one.fingerprint not in (None, collection.fingerprint):
            size = f"{one.n_queries:,} queries, {one.n_documents:,} documents"
            raise InputError(
                f"{run.folder}: has scores of another collection that is named {collection.name!r} ({size}); "
                "give this one in a folder of another name"
            )


def _score(
    run: Run, record: SessionRecord, collection: Collection, features: Features, *, device: str, audience: Audience
) -> None:
    from ..training import encoded_again, evaluate_head, evaluate_raw, make_evaluation_set, record_evaluation

    recipe, data = record.recipe, make_evaluation_set(collection, features)
    dimension = features.encoder.identity.dimension
    with JournalWriter(run.folder) as journal, audience.training() as listener:
        raw = evaluate_raw(data, similarity=record.raw_similarity, device=device)
        record_evaluation(journal, run.folder, data, raw, variant="raw", step=0, epoch=0)
        _tell(listener, data, {"raw": raw}, epoch=-1, epochs=recipe.epochs)
        for step, epoch, head, encode in saved_heads(run, record, dimension=dimension, say=audience.say):
            now = data if encode is None else encoded_again(data, encode)
            by_path = evaluate_head(head.to(device), now, similarity=recipe.similarity, device=device)
            for path, scores in by_path.items():
                judged = path == recipe.scoring_path
                record_evaluation(journal, run.folder, now, scores, variant=path, step=step, epoch=epoch, judged=judged)
            _tell(listener, data, by_path, epoch=epoch, epochs=recipe.epochs)


def _tell(listener: Listener, data: EvaluationSet, by_path: Any, *, epoch: int, epochs: int) -> None:
    from ..training import EpochScores

    scores: Sequence[EpochScores] = [EpochScores(data.collection.name, by_path, data.collection.group)]
    listener.epoch(epoch=epoch, epochs=epochs, values={}, scores=scores)
