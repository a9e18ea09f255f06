"""From what was named to a run: found, looked at, encoded, written."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, setting
from ..journal import fresh_folder, is_plain_name
from ..retrieval import (
    SHARES,
    Collection,
    Encoder,
    Features,
    Pairs,
    Prompts,
    Told,
    default_cache,
    interpolate,
    open_collections,
    own_similarity,
    parse_columns,
    read_pairs,
    resolve_device,
)
from ._examination import Examination
from ._found import Found, find_base, find_models, in_order, shown


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is examined, and how.

    Attributes:
        base: What the others began as: a folder, or the name of a model on this machine.
        models: Folders of models or of a trainer's checkpoints, in the order of their training.
        collections: Paths, BEIR names or collections.
        pairs: Held-out pairs of the domain that was trained on: a file, or pairs.
        columns: Columns of the pairs by role, as ``query=question``.
        min_score: Least score of positive pairs.
        split: Of the collections' judgements.
        queries: Most queries of each collection and of the pairs.
        documents: Most documents beside the relevant ones of each.
        between: Whether models between the first and the last are scored.
        run: The run folder; None for one in ``runs``.
        prompts: In place of the models' own.
        features: Read-only feature stores made elsewhere.
        device: ``cpu``, ``cuda`` or ``auto``.
        cache: Folder of the caches.
        command: What was typed.
    """

    base: str
    models: tuple[str, ...]
    collections: tuple[str | Collection, ...] = ()
    pairs: Path | Pairs | None = None
    columns: tuple[str, ...] = ()
    min_score: float | None = None
    split: str = "test"
    queries: int | None = None
    documents: int | None = None
    between: bool = True
    run: Path | None = None
    prompts: Prompts = Prompts()
    features: tuple[Path, ...] = ()
    device: str = "auto"
    cache: Path | None = None
    command: str = ""


def examine_asked(asked: Asked, told: Told) -> Examination:
    """As :func:`examine`, with all that the command line can say.

    Args:
        asked: What is examined.
        told: Who is told how far it is.
    """
    with _speaking_of_models(), warnings.catch_warnings():
        # What libraries warn of while they load is not to be changed by whoever examines.
        warnings.simplefilter("ignore")
        return _examined(asked, told)


def _examined(asked: Asked, told: Told) -> Examination:
    cache = asked.cache or default_cache()
    if not asked.models:
        raise InputError("give the models that began as the first one: a folder of checkpoints, or a model's folder")
    for name in ("queries", "documents"):
        value = getattr(asked, name)
        if value is not None and (type(value) is not int or value < 1):
            raise InputError(f"{setting(name, value)}: a whole number of at least 1 is needed")
    parent, name = _place(asked)
    base = find_base(asked.base, cache=cache)
    found = in_order(base, [one for given in asked.models for one in find_models(given, cache=cache)])
    material = _material(asked, cache)
    with tempfile.TemporaryDirectory(prefix="collapse-probe-") as scratch:
        return _in(Path(scratch), asked, found, material, cache=cache, told=told, place=(parent, name))


def _place(asked: Asked) -> tuple[Path, str]:
    """Return where the run goes, before anything takes time.

    Raises:
        InputError: a path that cannot be a folder's.
    """
    if asked.run is None:
        last = shown(Path(asked.models[-1]).expanduser().name) or "model"
        return Path("runs"), f"examine-{last}" if is_plain_name(f"examine-{last}") else "examine"
    if not is_plain_name(asked.run.name) or asked.run.is_file():
        raise InputError(f"{setting('run', asked.run)}: the path of a folder is needed, such as runs/mine")
    return asked.run.parent, asked.run.name


def _material(asked: Asked, cache: Path) -> Any:
    from ._texts import make_material

    collections: list[Collection] = []
    for one in asked.collections:
        given = isinstance(one, Collection)
        collections += [one] if given else open_collections(one, split=asked.split, cache=cache / "beir")
    columns = parse_columns(",".join(asked.columns)) if asked.columns else None
    pairs = asked.pairs
    if isinstance(pairs, Path):
        pairs = read_pairs(pairs, columns=columns, min_score=asked.min_score)
    return make_material(collections, pairs, queries=asked.queries, documents=asked.documents)


