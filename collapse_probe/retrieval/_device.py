"""Where is encoded and searched."""

from __future__ import annotations

from ..errors import InputError, setting


def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises:
        InputError: CUDA is asked for, and torch finds none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        asked, instead = setting("device", "cuda"), setting("device", "cpu")
        raise InputError(f"{asked}: torch finds no CUDA device here; give {instead}")
    return ("cuda" if available else "cpu") if device == "auto" else device
