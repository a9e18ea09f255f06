"""What a finished model is by its settings, whether it loads as it was saved, and how it differs from the first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..journal import atomic_write_text
from ..retrieval import TASKS, Encoder
from ._found import Found

_TEXTS = 64
"""Texts whose tokens are compared."""

_LENGTH = 300
_LOADED = 4
"""Texts that are encoded by a second load."""

_AGREE = 1e-3
"""Difference of two loads, over the length of a vector, above which weights were made anew (own choice)."""

_HARMLESS = ("pooler.", "position_ids", "lm_head", "cls.", "classifier.", "score.")
"""Parts that a vector is not made of, or that its library makes of nothing: they may be missing."""

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One model.

    Attributes:
        name: What it is called.
        folder: Where it lies.
        step: Optimiser steps of its training, or its place among the models.
        counted: Whether the step is one of its training.
        settings: What decides its vectors beside its weights: name to value, in words.
        dimension: D.
        weights_sha256: SHA-256 of its weights.
        missing: Weights that its files lack and no vector needs.
        unexpected: Weights in its files that its library does not use.
        twice: Largest difference between two loads, over the length of a vector; 0 for the same bits.
        assumed: What was assumed to make it whole.
        differs: Settings that are other than the first one's, in words.
        equal: Whether its weights are the first one's, bit for bit.
    """

    name: str
    folder: str
    step: int
    counted: bool
    settings: Mapping[str, str]
    dimension: int
    weights_sha256: str
    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    twice: float = 0.0
    assumed: Sequence[str] = ()
    differs: Sequence[str] = ()
    equal: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """What only loading a model tells: digest of some texts' tokens, keys of its files, difference of two loads."""

    tokens: str
    missing: Sequence[str]
    unexpected: Sequence[str]
    twice: float


def audit(
    found: Found, encoder: Encoder, *, texts: Sequence[str], assumed: Sequence[str], first: Audit | None, cache: Path
) -> Audit:
    """Load a model twice, which takes seconds, and return what it is; what was loaded before is remembered.

    Args:
        found: Where it was found.
        encoder: The model.
        texts: Some texts that are going to be encoded.
        assumed: What was assumed to make it whole.
        first: What the others began as; None for that itself.
        cache: Folder of the caches: what loading told is kept by the content of the model, its library and the texts.

    Raises:
        InputError: weights are missing, or two loads disagree.
    """
    identity = encoder.identity
    loaded = _loaded(found, encoder, texts, cache)
    settings = {
        **{
            f"{task} prompt": json.dumps(one, ensure_ascii=False)
            for task, one in zip(TASKS, identity.prompts, strict=True)
        },
        "pooling": identity.pooling,
        "unit length": "yes" if identity.normalised else "no",
        "similarity": identity.similarity,
        "maximum length": "no limit" if identity.max_seq_length is None else f"{identity.max_seq_length} tokens",
        "tokens": loaded.tokens,
        "dimensions": str(identity.dimension),
        "type of weights": identity.saved_dtype,
    }
    return Audit(
        name=found.name,
        folder=str(found.folder),
        step=found.step or 0,
        counted=found.counted,
        settings=settings,
        dimension=identity.dimension,
        weights_sha256=identity.weights_sha256,
        missing=tuple(loaded.missing),
        unexpected=tuple(loaded.unexpected),
        twice=loaded.twice,
        assumed=tuple(assumed),
        differs=() if first is None else tuple(_differences(first.settings, settings)),
        equal=first is not None and identity.weights_sha256 == first.weights_sha256,
    )


def _loaded(found: Found, encoder: Encoder, texts: Sequence[str], cache: Path) -> _Loaded:
    content = json.dumps([encoder.fingerprint, [text[:_LENGTH] for text in texts[:_TEXTS]]])
    path = cache / "audits" / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    try:
        return _Loaded(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        missing, unexpected = _keys(found, encoder.folder)
    told = _Loaded(
        tokens=_tokens(encoder, texts), missing=missing, unexpected=unexpected, twice=_twice(found, encoder, texts)
    )
    # A cache that cannot be written costs another load and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(asdict(told)) + "\n")
    return told


def _differences(first: Mapping[str, str], own: Mapping[str, str]) -> list[str]:
    found = [
        f"{name} {own[name]} ({value})" for name, value in first.items() if name != "tokens" and own[name] != value
    ]
    return [*found, *(["the tokenizer gives other tokens"] if own["tokens"] != first["tokens"] else [])]


def _tokens(encoder: Encoder, texts: Sequence[str]) -> str:
    """Return a digest of the tokens of some texts: files of equal tokenizers differ from version to version."""
    tokenizer = getattr(encoder.model, "tokenizer", None)
    some = [text[:_LENGTH] for text in texts[:_TEXTS]]
    try:
        ids: Any = [one.ids for one in tokenizer.encode_batch(some)] if hasattr(tokenizer, "encode_batch") else None
        ids = ids or tokenizer(some, truncation=False)["input_ids"]  # type: ignore[misc]
    except Exception:
        # What is tokenized in another way is compared by its vectors alone.
        return "unknown"
    return hashlib.sha256(json.dumps([list(map(int, one)) for one in ids]).encode()).hexdigest()[:12]


def _twice(found: Found, encoder: Encoder, texts: Sequence[str]) -> float:
    some = list(texts[:_LOADED])
    first = encoder.encode(some, "document").astype(np.float64)
    second = encoder.anew().encode(some, "document").astype(np.float64)
    off = float(np.linalg.norm(first - second, axis=1).max() / max(float(np.linalg.norm(first, axis=1).max()), 1e-30))
    if not off <= _AGREE:
        raise InputError(
            f"{found.folder}: two loads of it give vectors that differ by {off:.2g} of their length, so a part of its "
            "weights is made anew each time; save it again with all of them"
        )
    return off


def _keys(found: Found, folder: Path) -> tuple[list[str], list[str]]:
    """Return the weights of a transformer that its files lack, and those that it does not use.

    Raises:
        InputError: some are missing that vectors are made of.
    """
    places = (folder, *sorted(folder.glob("*Transformer")))
    place = next((one for one in places if (one / "config.json").is_file()), None)
    if place is None:
        return [], []
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        _, told = AutoModel.from_pretrained(str(place), output_loading_info=True, local_files_only=True)
    except Exception:
        # Its own library loads what this class does not know; whether that agrees with itself is looked at.
        return [], []
    missing, unexpected = (sorted(map(str, told.get(name) or ())) for name in ("missing_keys", "unexpected_keys"))
    needed = [one for one in missing if not any(part in one for part in _HARMLESS)]
    if needed:
        some = ", ".join(needed[:_SHOWN]) + (" ..." if len(needed) > _SHOWN else "")
        own = f"; its files have {', '.join(unexpected[:_SHOWN])} instead" if unexpected else ""
        raise InputError(
            f"{found.folder}: {len(needed)} weights are missing in its files ({some}){own}, and would be made anew; "
            "save the encoder itself, not a module around it"
        )
    return missing, unexpected
