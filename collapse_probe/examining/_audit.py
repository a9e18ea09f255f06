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
from ..retrieval import TASKS, Encoder, read_json
from ._code import settings_in
from ._found import Found
from ._likeness import likeness

_TEXTS = 64
"""Texts whose tokens are compared."""

_LENGTH = 300
_LOADED = 4
"""Texts that are encoded by a second load."""

_AGREE = 1e-3
"""Difference of two loads, over the length of a vector, above which weights were made anew (own choice)."""

_ALONE = 1e-3
_ALONE_HALF = 5e-2
"""Difference of a text's vectors alone and beside others, over its length, that is said (own choice)."""

_UNLIKE = 0.2
"""Cosine of two models' weights below which neither began as the other: 0 where both were drawn (own choice)."""

_HARMLESS = ("pooler.", "position_ids", "lm_head", "cls.", "classifier.", "score.")
"""Parts that a vector is not made of, or that its library makes of nothing: they may be missing."""

_UNUSED = (*_HARMLESS, "decoder.")
"""Parts that an encoder of texts leaves out of a larger model."""

_HALF = ("float16", "bfloat16")
_KIND = "architecture"
_FIELD = "config.json's "
_INERT = ("drop", "initializer", "use_cache", "bos_token_id", "eos_token_id", "tie_word")
"""Parts of the names of fields that change no vector of a text."""

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
        alone: The same between texts alone and beside others in a batch.
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
    alone: float = 0.0
    assumed: Sequence[str] = ()
    differs: Sequence[str] = ()
    equal: bool = False

    @property
    def remarks(self) -> list[str]:
        """What the first screen has to say of it, since it makes its vectors other than they seem."""
        found = [one for one in self.assumed if one.startswith("its own code")]
        odd = [one for one in self.unexpected if not any(part in one for part in _UNUSED)]
        if odd:
            found.append(f"{len(odd)} weights in its files are not used ({_some(odd)})")
        if self.alone > (_ALONE_HALF if self.settings["type of weights"] in _HALF else _ALONE):
            found.append(f"a text's vector differs by {self.alone:.1g} of its length with what is beside it in a batch")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """What only loading a model tells: digest of some texts' tokens, what its weights are put to, keys of its files,
    and how far its vectors differ."""

    tokens: str
    architecture: Mapping[str, str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    twice: float
    alone: float


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
        "kept dimensions": "all" if identity.truncate_dim is None else str(identity.truncate_dim),
        "type of weights": identity.saved_dtype,
        **loaded.architecture,
    }
    differs = [] if first is None else _differences(first.settings, settings)
    if first is not None and identity.weights_sha256 != first.weights_sha256:
        like = likeness(Path(first.folder), encoder.folder)
        if like is not None and like < _UNLIKE:
            differs.append(f"weights unlike the first one's, cosine {like:.2f}")
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
        alone=loaded.alone,
        assumed=tuple(assumed),
        differs=tuple(differs),
        equal=first is not None and identity.weights_sha256 == first.weights_sha256,
    )


