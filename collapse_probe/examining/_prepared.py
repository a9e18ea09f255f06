"""Models that are not whole made whole beside their files: the base's pooling, or an adapter merged into the base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..errors import InputError
from ..retrieval import Encoder, Prompts, check_kind, check_weights, open_encoder, read_json
from ._adapter import TOKENS, VOCABULARY, merged
from ._code import check_code, settings_in
from ._found import Found, refuse
from ._size import check_size

_READ = (".safetensors", ".json", ".txt", ".model", ".jinja", ".bpe", ".tiktoken")
_UNREAD = ("trainer_state.json", "modules.json")
_SETTINGS = ("sentence_bert_config.json", "sentence_transformer_config.json")
_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
_MEAN = {"word_embedding_dimension": 0, "pooling_mode_mean_tokens": True}
_MODULES = (
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
)
_STATIC = {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}
_NORMALIZE = {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}


def open_model(
    found: Found, base: Path | None, *, scratch: Path, cache: Path, device: str, prompts: Prompts
) -> tuple[Encoder, tuple[str, ...]]:
    """Return a model as an encoder, made whole where it is not, and what was assumed for that.

    Args:
        found: The model.
        base: Folder of what it began as, made whole; None for that itself.
        scratch: Where what is missing is put beside links to the model's own files.
        cache: As for :func:`open_encoder`.
        device: Where it encodes.
        prompts: In place of its own.

    Raises:
        InputError: it cannot be used.
    """
    if found.kind == "none":
        refuse(found.folder)
    # What a model is comes before the code that it needs for that.
    check_kind(found.folder, adapter=found.kind == "adapter")
    said = check_code(found.folder)
    check_size(found.folder)
    folder = found.folder
    if found.kind != "whole":
        folder = scratch / f"{len(list(scratch.iterdir()))}-model"
        check_weights(found.folder)
        if found.kind == "adapter":
            said += merged(found.folder, base, folder, cache=cache)
        else:
            said += _around(found.folder, base, folder)
    elif (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder}: a whole model and an adapter in one folder, and which of the two is meant is not said; "
            "move adapter_config.json to another folder, or the model's weights"
        )
    encoder = open_encoder(str(folder), device=device, cache=cache, prompts=prompts)
    encoder.name = found.name
    return encoder, said


def _around(folder: Path, base: Path | None, place: Path) -> tuple[str, ...]:
    """Put the base's pooling around a transformers model without any; the mean of all tokens where there is no base.

    Returns:
        What was assumed.
    """
    if settings_in(folder / "config.json").get("model_type") == "model2vec":
        return _table(folder, place)
    modules = list(_MODULES) if base is None else read_json(base / "modules.json")
    if not str(modules[0].get("type")).endswith("Transformer"):
        # A table of words or a router has no pooling to lend.
        base, modules = None, list(_MODULES)
    width = _width(folder)
    inside = str(modules[0].get("path") or "")
    _linked(folder, place / inside)
    said = []
    if base is not None:
        said += _settings_of(base, folder, place, inside)
    kept = []
    for entry in modules[1:]:
        path = str(entry["path"])
        if base is not None and str(entry["type"]).endswith(".Dense") and width != _width(base / inside):
            continue
        kept.append(entry)
        if base is not None and (base / path).is_dir():
            shutil.copytree(base / path, place / path)
        else:
            (place / path).mkdir(parents=True)
        if str(entry["type"]).rpartition(".")[2] == "Pooling":
            _pooling(place / path / "config.json", width)
    (place / "modules.json").write_text(json.dumps([modules[0], *kept]), encoding="utf-8")
    how = "the mean of its tokens, since nothing says how they become one vector" if base is None else "the base's"
    more = [kind for one in kept if (kind := str(one["type"]).rpartition(".")[2]) not in ("Pooling", "Normalize")]
    said += [f"{', '.join(more)} the base's, too"] if more else []
    return (f"pooling {how}", *said, *_prompts(folder, place))


def _prompts(folder: Path, place: Path) -> list[str]:
    """Return what is said of prompts that a model takes from the base."""
    name = "config_sentence_transformers.json"
    lent = settings_in(place / name).get("prompts") if not (folder / name).is_file() else None
    return ["prompts the base's"] if isinstance(lent, dict) and any(lent.values()) else []


def _table(folder: Path, place: Path) -> tuple[str, ...]:
    """Say that a table of words is one: model2vec keeps it without the files of sentence-transformers."""
    _linked(folder, place)
    unit = settings_in(folder / "config.json").get("normalize", True)
    modules = [_STATIC, *([_NORMALIZE] if unit else [])]
    (place / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return ()


def _settings_of(base: Path, folder: Path, place: Path, inside: str) -> list[str]:
    """Link the base's settings that a model lacks, and its tokenizer if it has none."""
    said = []
    wanted = [(Path(inside) / name, name) for name in _SETTINGS] + [(Path("config_sentence_transformers.json"),) * 2]
    if not any((folder / name).is_file() for name in VOCABULARY):
        wanted += [(Path(inside) / name, name) for name in TOKENS]
        said.append("tokenizer the base's, since it has none")
    for path, _ in wanted:
        if (base / path).is_file() and not (place / path).exists():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base / path, place / path)
    return said


def _pooling(path: Path, width: int) -> None:
    config = settings_in(path) if path.is_file() else dict(_MEAN)
    for name in ("word_embedding_dimension", "embedding_dimension"):
        if name in config:
            config[name] = width
    path.write_text(json.dumps(config), encoding="utf-8")


def _linked(folder: Path, place: Path) -> None:
    """Link the files of a model, without its training's state and its checkpoints."""
    place.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file() and path.suffix in _READ and path.name not in _UNREAD:
            (place / path.name).symlink_to(path.resolve())


def _width(folder: Path) -> int:
    config = settings_in(folder / "config.json")
    found = next((config[name] for name in _WIDTHS if type(config.get(name)) is int), None)
    if found is None:
        kind = ", ".join(map(str, config.get("architectures") or ())) or config.get("model_type") or "no kind"
        raise InputError(
            f"{folder}: a transformers model ({kind}) without pooling, whose config.json does not say how wide its "
            f"vectors are ({', '.join(_WIDTHS)}); save it with SentenceTransformer(...).save('FOLDER'), and give FOLDER"
        )
    return int(found)
