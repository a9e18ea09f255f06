"""The files of a feature store, and what they have to be for their vectors to be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .encoders import UNKNOWN, EncoderIdentity, Encoding
from .encoders._files import read_json, sha256


@dataclass(frozen=True, eq=False)
class Part:
    """Vectors that lie together.

    Attributes:
        keys: ``[n, 32]``, uint8: SHA-256 of the texts.
        vectors: ``[n, D]``, memory-mapped.
        folder: Where they lie.
        sums: SHA-256 of both files.
    """

    keys: np.ndarray
    vectors: np.ndarray
    folder: Path
    sums: str

    @property
    def is_half(self) -> bool:
        """Whether vectors are kept in half precision."""
        return self.vectors.dtype == np.float16

    def rows(self, texts: Sequence[str]) -> dict[str, int]:
        """Return text to row, of the texts that are in it."""
        found = {text: self._where.get(text_key(text)) for text in texts}
        return {text: row for text, row in found.items() if row is not None}

    @cached_property
    def _where(self) -> dict[bytes, int]:
        raw = np.ascontiguousarray(self.keys).tobytes()
        return {raw[32 * row : 32 * row + 32]: row for row in range(len(self.keys))}


def text_key(text: str) -> bytes:
    """Return what a text's vector is found by: the SHA-256 of its UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def load_part(keys: Path, vectors: Path, identity: EncoderIdentity) -> Part:
    """Open two files that belong together.

    Raises:
        InputError: damaged, or of another shape or type.
    """
    try:
        sums = f"{_sum(keys)} {_sum(vectors)}"
        part = Part(
            np.load(keys, allow_pickle=False), np.load(vectors, mmap_mode="r", allow_pickle=False), keys.parent, sums
        )
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{keys.parent}: a damaged feature store ({error}); remove the folder to encode again"
        ) from None
    rows = len(part.keys)
    if part.keys.shape != (rows, 32) or part.vectors.shape != (rows, identity.dimension):
        raise InputError(
            f"{keys.parent}: keys {part.keys.shape} and vectors {part.vectors.shape} do not fit together, "
            f"where [n, 32] and [n, {identity.dimension}] are needed"
        )
    if part.keys.dtype != np.uint8 or part.vectors.dtype.kind != "f":
        raise InputError(
            f"{keys.parent}: keys of {part.keys.dtype} and vectors of {part.vectors.dtype}, where uint8 and floats are "
            "needed"
        )
    return part


def open_part(folder: Path, encoding: Encoding) -> Part:
    """Open a store made elsewhere, to be read.

    Raises:
        InputError: it is none, damaged, or by its own word of another encoder.
    """
    manifest = read_store_manifest(folder)
    check_manifest(folder, manifest, encoding)
    try:
        part = load_part(folder / "keys.npy", folder / "vectors.npy", encoding.identity)
        check_sums(part, manifest)
    except InputError as error:
        # It is not ours to be removed.
        fix = "restore it, or leave it out"
        raise InputError(error.args[0].replace("remove the folder to encode again", fix)) from None
    return part


def read_store_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a store made elsewhere.

    Raises:
        InputError: it is no store.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a feature store has manifest.json, keys.npy and vectors.npy")
    if not has_manifest(folder):
        raise InputError(f"{folder}: no manifest.json in it, so this is no feature store")
    return read_manifest(folder)


def stored_identity(folder: Path) -> EncoderIdentity:
    """Return the encoder that a store names, at its word.

    Raises:
        InputError: it is no store, or does not say.
    """
    manifest = read_store_manifest(folder)
    try:
        return EncoderIdentity(
            name=str(manifest["encoder"]),
            weights_sha256=str(manifest["weights_sha256"]),
            max_seq_length=None if manifest.get("max_seq_length") is None else int(manifest["max_seq_length"]),
            dimension=int(manifest["dimension"]),
            pooling=str(manifest.get("pooling", "unknown")),
            normalised=bool(manifest.get("unit_norm", False)),
            fingerprint=str(manifest.get("fingerprint", "")),
            dtype=str(manifest.get("weights_dtype", "float32")),
            routed=bool(manifest.get("routed", False)),
            prompts=_two_texts(manifest.get("prompts", ("", ""))),
            similarity=str(manifest.get("similarity", "cosine" if manifest.get("unit_norm") else UNKNOWN)),
            truncate_dim=manifest.get("truncate_dim"),
            verified=False,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / 'manifest.json'}: does not name its encoder ({error})") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a store's manifest holds.

    Raises:
        InputError: no JSON object.
    """
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict):
        raise InputError(f"{folder / 'manifest.json'}: holds a {type(manifest).__name__}, where an object is needed")
    return manifest


def check_sums(part: Part, manifest: dict[str, Any]) -> None:
    """Compare a store with what its manifest says of its files; older manifests say only how many rows there are.

    Raises:
        InputError: they differ.
    """
    fix = "a damaged feature store; remove the folder to encode again"
    count = manifest.get("count")
    if isinstance(count, int) and count != len(part.keys):
        raise InputError(f"{part.folder}: {len(part.keys):,} rows, where its manifest counts {count:,}: {fix}")
    sums = manifest.get("sha256")
    if isinstance(sums, dict) and f"{sums.get('keys')} {sums.get('vectors')}" != part.sums:
        raise InputError(f"{part.folder}: not the files that its manifest was written for: {fix}")


def check_vectors(vectors: np.ndarray, part: Part, identity: EncoderIdentity) -> None:
    """Refuse vectors that no encoder gives, where they are used.

    Raises:
        InputError: not finite, or of another norm than the encoder's.
    """
    norms = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(norms).all():
        raise InputError(f"{part.folder}: a feature store with values that are not finite; remove it to encode again")
    # A text without a known word is a zero to a normalising model, too.
    norms = norms[norms > 0]
    if identity.normalised and not np.allclose(norms, 1.0, atol=0.02):
        worst = float(norms[np.abs(norms - 1.0).argmax()])
        raise InputError(
            f"{part.folder}: a vector of norm {worst:.3g}, where {identity.name} gives unit norm; "
            "remove it to encode again"
        )


def _two_texts(value: Any) -> tuple[str, str]:
    query, document = value
    return str(query), str(document)


def check_manifest(
    folder: Path,
    manifest: dict[str, Any],
    encoding: Encoding,
    *,
    fix: str = "give a store made with the same encoder",
) -> None:
    """Compare what a store says of its encoder with what that is.

    Raises:
        InputError: they differ.
    """
    identity = encoding.identity
    needs = {key: getattr(identity, key) for key in ("dimension", "weights_sha256", "max_seq_length")}
    # Stores made elsewhere may leave these out.
    optional = {
        "unit_norm": identity.normalised,
        "pooling": identity.pooling,
        "fingerprint": identity.fingerprint,
        "prompt": encoding.prompt,
        "route": encoding.route,
        "weights_dtype": identity.dtype,
        "truncate_dim": identity.truncate_dim,
    }
    needs |= {key: value for key, value in optional.items() if key in manifest}
    for key, needed in needs.items():
        if manifest.get(key) != needed:
            raise InputError(
                f"{folder}: a feature store with {key} {manifest.get(key)!r}, where {identity.name} has {needed!r}; "
                f"{fix}"
            )


def has_manifest(folder: Path) -> bool:
    """Return whether a folder has a manifest."""
    return (folder / "manifest.json").is_file()


def _sum(path: Path) -> str:
    """Return the SHA-256 of a file, read once as long as it stays the same file."""
    found = path.stat()
    return _sum_of(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _sum_of(path: Path, *identity: int) -> str:
    return sha256(path)