def _loaded(found: Found, encoder: Encoder, texts: Sequence[str], cache: Path) -> _Loaded:
    content = json.dumps([encoder.fingerprint, encoder.device, [text[:_LENGTH] for text in texts[:_TEXTS]]])
    path = cache / "audits" / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    try:
        return _Loaded(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        missing, unexpected = _keys(found, encoder)
    tokens, (twice, alone) = _tokens(encoder, texts), _again(found, encoder, texts)
    told = _Loaded(
        tokens=tokens,
        architecture={**_sides(encoder), **_architecture(encoder)},
        missing=missing,
        unexpected=unexpected,
        twice=twice,
        alone=alone,
    )
    # A cache that cannot be written costs another load and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(asdict(told)) + "\n")
    return told


def _differences(first: Mapping[str, str], own: Mapping[str, str]) -> list[str]:
    another = first.get(_KIND) != own.get(_KIND)
    found = [
        f"{name} {own[name]} ({value})"
        for name, value in first.items()
        # Of another architecture all of its fields are others.
        if name != "tokens" and own.get(name, value) != value and not (another and name.startswith(_FIELD))
    ]
    return [*found, *(["the tokenizer gives other tokens"] if own["tokens"] != first["tokens"] else [])]


def _architecture(encoder: Encoder) -> dict[str, str]:
    """Return by what equal weights give other vectors: the fields of config.json that an architecture has of its own.

    Those that every architecture has (names, versions, labels), and those that change no vector, are left out.
    """
    from transformers import PreTrainedConfig, PreTrainedModel

    config = next((one.config for one in encoder.model.modules() if isinstance(one, PreTrainedModel)), None)
    if config is None:
        return {_KIND: "without a transformer"}
    common = PreTrainedConfig().to_dict()
    own = {
        f"{_FIELD}{name}": json.dumps(value, sort_keys=True, default=str).strip('"')
        for name, value in sorted(config.to_dict().items())
        if name not in common and not any(part in name for part in _INERT)
    }
    return {_KIND: str(config.model_type), **own}


def _sides(encoder: Encoder) -> dict[str, str]:
    """Return at which end a text's tokens are filled up and cut."""
    tokenizer = getattr(encoder.model, "tokenizer", None)
    sides = {name: getattr(tokenizer, f"{name}_side", None) for name in ("padding", "truncation")}
    return {f"{name} side": side for name, side in sides.items() if isinstance(side, str)}


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


def _again(found: Found, encoder: Encoder, texts: Sequence[str]) -> tuple[float, float]:
    """Return how far vectors are from those of a second load, and from those of each text alone.

    Raises:
        InputError: two loads disagree.
    """
    some = list(texts[:_LOADED])
    first = encoder.encode(some, "document").astype(np.float64)
    if not np.isfinite(first).all():
        return 0.0, 0.0  # a divergence, which is said where all is encoded
    alone = encoder.encode(some, "document", batch_size=1).astype(np.float64)
    second = encoder.anew().encode(some, "document").astype(np.float64)
    length = max(float(np.linalg.norm(first, axis=1).max()), 1e-30)
    off, apart = (float(np.linalg.norm(first - other, axis=1).max() / length) for other in (second, alone))
    if not off <= _AGREE:
        raise InputError(
            f"{found.folder}: two loads of it give vectors that differ by {off:.2g} of their length, so a part of its "
            "weights is made anew each time; save it again with all of them"
        )
    return off, apart


def _keys(found: Found, encoder: Encoder) -> tuple[list[str], list[str]]:
    """Return the weights of a model's transformers that its files lack, and those that are not used.

    Raises:
        InputError: some are missing that vectors are made of.
    """
    from transformers import PreTrainedModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    inside = [one for one in encoder.model.modules() if isinstance(one, PreTrainedModel)]
    # The first of a kind is the one that holds the others.
    kinds = {one.config.model_type: type(one) for one in reversed(inside)}
    missing: list[str] = []
    unexpected: list[str] = []
    _check_table(found, encoder)
    for place in _transformers(encoder.folder):
        kind = kinds.get(settings_in(place / "config.json").get("model_type"))
        if kind is None:
            continue
        _check_numbers(found, place)
        try:
            _, told = kind.from_pretrained(str(place), output_loading_info=True, local_files_only=True)
        except Exception:
            # Its own library loads it in another way; whether that agrees with itself is looked at.
            continue
        missing += map(str, told.get("missing_keys") or ())
        unexpected += map(str, told.get("unexpected_keys") or ())
    needed = sorted(one for one in missing if not any(part in one for part in _HARMLESS))
    if needed:
        missed = "1 weight is" if len(needed) == 1 else f"{len(needed)} weights are"
        raise InputError(
            f"{found.folder}: {missed} missing in its files ({_some(needed)}), and would be made anew"
            f"{_what_to_save(needed, unexpected)}"
        )
    return sorted(missing), sorted(unexpected)


def _transformers(folder: Path) -> list[Path]:
    """Return the folders of a model that hold a transformer."""
    found = [folder, *(path.parent for path in sorted(folder.glob("*/config.json")))]
    found += [path.parent for path in sorted(folder.glob("*/*/config.json"))]
    return [
        one
        for one in found
        if "model_type" in settings_in(one / "config.json")
        and any(one.glob("model*.safetensors"))
        and not any(part.startswith("checkpoint-") for part in one.relative_to(folder).parts)
    ]


def _check_numbers(found: Found, place: Path) -> None:
    """Refuse whole numbers in the place of weights, which a library would take as they are.

    Raises:
        InputError: they were quantised, and nothing says by what scale.
    """
    from safetensors import safe_open

    if "quantization_config" in settings_in(place / "config.json"):
        return
    for path in sorted(place.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            whole = [name for name in sorted(file.keys()) if _is_matrix_of_bytes(file.get_slice(name))]
        if whole:
            raise InputError(
                f"{found.folder}: {len(whole)} of its weights are whole numbers ({_some(whole)}), and no "
                "quantization_config in config.json says what they stand for; give the model as it was before it was "
                "quantised"
            )


def _is_matrix_of_bytes(part: Any) -> bool:
    return part.get_dtype() in ("I8", "U8") and len(part.get_shape()) > 1


def _check_table(found: Found, encoder: Encoder) -> None:
    """Refuse a table of words of which the library reads a part.

    Raises:
        InputError: its files map or weigh words, which the library leaves out.
    """
    from safetensors import safe_open
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    for entry in read_json(encoder.folder / "modules.json", missing=[]):
        path = encoder.folder / str(entry["path"]) / "model.safetensors"
        if str(entry["type"]).rpartition(".")[2] == StaticEmbedding.__name__ and path.is_file():
            with safe_open(path, framework="pt") as file:
                names = sorted(file.keys())
            if len(names) > 1:
                raise InputError(
                    f"{found.folder}: a table of words with {', '.join(names)}, of which sentence-transformers reads "
                    "the words' vectors alone; save it without quantised vocabulary, as one table"
                )


def _what_to_save(needed: Sequence[str], unexpected: Sequence[str]) -> str:
    """Return what stands in the place of missing weights, and what is to be saved instead."""
    ends = [one for one in unexpected if one.endswith(f".{needed[0]}")]
    if ends:
        before = ends[0].removesuffix(needed[0])
        return f"; names in its files begin with {before!r}: save the encoder itself, not a module around it"
    instead = f"; its files have {_some(unexpected)} instead" if unexpected else ""
    return f"{instead}; save it again with all of its weights and the config.json that they were trained with"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
