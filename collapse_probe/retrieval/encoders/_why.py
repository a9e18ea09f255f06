"""Why a model does not load or does not encode, in one line: its library's words, or what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import in_one_line

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SHOWN = 2


def why_not_loaded(folder: Path, error: Exception) -> str:
    """Return why a library could not load a model, and what to do about it.

    Where the library only points at its log, the shapes are looked at again.
    """
    why, instead = in_one_line(error), "save or download it again"
    if isinstance(error, ModuleNotFoundError) or (isinstance(error, ImportError) and "pip install" in str(error)):
        # A package that is not here is no fault of the files.
        instead = "install it, or give a model that needs none, as before it was quantised"
    elif "ignore_mismatched_sizes" in str(error) and (shapes := _mismatched(folder)):
        more = f", and {len(shapes) - _SHOWN} more" if len(shapes) > _SHOWN else ""
        why = f"config.json is of another model than the weights: {', '.join(shapes[:_SHOWN])}{more}"
    return f"{folder}: sentence-transformers cannot load this encoder ({why}); {instead}"


def _mismatched(folder: Path) -> list[str]:
    from transformers import AutoModel

    place = next((one.parent for one in sorted(folder.glob("**/config.json")) if _has_weights(one.parent)), folder)
    try:
        _, told = AutoModel.from_pretrained(
            str(place), output_loading_info=True, local_files_only=True, ignore_mismatched_sizes=True
        )
    except Exception:
        return []
    found = sorted((str(name), list(own), list(needed)) for name, own, needed in told.get("mismatched_keys") or ())
    return [f"{name} is {own} in its files, where {needed} is needed" for name, own, needed in found]


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("model*.safetensors"))


def beyond(model: SentenceTransformer) -> str:
    """Return what is wrong where a model lets in more tokens than it has positions or rows for; else nothing."""
    config = getattr(getattr(model[0], "model", None), "config", None)
    length, places = length_of(model), getattr(config, "max_position_embeddings", None)
    if length is not None and isinstance(places, int) and length > places:
        return f"; its maximum length is {length} tokens, and it has {places} positions: lower max_seq_length"
    rows = getattr(config, "vocab_size", None)
    try:
        tokens = len(model.tokenizer)
    except (TypeError, AttributeError):
        return ""
    if isinstance(rows, int) and tokens > rows:
        return f"; its tokenizer has {tokens} tokens, and it has {rows} rows for them: save both of one training"
    return ""


def length_of(model: SentenceTransformer) -> int | None:
    """Return the tokens after which a model cuts a text; None where it cuts none."""
    length = model.max_seq_length
    return int(length) if isinstance(length, int | float) and 0 < length < 2**31 else None
