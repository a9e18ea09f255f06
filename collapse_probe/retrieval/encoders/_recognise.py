"""What a model's folder is, told from its files: an encoder of texts, or what has to be said instead. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import InputError, setting
from ._files import UNREAD_FOLDERS, files_below, is_state, read_json

_SAFE_COPY = 'python -c "from sentence_transformers import SentenceTransformer as S; S({folder!r}).save({copy!r})"'
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "*.bpe", "merges.txt", "processor_config.json")
_BYTES = ("byt5", "ByT5", "canine", "Canine", "perceiver", "Perceiver")
"""Models whose tokens are bytes or characters, so that they have no vocabulary."""
_WEIGHED = ("Dense", "LayerNorm", "WeightedLayerPooling", "CNN", "LSTM", "StaticEmbedding", "WordEmbeddings")
"""Modules after a transformer, or in its place, that have weights of their own."""
_POINTER = b"version https://git-lfs"
_POINTER_SIZE = 1024
_FORMATS = {
    ".onnx": "ONNX",
    ".gguf": "GGUF",
    ".xml": "OpenVINO",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".ot": "Rust",
    ".mlmodel": "Core ML",
    ".tflite": "TensorFlow Lite",
}
_PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_OWN_WAY = "load them in your own program, call model.save_pretrained('FOLDER'), and give FOLDER"


def check_encoder(folder: Path) -> None:
    """Refuse a folder that holds no dense encoder of sentence-transformers.

    Raises:
        InputError: what it holds, and what to type instead.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    check_kind(folder)
    if not (folder / "modules.json").is_file():
        raise _no_modules(folder)
    modules = read_json(folder / "modules.json")
    if not isinstance(modules, list) or not modules or not all(_is_entry(entry) for entry in modules):
        raise InputError(f"{folder}: modules.json does not describe a sentence-transformers model; save it again")
    for entry in modules:
        part = folder / entry["path"]
        # Some modules, as Normalize, keep no files of their own, and git and archives leave their folders out.
        if entry["path"] and not part.is_dir() and entry["type"].rpartition(".")[2] != "Normalize":
            raise InputError(
                f"{folder}: modules.json names {entry['path']}, which is missing; download the model's subfolders too"
            )
        if entry["type"].rpartition(".")[2] == "Transformer":
            if not (part / "config.json").is_file():
                raise InputError(f"{part}: no config.json in it, which says what its weights are of; save it again")
            _check_tokenizer(folder / entry["path"])
    if modules[0]["type"].rpartition(".")[2] == "Router" and modules[0]["type"].startswith("sentence_transformers"):
        _check_router(folder / modules[0]["path"])
    check_weights(folder)
    for part in (folder / entry["path"] for entry in modules if entry["type"].rpartition(".")[2] in _WEIGHED):
        if not any(part.glob("*.safetensors")):
            raise InputError(f"{part}: no weights in it (model.safetensors); download it too, or save the model again")


def no_folder(path: Path) -> InputError:
    """Return the error for a file, where a model's folder is needed: what it is, and what to give in its place."""
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        return InputError(f"{path}: an archive, where a model's folder is needed; unpack it, and give that folder")
    if suffix in _PICKLED:
        return InputError(
            f"{path}: a pickle file, which is never loaded here, where a model's folder is needed; if it holds "
            f"weights, {_OWN_WAY}"
        )
    if suffix in _FORMATS:
        return InputError(
            f"{path}: {_FORMATS[suffix]}, where a model's folder with *.safetensors is needed; "
            "give the model that it was made from"
        )
    of_model = any((path.parent / name).is_file() for name in ("modules.json", "config.json", "adapter_config.json"))
    beside = f"give {setting('encoder', path.parent)}" if of_model else "give the folder of a model"
    return InputError(f"{path}: a file, where a model's folder is needed; {beside}")


