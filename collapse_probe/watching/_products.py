"""Products of two sides' vectors, heard at their operands: matrix products, cosines, distances and sums of products."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from ._classes import labels_of, operands_of, rows_of_labels
from ._graph import behind

Rows = Callable[[Tensor], Tensor]
"""Makes ``[n, D]`` of an operand, or of its gradient."""

_SYMBOLS = {"__matmul__": "@", "__rmatmul__": "@"}
_MATRICES = {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm"}
_MULTIPLIES = {"mul", "__mul__", "__rmul__", "multiply"}
_SUBTRACTS = {"sub", "__sub__", "subtract"}
_ALONG = {"pow", "__pow__", "square", "abs"}
"""What a difference goes through before it is added up."""

_REGRESS = {"mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss"}
"""Distances to a target, such as a teacher's vectors, over all entries."""

_TARGET = 16
"""Columns below which what is summed up whole is rather a regression on some numbers (own choice)."""

_ON_SCORES = {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
_ON_SCORES |= {"multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss"}
"""Losses whose first argument is scores, of documents or of classes."""

_ON_LABELS = {"cross_entropy", "nll_loss"}
"""Those of which labels name a column of the scores."""

_SUMS = {"sum", "mean", "norm", "vector_norm", "linalg_norm", "linalg_vector_norm"}
_NODES = 16
"""Operations of the graph in which an operand is told from a weight."""


@dataclass(frozen=True)
class Operand:
    """One side of a product.

    Attributes:
        tensor: What stands in the graph.
        rows: Makes its vectors of it, ``[n, D]``.
    """

    tensor: Tensor
    rows: Rows

    @property
    def vectors(self) -> Tensor:
        """Its vectors, ``[n, D]``."""
        return self.rows(self.tensor.detach())


@dataclass(frozen=True)
class Site:
    """Where a product stands in the program."""

    code: CodeType
    line: int
    name: str

    def __str__(self) -> str:
        return f"{_SYMBOLS.get(self.name, self.name)} in line {self.line} of {Path(self.code.co_filename).name}"


@dataclass
class Product:
    """A product of vectors of two sides.

    Attributes:
        query: The left operand, unless the other one alone has a single vector for several.
        document: The other one.
        pairwise: Whether row i meets row i alone.
        distance: Whether less is more similar.
        site: Where it stands.
        output: What it gave.
        classes: Whether the documents are classes, rows of a weight that labels name.
        gradient: The loss's gradient at what it gave, once it came.
    """

    query: Operand
    document: Operand
    pairwise: bool
    distance: bool
    site: Site
    output: Tensor
    classes: bool = False
    gradient: list[Tensor] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether it gave one number for all rows."""
        return self.output.ndim == 0 and len(self.query.vectors) > 1

    @property
    def of_itself(self) -> bool:
        """Whether both sides are the same vectors."""
        one, other = self.query.vectors, self.document.vectors
        return one.shape == other.shape and one.data_ptr() == other.data_ptr() and one.stride() == other.stride()


_Found = tuple[Operand, Operand, bool]


def _as_rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _as_columns(tensor: Tensor) -> Tensor:
    return tensor.transpose(-1, -2).reshape(-1, tensor.shape[-2])


def are_vectors(*given: Any) -> bool:
    """Return whether all are dense matrices of floats, or stacks of them, and no weights."""
    return all(
        isinstance(one, Tensor)
        and one.ndim in (2, 3)
        and one.is_floating_point()
        and one.layout is torch.strided
        and one.numel() > 0
        and not _is_weight(one)
        for one in given
    )


def _is_weight(tensor: Tensor) -> bool:
    """Return whether this is a parameter, or one that was turned or scaled: nothing was looked up in it."""
    base = tensor if tensor._base is None else tensor._base
    if isinstance(base, nn.Parameter) and (base is tensor or base.numel() == tensor.numel()):
        return True
    leaves = 0
    for seen, node in enumerate(behind(tensor.grad_fn), start=1):
        leaf = getattr(node, "variable", None)
        leaves += leaf is not None
        changes = any(part in node.name().lower() for part in ("index", "embedding", "gather", "select", "mm"))
        if seen > _NODES or changes or (leaf is not None and not isinstance(leaf, nn.Parameter)):
            return False
    return leaves > 0


def _by_matrices(left: Any, right: Any) -> _Found | None:
    """Of rows with rows: what is summed over lies side by side in both, as in no weight and no pooling."""
    if not are_vectors(left, right) or left.ndim != right.ndim or left.shape[-1] < 2:
        return None
    if left.shape[-1] != right.shape[-2] or left.stride(-1) != 1 or right.stride(-2) != 1:
        return None
    one, other = Operand(left, _as_rows), Operand(right, _as_columns)
    if left.ndim == 2:
        return one, other, False
    if left.shape[-2] == 1:
        return one, other, right.shape[-1] == 1
    return (other, one, False) if right.shape[-1] == 1 else None


def _by_einsum(equation: Any, *given: Any) -> _Found | None:
    tensors = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    if not isinstance(equation, str) or len(tensors) != 2 or not are_vectors(*tensors):
        return None
    inputs, _, out = equation.replace(" ", "").partition("->")
    left, _, right = inputs.partition(",")
    summed = [label for label in left if label in right and label not in out]
    if not out or "." in inputs or len(summed) != 1 or not left.endswith(summed[0]) or not right.endswith(summed[0]):
        return None
    if set(left) | set(right) != {*out, *summed} or any(len(one) != len(set(one)) for one in (left, right)):
        return None
    return _paired(*tensors, left[:-1], right[:-1])


def _paired(left: Tensor, right: Tensor, of_left: str, of_right: str) -> _Found | None:
    """Return two sides by the labels of their rows: ``i, j`` all with all, ``i, i`` row by row, ``i, ik`` groups."""
    one, other = Operand(left, _as_rows), Operand(right, _as_rows)
    if left.shape[-1] != right.shape[-1] or left.shape[-1] < 2:
        return None
    if of_left == of_right:
        return (one, other, True) if len(of_left) == 1 else None
    if len(of_left) == 1 and len(of_right) == 1:
        return one, other, False
    if len(of_left) == 1 and of_right[0] == of_left:
        return one, other, False
    return (other, one, False) if len(of_right) == 1 and of_left[0] == of_right else None


def _by_rows(left: Any, right: Any) -> _Found | None:
    """Of rows that meet by broadcasting, the last dimension being that of the vectors."""
    if not are_vectors(left, right) or left.ndim != right.ndim or left.shape[-1] != right.shape[-1]:
        return None
    if left.ndim == 2:
        return _paired(left, right, "i", "i") if left.shape == right.shape else None
    shapes = left.shape[:2], right.shape[:2]
    if all(1 in shape for shape in shapes) and shapes[0][0] != shapes[1][0]:
        queries = left if shapes[0][1] == 1 else right
        return _paired(queries, right if queries is left else left, "i", "j")
    if shapes[0][0] == shapes[1][0] and 1 in (shapes[0][1], shapes[1][1]):
        return _paired(left, right, *("i" if shape[1] == 1 else "ik" for shape in shapes))
    return None


def _by_labels(scores: Tensor, labels: Tensor, left_out: int, *, waits: bool) -> _Found | None:
    """Of vectors with the classes that their labels name: rows of a weight, that stands in no call of its own."""
    made = operands_of(scores, len(labels))
    if made is None:
        return None
    vectors, across, classes, down = made
    if _is_weight(vectors) or not _is_weight(classes) or not vectors.requires_grad or vectors.is_complex():
        return None
    at = rows_of_labels(labels.detach(), left_out, waits=waits)
    if at is None:
        return None
    own = labels.detach()[at].clamp(min=0)

    def rows(tensor: Tensor) -> Tensor:
        return (tensor.T if across else tensor).index_select(0, at)

    def named(tensor: Tensor) -> Tensor:
        return (tensor.T if down else tensor).index_select(0, own)

    return Operand(vectors, rows), Operand(classes, named), False


@dataclass(frozen=True)
class _Elementwise:
    """A product or difference of vectors' entries that may still be added up."""

    result: weakref.ref[Tensor]
    found: _Found
    distance: bool


class Listener:
    """Takes products from the calls of torch's functions.

    Args:
        keep: Called with every product.
        sites: Where products are looked for; None for everywhere.
        scores: Called with what a loss of scores is given.
    """

    def __init__(
        self,
        keep: Callable[[Product], None],
        sites: Sequence[Site] | None = None,
        *,
        scores: Callable[[Tensor], None] = lambda tensor: None,
    ) -> None:
        self._keep = keep
        self._scores = scores
        self._sites = None if sites is None else frozenset(sites)
        self._entries: dict[int, _Elementwise] = {}

    def forget(self) -> None:
        """Forget what was multiplied so far."""
        self._entries.clear()

    def hear(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Hear a call of a function of torch."""
        if not isinstance(out, Tensor):
            return
        if name in _ON_SCORES:
            self._scored(name, args, kwargs)
        elif not args:
            return
        elif name in _MULTIPLIES or name in _SUBTRACTS:
            self._multiplied(args, out, distance=name in _SUBTRACTS)
        elif name in _ALONG:
            before = self._of(args[0])
            if before is not None and before.distance:
                self._entries[id(out)] = _Elementwise(weakref.ref(out), before.found, True)
        elif name in _SUMS:
            before = self._of(args[0])
            whole = before is not None and before.distance and out.ndim == 0 and args[0].shape[-1] >= _TARGET
            along = args[0].shape[:-1]
            if before is not None and (whole or out.shape in (along, (*along, 1))):
                self._note(name, before.found, out, distance=before.distance)
        elif (found := _product(name, args, kwargs)) is not None:
            self._note(name, found, out, distance=name in ("cdist", "pairwise_distance", *_REGRESS))

    def _scored(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        scores = args[0] if args else kwargs.get("input")
        if not isinstance(scores, Tensor):
            return
        with suppress(RuntimeError):  # of batched tensors, such as vmap's, no value and no place can be read
            self._hear_scores(name, scores, args, kwargs)

    def _hear_scores(self, name: str, scores: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._scores(scores)
        given = labels_of(args, kwargs) if name in _ON_LABELS and self._hears(_site(name)) else None
        # Whoever looks for sides may wait, and so may whoever reads a CPU.
        waits = self._sites is None or scores.device.type == "cpu"
        found = None if given is None else _by_labels(scores, *given, waits=waits)
        if found is not None:
            self._note(name, found, scores, distance=False, classes=True)

    def _hears(self, site: Site | None) -> bool:
        return site is not None and (self._sites is None or site in self._sites)

    def _of(self, tensor: Any) -> _Elementwise | None:
        known = self._entries.get(id(tensor))
        return known if known is not None and known.result() is tensor else None

    def _multiplied(self, args: Sequence[Any], out: Tensor, *, distance: bool) -> None:
        if len(args) == 2 and isinstance(args[1], Tensor) and (found := _by_rows(*args)) is not None:
            self._entries[id(out)] = _Elementwise(weakref.ref(out), found, distance)

    def _note(self, name: str, found: _Found, out: Tensor, *, distance: bool, classes: bool = False) -> None:
        site = _site(name)
        if site is not None and self._hears(site):
            self._keep(Product(*found, distance, site, out, classes))


def _product(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Found | None:
    if name in _MATRICES and len(args) == 2:
        return _by_matrices(*(args if name != "__rmatmul__" else args[::-1]))
    if name == "einsum":
        return _by_einsum(*args)
    if name == "cdist" and are_vectors(*args[:2]) and args[0].ndim == args[1].ndim == 2:
        return _paired(args[0], args[1], "i", "j")
    if name == "linear" and len(args) == 2 and are_vectors(*args) and args[0].ndim == args[1].ndim == 2:
        return _paired(args[0], args[1], "i", "j")
    if name in _REGRESS and len(args) >= 2 and are_vectors(args[0]) and args[0].shape[-1] >= _TARGET:
        return _by_rows(*args[:2])
    if name == "pairwise_distance" and len(args) >= 2:
        return _by_rows(*args[:2])
    if name == "cosine_similarity" and len(args) >= 2 and isinstance(args[0], Tensor):
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 1)
        return _by_rows(*args[:2]) if dim in (-1, args[0].ndim - 1) else None
    return None


def _site(name: str) -> Site | None:
    """Return where a function of torch is called, outside of torch and of us."""
    frame = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package not in ("torch", __name__.partition(".")[0]):
            return Site(frame.f_code, frame.f_lineno, name)
        frame = frame.f_back  # type: ignore[assignment]
    return None
