"""What ``run.json`` holds: everything that is needed to read a run, and to do it again."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..journal import Run, write_run_json
from ..respred import Recipe, get_recipe, head_modules
from ..retrieval import TASKS, Collection, Encoder, Overlap, Pairs, is_half
from ._prepare import Inputs, open_inputs

if TYPE_CHECKING:
    from ..diagnosis import FindingRow as Finding
    from ..recording import Probe
    from ..respred import TrainingData

_PACKAGES = ("collapse-probe", "torch", "sentence-transformers", "transformers", "numpy", "pytrec-eval-terrier")


def describe_inputs(recipe: Recipe, inputs: Inputs) -> list[str]:
    """Return what was read, one line each; embedded parts are said to be so."""
    lines = [f"recipe  {recipe.name}"]
    for field in sorted(set(recipe.changed_from(get_recipe(recipe.name))) & set(recipe.idle)):
        lines.append(f"        note: --{field.replace('_', '-')} plays no role here: it needs {recipe.idle[field]}")
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


def write_configuration(
    folder: Path,
    recipe: Recipe,
    inputs: Inputs,
    *,
    data: TrainingData | None,
    probes: Sequence[Probe],
    found: Sequence[Finding],
    shared: Sequence[Overlap],
    raw_similarity: str,
    options: dict[str, Any],
    device: str,
) -> None:
    """Write ``run.json`` into a new run folder.

    ``found`` is what preflight said, ``shared`` what each collection has in common with the pairs.
    """
    import torch

    write_run_json(
        folder,
        {
            "name": folder.name,
            "command": shlex.join(["collapse-probe", *sys.argv[1:]]),
            "recipe": recipe.as_dict(),
            "encoder": inputs.encoder.identity.as_dict(),
            "raw_similarity": raw_similarity,
            "pairs": _describe_pairs(inputs, data),
            "collections": [
                {
                    **_describe_split(collection),
                    "n_documents": len(collection.documents),
                    "notes": list(collection.notes),
                    "form": collection.form,
                    "group": collection.group,
                    **_describe_overlap(overlap),
                }
                for collection, overlap in zip(
                    inputs.collections, shared or [None] * len(inputs.collections), strict=True
                )
            ],
            "development": None if inputs.development is None else _describe_split(inputs.development),
            "modules": head_modules(recipe),
            "seed": options["seed"],
            "device": device,
            "threads": torch.get_num_threads(),
            "precision": options["precision"],
            "embedded": list(inputs.embedded),
            "watch": [probe.name for probe in probes],
            "probes": {probe.name: probe.as_dict() for probe in probes},
            "preflight": [finding.as_dict() for finding in found],
            "options": _plain(options),
            "versions": _versions(),
            "git": _git_state(),
        },
    )


def recorded_inputs(run: Run, recipe: Recipe, *, device: str, cache: Path) -> Inputs:
    """Open the inputs that a run was started with, and check that they are still the same.

    Raises:
        InputError: an input is gone, or its content has changed.
    """
    inputs = open_inputs(recipe, recorded_options(run, cache=cache))
    inputs.encoder.device = device
    if inputs.encoder.is_here:
        check_encoder_unchanged(run, inputs.encoder)
    recorded = run.settings["pairs"]
    if inputs.pairs is not None and recorded and inputs.pairs.fingerprint != recorded["fingerprint"]:
        raise InputError(f"{inputs.pairs.source}: the pairs have changed since this run began; start a new run")
    if inputs.validation is not None and inputs.validation.fingerprint != recorded.get("validation_fingerprint"):
        raise InputError(f"{inputs.validation.source}: the held-out pairs have changed; start a new run")
    split = run.settings.get("development")
    if inputs.development is not None and split and inputs.development.fingerprint != split["fingerprint"]:
        raise InputError(f"{inputs.development.name}: the development split has changed; start a new run")
    for collection, before in zip(inputs.collections, run.settings["collections"], strict=True):
        if collection.fingerprint != before["fingerprint"]:
            raise InputError(f"{collection.name}: the collection has changed since this run began; start a new run")
    return inputs


def recorded_options(run: Run, *, cache: Path) -> dict[str, Any]:
    """Return the options that a run was started with, as flags give them."""
    options = run.settings["options"]
    stores = [Path(folder) for folder in options.get("features", ()) if Path(folder).is_dir()]
    paths = {key: _path(options.get(key)) for key in ("pairs", "validation_pairs")}
    # Version 0.1 encoded without a prompt, whatever the model has.
    without = {} if "prompts" in run.settings["encoder"] else {"query_prompt": "", "document_prompt": ""}
    return {"dev_split": "train", "split": "test", **options, **without, **paths, "features": stores, "cache": cache}


def recorded_similarity(run: Run, recipe: Recipe) -> Any:
    """Return what a run's raw encoder is scored by: the recipe's similarity, in runs of version 0.1."""
    return run.settings.get("raw_similarity", recipe.similarity)


def check_encoder_unchanged(run: Run, encoder: Encoder) -> None:
    """Refuse to go on with another encoder than a run's.

    Raises:
        InputError: its weights, or any file that decides its vectors, are others; or it is asked in another way.
    """
    recorded, now = run.settings["encoder"], encoder.identity.as_dict()
    # Version 0.1 recorded the weights alone, and a run without its encoder what a store said of it.
    known = {"fingerprint": "weights or files", "prompts": "prompts"}
    keys = known if recorded.get("fingerprint") and now["verified"] else {"weights_sha256": "weights"}
    if recorded.get("prompts"):
        keys = {**keys, "prompts": "prompts"}
    for key, what in keys.items():
        if recorded[key] != now[key]:
            raise InputError(f"{run.folder}: the encoder's {what} have changed since this run began; start a new run")


def recorded_recipe(run: Run) -> Recipe:
    """Return the recipe that a run was started with.

    Raises:
        InputError: ``run.json`` has none, or not one that this version can read.
    """
    recorded = run.settings.get("recipe")
    if not isinstance(recorded, dict) or not isinstance(run.settings.get("options"), dict):
        raise InputError(f"{run.folder / 'run.json'}: no recipe and options in it; start a new run")
    try:
        return Recipe.from_dict(recorded)
    except InputError as error:
        raise InputError(f"{run.folder / 'run.json'}: {error}") from None


def recorded_features(run: Run, given: Sequence[Path]) -> list[Path]:
    """Return the feature stores named now, and those that the run was started with, where they still are."""
    return [*given, *(Path(folder) for folder in run.settings["options"]["features"] if Path(folder).is_dir())]


def check_vectors(run: Run, data: TrainingData | None) -> None:
    """Refuse to go on with vectors in other bits than those that a run began with.

    Raises:
        InputError: they differ.
    """
    recorded = (run.settings.get("pairs") or {}).get("vectors")
    if data is not None and recorded is not None and data.digest != recorded:
        raise InputError(
            f"{run.folder}: the vectors of its pairs differ from those it began with (encoded elsewhere, or by another "
            "number of threads); give the same --features and --cache, or start a new run"
        )


def _describe_overlap(overlap: Overlap | None) -> dict[str, Any]:
    if overlap is None:
        return {"seen_queries": []}
    trained = {"distinct": overlap.trained, "equal": overlap.equal, "near": overlap.near}
    return {"seen_queries": list(overlap.queries), "trained_documents": trained}


def _describe_split(collection: Collection) -> dict[str, Any]:
    return {
        "name": collection.name,
        "split": collection.split,
        "n_queries": len(collection.queries),
        "fingerprint": collection.fingerprint,
    }


def _describe_pairs(inputs: Inputs, data: TrainingData | None) -> dict[str, Any] | None:
    if inputs.pairs is None or data is None:
        return None
    described = {
        "source": inputs.pairs.source,
        "fingerprint": inputs.pairs.fingerprint,
        "form": inputs.pairs.form,
        "notes": list(inputs.pairs.notes),
        "negatives": inputs.pairs.n_negatives,
        "vectors": data.digest,
        "train": len(data.query),
        "validation": len(data.validation_query),
    }
    if inputs.validation is not None:
        described["validation_source"] = inputs.validation.source
        described["validation_fingerprint"] = inputs.validation.fingerprint
    return described


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    keep = ("pairs", "validation_pairs", "validation_share", "beir", "split", "dev", "dev_split", "encoder")
    asked = ("columns", "min_score", "query_prompt", "document_prompt", "keep_identical_ids")
    plain = {key: options[key] for key in (*keep, "features", "seed", "precision", "counterfactuals", "reports")}
    plain |= {key: list(value) if isinstance(value := options.get(key), tuple) else value for key in asked}
    for key in ("pairs", "validation_pairs"):
        plain[key] = None if plain[key] is None else str(Path(plain[key]).resolve())
    plain["beir"] = [_absolute_if_folder(name) for name in plain["beir"]]
    for key in ("dev", "encoder"):
        plain[key] = None if plain[key] is None else _absolute_if_folder(plain[key])
    plain["reports"] = str(plain["reports"])
    plain["features"] = [str(Path(folder).resolve()) for folder in plain["features"]]
    return plain


def _absolute_if_folder(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else name


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the folder that the command runs in, and whether it has changes; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5)
    return result.stdout.strip()
