"""Whether the rows of a batch are own pairs at all, or pairs with labels, of which some do not belong together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

_BATCHES = 5
"""Batches whose gradients are read, at most."""

_ALONG = 0.02
"""Share of a row's gradient that may lie outside of what its query and document span."""

_APART = 0.02
"""Sine of the angle between a query and a document below which a direction says nothing."""

_ROWS = 8
"""Rows of a batch, and share of those that are moved, from which on it tells."""

_SHARE = 0.1

_COLUMNS = 4
"""Columns below which two vectors span most of what there is."""


class Graded:
    """Tells from gradients whether a loss takes each row by itself and moves some pairs together and others apart.

    A loss of own pairs compares each with others, or moves all of them together. Where every row moves along its own
    partner alone, as by a label, and a part of them away from it, rows are no own pairs, unless all are driven to one
    similarity.

    Attributes:
        found: Whether that is so, as far as it was settled: at once on a CPU, else by :meth:`settle`.
    """

    def __init__(self) -> None:
        self.found = False
        self._batches = 0
        self._read: list[tuple[int, Tensor]] = []

    @property
    def asks(self) -> bool:
        """Whether gradients are needed."""
        return not self.found and self._batches < _BATCHES

    def read(self, query: Tensor, document: Tensor, of_query: Tensor | None, of_document: Tensor | None) -> None:
        """Look at a batch of as many documents as queries, with the loss's gradients; waits for no device."""
        if not self.asks or query.device.type == "meta" or query.shape[1] < _COLUMNS:
            return
        pulled = pulls(query, document, of_query, of_document)
        if pulled is None:
            return
        self._batches += 1
        cosines = cosine_similarity(query.double(), document.double(), dim=1)
        counts = [(pulled != 0).sum(), (pulled < 0).sum(), pulled.isnan().sum(), towards_one(cosines, pulled)]
        self._read.append((len(query), torch.stack(counts)))
        if query.device.type == "cpu":
            self.settle()

    def settle(self) -> bool:
        """Return whether rows are no own pairs; waits for the device."""
        read, self._read = self._read, []
        for rows, counts in read:
            moved, apart, otherwise, towards = counts.tolist()
            told = not otherwise and not towards and moved >= max(_ROWS, rows / 2)
            self.found = self.found or (told and _SHARE <= apart / moved <= 1 - _SHARE)
        return self.found


def towards_one(similarity: Tensor, pulled: Tensor) -> Tensor:
    """Return whether a loss moves pairs apart that are more similar than any that it moves together, a scalar of bool.

    It then drives all of them to one similarity, and tells no labels.

    Args:
        similarity: Of each pair, ``[n]``.
        pulled: Positive where descent moves a pair together, negative where apart, ``[n]``.
    """
    lowest = torch.where(pulled < 0, similarity, torch.inf).min()
    return lowest >= torch.where(pulled > 0, similarity, -torch.inf).max()


def pulls(query: Tensor, document: Tensor, of_query: Tensor | None, of_document: Tensor | None) -> Tensor | None:
    """Return for each row 1 where descent moves its pair together, -1 apart, 0 where nothing tells, ``[n]``.

    NaN where it moves otherwise than along its own partner; None where no gradient came.
    """
    for own, partner, gradient in ((query, document, of_query), (document, query, of_document)):
        if gradient is None or gradient.shape != own.shape or own.shape != partner.shape or own.ndim != 2:
            continue
        own, partner, step = own.double(), partner.double(), -gradient.double()
        own = own / own.norm(dim=1, keepdim=True)
        size, length = step.norm(dim=1), partner.norm(dim=1)
        across = partner - (partner * own).sum(dim=1, keepdim=True) * own
        apart = across.norm(dim=1)
        sideways = step - (step * own).sum(dim=1, keepdim=True) * own
        along = (sideways * across).sum(dim=1) / apart
        rest = (sideways - along[:, None] * across / apart[:, None]).norm(dim=1)
        tells = (apart > _APART * length) & (along.abs() > _ALONG * size)
        signs = torch.where(tells, along.sign(), torch.zeros_like(along))
        return torch.where(rest > _ALONG * size, torch.full_like(along, torch.nan), signs)
    return None
