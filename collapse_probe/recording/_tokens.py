"""Token embeddings: read as the mean over each text's own tokens, where a call says which are padding."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ._tap import Call, Take

MASK = "attention_mask"


def mean_of_tokens(call: Call, tensor: Tensor) -> Tensor | None:
    """Return the mean over the tokens that a call's mask keeps, ``[n, D]``; None where no mask says which these are.

    Args:
        call: What was given and returned: its ``attention_mask`` is ``[n, T]``, or what attention adds,
            ``[n, 1, 1 or T, T]``.
        tensor: ``[n, T, D]``.

    >>> found = Call(torch.nn.Identity(), (), {"attention_mask": torch.tensor([[1, 1, 0]])}, None)
    >>> mean_of_tokens(found, torch.tensor([[[1.0], [3.0], [9.0]]])).tolist()
    [[2.0]]
    """
    kept = _first_kept(call, tensor)
    if kept is None:
        return None
    weights = kept.to(device=tensor.device).unsqueeze(-1)
    # Padding may hold anything, also what is not finite.
    values = torch.where(weights, tensor.detach().float(), 0.0)
    return (values.sum(dim=1) / weights.sum(dim=1).clamp(min=1)).to(tensor.dtype)


def _masks(call: Call) -> Iterator[Any]:
    yield call.kwargs.get(MASK)
    yield _positional(call)
    for given in (*call.args, *call.kwargs.values(), call.output):
        yield given.get(MASK) if isinstance(given, Mapping) else getattr(given, MASK, None)


def _positional(call: Call) -> Any:
    try:
        return inspect.signature(call.module.forward).bind_partial(*call.args).arguments.get(MASK)
    except (TypeError, ValueError):
        return None


POOLINGS = {
    "mean": "mean of the tokens that attention_mask keeps in",
    "average": "mean of all tokens in",
    "last": "last token that attention_mask keeps in",
}
"""Ways from vectors of tokens to one of each text, and how they are said."""


def pooled(take: Take, how: str) -> Take:
    """Return a take of each text's vector, ``[n, D]``, of what another take gives, ``[n, T, D]``.

    Args:
        take: What gives the vectors of tokens.
        how: One of :data:`POOLINGS`.
    """

    def taken(call: Call) -> Tensor | None:
        found = take(call)
        if not isinstance(found, Tensor) or found.ndim != 3:
            return found
        return _pool(call, found.detach(), how)

    taken.of = take  # type: ignore[attr-defined]
    return taken


def poolings(call: Call, tokens: Tensor) -> dict[str, Tensor]:
    """Return each text's vector in every way that a call allows, ``[n, D]``, of vectors of tokens ``[n, T, D]``."""
    found = {how: _pool(call, tokens.detach(), how) for how in POOLINGS}
    return {how: vectors for how, vectors in found.items() if vectors is not None}


def _pool(call: Call, tokens: Tensor, how: str) -> Tensor | None:
    if how == "mean":
        return mean_of_tokens(call, tokens)
    if how == "average":
        return tokens.mean(dim=1)
    kept = _first_kept(call, tokens)
    if kept is None:
        return None
    last = kept.long().cumsum(dim=1).argmax(dim=1)
    return tokens[torch.arange(len(tokens), device=tokens.device), last.to(tokens.device)]


def _first_kept(call: Call, tensor: Tensor) -> Tensor | None:
    return next((mask for one in _masks(call) if (mask := _kept(one, tensor)) is not None), None)


def _kept(mask: Any, tensor: Tensor) -> Tensor | None:
    if not isinstance(mask, Tensor):
        return None
    rows, tokens = tensor.shape[:2]
    if mask.shape == (rows, tokens) and not mask.is_floating_point():
        return mask > 0
    if mask.ndim == 4 and mask.shape[0] == rows and mask.shape[1] == 1 and mask.shape[-1] == tokens:
        # The last token attends to every one before it that is no padding.
        last = mask[:, 0, -1]
        return last if last.dtype is torch.bool else last >= 0 if last.is_floating_point() else None
    return None
