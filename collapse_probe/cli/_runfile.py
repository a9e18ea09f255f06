"""What ``run.json`` holds: everything that is needed to read a run, and to do it again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ..diagnosis import Finding
from ..errors import InputError
from ..journal import Run, write_run_json
from ..recording import Probe
from ..respred import Recipe, TrainingData, get_recipe, head_modules
from ..retrieval import Collection, seen_queries
from ._prepare import Inputs, open_inputs

_PACKAGES = ("collapse-probe", "torch", "sentence-transformers", "transformers", "numpy", "pytrec-eval-terrier")


def describe_run(recipe: Recipe, inputs: Inputs, *, device: str) -> list[str]:
    """Return what a run is about to use, one line each; embedded parts are said to be so."""

    def origin(part: str) -> str:
        return " (embedded default)" if part in inputs.embedded else ""

    identity = inputs.encoder.identity
    lines = [f"recipe  {recipe.name} on {device}", f"encoder {identity.name}{origin('encoder')}"]
    for field in sorted(set(recipe.changed_from(get_recipe(recipe.name))) & set(recipe.idle)):
        lines.append(f"        note: --{field.replace('_', '-')} plays no role here: it needs {recipe.idle[field]}")
    if inputs.pairs is not None:
        lines.append(f"pairs   {len(inputs.pairs):,} from {inputs.pairs.source}{origin('pairs')}")
    for collection in inputs.collections:
        size = f"{len(collection.queries):,} queries, {len(collection.documents):,} documents"
        lines.append(f"scores  {collection.name} {collection.split}: {size}{origin('collection')}")
        lines += [f"        note: {note}" for note in collection.notes]
        seen = _seen(collection, inputs)
        if seen:
            count = f"{len(seen):,} of its {len(collection.queries):,} queries"
            lines.append(f"        note: {count} have a relevant document that is trained on; read the others apart")
    if inputs.development is not None:
        found = inputs.development
        lines.append(f"chooses by {found.name} {found.split}: {len(found.queries):,} queries")
    return lines


def write_configuration(
    folder: Path,
    recipe: Recipe,
    inputs: Inputs,
    *,
    data: TrainingData | None,
    probes: Sequence[Probe],
    found: Sequence[Finding],
    options: dict[str, Any],
    device: str,
) -> None:
    """Write ``run.json`` into a new run folder; ``found`` is what preflight said."""
    import torch

    identity = inputs.encoder.identity
    write_run_json(
        folder,
        {
            "name": folder.name,
            "command": shlex.join(["collapse-probe", *sys.argv[1:]]),
            "recipe": recipe.as_dict(),
            "encoder": {
                field: getattr(identity, field) for field in ("name", "weights_sha256", "dimension", "max_seq_length")
            },
            "pairs": _describe_pairs(inputs, data),
            "collections": [
                {
                    **_describe_split(collection),
                    "n_documents": len(collection.documents),
                    "notes": list(collection.notes),
                    "seen_queries": _seen(collection, inputs),
                }
                for collection in inputs.collections
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
    options = run.config["options"]
    inputs = open_inputs(
        recipe,
        pairs=_path(options["pairs"]),
        validation_pairs=_path(options["validation_pairs"]),
        beir=options["beir"],
        split=options["split"],
        dev=options.get("dev"),
        dev_split=options.get("dev_split", "train"),
        encoder=options["encoder"],
        device=device,
        cache=cache,
    )
    if inputs.encoder.identity.weights_sha256 != run.config["encoder"]["weights_sha256"]:
        raise InputError(f"{run.folder}: the encoder's weights have changed since this run began; start a new run")
    recorded = run.config["pairs"]
    if inputs.pairs is not None and recorded and inputs.pairs.fingerprint != recorded["fingerprint"]:
        raise InputError(f"{inputs.pairs.source}: the pairs have changed since this run began; start a new run")
    if inputs.validation is not None and inputs.validation.fingerprint != recorded.get("validation_fingerprint"):
        raise InputError(f"{inputs.validation.source}: the held-out pairs have changed; start a new run")
    split = run.config.get("development")
    if inputs.development is not None and split and inputs.development.fingerprint != split["fingerprint"]:
        raise InputError(f"{inputs.development.name}: the development split has changed; start a new run")
    for collection, before in zip(inputs.collections, run.config["collections"], strict=True):
        if collection.fingerprint != before["fingerprint"]:
            raise InputError(f"{collection.name}: the collection has changed since this run began; start a new run")
    return inputs


def recorded_recipe(run: Run) -> Recipe:
    """Return the recipe that a run was started with.

    Raises:
        InputError: ``run.json`` has none, or not one that this version can read.
    """
    recorded = run.config.get("recipe")
    if not isinstance(recorded, dict) or not isinstance(run.config.get("options"), dict):
        raise InputError(f"{run.folder / 'run.json'}: no recipe and options in it; start a new run")
    try:
        return Recipe.from_dict(recorded)
    except InputError as error:
        raise InputError(f"{run.folder / 'run.json'}: {error}") from None


def recorded_features(run: Run, given: Sequence[Path]) -> list[Path]:
    """Return the feature stores named now, and those that the run was started with, where they still are."""
    return [*given, *(Path(folder) for folder in run.config["options"]["features"] if Path(folder).is_dir())]


def check_vectors(run: Run, data: TrainingData | None) -> None:
    """Refuse to go on with vectors in other bits than those that a run began with.

    Raises:
        InputError: they differ.
    """
    recorded = (run.config.get("pairs") or {}).get("vectors")
    if data is not None and recorded is not None and data.digest != recorded:
        raise InputError(
            f"{run.folder}: the vectors of its pairs differ from those it began with (encoded elsewhere, or by another "
            "number of threads); give the same --features and --cache, or start a new run"
        )


def _seen(collection: Collection, inputs: Inputs) -> list[str]:
    return seen_queries(collection, inputs.pairs.documents) if inputs.pairs is not None else []


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
    plain = {key: options[key] for key in (*keep, "features", "seed", "precision", "counterfactuals", "reports")}
    for key in ("pairs", "validation_pairs"):
        plain[key] = None if plain[key] is None else str(Path(plain[key]).resolve())
    plain["beir"] = [_absolute_if_folder(name) for name in plain["beir"]]
    for key in ("dev", "encoder"):
        plain[key] = None if plain[key] is None else _absolute_if_folder(plain[key])
    plain["reports"] = str(plain["reports"])
    plain["features"] = [str(Path(folder).resolve()) for folder in plain["features"]]
    return plain


def _absolute_if_folder(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).is_dir() else name


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
