"""An adapter and the base that it is added to, as one whole model: merged beside their files."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..retrieval import open_encoder, read_json
from ._code import settings_in

WEIGHTS = "adapter_model.safetensors"
VOCABULARY = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
"""Files of which a tokenizer has one at least."""

TOKENS = (*VOCABULARY, "tokenizer_config.json", "special_tokens_map.json", "merges.txt", "added_tokens.json")
_SHOWN = 2


def merged(folder: Path, base: Path | None, place: Path, *, cache: Path) -> tuple[str, ...]:
    """Merge an adapter into the base's transformer, and save that with the adapter's own settings where it has them.

    Args:
        folder: The adapter's.
        base: The whole model that it is added to.
        place: Where the merged model goes; a new folder.
        cache: As for :func:`open_encoder`.

    Returns:
        What was assumed.

    Raises:
        InputError: PEFT is not installed, there is no base, or the two do not fit.
    """
    config = settings_in(folder / "adapter_config.json")
    named = config.get("base_model_name_or_path") or "no model"
    if base is None:
        raise InputError(
            f"{folder}: an adapter, where what the others began as is a whole model; give its base model ({named})"
        )
    if not (folder / WEIGHTS).is_file():
        pickled = " (adapter_model.bin is a pickle file, which is never loaded here)"
        beside = pickled if (folder / "adapter_model.bin").is_file() else ""
        raise InputError(f"{folder}: an adapter without {WEIGHTS}{beside}; save it with safe_serialization=True")
    try:
        peft = import_module("peft")
    except ModuleNotFoundError:
        raise InputError(
            f"{folder}: a PEFT adapter, and peft is not installed: pip install peft; or merge it before: "
            "load it, call merge_and_unload(), and save"
        ) from None
    model: Any = open_encoder(str(base), device="cpu", cache=cache).model
    transformer = model[0]
    if not hasattr(transformer, "auto_model"):
        raise InputError(f"{folder}: an adapter, and the base begins with no transformer; merge it before, and save")
    _check_named(folder, named, transformer.auto_model)
    try:
        _resized(transformer.auto_model, folder / WEIGHTS)
        adapted = peft.PeftModel.from_pretrained(transformer.auto_model, str(folder))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{folder}: this adapter does not fit the base model ({reason[:300]})") from error
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise InputError(f"{folder}: a {config.get('peft_type')} adapter, which cannot be merged into a model")
    _check_keys(folder, adapted, named)
    transformer.auto_model = adapted.merge_and_unload()
    model.save(str(place), create_model_card=False)
    own = _own_settings(folder, place)
    return (f"adapter merged into the base; it names {named}", *own)


def _check_named(folder: Path, named: str, base: Any) -> None:
    """Refuse a base whose weights are other than those of the model that an adapter names, where that is at hand.

    Raises:
        InputError: they are.
    """
    import torch

    place = Path(named).expanduser()
    if not (place / "config.json").is_file():
        return
    try:
        theirs = type(base).from_pretrained(str(place), local_files_only=True, use_safetensors=True).state_dict()
    except Exception:
        # Of other shapes, as PEFT is going to say, or in a form that this class does not read.
        return
    ours = base.state_dict()
    other = sorted(name for name in ours.keys() & theirs.keys() if not torch.equal(ours[name], theirs[name]))
    if other:
        raise InputError(
            f"{folder}: an adapter of {named}, which has other weights than the base ({other[0]}); give {named} as "
            "the base, or an adapter that was trained on this one"
        )


def _resized(base: Any, weights: Path) -> None:
    """Give the base as many rows for tokens as an adapter brings, which was trained after its tokenizer had grown."""
    from safetensors import safe_open

    words = base.get_input_embeddings()
    name = next((name for name, module in base.named_modules() if module is words), None)
    with safe_open(weights, framework="pt") as file:
        keys = [key for key in list(file.keys()) if name and key.endswith(f"{name}.weight")]
        rows = file.get_slice(keys[0]).get_shape()[0] if keys else words.weight.shape[0]
    if rows != words.weight.shape[0]:
        base.resize_token_embeddings(rows, mean_resizing=False)


def _check_keys(folder: Path, adapted: Any, named: str) -> None:
    """Refuse an adapter of which a part was made anew, or left out.

    Raises:
        InputError: what is missing, or not used.
    """
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as file:
        brought = {key.removesuffix(".weight") for key in list(file.keys())}
    names = list(adapted.state_dict())
    plain = {name: _plain(name) for name in names}
    needed = {plain[name] for name in names if ".default" in name}
    extra = brought - set(plain.values())
    for what, found in (("lacks", needed - brought), ("brings, and the base has no place for", extra)):
        if found:
            some = ", ".join(sorted(found)[:_SHOWN]) + (" ..." if len(found) > _SHOWN else "")
            raise InputError(
                f"{folder}: this adapter does not fit the base model: {len(found)} weights that it {what} ({some}); "
                f"give the model that it was trained on as the base ({named})"
            )


def _plain(name: str) -> str:
    """Return the name that PEFT saves a weight by."""
    return name.replace(".modules_to_save.default", "").replace(".default", "").removesuffix(".weight")


def _own_settings(folder: Path, place: Path) -> tuple[str, ...]:
    """Put an adapter's own pooling, prompts, length and tokenizer in the place of the base's."""
    modules = read_json(place / "modules.json")
    inside = place / str(modules[0]["path"])
    if any((folder / name).is_file() for name in VOCABULARY):
        for name in TOKENS:
            (inside / name).unlink(missing_ok=True)
            if (folder / name).is_file():
                shutil.copyfile(folder / name, inside / name)
    own = read_json(folder / "modules.json", missing=[])
    if not isinstance(own, list) or not own:
        return ("pooling the base's",)
    for entry in modules[1:]:
        shutil.rmtree(place / str(entry["path"]), ignore_errors=True)
    for entry in own[1:]:
        path = str(entry["path"])
        if (folder / path).is_dir():
            shutil.copytree(folder / path, place / path)
        else:
            (place / path).mkdir(parents=True, exist_ok=True)
    (place / "modules.json").write_text(json.dumps([modules[0], *own[1:]]), encoding="utf-8")
    for name, to in (
        ("config_sentence_transformers.json", place),
        ("sentence_bert_config.json", inside),
        ("sentence_transformer_config.json", inside),
    ):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, to / name)
    return ()
