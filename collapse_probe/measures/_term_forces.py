"""What each term of a loss does to the embeddings, and to a correction or a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..journal.vocabulary import Role
from ._checks import ratio, wide, widened
from ._forces import pulls_and_pushes
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
    {'force/pull/share': 0.59, 'force/pull/radial': -0.71, 'force/shrink/share': 0.41, 'force/shrink/radial': -1.0}
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
    terms = [term for term, one in forces.items() if any(name in one for name in names)]
    if not terms:
        return {}
    stacked = {name: _stacked([forces[term].get(name) for term in terms]) for name in names}
    known = {name: one for name, one in stacked.items() if one is not None}
    flat = torch.cat([one.reshape(len(terms), -1) for one in known.values()], dim=1)
    norms = torch.linalg.vector_norm(flat, dim=1)
    found = {"share": ratio(norms, norms.sum().expand_as(norms)), "radial": _radial(sample, known, names, norms)}
    if whole:
        pairs = sample.pairs_with(known)
        if pairs is not None:
            query, document, force = pairs
            pulls, found["push"] = pulls_and_pushes(query, document, force, own=sample.own)
            found |= {"pull": pulls} if len(document) else {}
        total = _total(sample, known, flat)
        found["conflict"] = ratio(flat @ total, norms * torch.linalg.vector_norm(total))
    split = {name: values.unbind() for name, values in found.items()}
    return {f"force/{term}{at}/{name}": values[i] for i, term in enumerate(terms) for name, values in split.items()}


def _stacked(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Return the gradients of ``K`` terms in the widest type, 0 where a term has none; None where none has one."""
    some = next((one for one in gradients if one is not None), None)
    if some is None:
        return None
    return torch.stack([torch.zeros_like(some) if one is None else one for one in gradients]).to(wide(some.device))


def _radial(sample: Sample, gradients: Mapping[str, Tensor], names: Sequence[str], norms: Tensor) -> Tensor:
    """Return the cosines of the descents with the growth of log norms, of all names together."""
    along, lengths = [], []
    for name in names:
        z = widened(sample.streams[name].detach())
        z = z if z.ndim == 2 else z.reshape(1, -1)
        squares = z.square().sum(dim=1, keepdim=True)
        growth = z / squares.where(squares > 0, squares.new_ones(()))
        lengths.append(growth.square().sum())
        if name in gradients:
            along.append(-(gradients[name].reshape(len(norms), -1) @ growth.flatten()))
    return ratio(torch.stack(along).sum(dim=0), norms * torch.stack(lengths).sum().sqrt())


def _total(sample: Sample, known: Mapping[str, Tensor], flat: Tensor) -> Tensor:
    """Return the whole loss's gradient, flat; that of the terms together where it did not come everywhere."""
    if any(name not in sample.gradients for name in known):
        return flat.sum(dim=0)
    return torch.cat([widened(sample.gradients[name]).flatten() for name in known])
