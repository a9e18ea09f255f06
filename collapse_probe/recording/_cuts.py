"""Vectors' first columns, read as vectors of their own: what Matryoshka losses train."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor
from torch.nn.functional import normalize

from .. import measures
from ..journal.vocabulary import CUT, MEASURES, On, Role, at_dimension, split_dimension, split_reading
from ..measures import Sample
from ..measures._sample import PAIRS

_UNCUT = (Role.correction, Role.gate, Role.token)
"""Roles of what is no embedding."""


def cuts_of(sample: Sample, dimensions: Sequence[int]) -> list[Sample]:
    """Return a sample's embeddings by their first columns, of unit length as the losses take them.

    Args:
        sample: Its streams may be cut already: of these fewer columns are taken.
        dimensions: How many columns; what is no narrower than an embedding is left out.

    Returns:
        A sample for each dimension, with streams such as ``query@128``.
    """
    found = []
    for dimension in dimensions:
        streams = {
            at_dimension(split_dimension(name)[0], dimension): normalize(one[:, :dimension], dim=-1)
            for name, one in sample.streams.items()
            if one.ndim == 2 and one.shape[1] > dimension and sample.roles.get(name) not in _UNCUT
        }
        if streams:
            roles = {at_dimension(split_dimension(name)[0], dimension): role for name, role in sample.roles.items()}
            found.append(Sample(streams=streams, roles=roles, similarity=sample.similarity, own=sample.own))
    return found


def read_cut(cut: Sample, *, on: On, wanted: Collection[str] | None = None) -> dict[str, Tensor]:
    """Return the readings of embeddings' first columns, those of the pairs as ``pairs@128/mrr``.

    Args:
        cut: As :func:`cuts_of` returns one.
        on: ``batch`` or ``reference``.
        wanted: Names of readings; None for all that are read of a cut.
    """
    dimension = dimension_of(cut)
    names = {f"{stream}/{name}" for stream in (*cut.streams, PAIRS) for name in CUT if on in MEASURES[name].on}
    if wanted is not None:
        names = {name for name in names if _named(name, dimension) in wanted}
    values = measures.read(cut, on=on, wanted=names)
    return {_named(name, dimension): value for name, value in values.items()}


def dimension_of(sample: Sample) -> int | None:
    """Return the number of columns that a sample's streams are cut to; None for none."""
    return next((one for name in sample.streams if (one := split_dimension(name)[1]) is not None), None)


def _named(reading: str, dimension: int | None) -> str:
    of_pairs = dimension is not None and split_reading(reading)[0] == PAIRS
    return at_dimension(reading, dimension) if of_pairs else reading  # type: ignore[arg-type]