def _in(
    scratch: Path,
    asked: Asked,
    found: Sequence[Found],
    material: Any,
    *,
    cache: Path,
    told: Told,
    place: tuple[Path, str],
) -> Examination:
    from ._audit import Audit, audit
    from ._left_out import Left, check_some, leaving_out
    from ._prepared import open_model
    from ._vectors import encoded
    from ._written import run_config, write_run

    device = resolve_device(asked.device)
    _say_texts(material, told)
    audits: list[Audit] = []
    opened: list[Encoder] = []
    kept: list[Found] = []
    left: list[Left] = []
    for one in found:
        base = opened[0].folder if opened else None
        with leaving_out(one, left, scratch):
            encoder, assumed = open_model(one, base, scratch=scratch, cache=cache, device=device, prompts=asked.prompts)
            own_similarity(encoder.identity)
            first = audits[0] if audits else None
            audits.append(audit(one, encoder, texts=material.some_texts, assumed=assumed, first=first, cache=cache))
            _say_model(audits[-1], audits[0], told)
            encoder.unload()
            opened.append(encoder)
            kept.append(one)
    check_some(left, len(kept) - 1)
    extra = _used(asked.features, opened)
    models: list[tuple[Found, Features]] = []
    for one, encoder in zip(kept, opened, strict=True):
        with leaving_out(one, left, scratch):
            features = encoded(encoder, material, cache=cache, extra=extra, told=told, constant=one.among)
            models.append((one, features))
            encoder.unload()
    check_some(left, len(models) - 1)
    whole = [at for at, one in enumerate(kept) if all(one is not other.found for other in left)]
    audits, opened = [audits[at] for at in whole], [opened[at] for at in whole]
    for bad in left:
        told.say(f"left out  {bad.said}")
    between, why = _between(asked, audits, opened, material, scratch, cache=cache, told=told)
    remarks = [
        *(f"left out: {one.said}" for one in left),
        *_remarks(audits, material),
        *([f"between {audits[0].name} and {audits[-1].name}: {why}"] if why else []),
    ]
    config = run_config(place[1], audits, material, device=device, remarks=remarks, command=asked.command)
    folder = fresh_folder(*place)
    if folder.name != place[1]:
        told.say(f"{place[0] / place[1]} exists, so this run is written to {folder}")
    write_run(
        folder, config, models, between, material, device=device, broken=[one.found for one in left if one.broken]
    )
    return Examination(folder, tuple(one.as_dict() for one in audits))


def _between(
    asked: Asked,
    audits: Sequence[Any],
    opened: Sequence[Encoder],
    material: Any,
    scratch: Path,
    *,
    cache: Path,
    told: Told,
) -> tuple[list[tuple[float, Features]], str]:
    """Return the vectors of models between the first and the last, and why there are none."""
    from ..retrieval import open_encoder
    from ._vectors import encoded

    if not asked.between or audits[-1].equal:
        return [], ""
    found = []
    for t in SHARES:
        folder = scratch / f"between-{t:g}"
        try:
            interpolate(opened[0].folder, opened[-1].folder, t, folder)
        except InputError as error:
            return [], f"not measured, since their weights do not fit ({str(error).partition(': ')[2][:160]})"
        # What it was made of is no part of it, and names this temporary folder.
        (folder / "interpolation.json").unlink()
        encoder = open_encoder(str(folder), device=opened[-1].device, cache=cache, prompts=asked.prompts)
        encoder.name = f"{t:g} of the way from {audits[0].name} to {audits[-1].name}"
        found.append((t, encoded(encoder, material, cache=cache, extra=(), told=told)))
        encoder.unload()
    return found, ""


def _used(extra: Sequence[Path], opened: Sequence[Encoder]) -> tuple[Path, ...]:
    """Return the feature stores, each of one of the models.

    Raises:
        InputError: one is of none of them.
    """
    from ..retrieval import stored_identity

    weights = {one.identity.weights_sha256 for one in opened}
    for folder in extra:
        identity = stored_identity(folder)
        if identity.weights_sha256 not in weights:
            raise InputError(
                f"{setting('features', folder)}: vectors of {identity.name} with other weights than any of these "
                "models; leave it out"
            )
    return tuple(extra)


def _remarks(audits: Sequence[Any], material: Any) -> list[str]:
    found = [one.remark for one in material.examined if one.remark]
    found += [f"{one.name}: {said}" for one in audits for said in one.remarks]
    equal = [one.name for one in audits[1:] if one.equal]
    if equal:
        found.insert(0, f"bit for bit {audits[0].name}: {', '.join(equal[:3])}")
    if material.source != "given":
        found.append(
            "without held-out pairs of the domain that was trained on, forgetting cannot be told from collapse"
        )
    return found


def _say_texts(material: Any, told: Told) -> None:
    for one in material.examined:
        size = f"{len(one.collection.queries):,} queries, {len(one.collection.documents):,} documents"
        domain = {"in": ", in-domain", "out": ", of another domain", None: ""}[one.domain]
        told.say(f"scores  {one.collection.name} {one.collection.split}: {size}{domain}")
        for note in one.info.notes:
            told.say(f"        note: {note}")


def _say_model(one: Any, first: Any, told: Told) -> None:
    step = f", step {one.step}" if one.counted else ""
    kept = ", ".join(f"{name} {one.settings[name]}" for name in ("pooling", "maximum length", "similarity"))
    told.say(f"model   {one.name}{step}: {one.dimension} dimensions, {kept}")
    notes = [
        *dict.fromkeys([*one.assumed, *one.remarks]),
        *(f"other than {first.name}: {said}" for said in one.differs),
    ]
    if one.equal:
        notes.append(f"its weights are those of {first.name}, bit for bit")
    if one.twice:
        notes.append(f"two loads of it differ by {one.twice:.1g} of a vector's length")
    for note in notes:
        told.say(f"        note: {note}")


@contextmanager
def _speaking_of_models() -> Iterator[None]:
    """Let errors that name an encoder's setting name the folder alone: models are arguments here."""
    try:
        yield
    except InputError as error:

        def spell(name: str, value: str | None) -> str:
            return setting(name, value) if name != "encoder" else value or "a model's folder"

        raise InputError(error.told(spell)) from None
