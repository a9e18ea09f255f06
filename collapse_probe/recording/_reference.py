"""Reference pairs: fixed inputs through the model in evaluation mode, with everything put back afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ._distinct import row_keys
from ._handed import why_unread
from ._layout import ASSUMED, Order
from ._tap import Call, Take, output

PART = 128
"""Pairs that are read between the full readings."""

SHARE = 0.03
"""Largest share of the examples so far that may be read in between."""

FEWEST_APART = 32
"""Rows that a loss moves apart below which they are not read."""

AGAIN = 2
"""Pairs of a batch that stood in the first ones from which on an epoch is over: one may be there twice."""

_SMALL = 2**20
"""Bytes of a batch's inputs up to which they are looked at in every due step: some 2 ms (own choice)."""

REPLAYED_STEPS = 20
REPLAYED_PAIRS = 512
REPLAYED_BYTES = 64 * 2**20


Pairs = Callable[[], tuple[Tensor, Tensor]]
"""Gives queries ``[n, D]`` and their own documents ``[n, D]``, row by row, through the path that is scored."""


def check_pairs(found: Any) -> tuple[Tensor, Tensor]:
    """Return what a user's callable gave, as two matrices of own pairs.

    Raises:
        InputError: not two matrices of equal rows and columns.
    """
    if not (isinstance(found, list | tuple) and len(found) == 2):
        raise InputError(f"reference() gave a {type(found).__name__}, where (queries, documents) are needed")
    both = [torch.as_tensor(one).detach() for one in found]
    shapes = " and ".join(str(tuple(one.shape)) for one in both)
    if any(one.ndim != 2 for one in both) or both[0].shape != both[1].shape or len(both[0]) < 2:
        raise InputError(f"reference() gave {shapes}, where two matrices [n, D] of own pairs, row by row, are needed")
    return both[0], both[1]


class Budget:
    """Whether a part of the pairs may be read now: by counts, so that the same training gives the same journal.

    Args:
        every: Steps between two readings; None for as often as the share allows.
        batch: Nominal examples of a step, over all processes.
    """

    def __init__(self, *, every: int | None, batch: int | None) -> None:
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise InputError(f"reference_every={every!r}: a whole number of at least 1 is needed, or None")
        self._every = every
        self._batch = batch
        self._read = 0

    def batch_is(self, examples: int) -> None:
        """Note how many examples a step has, where it was not known."""
        self._batch = self._batch or examples

    def due(self, step: int) -> bool:
        """Return whether a part may be read after a step."""
        if self._every is not None:
            return step % self._every == 0
        return self._batch is not None and self._read + PART <= SHARE * self._batch * step

    def spend(self, pairs: int) -> None:
        """Note that pairs were read in between."""
        self._read += pairs


Weights = dict[str, dict[str, Tensor]]
"""Side to the weights of its module, by name."""


@dataclass
class _Kept:
    """The inputs of one query's and one document's call, and which rows of theirs are read.

    Attributes:
        query: The query's call.
        document: The document's call.
        rows: Rows of both.
        queries: The query's rows that are read; None for all.
        documents: The document's rows that are read; None for all.
        own: Each read query's own row among all read documents; None where they are counted row by row.
        pulled: Which rows the loss moved together, ``[n]``; None where that was not read.
    """

    query: Call
    document: Call
    rows: tuple[int, int]
    queries: Tensor | None = None
    documents: Tensor | None = None
    own: Tensor | None = None
    pulled: Tensor | None = None

    @property
    def size(self) -> int:
        return sum(_nbytes(call.args) + _nbytes(call.kwargs) for call in (self.query, self.document))

    @property
    def read(self) -> int:
        return self.rows[0] if self.queries is None else len(self.queries)


