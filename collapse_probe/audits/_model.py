"""A model before its training: what it gives, whether it always gives the same, and what a loss reaches of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import InputError, in_one_line
from ._loss import TOTAL, Asked, Unjudged

_ROWS = 8
"""Rows that go through the model alone."""

_CHUNK = 64


@dataclass(frozen=True)
class Reached:
    """Parameters that a loss leaves without a gradient.

    Attributes:
        left_out: Names of those without a gradient, although the vectors depend on them.
        trained: How many are to be trained.
    """

    left_out: tuple[str, ...] = ()
    trained: int = 0


@dataclass(frozen=True)
class Steady:
    """Whether a text has one vector; relative differences, 0 where it has.

    Attributes:
        alone: Largest difference of a row alone and in a batch.
        twice: Largest difference of the same batch, twice.
        training: Modules that are in training mode inside a model that is not.
    """

    alone: float
    twice: float
    training: tuple[str, ...] = field(default=())


def embed(model: nn.Module, rows: Tensor) -> Tensor:
    """Return the embeddings ``[n, D]`` of rows, without a graph.

    Raises:
        InputError: the model raised, or gave no matrix with a row for each row.
    """
    with torch.no_grad():
        return torch.cat([_through(model, part).detach().clone() for part in rows.split(_CHUNK)])


def steady(model: nn.Module, rows: Tensor, *, modes: Mapping[nn.Module, bool]) -> Steady:
    """Return whether a row's vector depends on what else is in its batch, or on chance.

    Args:
        model: In evaluation mode; put into the modes that it was given in where it was given in evaluation mode.
        rows: Inputs, two or more.
        modes: Every module's mode as it was given.
    """
    training = () if modes[model] else tuple(name for name, one in model.named_modules() if modes[one])
    if training:
        for one, mode in modes.items():
            one.training = mode
    try:
        batch = rows[:_CHUNK]
        whole, again = embed(model, batch), embed(model, batch)
        try:
            alone = torch.cat([embed(model, batch[at : at + 1]) for at in range(min(_ROWS, len(batch)))])
        except InputError:
            # Batch norm in training mode refuses a single row.
            alone = torch.cat([embed(model, batch[at : at + 2])[:1] for at in range(min(_ROWS, len(batch) - 1))])
    finally:
        for one in modes:
            one.training = False
    return Steady(_apart(alone, whole[: len(alone)]), _apart(again, whole), training)


def reached(model: nn.Module, asked: Asked, query: Tensor, document: Tensor) -> Reached:
    """Return which parameters a loss of the model's embeddings leaves without a gradient.

    Parameters that no vector depends on, such as a pooler that nobody reads, are left aside: they are moved a little
    to see that.

    Raises:
        Unjudged: the loss raised, or gave no scalar.
    """
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    if not named:
        return Reached()
    sides = [_through(model, side) for side in (query, document)]
    total = asked.terms(*(side * 1 for side in sides))[TOTAL]
    if not total.requires_grad:
        without = named
    else:
        gradients = torch.autograd.grad(total, [one for _, one in named], allow_unused=True)
        without = [one for one, gradient in zip(named, gradients, strict=True) if gradient is None]
    return Reached(tuple(name for name, one in without if _matters(model, one, query)), len(named))


def _matters(model: nn.Module, parameter: Tensor, rows: Tensor) -> bool:
    with torch.no_grad():
        before, kept = _through(model, rows).detach().clone(), parameter.detach().clone()
        noise = torch.rand(kept.shape, generator=torch.Generator().manual_seed(0)).to(kept)
        parameter.add_(noise * (0.1 * kept.abs().mean() + 0.01))
        try:
            return _apart(_through(model, rows), before) > 0.0
        finally:
            parameter.copy_(kept)


def _through(model: nn.Module, rows: Tensor) -> Tensor:
    try:
        found = model(rows)
    except Exception as error:
        raise InputError(
            f"model raised {in_one_line(error, longest=200)}: queries and documents are its inputs, row by row"
        ) from None
    if isinstance(found, Mapping) and "sentence_embedding" in found:
        found = found["sentence_embedding"]
    if not isinstance(found, Tensor):
        raise InputError(f"model gave a {type(found).__name__}: a module from rows to embeddings [n, D] is needed")
    if found.ndim != 2 or len(found) != len(rows):
        raise InputError(f"model gave {tuple(found.shape)} for {len(rows)} rows: embeddings [n, D] are needed")
    return found


def _apart(left: Tensor, right: Tensor) -> float:
    left, right = left.detach().double(), right.detach().double()
    size = right.norm(dim=1).clamp(min=1e-12)
    return float(((left - right).norm(dim=1) / size).max())


__all__: Sequence[str] = ("Reached", "Steady", "Unjudged", "embed", "reached", "steady")
