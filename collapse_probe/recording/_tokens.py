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
    kept = kept_tokens(call, tensor)
    return None if kept is None else _mean(tensor.detach(), kept)


def kept_tokens(call: Call, tensor: Tensor) -> Tensor | None:
    """Return which tokens a call's mask keeps, bool ``[n, T]``; None where no mask says it.

    Args:
        call: What was given and returned, as for :func:`mean_of_tokens`.
        tensor: ``[n, T, D]``.
    """
    return next((mask for one in _masks(call) if (mask := _kept(one, tensor)) is not None), None)


def _mean(tokens: Tensor, kept: Tensor) -> Tensor:
    weights = kept.to(device=tokens.device).unsqueeze(-1)
    # Padding may hold anything, also what is not finite.
    values = torch.where(weights, tokens.float(), 0.0)
    return (values.sum(dim=1) / weights.sum(dim=1).clamp(min=1)).to(tokens.dtype)


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
    "padding": "mean of the tokens that attention_mask leaves out in",
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
    if how == "average":
        return tokens.mean(dim=1)
    kept = kept_tokens(call, tokens)
    return None if kept is None else _by_mask(tokens, kept, how)


def _by_mask(tokens: Tensor, kept: Tensor, how: str) -> Tensor:
    if how == "last":
        last = kept.long().cumsum(dim=1).argmax(dim=1)
        return tokens[torch.arange(len(tokens), device=tokens.device), last.to(tokens.device)]
    return _mean(tokens, kept if how == "mean" else ~kept)


PADDED = {
    "average": "a mean of all tokens, padding among them",
    "padding": "a mean of the padding alone",
    "end": "the last position, which is padding",
    "start": "the first position, which is padding",
}
"""Ways in which padding comes into a text's vector, and how they are said."""

_CLOSE, _CLOSE_HALF, _APART = 1e-3, 3e-2, 5
"""Distance of unit vectors up to which two are one, in half precision too, and how much farther others must be."""

_ROWS = 32
"""Padded texts that are looked at."""


def pooled_of_padding(vectors: Tensor, tokens: Tensor, kept: Tensor) -> tuple[str, float] | None:
    """Return how texts' vectors are made of padding, by direction, and how much of them it is. Waits for the device.

    Args:
        vectors: ``[n, D]``.
        tokens: ``[n, T, D]``.
        kept: Bool ``[n, T]``, which tokens are of the text.

    Returns:
        One of :data:`PADDED`, with the share of a vector that padding makes, over all texts; empty, with 0, where they
        are made of the texts' own tokens; None where that cannot be told.

    >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> kept = torch.tensor([[True, False]])
    >>> pooled_of_padding(torch.tensor([[1.0, 1.0]]), tokens, kept)
    ('average', 0.5)
    >>> pooled_of_padding(torch.tensor([[2.0, 0.0]]), tokens, kept)
    ('', 0.0)
    """
    if vectors.shape != (len(tokens), tokens.shape[2]) or vectors.device != tokens.device:
        return None
    kept = kept.to(tokens.device)
    rows = (kept.any(dim=1) & ~kept.all(dim=1)).nonzero()[:, 0]
    if not len(rows):
        return None
    share = float((~kept).float().mean())
    rows = rows[:_ROWS]
    close = _CLOSE if min(tokens.dtype.itemsize, vectors.dtype.itemsize) >= 4 else _CLOSE_HALF
    kept, tokens = kept[rows], tokens[rows].float()
    unit = torch.nn.functional.normalize(vectors[rows].float(), dim=1)

    def apart(how: Tensor) -> float:
        return float((torch.nn.functional.normalize(how, dim=1) - unit).norm(dim=1).max())

    own = [apart(_by_mask(tokens, kept, how)) for how in ("mean", "last")]
    made = {"average": tokens.mean(dim=1), "padding": _by_mask(tokens, kept, "padding")}
    for place, at in (("start", 0), ("end", -1)):
        if bool(kept[:, at].all()):
            own.append(apart(tokens[:, at]))
        elif not bool(kept[:, at].any()):
            made[place] = tokens[:, at]
    if min(own) <= close:
        return "", 0.0
    found = {how: apart(vectors) for how, vectors in made.items()}
    how = min(found, key=lambda one: found[one])
    told = found[how] <= close and min(own) > _APART * close
    return (how, share if how == "average" else 1.0) if told else None


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
