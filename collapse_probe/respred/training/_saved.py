"""Models on disk: written so that plain sentence-transformers reads them, read without running what a file names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from sentence_transformers.base.modules import Dense, Module, Router
from sentence_transformers.sentence_transformer.modules import Normalize
from sentence_transformers.util import import_from_string
from torch import nn

from ...errors import InputError
from ..modules import Projection, build_head, head_parts
from ..recipes import Recipe
from ._state import check_training_state, complete_checkpoints

_LIBRARY = "sentence_transformers."
_OURS = "collapse_probe.respred.modules."
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError)


class DamagedCheckpoint(InputError):
    """A checkpoint that cannot be read."""


def library_head(head: Router) -> list[Module] | None:
    """Return what a head does to the embeddings that are scored, in the library's own modules.

    Dropout is left out. Where both routes share a projection there is no router, so that ``encode`` needs no task.

    Returns:
        The modules, none where embeddings stay as they are; None where the predictor is scored, which the library
        has no module for.
    """
    query, document, predictor = head_parts(head)
    if predictor is not None and predictor.scoring_path == "predictor":
        return None
    if query is document:
        return _as_library(query)
    return [Router.for_query_document(query_modules=_as_library(query), document_modules=_as_library(document))]


def _as_library(projection: Projection) -> list[Module]:
    layers = projection.net.children() if isinstance(projection.net, nn.Sequential) else [projection.net]
    found: list[Module] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            dense = Dense(layer.in_features, layer.out_features, activation_function=nn.Identity())
            dense.linear = copy.deepcopy(layer)
            found.append(dense)
        elif isinstance(layer, nn.GELU):
            found[-1].activation_function = copy.deepcopy(layer)
    return [*found, Normalize()] if projection.normalise else found


def load_head(checkpoint: Path, recipe: Recipe, dimension: int) -> Router:
    """Return the head of a checkpoint; its recipe says what it is, and the files give numbers alone.

    Raises:
        DamagedCheckpoint: files are missing or damaged, or hold another head.
    """
    head = build_head(recipe, dimension, seed=0)
    fill_head(head, checkpoint)
    return head


def fill_head(head: Router, checkpoint: Path) -> None:
    """Give a head the weights of a checkpoint's, whose head is its last module.

    Raises:
        DamagedCheckpoint: files are missing or damaged, or hold another head.
    """
    try:
        folder = checkpoint / _entries(checkpoint)[-1]["path"]
        structure = _read(folder / "router_config.json")["structure"]
        for route, modules in head.sub_modules.items():
            for module, name in zip(modules, structure[route], strict=True):  # type: ignore[arg-type]
                module.load_state_dict(load_file(folder / name / "model.safetensors") if module.state_dict() else {})
    except _UNREADABLE as error:
        raise _damaged(checkpoint, error) from None


def load_encoder(checkpoint: Path) -> list[nn.Module]:
    """Return the modules before the head of a checkpoint that holds its encoder.

    Raises:
        DamagedCheckpoint: files are missing or damaged, or name a class that is neither the library's nor ours.
    """
    try:
        entries = _entries(checkpoint)
        _check_classes(checkpoint, entries)
        return [_library_module(checkpoint, entry) for entry in entries[:-1]]
    except DamagedCheckpoint:
        raise
    except Exception as error:
        raise _damaged(checkpoint, error) from None


def sound_checkpoint(folder: Path, recipe: Recipe, dimension: int) -> tuple[Path | None, list[str]]:
    """Return the last checkpoint that can be gone on from, and what is wrong with each one after it.

    Args:
        folder: Of the checkpoints.
        recipe: The run's.
        dimension: D of the head.
    """
    damaged: list[str] = []
    for checkpoint in complete_checkpoints(folder):
        try:
            load_head(checkpoint, recipe, dimension)
            if recipe.trains_from_text:
                load_encoder(checkpoint)
            _check_state(checkpoint)
        except DamagedCheckpoint as error:
            damaged.append(str(error))
        else:
            return checkpoint, damaged
    return None, damaged


def _check_state(checkpoint: Path) -> None:
    try:
        check_training_state(checkpoint)
    except _UNREADABLE as error:
        raise _damaged(checkpoint, error) from None


def _library_module(checkpoint: Path, entry: dict[str, Any]) -> nn.Module:
    found = import_from_string(entry["type"])
    if not (isinstance(found, type) and issubclass(found, Module)):
        raise ValueError(f"{entry['type']} is no module")
    options: dict[str, Any] = {"model_kwargs": {}, "processor_kwargs": {}, "config_kwargs": {}, "backend": "torch"}
    return found.load(
        str(checkpoint), subfolder=entry["path"], local_files_only=True, trust_remote_code=False, **options
    )


def _check_classes(checkpoint: Path, entries: list[dict[str, Any]]) -> None:
    """Refuse classes of strangers, also inside routers: importing one runs what is written there."""
    named = [entry["type"] for entry in entries[:-1]]
    for path in [*checkpoint.rglob("router_config.json"), *checkpoint.rglob("config.json")]:
        named += _read(path).get("types", {}).values()
    for name in named:
        if not name.startswith((_LIBRARY, _OURS)):
            raise DamagedCheckpoint(
                f"{checkpoint}: names the class {name}, which is not sentence-transformers' own and is not imported; "
                "give a checkpoint that `collapse-probe train` wrote"
            )


def _entries(checkpoint: Path) -> list[dict[str, Any]]:
    return _read(checkpoint / "modules.json")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _damaged(checkpoint: Path, error: Exception) -> DamagedCheckpoint:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DamagedCheckpoint(f"{checkpoint}: this checkpoint is damaged ({reason})")
