"""Which document is whose: pairs of a batch in which there are more documents than queries."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..journal.vocabulary import Role
from ..measures import Sample
from ._graded import Graded, pulls

_BATCHES = 20
"""Batches whose gradients are read."""

_FIRST = 3
"""Batches by whose gradients it is told whether documents that are no multiple begin with the queries' own."""

_TOLD = 0.1
"""Mean cosine of a query's pull with its own document, above which an order is told; more where chance gives more."""

_CHANCE = 5.0
"""Standard deviations of a mean cosine of vectors that have nothing to do with each other."""


@dataclass(frozen=True)
class Order:
    """Where each query's own document stands among k of them a query.

    Attributes:
        blocks: Whether one document of every query comes after another's, not all of a query's after one another.
        place: Which of a query's documents is its own, from 0.
    """

    blocks: bool = False
    place: int = 0

    def rows(self, queries: int, documents: int) -> Tensor:
        """Return each query's own row among the documents.

        >>> Order().rows(3, 6).tolist(), Order(blocks=True, place=1).rows(3, 6).tolist()
        ([0, 2, 4], [3, 4, 5])
        """
        if self.blocks:
            return torch.arange(queries) + self.place * queries
        return torch.arange(queries) * max(1, documents // max(1, queries)) + self.place

    def __str__(self) -> str:
        whose = f"number {self.place + 1} its own"
        return f"blocks, {whose}: row {self.place} n + i" if self.blocks else f"groups, {whose}: row k i + {self.place}"


ASSUMED = Order()
"""What is taken where nothing tells: the order of every public trainer that has k documents a query."""


class Layout:
    """Finds each query's own document among k of them a query.

    Equal rows are own pairs. With k documents a query, the gradients tell: descent moves a query towards its own
    document, whatever the loss. How similar they are is not asked, since that is what is to be measured. The choice is
    made on the device and waits for nothing.

    Attributes:
        assumed: The order that is taken where nothing tells.
        asks: Whether gradients of queries and documents are needed.
        batches: Batches with k documents a query.
        unfit: Rows of queries and of documents that fit no layout, the first that came; None where all did, as far as
            it was settled: at once on a CPU, else by :meth:`settle`.
        rows: Rows of queries and of documents of the latest batch with k documents a query.
        shared: Whether documents that are no multiple begin with the queries' own, and the others are negatives of
            all; None where that is not settled.
        graded: Whether rows are pairs with labels, not all of which belong together.
    """

    assumed = ASSUMED

    def __init__(self) -> None:
        self.asks = True
        self.graded = Graded()
        self.batches = 0
        self.unfit: tuple[int, int] | None = None
        self.rows: tuple[int, int] | None = None
        self._pulls: dict[int, Tensor] = {}
        self._read: dict[int, int] = {}
        self.shared: bool | None = None
        self._first: list[Tensor] = []

    @property
    def undecided(self) -> bool:
        """Whether batches will tell yet whether documents that fit no layout begin with the queries' own."""
        return self.shared is None and len(self._first) > 0

    def told(self) -> Order | None:
        """Return the order that the gradients tell of the latest k, None where they tell none. Waits for the device."""
        if self.rows is None:
            return None
        k = self.rows[1] // self.rows[0]
        if k not in self._pulls or self._pulls[k].device.type == "meta":
            return None
        best, place = self._best(k)
        return Order(bool(place >= k), int(place) % k) if float(best) >= 0 else None

    def apply(self, sample: Sample) -> Sample:
        """Return a sample that knows each query's own document; waits for no device."""
        self.asks = False
        names = {role: name for name, role in reversed(sample.roles.items()) if name in sample.streams}
        if not {Role.query, Role.document} <= set(names):
            return sample
        query, document = (sample.streams[names[role]] for role in (Role.query, Role.document))
        if query.ndim != 2 or document.ndim != 2 or query.shape[1] != document.shape[1]:
            return sample
        rows, many = len(query), len(document)
        gradients = [sample.gradients.get(names[role]) for role in (Role.query, Role.document)]
        if rows == many:
            self.graded.read(query, document, *gradients)
            self.asks = self.graded.asks
            return replace(sample, own=_none(query)) if self.graded.found else sample
        if not rows or not many:
            return sample
        if many % rows:
            own = many > rows and self._begins_with_own(query, document[:rows], gradients[0])
            self.unfit = None if own else self.unfit or (rows, many)
            return replace(sample, own=torch.arange(rows, device=query.device) if own else _none(query))
        self.batches, self.rows = self.batches + 1, (rows, many)
        self.asks = self.batches < _BATCHES
        k = many // rows
        self._read_pulls(k, _pull_of_orders(query, document, *gradients))
        return replace(sample, own=self._own(rows, many, query.device))

    def _begins_with_own(self, query: Tensor, document: Tensor, of_query: Tensor | None) -> bool:
        """Return whether the first documents are the queries' own, row by row, and the others negatives of all."""
        if self.shared is None and query.device.type != "meta":
            found = _pull_of_orders(query, document, of_query, None)
            self._first += [] if found is None else [found[:, 0]]
            self.asks = len(self._first) < _FIRST
            if query.device.type == "cpu" and not self.asks:
                self.settle()
        return bool(self.shared)

    def settle(self) -> None:
        """Find out whether documents that fit no layout begin with the queries' own; waits for the device."""
        if self.shared is None and len(self._first) >= _FIRST:
            pull, chance = torch.stack(self._first).mean(dim=0).tolist()
            self.shared = pull > max(_TOLD, _CHANCE * (chance / len(self._first)) ** 0.5)
            self.unfit = None if self.shared else self.unfit

    def _read_pulls(self, k: int, found: Tensor | None) -> None:
        if found is not None and (k not in self._read or self.asks):
            self._pulls[k] = self._pulls[k] + found if k in self._pulls else found
            self._read[k] = self._read.get(k, 0) + 1

    def _own(self, rows: int, many: int, device: torch.device) -> Tensor:
        k = many // rows
        assumed = ASSUMED.rows(rows, many).to(device)
        if k not in self._pulls:
            return assumed
        best, place = self._best(k)
        table = torch.stack([Order(blocks, at).rows(rows, many) for blocks in (False, True) for at in range(k)])
        return torch.where(best >= 0, table.to(device).index_select(0, place.reshape(1))[0], assumed)

    def _best(self, k: int) -> tuple[Tensor, Tensor]:
        """Return by how much the order of the strongest pull is above what is needed, and its number."""
        pull, chance = (self._pulls[k] / self._read[k]).unbind(0)
        best, place = pull.max(dim=0)
        return best - torch.clamp(_CHANCE * (chance[0] / self._read[k]).sqrt(), min=_TOLD), place


def compares(query: Tensor, document: Tensor, of_query: Tensor | None, of_document: Tensor | None) -> bool:
    """Return whether a loss, by its gradients, compares row i with row i; True where none came. Waits for the device.

    Descent then moves a row by its own partner, together with it or apart, and not by what all rows have in common.
    """
    if query.device.type == "meta" or len(query) != len(document) or len(query) < 2:
        return True
    moved = pulls(query, document, of_query, of_document)
    if moved is None or not moved.isnan().all().tolist():
        return True
    found = _pull_of_orders(query, document, of_query, of_document)
    pull, chance = (torch.zeros(2) if found is None else found[:, 0]).tolist()
    return pull > max(_TOLD, _CHANCE * chance**0.5)


def _none(query: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.long, device=query.device)


def _pull_of_orders(
    query: Tensor, document: Tensor, of_query: Tensor | None, of_document: Tensor | None
) -> Tensor | None:
    """Return how much each order's own pairs are pulled together, and the variance of that by chance, ``[2, 2 k]``.

    The queries' gradients say it where there are some: a query is moved by its own document more than by any other, and
    other documents may be moved towards it, too, away from all queries at once.
    """
    if of_query is not None and of_query.shape == query.shape:
        pulled = _cosines(-of_query, document - document.mean(dim=0))
    elif of_document is not None and of_document.shape == document.shape:
        # A document that nobody's loss is about moves little, wherever to.
        sizes = of_document.float().norm(dim=1)
        weights = torch.nan_to_num(sizes / sizes.square().mean().sqrt()).clamp(max=1.0)
        pulled = _cosines(query - query.mean(dim=0), -of_document) * weights
    else:
        return None
    n, k = len(query), len(document) // len(query)
    groups = pulled.reshape(n, n, k).diagonal(dim1=0, dim2=1)
    blocks = pulled.reshape(n, k, n).diagonal(dim1=0, dim2=2)
    means = torch.cat([groups, blocks]).mean(dim=1)
    return torch.stack([means, torch.full_like(means, 1 / (n * query.shape[1]))])


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    scores = normalize(left.float(), dim=1) @ normalize(right.float(), dim=1).T
    return torch.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0)
