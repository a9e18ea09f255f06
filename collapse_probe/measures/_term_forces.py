"""What each term of a loss does to the embeddings, and to a correction or a gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..journal.vocabulary import Role
from ._checks import ratio, widened
from ._forces import pull, push
from ._sample import Sample
from ._shared import sharing

_EMBEDDED = (Role.query, Role.document, Role.view, Role.class_, Role.left, Role.right)


def read_terms(
    sample: Sample,
    forces: Mapping[str, Mapping[str, Tensor]],
    *,
    added: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Tensor]:
    """Return the forces of the terms of a loss by reading name; waits for no device.

    ``force/TERM/pull``, ``push`` and ``radial`` are those of :func:`pull`, :func:`push` and :func:`radial` of the term
    alone, all embeddings together; ``share`` is the norm of its weighted gradient over the sum of the terms' norms, and
    ``conflict`` its cosine with the whole loss's gradient. ``force/TERM@STREAM/share`` and ``radial`` are the same at a
    correction or a gate.

    Args:
        sample: The streams; its gradients are the whole loss's. Where they are missing the terms' sum stands in.
        forces: Term to stream to the weighted gradient there.
        added: Correction or gate to its streams in the sample, one a call.

    Returns:
        Scalars on the streams' devices; what a term does not reach has no reading.

    >>> q, d = torch.eye(2), torch.eye(2).flip(0)
    >>> sample = Sample(streams={"q": q, "d": d}, roles={"q": Role.query, "d": Role.document})
    >>> found = read_terms(sample, {"pull": {"q": q - d, "d": d - q}, "shrink": {"q": q, "d": d}})
    >>> {name: round(value.item(), 2) for name, value in found.items() if name.endswith(("radial", "share"))}
    {'force/pull/radial': -0.71, 'force/pull/share': 0.59, 'force/shrink/radial': -1.0, 'force/shrink/share': 0.41}
    """
    sides = [*sample.of_role(*_EMBEDDED), *(["embedding"] if "embedding" in sample.streams else [])]
    with sharing():
        values = _at(sample, forces, list(dict.fromkeys(sides)), at="", whole=True)
        for stream, calls in (added or {}).items():
            values |= _at(sample, forces, calls, at=f"@{stream}", whole=False)
    return values


def _at(
    sample: Sample, forces: Mapping[str, Mapping[str, Tensor]], names: Sequence[str], *, at: str, whole: bool
) -> dict[str, Tensor]:
    """Return the forces of the terms at some streams together."""
    found = {term: {name: one[name] for name in names if name in one} for term, one in forces.items()}
    found = {term: one for term, one in found.items() if one}
    norms = {term: _norm(one.values()) for term, one in found.items()}
    total = torch.stack(list(norms.values())).sum() if norms else None
    values = {}
    for term, one in found.items():
        subject = f"force/{term}{at}"
        if whole:
            values |= {f"{subject}/{name}": value for name, value in _on_pairs(sample, one).items()}
        values[f"{subject}/radial"] = _radial(sample, one, names if whole else list(one))
        values[f"{subject}/share"] = ratio(norms[term], total)  # type: ignore[arg-type]
        if whole:
            values[f"{subject}/conflict"] = _conflict(sample, one, found)
    return values


def _on_pairs(sample: Sample, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = sample.pairs_with(gradients)
    if found is None:
        return {}
    query, document, force = found
    return {one.__name__: one(query, document, force, own=sample.own) for one in (pull, push)}


def _radial(sample: Sample, gradients: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Return the cosine of the descent with the growth of log norms, of all names together."""
    along, growths = [], []
    for name in names:
        z = _rows(sample.streams[name].detach())
        squares = z.square().sum(dim=1, keepdim=True)
        growth = z / squares.where(squares > 0, squares.new_ones(()))
        growths.append(growth)
        if name in gradients:
            along.append(-(_rows(gradients[name]) * growth).sum())
    return ratio(torch.stack(along).sum(), _norm(gradients.values()) * _norm(growths))


def _conflict(sample: Sample, mine: Mapping[str, Tensor], terms: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    known = {name: sample.gradients[name] for name in mine if name in sample.gradients}
    if len(known) < len(mine):
        known = {name: sum(one[name] for one in terms.values() if name in one) for name in mine}  # type: ignore[misc]
    products = [(widened(one) * widened(known[name])).sum() for name, one in mine.items()]
    return ratio(torch.stack(products).sum(), _norm(mine.values()) * _norm(known.values()))


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(widened(one)) for one in gradients]).square().sum().sqrt()


def _rows(one: Tensor) -> Tensor:
    """Return rows in the widest type: a gate, and what else is no matrix, is one row."""
    return widened(one if one.ndim == 2 else one.reshape(1, -1))
