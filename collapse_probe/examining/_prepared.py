"""Models that are not whole made whole beside their files: the base's pooling, or an adapter merged into the base."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..retrieval import Encoder, Prompts, open_encoder
from ._found import Found

_TOKENS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_READ = (".safetensors", ".json", ".txt", ".model", ".bin", ".jinja")
_UNREAD = ("trainer_state.json", "training_args.bin", "modules.json")
_SETTINGS = ("sentence_bert_config.json", "sentence_transformer_config.json")
_OWN = ("sentence_transformers.", "collapse_probe.")
_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
_MEAN = {"word_embedding_dimension": 0, "pooling_mode_mean_tokens": True}
_MODULES = (
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
)


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
    check_code(found.folder)
    folder, said = found.folder, ()
    place = scratch / f"{len(list(scratch.iterdir()))}-model"
    if found.kind == "plain":
        said = _around(found.folder, base, place)
    elif found.kind == "adapter":
        said = _merged(found.folder, base, place)
    folder = place if found.kind != "whole" else found.folder
    try:
        encoder = open_encoder(str(folder), device=device, cache=cache, prompts=prompts)
    except InputError as error:
        raise InputError(str(error.args[0]).replace(str(place), str(found.folder))) from None
    encoder.name = found.name
    return encoder, said


def check_code(folder: Path) -> None:
    """Refuse a model that needs code of its own: none is ever run.

    Raises:
        InputError: it names classes that no library has.
    """
    config = _json(folder / "config.json")
    if isinstance(config, dict) and config.get("auto_map"):
        known = import_module("transformers").CONFIG_MAPPING
        if config.get("model_type") not in known:
            raise InputError(
                f"{folder}: needs code of its own ({config.get('model_type')}, config.json: auto_map), and code that "
                "comes with a model is never run here; give a model that its library knows"
            )
    modules = _json(folder / "modules.json")
    for entry in modules if isinstance(modules, list) else ():
        kind = str(entry.get("type", "")) if isinstance(entry, dict) else ""
        if kind and not kind.startswith(_OWN):
            raise InputError(
                f"{folder}: needs code of its own ({kind}, modules.json), and code that comes with a model is never "
                "run here; give a model of the library's own modules"
            )


def _around(folder: Path, base: Path | None, place: Path) -> tuple[str, ...]:
    """Put the base's pooling around a transformers model without any; the mean of all tokens where there is no base.

    Returns:
        What was assumed.
    """
    modules = list(_MODULES) if base is None else _json(base / "modules.json")
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
    return (f"pooling {how}", *said)


def _settings_of(base: Path, folder: Path, place: Path, inside: str) -> list[str]:
    """Link the base's settings that a model lacks, and its tokenizer if it has none."""
    said = []
    wanted = [(Path(inside) / name, name) for name in _SETTINGS] + [(Path("config_sentence_transformers.json"),) * 2]
    if not any((folder / name).is_file() for name in _TOKENS if not name.endswith("_config.json")):
        wanted += [(Path(inside) / name, name) for name in _TOKENS]
        said.append("tokenizer the base's, since it has none")
    for path, _ in wanted:
        if (base / path).is_file() and not (place / path).exists():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base / path, place / path)
    return said


def _pooling(path: Path, width: int) -> None:
    config = _json(path) if path.is_file() else dict(_MEAN)
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


def _merged(folder: Path, base: Path | None, place: Path) -> tuple[str, ...]:
    """Merge an adapter into the base's transformer, and save that.

    Raises:
        InputError: PEFT is not installed, there is no base, or the two do not fit.
    """
    if base is None:
        raise InputError(f"{folder}: an adapter, where what the others began as is a whole model; give its base model")
    try:
        peft = import_module("peft")
    except ModuleNotFoundError:
        raise InputError(
            f"{folder}: a PEFT adapter, and peft is not installed: pip install peft; or merge it before: "
            "load it, call merge_and_unload(), and save"
        ) from None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(base), device="cpu", local_files_only=True)
    transformer: Any = model[0]
    try:
        adapted = peft.PeftModel.from_pretrained(transformer.auto_model, str(folder))
        transformer.auto_model = adapted.merge_and_unload()
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder}: this adapter does not fit the base model ({reason[:200]})") from error
    model.save(str(place), create_model_card=False)
    named = _json(folder / "adapter_config.json").get("base_model_name_or_path") or "no model"
    return (f"adapter merged into the base; it names {named}",)


def _width(folder: Path) -> int:
    config = _json(folder / "config.json")
    found = next((config[name] for name in _WIDTHS if isinstance(config.get(name), int)), None)
    if found is None:
        raise InputError(
            f"{folder}: no pooling, and config.json does not say how wide its vectors are; save it with one"
        )
    return int(found)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
