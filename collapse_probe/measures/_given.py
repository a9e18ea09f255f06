"""The arguments that a sample has for measures, each made once and shared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..journal.vocabulary import Measure, Role, Similarity
from ._checks import at_least_float32
from ._neighbours import Neighbours, neighbours
from ._rows import own_documents
from ._scores import Scores, compare
from ._spectrum import scatter, spectrum


class Given:
    """What a sample gives to measures: covariances, spectra and scores are computed once and kept.

    Args:
        streams: As :class:`Sample` has them, and the rest.
        roles: Roles by stream.
        similarity: How queries are scored.
        own: Each query's own document.
        gradients: Of the loss at streams.
        earlier: Who was near whom under the raw encoder, of the same texts.
    """

    def __init__(
        self,
        streams: Mapping[str, Tensor],
        roles: Mapping[str, Role],
        similarity: Similarity,
        own: Tensor | None,
        gradients: Mapping[str, Tensor],
        earlier: Neighbours | None,
    ) -> None:
        # Not the sample itself, which keeps this: tensors in a circle are freed late.
        self._streams, self._roles, self._similarity, self._own = streams, roles, similarity, own
        self._gradients, self._earlier = gradients, earlier
        self._made: dict[tuple[str, str], Any] = {}

    def arguments(self, stream: str, measure: Measure, options: Collection[str]) -> dict[str, Any] | None:
        """Return a measure's arguments by name, or None where the sample has not all that it needs."""
        makers = self._of_pairs if measure.subject == "pairs" else self._of_stream
        if "force" in measure.needs:
            stream, makers = "force", self._of_forces
            if measure.name == "pull" and not self._forced[1]:
                return None
        needed: dict[str, Any] = {}
        for need in measure.needs:
            value = self._once(stream, need, makers)
            if value is None:
                return None
            needed[need] = value
        if measure.subject == "correction" and len({value.shape for value in needed.values()}) > 1:
            return None
        for name in options:
            if name in self._options:
                needed[name] = self._once(stream, name, self._options)
        return needed

    def of_role(self, *roles: Role) -> list[str]:
        """Return the streams of some roles, in order."""
        return [name for name in self._streams if self._roles.get(name, Role.hidden) in roles]

    def spectrum(self, stream: str) -> Tensor | None:
        """Return the singular values of a stream, None where it is not ``[N, D]``."""
        return self._once(stream, "spectrum", self._of_stream)

    def scores(self) -> Scores | None:
        """Return how own documents score, None where there are no pairs."""
        return self._once("pairs", "scores", self._options)

    def _once(self, stream: str, name: str, makers: dict[str, Callable[[Given, str], Any]]) -> Any:
        key = (stream, name)
        if key not in self._made:
            self._made[key] = makers[name](self, stream)
        return self._made[key]

    def _vectors(self, stream: str) -> Tensor | None:
        z = self._streams[stream]
        fits = z.ndim == 2 and z.numel() > 0 and not z.is_complex()
        return at_least_float32(z.detach()) if fits else None

    def _z(self, stream: str) -> Tensor | None:
        return self._once(stream, "z", self._of_stream)

    def _covariance(self, stream: str) -> Tensor | None:
        z = self._z(stream)
        return None if z is None else scatter(z)

    def _spectrum(self, stream: str) -> Tensor | None:
        covariance, z = self._once(stream, "covariance", self._of_stream), self._z(stream)
        return None if covariance is None or z is None else spectrum(covariance, n=len(z))

    def _sides(self) -> tuple[Tensor, Tensor] | None:
        """Return the queries and all documents, None where they are not of one width or have no own documents.

        Where there are neither, two views are each other's own, row by row.
        """
        queries, documents, views = (self.of_role(role) for role in (Role.query, Role.document, Role.view))
        if not queries and not documents and len(views) == 2 and self._own is None:
            sides = self._joined(views[:1], views[1:])
            return sides if sides is not None and len(sides[0]) == len(sides[1]) else None
        return self._joined(queries[:1], documents)

    def _joined(self, one: Sequence[str], other: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        found = [z for name in (*one, *other) if (z := self._z(name)) is not None]
        if len(found) < len(one) + len(other) or not one or not other:
            return None
        if len({z.shape[1] for z in found}) > 1 or len({z.device for z in found}) > 1:
            return None
        query, document = found[0], found[1] if len(found) == 2 else torch.cat(found[1:])
        own = self._own
        fits = len(query) <= len(document) if own is None else own.shape == (len(query),)
        return (query, document) if fits else None

    @cached_property
    def _forced(self) -> tuple[list[str], list[str]]:
        """The streams that forces are read at: queries and documents, else the two sides of labelled pairs, or views.

        Else one stream alone, whose rows have no own ones.
        """
        for role, other in ((Role.query, Role.document), (Role.left, Role.right)):
            sides = self.of_role(role)[:1], self.of_role(other)
            if sides[0] or sides[1]:
                return sides if all(sides) else ([], [])
        views = self.of_role(Role.view)
        if len(views) == 2 and self._joined(views[:1], views[1:]) is not None:
            return views[:1], views[1:]
        return [*views, *(["embedding"] if "embedding" in self._streams else [])][:1], []

    def _force_sides(self) -> tuple[Tensor, Tensor] | None:
        """Return what forces are read at; of one stream alone no rows stand on the other side."""
        one, other = self._forced
        if other or not one:
            return self._joined(one, other)
        z = self._z(one[0])
        return None if z is None else (z, z[:0])

    def _query(self, stream: str) -> Tensor | None:
        sides = self._once("", "sides", {"sides": lambda given, _: given._sides()})
        return None if sides is None else sides[0]

    def _document(self, stream: str) -> Tensor | None:
        sides = self._once("", "sides", {"sides": lambda given, _: given._sides()})
        return None if sides is None else sides[1]

    def _own_document(self, stream: str) -> Tensor | None:
        query, document = self._query(stream), self._document(stream)
        return None if query is None or document is None else own_documents(query, document, self._own)

    def _only_query(self, stream: str) -> Tensor | None:
        """Return the queries that a correction is added to, also where there is no document."""
        names = self.of_role(Role.query)
        return self._z(names[0]) if names else None

    def _applied(self, stream: str) -> Tensor | None:
        """Return the gate times the correction; which of several gates scales it is not known."""
        correction, gates = self._z(stream), self.of_role(Role.gate)
        if correction is None or not gates:
            return correction
        gate = at_least_float32(self._streams[gates[0]].detach()).squeeze()
        if gate.ndim == 1 and len(gate) == len(correction) != correction.shape[1]:
            gate = gate[:, None]
        fits = len(gates) == 1 and gate.shape in _gate_shapes(correction)
        return gate * correction if fits else None

    def _scores(self, stream: str) -> Scores | None:
        query, document = self._query(stream), self._document(stream)
        if query is None or document is None:
            return None
        return compare(query, document, similarity=self._similarity, own=self._own)

    def _negative(self, stream: str) -> Tensor | None:
        """Return the rows of queries' first negatives, ``[C, Q]``, in every order of k - 1 of them; None where k is 1.

        Waits for no device.
        """
        query, document = self._query(stream), self._document(stream)
        if query is None or document is None or len(document) % len(query) or len(document) == len(query):
            return None
        rows, k = len(query), len(document) // len(query)
        own = torch.arange(rows, device=document.device) if self._own is None else self._own
        others = torch.ones(len(document), device=document.device).index_fill(0, own, 0.0)
        rest = others.argsort(descending=True, stable=True)[: len(document) - rows]
        return torch.stack([rest.reshape(rows, k - 1)[:, 0], rest[:rows]][: min(2, k - 1)])

    def neighbours(self) -> Neighbours | None:
        """Return who is near whom, None where there are no pairs, or too few."""
        return self._once("pairs", "neighbours", self._of_pairs)

    def _neighbours(self, stream: str) -> Neighbours | None:
        query, document = self._query(stream), self._document(stream)
        if query is None or document is None:
            return None
        distinct = None if self._earlier is None else self._earlier.distinct
        return neighbours(query, document, similarity=self._similarity, distinct=distinct)

    def _gradient(self, stream: str) -> Tensor | None:
        return self._fitting(stream, self._gradients)

    def _fitting(self, stream: str, gradients: Mapping[str, Tensor]) -> Tensor | None:
        found, z = gradients.get(stream), self._z(stream)
        fits = found is not None and z is not None and found.shape[-2:] == z.shape
        return at_least_float32(found) if fits and found is not None else None

    def _force(self, stream: str) -> tuple[Tensor, Tensor] | None:
        """Return the gradients at the queries and at all documents; None where neither has any."""
        found = self.pairs_with(self._gradients)
        return None if found is None else found[2]

    def pairs_with(self, gradients: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]] | None:
        """Return queries, all documents, and gradients at both; None where neither has any.

        Args:
            gradients: ``[N, D]`` each, or ``[K, N, D]`` of several forces.
        """
        between = self._once("force", "between", self._of_forces)
        if between is None:
            return None
        names = self._forced
        sides = [[self._fitting(name, gradients) for name in side] for side in names]
        if not any(one is not None for side in sides for one in side):
            return None
        lead = next(one.shape[:-2] for side in sides for one in side if one is not None)
        rows = between[1].expand(*lead, *between[1].shape)
        whole = []
        for named, found in zip(names, sides, strict=True):
            parts = [self._still(name, lead) if one is None else one for name, one in zip(named, found, strict=True)]
            # One alone is handed on as it is: what other measures made of it is shared.
            whole.append(rows if not parts else parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2))
        return *between, (whole[0], whole[1])

    def _still(self, stream: str, lead: Sequence[int]) -> Tensor:
        """Return no gradient at a stream, of as many forces as others have."""
        z = self._z(stream)
        assert z is not None
        return z.mul(0.0).expand(*lead, *z.shape)

    def _rows(self, stream: str) -> int | None:
        z = self._z(stream)
        return None if z is None else len(z)

    def _dimension(self, stream: str) -> int | None:
        z = self._z(stream)
        return None if z is None else z.shape[1]

    def _gate(self, stream: str) -> Tensor | None:
        gate = self._streams[stream].detach()
        return gate if gate.numel() else None

    _of_stream: dict[str, Callable[[Given, str], Any]] = {
        "values": lambda given, stream: given._streams[stream].detach(),
        "z": _vectors,
        "covariance": _covariance,
        "spectrum": _spectrum,
        "gate": _gate,
        "correction": _z,
        "applied": _applied,
        "query": _only_query,
        "document": _own_document,
        "gradient": _gradient,
    }
    _of_pairs: dict[str, Callable[[Given, str], Any]] = {
        "query": _query,
        "document": _document,
        "negative": _negative,
        "neighbours": _neighbours,
        "earlier": lambda given, _: given._earlier,
    }
    _of_forces: dict[str, Callable[[Given, str], Any]] = {
        "between": lambda given, _: given._force_sides(),
        "query": lambda given, stream: _side(given._once(stream, "between", given._of_forces), 0),
        "document": lambda given, stream: _side(given._once(stream, "between", given._of_forces), 1),
        "force": _force,
    }
    _options: dict[str, Callable[[Given, str], Any]] = {
        "n": _rows,
        "dimension": _dimension,
        "similarity": lambda given, _: given._similarity,
        "own": lambda given, _: given._own,
        "scores": _scores,
    }


def _side(both: tuple[Tensor, Tensor] | None, number: int) -> Tensor | None:
    return None if both is None else both[number]


def _gate_shapes(correction: Tensor) -> tuple[tuple[int, ...], ...]:
    n, dimension = correction.shape
    return (), (dimension,), (n, 1), (n, dimension)
