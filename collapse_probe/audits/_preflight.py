"""What can be said of any loss, its pairs and its model before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..diagnosis import Audited, Diagnosis, NotMeasured, audit
from ..errors import InputError, unknown_name
from ..journal.vocabulary import Similarity
from . import _model, _pairs
from ._kept import kept
from ._loss import Asked, Loss, Unjudged
from ._solutions import RANKS, Pairs, solutions

_BATCHES = 8
"""Batches that a loss is read on."""

_SCALES = {"half": 0.5, "an eighth": 0.125, "double": 2.0}
_LARGEST = f"rank {RANKS[-1]}"

_SIMILARITIES = ("cosine", "dot", "euclidean")
_MARGINS = ("margin", "triplet_margin")
_UNIT = 1e-3
"""Difference of norms, as a share of their mean, up to which vectors are of unit length."""


def preflight(
    loss: Loss | nn.Module,
    queries: Tensor,
    documents: Tensor,
    *,
    model: nn.Module | None = None,
    similarity: Similarity = "cosine",
) -> Diagnosis:
    """Judge a loss, its pairs and its model before the first step; waits for the device, seconds.

    Nothing of the user's is changed: weights, buffers, gradients, modes and random states are put back bit for bit.
    The loss is called some dozens of times on up to eight batches of 64 pairs.

    Args:
        loss: From embeddings of queries and documents, ``[n, D]`` each with own pairs in equal rows, to a scalar or
            a mapping of terms that add up to the loss.
        queries: ``[n, ...]``, inputs of the model; without a model, embeddings ``[n, D]``.
        documents: The same of each query's own document.
        model: From inputs to embeddings ``[n, D]``; read in evaluation mode.
        similarity: How embeddings are scored: ``cosine``, ``dot`` or ``euclidean``.

    Returns:
        Findings as of runs, whose names are in ``collapse-probe list detectors``. What could not be judged, such as
        a loss that raises, is in ``not_measured``; nothing measured is never healthy.

    Raises:
        InputError: queries and documents are no tensors of as many rows, or the model gives no embeddings of them.

    >>> pull = lambda q, d: (q - d).square().mean()
    >>> pairs = torch.randn(2, 64, 16, generator=torch.Generator().manual_seed(0))
    >>> found = preflight(pull, pairs[0], pairs[0] + 0.1 * pairs[1])
    >>> found.status.value, found.kinds[0].kind, found.causes[0].cause
    ('warning', 'degenerate_solution', 'no_repulsion')
    """
    _check(loss, queries, documents, model, similarity)
    modes = {} if model is None else {one: one.training for one in model.modules()}
    found = _Found(rows=len(queries))
    with kept(model, loss if isinstance(loss, nn.Module) else None):
        queries, documents = (_shuffled(side.detach().clone()) for side in (queries, documents))
        sides = (queries, documents)
        if model is not None:
            sides = (_model.embed(model, queries), _model.embed(model, documents))
        found.read_vectors(*_floating(*sides), similarity=similarity)
        if found.finite:
            _read_loss(found, loss, unit_length=model is not None and found.unit_length)
        if model is not None:
            _read_model(found, loss, model, queries, documents, modes)
        else:
            found.not_asked.append("model/")
    return audit(found.audited(similarity=similarity))


class _Found:
    """What was read so far.

    Args:
        rows: Pairs given.

    Attributes:
        finite: Whether the embeddings are, and differ.
        unit_length: Whether they have unit length.
        batches: What the loss is read on.
    """

    def __init__(self, *, rows: int) -> None:
        self.readings: dict[str, float] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self.missing: list[NotMeasured] = []
        self.not_asked: list[str] = []
        self.rows, self.dimension = rows, 0
        self.finite = self.unit_length = False
        self.batches: list[Pairs] = []

    def read_vectors(self, query: Tensor, document: Tensor, *, similarity: Similarity) -> None:
        """Read the pairs, and cut them into batches."""
        self.dimension = query.shape[1]
        bad = int((~torch.isfinite(torch.cat([query, document])).all(dim=1)).sum())
        if bad:
            self.lack("embeddings", f"{bad:,} of {2 * len(query):,} rows are not finite", essential=True)
            return
        same = [bool((side == side[:1]).all()) for side in (query, document)]
        if all(same) and len(query) > 1:
            self.lack("pairs", f"all {len(query):,} queries are equal, and all documents are", essential=True)
            return
        self.finite = True
        self.readings |= _pairs.of_rows(query, document)
        self.unit_length = self.readings["norm/spread"] < _UNIT and abs(self.readings["norm"] - 1) < _UNIT
        if len(query) < _pairs.FEWEST:
            self.lack("pairs", f"{len(query):,} pairs: {_pairs.FEWEST} are needed to tell separation from chance")
        else:
            self.readings |= _pairs.of_pairs(query, document, similarity=similarity)
        size = min(_pairs.BATCH, len(query))
        count = min(_BATCHES, len(query) // size)
        self.batches = [
            (query[at * size : (at + 1) * size], document[at * size : (at + 1) * size]) for at in range(count)
        ]

    def lack(self, what: str, why: str, *, essential: bool = False) -> None:
        """Add something that was not measured."""
        self.missing.append(NotMeasured(what=what, why=why, essential=essential))

    def audited(self, *, similarity: Similarity) -> Audited:
        """Return what the detectors judge."""
        return Audited(
            readings=self.readings,
            names=self.names,
            missing=tuple(self.missing),
            not_asked=tuple(self.not_asked),
            n=self.rows,
            dimension=self.dimension,
            similarity=similarity,
        )


def _read_loss(found: _Found, loss: Loss, *, unit_length: bool) -> None:
    """Read a loss as it is, at other scales and at solutions that retrieve nothing, and its forces."""
    asked = Asked(loss)
    if len(found.batches[0][0]) < 2:
        found.lack("loss", "1 pair: nothing can be told from a batch of one", essential=True)
        return
    try:
        found.readings["loss/raw"] = asked.value(found.batches)
    except Unjudged as error:
        found.lack("loss", str(error), essential=True)
        return
    size = len(found.batches[0][0])
    others: dict[str, list[Pairs]] = {
        name: pairs
        for name, pairs in solutions(found.batches, unit_length=unit_length)
        if name != "constant along all-ones" and (name != _LARGEST or min(2 * size, found.dimension) > 2 * RANKS[-1])
    }
    others["own pairs equal"] = [(document, document) for _, document in found.batches]
    for name, factor in _SCALES.items() if not unit_length else ():
        others[name] = [(factor * query, factor * document) for query, document in found.batches]
    found.not_asked += [f"loss/{name}" for name in _SCALES] if unit_length else []
    for name, pairs in others.items():
        try:
            found.readings[f"loss/{name}"] = asked.value(pairs)
        except Unjudged as error:
            found.lack(f"loss at {name}", str(error))
    _read_chance(found, loss, size)
    try:
        forces = asked.forces(found.batches)
    except (Unjudged, RuntimeError) as error:
        found.lack("forces", str(error).splitlines()[0])
        return
    for term, values in forces.items():
        found.readings |= {f"forces/{term}/{name}": value for name, value in values.items()}
    found.names["terms"] = tuple(forces)
    found.names["without gradient"] = tuple(name for name, one in forces.items() if not one["depends"])


def _read_chance(found: _Found, loss: Any, size: int) -> None:
    """Read the loss's value by chance: where all texts are one vector, a softmax has log n and a triplet its margin."""
    constant = found.readings.get("loss/constant")
    levels = {f"log {size}": _pairs.chance(size)}
    for name in _MARGINS:
        value = getattr(loss, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            levels["the margin"] = float(value)
    for name, value in levels.items():
        if constant is not None and math.isclose(constant, value, rel_tol=1e-3):
            found.readings["loss/chance"] = value
            found.names["chance"] = (name,)
    if constant is not None and "loss/chance" not in found.readings:
        found.not_asked.append("loss/chance")


def _read_model(
    found: _Found, loss: Loss, model: nn.Module, queries: Tensor, documents: Tensor, modes: Mapping[nn.Module, bool]
) -> None:
    steady = _model.steady(model, queries, modes=modes)
    found.readings |= {"model/alone": steady.alone, "model/twice": steady.twice}
    found.names["training"] = steady.training
    if "loss/raw" not in found.readings:
        return
    size = min(_pairs.BATCH, len(queries))
    try:
        reached = _model.reached(model, Asked(loss), queries[:size], documents[:size])
    except (Unjudged, RuntimeError) as error:
        found.lack("parameters without gradient", str(error).splitlines()[0])
        return
    found.readings["model/parameters"] = float(reached.trained)
    found.readings["model/left_out"] = float(len(reached.left_out))
    found.names["left out"] = reached.left_out


def _check(loss: Any, queries: Any, documents: Any, model: Any, similarity: Any) -> None:
    if not callable(loss):
        raise InputError(f"loss is a {type(loss).__name__}: a function or module of (queries, documents) is needed")
    if model is not None and not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}: a torch module is needed")
    if similarity not in _SIMILARITIES:
        raise unknown_name("similarity", str(similarity), _SIMILARITIES)
    for name, side in (("queries", queries), ("documents", documents)):
        if not isinstance(side, Tensor):
            raise InputError(f"{name} is a {type(side).__name__}: a tensor [n, D] is needed, one text a row")
        if side.ndim < 2 or not side.numel():
            raise InputError(f"{name} has the shape {tuple(side.shape)}: [n, D] is needed, one text a row")
        if model is None and (side.ndim != 2 or not side.is_floating_point()):
            raise InputError(
                f"{name} is {tuple(side.shape)} of {side.dtype}: embeddings [n, D] are needed, or give the model"
            )
    if len(queries) != len(documents):
        raise InputError(f"{len(queries):,} queries and {len(documents):,} documents: own pairs are in equal rows")
    if model is None and queries.shape[1] != documents.shape[1]:
        raise InputError(
            f"queries have {queries.shape[1]} dimensions and documents {documents.shape[1]}: equal ones are needed"
        )


def _shuffled(side: Tensor) -> Tensor:
    """Return rows in another order, the same for both sides: neighbours in a file are often alike."""
    order = torch.randperm(len(side), generator=torch.Generator().manual_seed(0))
    return side[order.to(side.device)][: max(_pairs.MOST, _BATCHES * _pairs.BATCH)]


def _floating(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
    if query.shape[1] != document.shape[1]:
        raise InputError(f"model gave {query.shape[1]} dimensions for queries and {document.shape[1]} for documents")
    wide = query if query.dtype.itemsize >= 4 else query.float()
    return wide, document.to(wide.dtype)
