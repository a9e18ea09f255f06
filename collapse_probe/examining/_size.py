"""Whether a model is as large as its weights: a library would build the one of its settings first, however long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import InputError
from ._code import settings_in

_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers")
_SIZES = ("vocab_size", "hidden_size", "d_model", "dim", "intermediate_size")
_MUCH = 10
"""Times as many as the weights have, from which a setting is refused (own choice): below it a library says what is
missing, in some seconds."""

_FEW = 100
"""Layers that are never too many."""


def check_size(folder: Path) -> None:
    """Refuse a model whose settings ask for far more than its weights have; reads names and shapes alone.

    Raises:
        InputError: they do.
    """
    for place in (folder, *sorted(one.parent for one in folder.glob("*/config.json"))):
        settings = settings_in(place / "config.json")
        shapes = _shapes(place) if settings else {}
        if not shapes:
            continue
        layers = 1 + max((int(one) for name in shapes for one in re.findall(r"\.(\d+)\.", f".{name}")), default=0)
        largest = max((size for shape in shapes.values() for size in shape), default=1)
        for names, had, least, what in ((_LAYERS, layers, _FEW, "layers"), (_SIZES, largest, 0, "as the largest size")):
            for name in names:
                asked = settings.get(name)
                if isinstance(asked, int) and asked > max(_MUCH * had, least):
                    raise InputError(
                        f"{place / 'config.json'}: {name} is {asked:,}, and the weights beside it have {had:,} {what}; "
                        "give the config.json that the weights were saved with"
                    )


def _shapes(place: Path) -> dict[str, list[int]]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, Any] = {}
    for path in sorted(place.glob("model*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                found |= {name: file.get_slice(name).get_shape() for name in sorted(file.keys())}
        except (OSError, SafetensorError):
            return {}  # whoever loads them says so
    return found
