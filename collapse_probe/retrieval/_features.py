"""Vectors of queries and documents by one encoder: stored ones where they are its own, encoded ones where not."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, setting
from ..journal import atomic_write_text
from ._store import FeatureStore
from ._stored import Part, open_part, stored_identity
from .encoders import TASKS, Encoder, Task, is_half

SAMPLES = 4
"""Texts of each task that are encoded again to see whether a store is the encoder's."""

TOLERANCE = 1e-4
"""How far below 1 the cosine of a stored vector and the same text's may be, in full precision."""

APART = 0.25
"""How far a stored vector may be from the same text's, as a share of the distance between different texts (own choice):
the vectors of a collapsed encoder are alike by their cosine, whoever's they are."""

HALF_TOLERANCE = 1e-2
"""The same where vectors or weights have half precision."""

_LONGEST = 2_000
_log = logging.getLogger(__name__)

Texts = Mapping[Task, Sequence[str]]


@dataclass(frozen=True)
class Check:
    """What encoding a few stored texts again showed.

    Attributes:
        texts: How many.
        worst: The smallest cosine of a stored vector and the same text's.
        needed: The least cosine that is accepted.
        text: The text of the smallest cosine.
        apart: The largest distance between the two, over the distance between different texts.
    """

    texts: int
    worst: float
    needed: float
    text: str
    apart: float

    @property
    def passed(self) -> bool:
        """Whether every vector was the encoder's."""
        return self.worst >= self.needed and self.apart <= APART