def check_kind(folder: Path, *, adapter: bool = False) -> None:
    """Refuse a model that gives no vector of a text, by what its files say of it.

    Args:
        folder: The model's.
        adapter: Whether an adapter will do.

    Raises:
        InputError: what it is.
    """
    saved = _json(folder / "config_sentence_transformers.json")
    config = _json(folder / "config.json")
    kind = saved.get("model_type", "SentenceTransformer")
    architectures = [str(name) for name in config.get("architectures") or ()]
    if not adapter and (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        added = _json(folder / "adapter_config.json")
        base = added.get("base_model_name_or_path", "its base model")
        raise InputError(
            f"{folder}: a {added.get('peft_type', 'PEFT')} adapter of {base}, not a whole model; merge it first: "
            "load it, call merge_and_unload(), and save"
        )
    late = kind == "ColBERT" or "query_length" in saved or "HF_ColBERT" in architectures
    if late or (folder / "artifact.metadata").is_file():
        raise InputError(
            f"{folder}: a ColBERT model, which gives a vector a token; an encoder of one vector a text is needed"
        )
    if kind == "SparseEncoder":
        raise InputError(
            f"{folder}: model_type is SparseEncoder, which is no dense encoder; "
            "give one of model_type SentenceTransformer"
        )
    classifier = next((name for name in architectures if name.endswith("ForSequenceClassification")), None)
    if kind == "CrossEncoder" or (classifier and not (folder / "modules.json").is_file()):
        what = "a cross-encoder" if kind == "CrossEncoder" else f"a sequence classifier ({classifier})"
        raise InputError(f"{folder}: {what}, which scores pairs and gives no embeddings; give an encoder")
    if kind != "SentenceTransformer":
        raise InputError(f"{folder}: model_type is {kind!r}, where SentenceTransformer is needed")


def _no_modules(folder: Path) -> InputError:
    """Return the error for a folder without ``modules.json``: where the model is, or how to make one."""
    inside = sorted(
        (path for path in folder.glob("*/modules.json") if path.is_file()), key=lambda path: _number(path.parent.name)
    )
    snapshots = sorted(folder.glob("snapshots/*/modules.json"))
    found = [*snapshots, *inside]
    if (folder / "run.json").is_file() and (folder / "model" / "modules.json").is_file():
        return InputError(f"{folder}: a run's folder; its model is {setting('encoder', folder / 'model')}")
    if found:
        names = ", ".join(str(path.parent.relative_to(folder)) for path in found[:4])
        return InputError(f"{folder}: no model itself, but {names} in it; give {setting('encoder', found[-1].parent)}")
    checkpoints = sorted(folder.glob("checkpoint-*/config.json"), key=lambda path: _number(path.parent.name))
    if checkpoints:
        return InputError(
            f"{folder}: no model itself, but {', '.join(p.parent.name for p in checkpoints[:4])} in it; "
            f"give {setting('encoder', checkpoints[-1].parent)}"
        )
    if (folder.parent / "modules.json").is_file():
        return InputError(f"{folder}: a part of a model; the whole one is {setting('encoder', folder.parent)}")
    config = _json(folder / "config.json")
    if config:
        kind = ", ".join(map(str, config.get("architectures") or ())) or config.get("model_type") or "model"
        copy = _SAFE_COPY.format(folder=str(folder), copy=f"{folder.name}-mean")
        return InputError(
            f"{folder}: a transformers model ({kind}) without pooling, so how tokens become one vector is not said; "
            f"for their mean: {copy} (for another, save it with models.Pooling), then give {folder.name}-mean"
        )
    deeper = next((path.parent for at in ("*/*", "*/*/*") for path in sorted(folder.glob(f"{at}/modules.json"))), None)
    if deeper is not None:
        return InputError(f"{folder}: no model itself; give {setting('encoder', deeper)}")
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    weights = next((path.name for path in sorted(folder.glob("*.safetensors")) if not is_state(path.name)), None)
    if weights is not None:
        return InputError(
            f"{folder}: weights ({weights}) without config.json, so what they are of is not said; put config.json and "
            "the tokenizer's files of the model that was trained beside them (its save_pretrained writes all), if it "
            "is the encoder itself that they are of"
        )
    what = _elsewhere(folder, [*folder.glob("*"), *folder.glob("*/*")])
    instead = "give a model's folder" if what.startswith("download") else what
    return InputError(f"{folder}: no model: modules.json or config.json is needed (there is {there}); {instead}")


def _check_tokenizer(folder: Path) -> None:
    """Refuse a transformer without its vocabulary, for which the library would make up an empty one."""
    config, tokenizer = _json(folder / "config.json"), _json(folder / "tokenizer_config.json")
    of_bytes = any(kind in str([config.get("model_type"), tokenizer.get("tokenizer_class")]) for kind in _BYTES)
    if "vocab_size" in config and not of_bytes and not any(any(folder.glob(name)) for name in _VOCABULARIES):
        raise InputError(
            f"{folder}: no tokenizer in it (tokenizer.json, vocab.txt or the like), so every word would be unknown; "
            "download it too, or save the model again"
        )


def _check_router(folder: Path) -> None:
    config = _json(folder / "router_config.json")
    kinds = [str(kind) for kind in (config.get("types") or {}).values()]
    if kinds and all(kind.startswith("collapse_probe.") for kind in kinds):
        raise InputError(
            f"{folder}: a trained head without its encoder, as a checkpoint keeps it; give the run's model folder"
        )


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are not all there, or are pickled.

    Raises:
        InputError: what is wrong with them, and what to type instead.
    """
    below = [path for path in files_below(folder) if _is_read(path.relative_to(folder))]
    for path in below:
        _check_file(path)
    for part in sorted({path.parent for path in below if path.match("pytorch_model*.bin")}):
        if not any(part.glob("*.safetensors")):
            copy = _SAFE_COPY.format(folder=str(folder), copy=f"{folder.name}-safe")
            raise InputError(
                f"{folder}: weights in pickle files ({part.relative_to(folder) / 'pytorch_model.bin'}) are not loaded; "
                f"save them as safetensors: {copy}"
            )
    weights = [path for path in below if path.suffix == ".safetensors" and not is_state(path.name)]
    if not weights:
        raise InputError(
            f"{folder}: no *.safetensors in it, so it has no weights; {_elsewhere(folder, files_below(folder))}"
        )
    for part in sorted({path.parent for path in weights if not path.name.startswith("adapter_model")}):
        if not any((part / f"model{one}").is_file() for one in (".safetensors", ".safetensors.index.json")):
            own = sorted(path.name for path in weights if path.parent == part)
            if not any(path.match("model-*-of-*.safetensors") for path in weights if path.parent == part):
                raise InputError(f"{part}: its weights are named {own[0]}; name them model.safetensors, which is read")
            raise InputError(
                f"{folder}: weights in several files without model.safetensors.index.json, which says what is where; "
                "download it too, or save the model again"
            )
    for index in (path for path in below if path.name.endswith(".safetensors.index.json")):
        named = _json(index).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise InputError(f"{index}: no weight_map in it, which says what is where; download it again")
        needed = sorted(set(map(str, named.values())))
        missing = [name for name in needed if not (index.parent / name).is_file()]
        if missing:
            raise InputError(
                f"{folder}: {len(missing)} of {len(needed)} weight files are missing ({missing[0]}); download them"
            )
    for path in weights:
        _check_whole(path)


def _is_read(path: Path) -> bool:
    """Return whether a file of a model's folder is one of its own, and not of its training or of another format."""
    return not any(part in UNREAD_FOLDERS or part.startswith("checkpoint-") for part in path.parts[:-1])


def _check_file(path: Path) -> None:
    """Refuse what stands for a file and is none: a link to nowhere, or a pointer of Git LFS.

    Raises:
        InputError: which of the two it is.
    """
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link to {path.readlink()}, which is missing; download the model again")
    if path.suffix in (".safetensors", ".json", ".model", ".txt") and 0 < path.stat().st_size < _POINTER_SIZE:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise InputError(f"{path}: a Git LFS pointer, not the file itself; run: git lfs pull")


def _check_whole(path: Path) -> None:
    """Refuse a weight file that is cut or is none; only what it says of itself is read.

    Raises:
        InputError: which file, and what is wrong.
    """
    # What only recognises names needs none of it.
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return
    except SafetensorError as error:
        size = f"{path.stat().st_size:,} bytes"
        raise InputError(f"{path}: torn, or no weights ({size}; {error}); download or save it again") from None


def _elsewhere(folder: Path, there: Iterable[Path]) -> str:
    """Return what to do about a folder without weights, by the files that it holds in their place."""
    there = sorted(there)
    sharded = next((path for path in there if path.suffix == ".distcp"), None)
    if sharded is not None:
        return f"FSDP left them in parts: accelerate merge-weights {sharded.parent} {folder}"
    if any(path.parent.name.startswith("global_step") for path in there):
        return (
            f"DeepSpeed left them in parts: python {folder / 'zero_to_fp32.py'} {folder} {folder} --safe_serialization"
        )
    found = sorted({_FORMATS[path.suffix.lower()] for path in there if path.suffix.lower() in _FORMATS})
    if found:
        return f"{' and '.join(found)} alone is not read: give the model that it was made from, in safetensors"
    pickled = next((path for path in there if path.suffix in _PICKLED and not is_state(path.name)), None)
    if pickled is not None:
        return f"pickle files ({pickled.name}) are never loaded here: {_OWN_WAY}"
    return "download them, or save the model again"


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("path"), str) and isinstance(entry.get("type"), str)


def _number(name: str) -> tuple[int, str]:
    digits = name.rpartition("-")[2]
    return (int(digits), name) if digits.isdigit() else (-1, name)
