"""A loss of any kind, asked for its terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import in_one_line
from ..measures import pull, push, radial, wide
from ._solutions import Pairs

Loss = Callable[[Tensor, Tensor], Any]

TOTAL = "total"
_WHOLE = ("total", "loss")
"""Entries of a mapping that are taken for the sum of the others, where they are."""


class Unjudged(Exception):
    """Something cannot be judged; the message says why, in one line."""


class Asked:
    """A loss with the number of times that it may differ from itself taken away: every call has the same random state.

    Args:
        loss: From queries ``[n, D]`` and documents ``[n, D]`` to a scalar or a mapping of terms.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def terms(self, query: Tensor, document: Tensor) -> dict[str, Tensor]:
        """Return the terms by name and their sum under ``total``; the sum alone where there is one term.

        Raises:
            Unjudged: the loss raised, or gave no scalar.
        """
        torch.manual_seed(0)
        try:
            found = self._loss(query, document)
        except Exception as error:
            raise Unjudged(f"the loss raised {in_one_line(error, longest=200)}") from None
        if not isinstance(found, Mapping):
            return {TOTAL: _scalar("the loss", found)}
        parts = {str(name): _scalar(f"term {name!r}", value) for name, value in found.items()}
        if not parts:
            raise Unjudged("the loss gave an empty mapping: a term by name is needed")
        for name in _WHOLE:
            if name in parts and len(parts) > 1:
                rest = math.fsum(float(value.detach()) for other, value in parts.items() if other != name)
                whole = float(parts[name].detach())
                if math.isclose(rest, whole, rel_tol=1e-4, abs_tol=1e-6):
                    return {**{other: value for other, value in parts.items() if other != name}, TOTAL: parts[name]}
        total = torch.stack([value.to(wide(value.device)) for value in parts.values()]).sum()
        return {TOTAL: total} if len(parts) == 1 else {**parts, TOTAL: total}

    def value(self, batches: Sequence[Pairs]) -> float:
        """Return the mean of the total over batches.

        Raises:
            Unjudged: as :meth:`terms`, or the mean is not finite.
        """
        totals = [float(self.terms(query.clone(), document.clone())[TOTAL].detach()) for query, document in batches]
        mean = sum(totals) / len(totals)
        if not math.isfinite(mean):
            raise Unjudged(f"the loss is {mean}")
        return mean

    def forces(self, batches: Sequence[Pairs]) -> dict[str, dict[str, float]]:
        """Return pull, push, radial, the gradient's norm and the degree of each term, means over batches.

        Returns:
            By term; the gradient is None's like, 0.0, where a term does not depend on the embeddings.

        Raises:
            Unjudged: as :meth:`terms`.
        """
        found: dict[str, list[dict[str, float]]] = {}
        for query, document in batches:
            leaves = [side.clone().requires_grad_() for side in (query, document)]
            # A loss may write into what it is given, which no leaf allows.
            terms = self.terms(*(leaf * 1 for leaf in leaves))
            for name, term in terms.items():
                found.setdefault(name, []).append(_force(term, leaves))
        return {
            name: {reading: sum(one[reading] for one in some) / len(some) for reading in some[0]}
            for name, some in found.items()
        }


def _force(term: Tensor, leaves: Sequence[Tensor]) -> dict[str, float]:
    gradients: Sequence[Tensor | None] = (None, None)
    if term.requires_grad:
        gradients = torch.autograd.grad(term, leaves, retain_graph=True, allow_unused=True)
    found = [
        torch.zeros_like(leaf) if one is None else one.detach() for one, leaf in zip(gradients, leaves, strict=True)
    ]
    (query, document), (left, right) = [leaf.detach() for leaf in leaves], found
    both, slope = torch.cat([query, document]), torch.cat([left, right])
    size, value = float(slope.norm()), float(term.detach())
    along = float((both * slope).sum())
    return {
        "pull": float(pull(query, document, (left, right))),
        "push": float(push(query, document, (left, right))),
        "radial": float(radial(both, slope)),
        "gradient": size,
        "degree": along / value if value else 0.0,
        "depends": float(any(one is not None for one in gradients)),
    }


def _scalar(what: str, value: Any) -> Tensor:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor):
        raise Unjudged(f"{what} gave a {type(value).__name__}: return a scalar, or a mapping of terms")
    if value.numel() != 1:
        raise Unjudged(f"{what} gave a tensor of shape {tuple(value.shape)}, not a scalar: take its mean")
    return value.reshape(())