@dataclass
class Replay:
    """Reference pairs made of the first steps' own inputs: they are run through the same modules again.

    The weights of step 0 are kept until the pairs are complete, so that all of them are read at step 0, too.

    Attributes:
        query: The module of the queries.
        document: The module of the documents.
        complete: Whether no more pairs are kept.
        order: Of k documents a query, which are their own.
        in_parts: That a call may ask for a part of the pairs.
        graded: Whether only rows that the loss moves together are pairs.
        offered: Pairs that were kept at any time.
        again: Whether a later batch brought pairs of these: then it is no batch of new pairs.
        looks: Whether later batches are asked for pairs of these, which would be no new ones: until one has brought
            some, and not where to ask would take long, or wait for a device.
    """

    query: nn.Module
    document: nn.Module
    take_query: Take = output
    take_document: Take = output
    complete: bool = False
    order: Order = ASSUMED
    in_parts: bool = True
    graded: bool = False
    offered: int = 0
    again: bool = False
    looks: bool = True
    _known: dict[bytes, bytes] = field(default_factory=dict)
    _pairs: list[_Kept] = field(default_factory=list)
    _start: Weights | None = None

    def start_from(self, weights: StartWeights) -> None:
        """Take the weights of step 0, so that the pairs can be read by them once they are complete."""
        query, document = weights.of(self.query), weights.of(self.document)
        if query is not None and document is not None:
            self._start = {"query": query, "document": document}

    def keep(self, query: Call, document: Call, *, rows: tuple[int, int], pulled: Tensor | None = None) -> None:
        """Keep the inputs of a query's and a document's call, copied before, of so many rows."""
        if self.complete:
            return
        one = _Kept(query, document, rows, pulled=pulled)
        if sum(kept.size for kept in (*self._pairs, one)) > REPLAYED_BYTES:
            self.complete = True
            return
        self._pairs.append(one)
        self.offered += rows[0]
        self.complete = self.rows >= REPLAYED_PAIRS

    def leave_out_repeats(self) -> int:
        """Read every query once, and equal documents as one; waits for the device.

        A batch that is used several times brings the same pairs again, and each would stand beside its own equals.

        Returns:
            Pairs that were left out since this was last called.
        """
        before = self.rows
        queries: set[bytes] = set()
        documents: dict[bytes, int] = {}
        for one in self._pairs:
            self._read_once(one, queries, documents)
        self._pairs = [one for one in self._pairs if one.read]
        return before - self.rows

    def comes_again(self, query: Any, document: Any, *, rows: tuple[int, int]) -> bool:
        """Return whether pairs of a later batch are among these; False where unknown.

        Asked of small inputs on the host alone; at the first others it is asked no more.

        Args:
            query: The arguments of the queries' call.
            document: Those of the documents'.
            rows: Rows of both outputs.
        """
        if not self._known or not rows[0] or rows[1] % rows[0]:
            return False
        size = _host_bytes(query) + _host_bytes(document)
        if size > _SMALL:
            self.looks = False
            return False
        mine, theirs = row_keys(query, rows[0]), row_keys(document, rows[1])
        own = self.order.rows(*rows).tolist()
        again = {key for key, row in zip(mine, own, strict=True) if self._known.get(key) == theirs[row]}
        self.again = len(again) >= AGAIN
        self.looks = not self.again
        return self.again

    def _read_once(self, one: _Kept, queries: set[bytes], documents: dict[bytes, int]) -> None:
        mine, theirs = (
            row_keys((call.args, call.kwargs), rows)
            for call, rows in zip((one.query, one.document), one.rows, strict=True)
        )
        fresh = _first_rows(mine, queries)
        if self.graded:
            together = [False] * len(mine) if one.pulled is None else (one.pulled > 0).tolist()
            fresh = [row for row in fresh if together[row]]
        mine = [mine[row] for row in fresh]
        queries.update(mine)
        one.queries = torch.tensor(fresh, dtype=torch.long)
        if not fresh:
            return
        new = _first_rows(theirs, documents)
        documents.update({theirs[row]: len(documents) + place for place, row in enumerate(new)})
        own = self.order.rows(*one.rows).tolist()
        one.documents = torch.tensor(new, dtype=torch.long)
        one.own = torch.tensor([documents[theirs[own[row]]] for row in fresh], dtype=torch.long)
        self._known |= {key: theirs[own[row]] for key, row in zip(mine, fresh, strict=True)}

    @property
    def rows(self) -> int:
        """Pairs that are kept."""
        return sum(one.read for one in self._pairs)

    def __call__(self, most: int | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the pairs' embeddings by the weights of now, and each query's own row among the documents.

        Args:
            most: Pairs that are enough; all if None.
        """
        return self._run(None, most)

    def at_start(self) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Return the pairs' embeddings by the weights of step 0, once; None where they were too large to keep."""
        if self._start is None:
            return None
        start, self._start = self._start, None
        return self._run(start, None)

    def apart_at_start(self) -> tuple[Tensor, Tensor] | None:
        """Return both sides of the rows that the loss moves apart, ``[n, D]`` each, by the weights of step 0.

        None where no loss does so, or too few, and after :meth:`at_start`.
        """
        if self._start is None or not self.graded:
            return None
        sides: dict[str, list[Tensor]] = {"query": [], "document": []}
        for one in self._pairs:
            rows = None if one.pulled is None else (one.pulled < 0).nonzero()[:, 0].cpu()
            if rows is not None and len(rows):
                both = {"query": (one.query, self.take_query), "document": (one.document, self.take_document)}
                for side, (call, take) in both.items():
                    sides[side].append(_rows_of(self._forward(side, call, take, self._start), rows))
        if sum(map(len, sides["query"])) < FEWEST_APART:
            return None
        return torch.cat(sides["query"]), torch.cat(sides["document"])

    def _run(
        self, weights: dict[str, dict[str, Tensor]] | None, most: int | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        queries, documents, own, count = [], [], [], 0
        for one in self._pairs:
            query = self._forward("query", one.query, self.take_query, weights)
            document = self._forward("document", one.document, self.take_document, weights)
            queries.append(_rows_of(query, one.queries))
            documents.append(_rows_of(document, one.documents))
            own.append(count + self.order.rows(*one.rows) if one.own is None else one.own)
            count += len(documents[-1])
            if most is not None and sum(len(part) for part in queries) >= most:
                break
        widths = {part.shape[1] for part in (*queries, *documents)}
        if len(widths) > 1:
            raise InputError(f"embeddings of {' and '.join(map(str, sorted(widths)))} columns cannot be compared")
        whose = torch.cat(own)
        equal = torch.equal(whose, torch.arange(count))
        return torch.cat(queries), torch.cat(documents), None if equal else whose.to(queries[0].device)

    def _forward(self, side: str, kept: Call, take: Take, weights: Weights | None) -> Tensor:
        module, args, kwargs = kept.module, copied(kept.args), copied(dict(kept.kwargs))
        if weights is None:
            result = _again(module, kept.method)(*args, **kwargs)
        else:
            again = _Again(module, kept.method)
            prefixed = {f"module.{name}": value for name, value in weights[side].items()}
            # A weight that is tied has its own entry at each place; another for the same place would be put back last.
            result = torch.func.functional_call(again, prefixed, args, kwargs, tie_weights=False)
        taken = take(Call(module, args, kwargs, result, kept.method))
        if taken is None:
            raise InputError(f"the {side}'s module gave nothing in evaluation mode")
        why = why_unread(taken)
        if why is not None:
            raise InputError(f"the {side}'s embedding cannot be read in evaluation mode: {why}")
        return taken.detach()


def _host_bytes(given: Any) -> float:
    """Return the bytes of all tensors in a call's arguments; infinite where one lies on a device."""
    if isinstance(given, Tensor):
        return given.nbytes if given.device.type == "cpu" else math.inf
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else ()
    return sum(map(_host_bytes, parts))


def _first_rows(keys: Sequence[bytes], known: Container[bytes]) -> list[int]:
    """Return the first row of every key that is not known."""
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    return sorted(row for key, row in first.items() if key not in known)


def _rows_of(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None or len(rows) == len(tensor) else tensor.index_select(0, rows.to(tensor.device))


class _Again(nn.Module):
    """A module's method as a module of its own, so that it can be run with other weights."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module = module
        self.method = method

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return _again(self.module, self.method)(*args, **kwargs)


def _again(module: nn.Module, method: str) -> Callable[..., Any]:
    return module if method == "forward" else getattr(module, method)


class StartWeights:
    """The weights of step 0, copied where they take at most so many bytes; dropped once nobody needs them.

    Buffers are copied at once, since the first forward changes those of a batch norm; parameters by :meth:`take`, just
    before the first step, since somebody may load some before.

    Args:
        target: What they are of.
        most: Bytes.
    """

    def __init__(self, target: nn.Module, *, most: int = 512 * 2**20) -> None:
        state = {id(tensor): tensor for tensor in _state(target).values()}
        self._target = target
        self._fits = sum(_size(tensor) for tensor in state.values()) <= most
        self._copies: dict[int, Tensor] = {}
        self._copy(target.buffers())

    def take(self) -> None:
        """Copy the parameters."""
        self._copy(self._target.parameters())

    def _copy(self, tensors: Iterable[Tensor]) -> None:
        if self._fits:
            self._copies |= {id(tensor): tensor.detach().clone() for tensor in tensors}

    def of(self, module: nn.Module) -> dict[str, Tensor] | None:
        """Return the weights of a module by name; None where they were not kept."""
        state = _state(module)
        if any(id(tensor) not in self._copies for tensor in state.values()):
            return None
        return {name: self._copies[id(tensor)] for name, tensor in state.items()}


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers by name, those of a module that has several names by one of them."""
    own = ((f"{path}." if path else "", {**one._parameters, **one._buffers}) for path, one in module.named_modules())
    return {f"{path}{name}": one for path, held in own for name, one in held.items() if one is not None}


def copied(value: Any) -> Any:
    """Return a module's arguments with every tensor of theirs copied; other objects are kept as they are."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [copied(entry) for entry in value]
    if type(value) is tuple:
        return tuple(copied(entry) for entry in value)
    if hasattr(value, "items") and hasattr(value, "data"):
        return {key: copied(entry) for key, entry in value.items()}
    return value


def _nbytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return _size(value)
    if isinstance(value, dict):
        return sum(_nbytes(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return sum(_nbytes(entry) for entry in value)
    return 0


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