class Features:
    """Vectors of texts by one encoder, as queries and as documents.

    Before stored vectors are used, a few of the texts that are asked for are encoded again, once for each store,
    encoder and set of texts; that is remembered in the cache's ``verified`` folder by the content of all three. A store
    that this class alone has written is known to be the encoder's. One that does not fit is refused.

    Args:
        encoder: The encoder.
        cache: Folder of the caches.
        extra: Read-only stores made elsewhere, looked up first.

    Raises:
        InputError: a store that is none or of another encoder, or no encoder on this machine and no store of it.
    """

    def __init__(self, encoder: Encoder, *, cache: Path, extra: Sequence[Path] = ()) -> None:
        self.encoder = encoder
        self._records = cache / "features" / "verified"
        self._named = tuple(extra)
        self._checked: set[str] = set()
        self._fit: set[tuple[Path, str]] = set()
        self._covered: set[tuple[str, str]] = set()
        if not encoder.is_here:
            encoder.stand_in(_stand_in(encoder.name, extra))
        identity = encoder.identity
        opened: dict[str, FeatureStore] = {}
        self._stores: dict[Task, FeatureStore] = {}
        self._keys = {task: identity.encoding(task).key for task in TASKS}
        named = self._open_named()
        for task in TASKS:
            encoding = identity.encoding(task)
            if encoding.key not in opened:
                # What was cached for an encoder that is not here could not be told from another's.
                folder = cache / "features" / (encoding.key if encoder.is_here else f"absent-{encoding.key}")
                parts = [*named[task], *_legacy(cache, encoder, task)]
                opened[encoding.key] = FeatureStore.open(folder, encoding).beside(parts)
            self._stores[task] = opened[encoding.key]

    def missing(self, texts: Texts) -> dict[Task, list[str]]:
        """Return the texts of each task that have no vector yet."""
        return {task: self._stores[task].missing(part) for task, part in texts.items()}

    def vectors(self, texts: Sequence[str], task: Task) -> np.ndarray:
        """Return the vectors of texts, ``[n, D]``, float32.

        Raises:
            InputError: a text that was never encoded, or a store that does not fit.
        """
        self.verify({task: texts})
        return self._stores[task].vectors(texts)

    def verify(self, *sources: Texts) -> list[str]:
        """Encode a few stored texts of each source again, where that was not done before.

        Args:
            sources: Texts that are going to be used, by task; each data set for itself, since a store may hold one of
                them rightly and another not.

        Returns:
            What is to be said of it, one line for each store.

        Raises:
            InputError: a store holds vectors of another encoder.
        """
        if not self.encoder.is_here:
            return [f"{self.encoder.name} is not on this machine: its stored vectors are used unverified"]
        passed: dict[Path, list[Check]] = {}
        unfit: dict[FeatureStore, dict[Part, str]] = {}
        for texts in sources:
            for store, tasks in self._by_store(texts).items():
                asked = {task: [t for t in texts[task] if (self._key(task), t) not in self._covered] for task in tasks}
                for part in store.parts if any(asked.values()) else ():
                    check = self._check(part, asked)
                    if check is not None and not check.passed:
                        unfit.setdefault(store, {})[part] = _in_words(part, tasks, check)
                    elif check is not None:
                        passed.setdefault(part.folder, []).append(check)
        said = [_agreed(folder, checks) for folder, checks in passed.items() if folder in self._named]
        said += self._drop(unfit)
        for texts in sources:
            self._covered.update((self._key(task), text) for task, part in texts.items() for text in part)
        return said

    def add(self, texts: Texts, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Encode the texts that have no vector yet, and keep them.

        Args:
            texts: Texts by task.
            progress: Called with (done, total).

        Returns:
            How many were encoded.

        Raises:
            InputError: the encoder is not on this machine, or gives vectors that cannot be used.
        """
        missing = self.missing(texts)
        total = sum(map(len, missing.values()))
        if total and not self.encoder.is_here:
            raise InputError(
                f"{self.encoder.name} is not on this machine, and {total:,} texts have no vector in "
                f"{', '.join(map(str, self._named))}; give {setting('encoder', 'DIR')}"
            )
        done = 0
        for task, part in missing.items():
            before = done

            def update(now: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + now, total)

            if not part:
                continue
            store = self._stores[task]
            # A store that was empty, or that this class alone has written, still is one after more is added.
            known = all(self._is_known(p, task) for p in store.parts if p.folder == store.folder)
            done += store.add(part, lambda some, task=task: self.encoder.encode(some, task), progress=update)
            if known:
                for own in (p for p in store.parts if p.folder == store.folder):
                    self._remember(own, {task: {}}, {"encoded": "by this encoder"})
        return done

    def _by_store(self, texts: Texts) -> dict[FeatureStore, list[Task]]:
        found: dict[FeatureStore, list[Task]] = {}
        for task in texts:
            found.setdefault(self._stores[task], []).append(task)
        return found

    def _open_named(self) -> dict[Task, list[Part]]:
        """Return the stores that the user named, for each task that they say they are for.

        Raises:
            InputError: one of them is for none.
        """
        parts: dict[Task, list[Part]] = {task: [] for task in TASKS}
        for folder in self._named:
            refused: list[InputError] = []
            for task in TASKS:
                try:
                    parts[task].append(open_part(folder, self.encoder.identity.encoding(task)))
                except InputError as error:
                    refused.append(error)
            if len(refused) == len(TASKS):
                raise refused[0]
        return parts

    def _key(self, task: Task) -> str:
        return self._keys[task]

    def _check(self, part: Part, texts: Texts) -> Check | None:
        """Return what encoding some texts of a part again showed; None where it is known or holds none of them."""
        key = self._key(next(iter(texts)))
        if all(self._is_known(part, task) for task in texts):
            self._fit.add((part.folder, key))
            return None
        sample = {task: _sample(part, asked) for task, asked in texts.items()}
        if not any(sample.values()):
            return None
        if self._is_remembered(part, sample):
            self._fit.add((part.folder, key))
            return None
        check = self._compare(part, sample)
        if check.passed:
            self._fit.add((part.folder, key))
            self._remember(part, sample, {"texts": check.texts, "worst_cosine": check.worst})
        return check

    def _drop(self, unfit: Mapping[FeatureStore, Mapping[Part, str]]) -> list[str]:
        """Leave out parts that do not fit, and return what is said of those that the user named.

        Raises:
            InputError: one is the encoder's own, or was named and serves for nothing else.
        """
        said: list[str] = []
        for store, parts in unfit.items():
            key = next(self._key(task) for task, of in self._stores.items() if of is store)
            for part, found in parts.items():
                if part.folder == store.folder:
                    raise InputError(f"{found}; remove the folder to encode again")
                if part.folder in self._named:
                    if not any(folder == part.folder and other != key for folder, other in self._fit):
                        fix = f"give a store made with {self.encoder.name} and its settings, or none"
                        raise InputError(f"{found}; {fix}")
                    said.append(f"{found}; these are encoded again")
                _log.info("%s; its texts are encoded again", found)
        for store, parts in unfit.items():
            by = store.without(list(parts))
            self._stores = {task: by if old is store else old for task, old in self._stores.items()}
        return said

    def _compare(self, part: Part, sample: Mapping[Task, Mapping[str, int]]) -> Check:
        worst, where, count, apart = 2.0, "", 0, 0.0
        for task, rows in sample.items():
            if not rows:
                continue
            encoded = self.encoder.encode(list(rows), task).astype(np.float64)
            stored = np.asarray(part.vectors[list(rows.values())], dtype=np.float64)
            apart = max(apart, _distance(stored, encoded))
            for text, value in zip(rows, _agreement(stored, encoded), strict=True):
                count += 1
                if value < worst:
                    worst, where = value, text
        half = part.is_half or is_half(self.encoder.identity)
        return Check(count, worst, 1 - (HALF_TOLERANCE if half else TOLERANCE), where, apart)

    def _record(self, part: Part, sample: Mapping[Task, Mapping[str, int]]) -> Path:
        """Return where it is kept that a part was found to be the encoder's: a sample of it, or all of it."""
        keys = sorted({self._key(task) for task in sample})
        rows = sorted({row for rows in sample.values() for row in rows.values()})
        content = json.dumps([part.sums, keys, rows or "all"])
        return self._records / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"

    def _is_known(self, part: Part, task: Task) -> bool:
        return self._is_remembered(part, {task: {}})

    def _is_remembered(self, part: Part, sample: Mapping[Task, Mapping[str, int]]) -> bool:
        path = self._record(part, sample)
        return str(path) in self._checked or path.is_file()

    def _remember(self, part: Part, sample: Mapping[Task, Mapping[str, int]], how: dict[str, object]) -> None:
        path = self._record(part, sample)
        self._checked.add(str(path))
        note = {"store": str(part.folder), "encoder": self.encoder.name, "tasks": list(sample), **how}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(path, json.dumps(note, indent=1) + "\n")
        except OSError:
            _log.debug("%s cannot be written, so the store is verified again next time", path)


def _in_words(part: Part, tasks: Sequence[Task], check: Check) -> str:
    kinds = " and ".join({"query": "queries", "document": "documents"}[task] for task in tasks)
    if check.worst >= check.needed:
        return (
            f"{part.folder}: its vectors of {kinds} are not this encoder's: they are off by {check.apart:.2g} of the "
            f"distance between different texts, where {APART:g} is accepted"
        )
    return (
        f"{part.folder}: its vectors of {kinds} are not this encoder's: the cosine of the stored and the encoded "
        f"vector of {check.text[:60]!r} is {check.worst:.4f}, where {check.needed:g} is needed"
    )


def _agreed(folder: Path, checks: Sequence[Check]) -> str:
    count, worst = sum(check.texts for check in checks), min(check.worst for check in checks)
    return f"{folder}: {count} of its texts were encoded again and agree (cosine at least {worst:.6f})"


def _agreement(stored: np.ndarray, encoded: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows, made smaller where their norms differ; 0 where it is no number."""
    norms = np.linalg.norm(stored, axis=1), np.linalg.norm(encoded, axis=1)
    with np.errstate(all="ignore"):
        cosine = (stored * encoded).sum(1) / (norms[0] * norms[1])
        value = cosine * np.minimum(norms[0] / norms[1], norms[1] / norms[0])
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    return np.where(both_zero, 1.0, np.nan_to_num(value, nan=0.0))


def _distance(stored: np.ndarray, encoded: np.ndarray) -> float:
    """Return the largest distance between stored and encoded rows, over the median one between different texts."""
    if len(encoded) < 2:
        return 0.0
    first, second = np.triu_indices(len(encoded), k=1)
    between = float(np.median(np.linalg.norm(encoded[first] - encoded[second], axis=1)))
    largest = float(np.nan_to_num(np.linalg.norm(stored - encoded, axis=1), nan=np.inf).max())
    # Where all texts have one vector to the last digits, nothing is left to tell.
    rounding = 1e-5 * float(np.linalg.norm(encoded, axis=1).max())
    return largest / between if between > rounding else 0.0


def _sample(part: Part, texts: Sequence[str]) -> dict[str, int]:
    """Return a few of the texts that a part holds, with their rows: the same few every time, spread over its rows."""
    rows = part.rows(list(dict.fromkeys(texts)))
    # Long texts take long to encode; where all are long, the shortest have to do.
    short = {text: row for text, row in rows.items() if len(text) <= _LONGEST}
    kept = short or dict(sorted(rows.items(), key=lambda item: len(item[0]))[:SAMPLES])
    ordered = sorted(kept.items(), key=lambda item: item[1])
    chosen = {round(i) for i in np.linspace(0, len(ordered) - 1, min(SAMPLES, len(ordered)))}
    return dict(ordered[i] for i in sorted(chosen))


def _legacy(cache: Path, encoder: Encoder, task: Task) -> list[Part]:
    """Return what version 0.1 kept of this encoder's vectors, where it can be opened."""
    folder = cache / "features" / encoder.identity.legacy_key
    if not encoder.is_here or not (folder / "manifest.json").is_file():
        return []
    try:
        return [open_part(folder, encoder.identity.encoding(task))]
    except InputError as error:
        _log.info("%s is left alone: %s", folder, error)
        return []


def _stand_in(name: str, stores: Sequence[Path]):
    """Return what a store that the user named says of an encoder that is not on this machine."""
    from .encoders._find import not_found

    for folder in stores:
        identity = stored_identity(folder)
        if name in (identity.name, identity.name.rpartition("/")[2]):
            return identity
    if stores:
        named = ", ".join(stored_identity(folder).name for folder in stores)
        raise InputError(f"{not_found(name).args[0]}; the feature store named is of {named}")
    raise not_found(name)
