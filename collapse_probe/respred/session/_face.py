"""The founding system without a shell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from ...errors import InputError, naming_extras, unknown_name
from ...journal import Run, is_plain_name
from ...recording import load_watched
from ...retrieval import Collection, Pairs
from ..recipes import Recipe, get_recipe
from ._listener import Audience, Quiet
from ._prepare import prepare
from ._request import Request, default_cache
from ._train import begin, run_session

PathLike = str | os.PathLike[str]


@naming_extras()
def train(
    recipe: str | Recipe,
    *,
    pairs: PathLike | Pairs | None,
    collections: Sequence[PathLike | Collection] = (),
    run: PathLike | None = None,
    watch: bool | Sequence[str] = True,
    encoder: PathLike | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    columns: Sequence[str] = (),
    min_score: float | None = None,
    validation_pairs: PathLike | Pairs | None = None,
    validation_share: float = 0.025,
    split: str = "test",
    keep_identical_ids: bool | None = None,
    dev: PathLike | Collection | None = None,
    dev_split: str = "train",
    features: Sequence[PathLike] = (),
    cache: PathLike | None = None,
    device: str = "auto",
    precision: str = "fp32",
    seed: int = 0,
    counterfactuals: bool = True,
    audience: Audience | None = None,
    **fields: Any,
) -> Run:
    """Train a recipe on a frozen encoder, watch it, score every epoch, and return the run; minutes to hours.

    What ``collapse-probe train`` does, without its report. An interrupted run (Ctrl-C) is returned, too, with its
    status; one that met a loss that is not finite is ``failed``.

    Args:
        recipe: Name of a recipe, or one.
        pairs: File or folder of training pairs, or pairs; None for a recipe that trains nothing.
        collections: Folders or BEIR names of what is scored, or collections; none scores nothing.
        run: Folder of the run; ``runs/NAME`` where None. One that exists is never written into: a number is added.
        watch: True watches predictor, embeddings and pairs; False the loss alone; else names of probes.
        encoder: Name or folder of a sentence-transformers model; None for the bundled one.
        query_prompt: What stands before every query; None for the model's own.
        document_prompt: The same for documents.
        columns: ``"role=column"``, where names do not tell which column of ``pairs`` is what.
        min_score: Rows of ``pairs`` with at least this score are positive.
        validation_pairs: Held-out pairs of their own.
        validation_share: Share of ``pairs`` that is held out where there are none, in (0, 0.5].
        split: Split of the judgements that are scored.
        keep_identical_ids: Whether a document with its query's id can be retrieved; None where it is relevant.
        dev: Collection that checkpoints are chosen by.
        dev_split: Split of its judgements.
        features: Read-only feature stores made elsewhere with the same encoder.
        cache: Folder of encoded texts and downloads; ``~/.cache/collapse-probe`` where None.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the training steps.
        seed: Of weights, batches and dropout.
        counterfactuals: Whether changed versions of the model are scored at every evaluation.
        audience: Who is told how far it is; nobody where None.
        **fields: Fields of the recipe in place of its own, as ``epochs=1``.

    Raises:
        InputError: an unknown recipe or field, or an input that cannot be used; nothing has been written then.

    Example::

        from collapse_probe import respred

        run = respred.train("respred", pairs="pairs.jsonl", collections=["beir"], epochs=1, batch_size=32)
        print(run.status, run.folder)
    """
    chosen = with_fields(recipe, fields)
    folder = _folder(run, chosen)
    probes = load_watched(() if isinstance(watch, bool) else watch, watch_delta=watch is True)
    from ...diagnosis import check_declared

    check_declared({probe.name: probe.as_dict() for probe in probes})
    request = Request(
        encoder=None if encoder is None else str(encoder),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        pairs=_pairs(pairs),
        columns=tuple(columns),
        min_score=min_score,
        validation_pairs=_pairs(validation_pairs),
        validation_share=validation_share,
        collections=tuple(_collection(one) for one in _several(collections)),
        split=split,
        keep_identical_ids=keep_identical_ids,
        dev=None if dev is None else _collection(dev),
        dev_split=dev_split,
        features=tuple(Path(one) for one in features),
        cache=default_cache() if cache is None else Path(cache),
        device=device,
        precision=precision,
        seed=seed,
        counterfactuals=counterfactuals,
    )
    told = audience or Quiet()
    prepared = prepare(chosen, request, told, similarity=fields.get("similarity"))
    session = begin(prepared, runs=folder.parent, name=folder.name, probes=probes)
    run_session(session, told)
    finished = Run.load(session.folder)
    session.discard()
    return finished


def with_fields(recipe: str | Recipe, fields: dict[str, Any]) -> Recipe:
    """Return a recipe with fields in place of its own.

    Raises:
        InputError: an unknown recipe or field, or a value out of its range.

    >>> with_fields("respred", {"lamda_residual": 0})
    Traceback (most recent call last):
    ...
    collapse_probe.errors.InputError: unknown recipe field 'lamda_residual': did you mean 'lambda_residual'? Known: ...
    """
    base = get_recipe(recipe) if isinstance(recipe, str) else recipe
    known = [one.name for one in fields_of(Recipe) if one.name != "name"]
    for name in fields:
        if name not in known:
            raise unknown_name("recipe field", name, known)
    return Recipe.from_dict({**base.as_dict(), **fields})


def _folder(run: PathLike | None, recipe: Recipe) -> Path:
    folder = Path("runs") / recipe.name if run is None else Path(run)
    if not is_plain_name(folder.name):
        raise InputError(f"run={str(run)!r}: give the path of a folder that can be made, such as runs/mine")
    nearest = next((place for place in (folder.parent, *folder.parent.parents) if place.exists()), Path())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"run={str(folder)!r}: {nearest} is no folder that can be written")
    return folder


def _pairs(given: PathLike | Pairs | None) -> Path | Pairs | None:
    return given if given is None or isinstance(given, Pairs) else Path(given)


def _collection(given: PathLike | Collection) -> str | Collection:
    return given if isinstance(given, Collection) else str(given)


def _several(collections: Sequence[PathLike | Collection]) -> Sequence[PathLike | Collection]:
    """Return the collections; a single name that was meant as a list is one."""
    return [collections] if isinstance(collections, str | os.PathLike | Collection) else collections
