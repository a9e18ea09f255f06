"""The feature store: with a frozen encoder every text is encoded once, ever."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import InputError, NotFiniteError
from ..journal import atomic_write_text
from ._stored import (
    Part,
    check_manifest,
    check_sums,
    check_vectors,
    has_manifest,
    load_part,
    open_part,
    read_manifest,
    text_key,
)
from .encoders import EncoderIdentity, Encoding
from .encoders._files import sha256

try:
    import fcntl
except ImportError:  # Windows, where nothing locks and one process alone should add.
    fcntl = None

Encode = Callable[[list[str]], np.ndarray]
Progress = Callable[[int, int], None]

_SEGMENT = "segment-{:06d}"
_log = logging.getLogger(__name__)


class FeatureStore:
    """Vectors of texts by one encoder that is asked in one way, on disk.

    The folder holds ``manifest.json``, ``keys.npy`` (uint8 ``[n, 32]``, SHA-256 of the UTF-8 text) and
    ``vectors.npy`` (``[n, D]``, memory-mapped). While texts are being encoded, finished chunks lie beside
    these as ``segment-NNNNNN.{keys,vectors}.npy``: the keys are renamed into place last, so a segment counts
    only when it is whole, and an interruption of any kind loses at most the chunk that was under way. The
    segments are merged into the two files at the end of an append; the manifest names how many rows count, and the
    SHA-256 of both files, which are compared whenever the store is opened.
    Of two processes that add, one waits (``.lock``); one that only reads waits just while files are exchanged
    (``.files.lock``), not while another encodes.

    Args:
        folder: Where texts are added.
        encoding: The encoder, and how it is asked.
        extra: Read-only parts, looked up before the folder's own: what a user names is what is used.
    """

    def __init__(self, folder: Path, encoding: Encoding, extra: Sequence[Part]) -> None:
        self._folder = folder
        self._encoding = encoding
        self._identity = encoding.identity
        self._extra = tuple(extra)

    @classmethod
    def open(cls, folder: Path, encoding: Encoding, *, extra: Sequence[Path] = ()) -> FeatureStore:
        """Open a store, which need not exist yet, with read-only ones made elsewhere.

        What its vectors are worth is for :class:`Features` to find out.

        Raises:
            InputError: a read-only store that is none, or of another encoder or dimension.
        """
        parts = [open_part(path, encoding) for path in extra]
        if (folder / "manifest.json").is_file():
            check_manifest(folder, read_manifest(folder), encoding, fix="remove the folder to encode again")
        return cls(folder, encoding, parts)

    @property
    def folder(self) -> Path:
        """Where texts are added."""
        return self._folder

    @property
    def parts(self) -> Sequence[Part]:
        """What it is made of, in the order in which it is looked up."""
        return self._parts

    def beside(self, parts: Sequence[Part]) -> FeatureStore:
        """Return the store with read-only parts that are looked up first."""
        return FeatureStore(self._folder, self._encoding, [*parts, *self._extra])

    def without(self, parts: Sequence[Part]) -> FeatureStore:
        """Return the store without some of its read-only parts."""
        return FeatureStore(self._folder, self._encoding, [part for part in self._extra if part not in parts])

    def __len__(self) -> int:
        return sum(len(part.keys) for part in self._parts)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that have no vector yet, each once, in their order."""
        unique = list(dict.fromkeys(texts))
        index = self._index
        return [text for text in unique if text_key(text) not in index]

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts.

        Returns:
            ``[len(texts), D]``, float32.

        Raises:
            InputError: a text that was never encoded.
        """
        index = self._index
        where = np.empty((len(texts), 2), dtype=np.int64)
        for row, text in enumerate(texts):
            found = index.get(text_key(text))
            if found is None:
                raise InputError(f"{self._folder}: no vector of the text {text[:60]!r}; encode it first")
            where[row] = found
        result = np.empty((len(texts), self._identity.dimension), dtype=np.float32)
        for number, part in enumerate(self._parts):
            rows = np.flatnonzero(where[:, 0] == number)
            if len(rows):
                result[rows] = part.vectors[where[rows, 1]]
                check_vectors(result[rows], part, self._identity)
        return result

    def add(self, texts: Sequence[str], encode: Encode, *, chunk: int = 256, progress: Progress | None = None) -> int:
        """Encode the texts that are missing and keep their vectors.

        Texts go longest first: batches are of like length, memory peaks at once rather than at the end, and
        the time left is overestimated rather than underestimated.

        Args:
            texts: Any texts; what is there already is skipped.
            encode: From a list of texts to ``[n, D]``.
            chunk: Texts between two writes.
            progress: Called with (done, total) after every chunk.

        Returns:
            How many texts were encoded.

        Raises:
            InputError: a vector of another dimension or with values that are not finite.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / ".lock").touch()
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written ({error.strerror}); give another cache") from None
        with _locked(self._folder / ".lock"):
            self._forget()
            missing = sorted(self.missing(texts), key=len, reverse=True)
            try:
                for start in range(0, len(missing), chunk):
                    if progress is not None:
                        progress(start, len(missing))
                    part = missing[start : start + chunk]
                    self._write_segment(part, self._checked(encode(part), part))
            finally:
                self._merge()
                self._forget()
            if progress is not None and missing:
                progress(len(missing), len(missing))
        return len(missing)

    @cached_property
    def _parts(self) -> list[Part]:
        if not os.access(self._folder, os.W_OK):
            return [*self._extra, *_own_parts(self._folder, self._identity)]
        with self._exchanging():
            return [*self._extra, *_own_parts(self._folder, self._identity)]

    @cached_property
    def _index(self) -> dict[bytes, tuple[int, int]]:
        index: dict[bytes, tuple[int, int]] = {}
        for number, part in reversed(list(enumerate(self._parts))):
            raw = np.ascontiguousarray(part.keys).tobytes()
            index.update((raw[32 * row : 32 * row + 32], (number, row)) for row in range(len(part.keys)))
        return index

    def _forget(self) -> None:
        self.__dict__.pop("_parts", None)
        self.__dict__.pop("_index", None)

    def _checked(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        expected = (len(texts), self._identity.dimension)
        if vectors.shape != expected:
            raise InputError(f"the encoder gave vectors of shape {vectors.shape}, where {expected} is needed")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise NotFiniteError(f"the encoder gave values that are not finite for the text {texts[bad[0]][:60]!r}")
        with np.errstate(over="ignore"):
            largest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
        if not np.isfinite(largest):
            raise NotFiniteError("the encoder gave vectors of a length that float32 does not hold")
        return vectors.astype(np.float32, copy=False)

    def _write_segment(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        # After the last one, not after their count: a cut-short merge leaves gaps, and a number used again would
        # for a moment put new vectors beside old keys.
        last = max((int(stem.name.rpartition("-")[2]) for stem in _segments(self._folder)), default=-1)
        stem = self._folder / _SEGMENT.format(last + 1)
        keys = np.frombuffer(b"".join(text_key(text) for text in texts), dtype=np.uint8).reshape(-1, 32)
        _save(stem.with_suffix(".vectors.npy"), vectors)
        _save(stem.with_suffix(".keys.npy"), keys)

    def _merge(self) -> None:
        """Write what is there and the segments as one, then name it in the manifest, then drop the segments."""
        segments = _segments(self._folder)
        if not segments:
            return
        parts = _own_parts(self._folder, self._identity)
        keys = np.concatenate([part.keys for part in parts])
        # A merge that was cut short may have left segments that are merged already.
        _, first = np.unique(keys, axis=0, return_index=True)
        first.sort()
        vectors = np.concatenate([part.vectors for part in parts])[first]
        generation = int(read_manifest(self._folder).get("generation", 0)) + 1 if has_manifest(self._folder) else 1
        _save(self._folder / f"vectors.{generation}.npy", vectors)
        _save(self._folder / f"keys.{generation}.npy", keys[first])
        sums = {name: sha256(self._folder / f"{name}.{generation}.npy") for name in ("keys", "vectors")}
        with self._exchanging():
            self._announce(generation, len(first), sums)
            _finish_switch(self._folder)
            for stem in segments:
                stem.with_suffix(".keys.npy").unlink()
                stem.with_suffix(".vectors.npy").unlink(missing_ok=True)

    def _announce(self, generation: int, count: int, sums: dict[str, str]) -> None:
        """Write the manifest of a generation whose files are whole; from here on a kill is recovered forwards."""
        identity = self._identity
        manifest = {
            "schema": 2,
            "encoder": identity.name,
            "fingerprint": identity.fingerprint,
            "prompt": self._encoding.prompt,
            "route": self._encoding.route,
            "prompts": list(identity.prompts),
            "routed": identity.routed,
            "similarity": identity.similarity,
            "weights_dtype": identity.dtype,
            "truncate_dim": identity.truncate_dim,
            "weights_sha256": identity.weights_sha256,
            "max_seq_length": identity.max_seq_length,
            "dimension": identity.dimension,
            "pooling": identity.pooling,
            "unit_norm": identity.normalised,
            "dtype": "float32",
            "count": count,
            "generation": generation,
            "sha256": sums,
            "key": 'SHA-256 of the UTF-8 text, without the prompt; documents are title + " " + text, stripped',
        }
        text = json.dumps(manifest, indent=1) + "\n"
        atomic_write_text(self._folder / "manifest.next.json", text)

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Hold still the set of files, after finishing an exchange that a kill cut short."""
        with _locked(self._folder / ".files.lock"):
            _finish_switch(self._folder)
            yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own_parts(folder: Path, identity: EncoderIdentity) -> list[Part]:
    parts = []
    if has_manifest(folder):
        part = load_part(folder / "keys.npy", folder / "vectors.npy", identity)
        check_sums(part, read_manifest(folder))
        parts.append(part)
    for stem in _segments(folder):
        try:
            parts.append(load_part(stem.with_suffix(".keys.npy"), stem.with_suffix(".vectors.npy"), identity))
        except InputError:
            # One chunk, which is encoded again at less cost than the whole folder.
            _log.warning("%s: a damaged segment; its texts are encoded again", stem)
    return parts


def _segments(folder: Path) -> list[Path]:
    return sorted(path.with_name(path.name.removesuffix(".keys.npy")) for path in folder.glob("segment-*.keys.npy"))


def _finish_switch(folder: Path) -> None:
    """Rename a generation's files into place; every step can be done again after a kill between any two."""
    pending = folder / "manifest.next.json"
    if not pending.is_file():
        return
    generation = json.loads(pending.read_text(encoding="utf-8"))["generation"]
    for name in ("vectors", "keys"):
        source = folder / f"{name}.{generation}.npy"
        if source.is_file():
            os.replace(source, folder / f"{name}.npy")
    os.replace(pending, folder / "manifest.json")


def _save(path: Path, array: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
