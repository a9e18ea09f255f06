"""Which document is whose: pairs of a batch in which there are more documents than queries."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..journal.vocabulary import Role
from ..measures import Sample

GROUPS = "groups: k documents after one another for each query, the first its own"
BLOCKS = "blocks: first every query's own document, then the others"


class Layout:
    """Finds each query's own document among k of them a query.

    Equal rows are own pairs. With k documents a query there are two usual orders; the one under which own scores are
    higher, over all batches so far, is taken. The choice is made on the device and waits for nothing.

    Attributes:
        unfit: Rows of queries and of documents that fit no layout, the first that came; None where all did.
    """

    def __init__(self) -> None:
        self.unfit: tuple[int, int] | None = None
        self._lead: Tensor | None = None

    @property
    def name(self) -> str | None:
        """Which order was taken; None where rows are equal. Waits for the device."""
        if self._lead is None or self._lead.device.type == "meta":
            return None
        return GROUPS if float(self._lead) >= 0 else BLOCKS

    def apply(self, sample: Sample) -> Sample:
        """Return a sample that knows each query's own document; waits for no device."""
        named = {role: sample.streams[name] for name, role in reversed(sample.roles.items()) if name in sample.streams}
        query, document = named.get(Role.query), named.get(Role.document)
        if query is None or document is None or query.ndim != 2 or document.ndim != 2:
            return sample
        rows, many = len(query), len(document)
        if rows == many or not rows or not many or query.shape[1] != document.shape[1]:
            return sample
        if many % rows:
            self.unfit = self.unfit or (rows, many)
            return replace(sample, own=torch.empty(0, dtype=torch.long, device=query.device))
        groups = torch.arange(rows, device=query.device) * (many // rows)
        blocks = torch.arange(rows, device=query.device)
        lead = _own_scores(query, document, groups) - _own_scores(query, document, blocks)
        self._lead = lead if self._lead is None else self._lead + lead
        return replace(sample, own=torch.where(self._lead >= 0, groups, blocks))


def _own_scores(query: Tensor, document: Tensor, own: Tensor) -> Tensor:
    chosen = document.index_select(0, own)
    return torch.nn.functional.cosine_similarity(query.float(), chosen.float(), dim=1).mean()
