"""A step's streams with their roles, and every measure that they allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from torch import Tensor

from ..errors import InputError, unknown_name
from ..journal.vocabulary import MEASURES, Measure, On, Role, Similarity, reading_name, split_reading
from ._functions import FUNCTIONS, OPTIONS
from ._given import Given
from ._neighbours import Neighbours
from ._scores import Scores
from ._shared import sharing

PAIRS = "pairs"
"""The stream that readings of queries with documents belong to."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The streams of one step, or of the reference pairs.

    Roles are by stream: several streams may be documents (hard negatives), which a name for each role could not say.
    The documents of all streams are scored together, in the order of ``streams``. What measures share, such as
    covariances, is computed once and kept with the sample.

    Attributes:
        streams: Tensors by name; vectors are ``[N, D]``, what is not has no readings but its share of finite entries.
        roles: Each stream's role; a stream without one is ``hidden``.
        similarity: How queries are scored against documents.
        own: ``[Q]``, integers: each query's own row among all documents; None: query i's is row i.
        gradients: Of the loss at streams, ``[N, D]`` each, where a backward came through them.
        earlier: Who was near whom of the same texts, under the raw encoder, else at step 0.

    Raises:
        InputError: a stream called ``pairs``, which is what readings of queries with documents are called.
    """

    streams: Mapping[str, Tensor]
    roles: Mapping[str, Role]
    similarity: Similarity = "cosine"
    own: Tensor | None = None
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    earlier: Neighbours | None = None

    def __post_init__(self) -> None:
        if PAIRS in self.streams:
            raise InputError(f"a stream is called {PAIRS!r}, as readings of queries with documents are: rename it")

    def of_role(self, *roles: Role) -> list[str]:
        """Return the streams of some roles, in order.

        >>> import torch
        >>> Sample(streams={"q": torch.eye(2)}, roles={"q": Role.query}).of_role(Role.query)
        ['q']
        """
        return self._given.of_role(*roles)

    def pairs_with(self, gradients: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]] | None:
        """Return queries, all documents, and other gradients than the loss's at both; None where there are no pairs."""
        return self._given.pairs_with(gradients)

    @cached_property
    def _given(self) -> Given:
        return Given(self.streams, self.roles, self.similarity, self.own, self.gradients, self.earlier)


def read(
    sample: Sample, *, on: On, wanted: Collection[str] | None = None, without: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return every measure that a sample allows, by reading name; on a batch it waits for no device.

    What a measure needs and the sample has not, or not in shapes that fit, leaves its reading out: a stream that is
    not ``[N, D]``, queries and documents of different width, what is added where several gates could scale it.

    Args:
        sample: The streams.
        on: ``batch`` or ``reference``; ranks are read on reference pairs alone.
        wanted: Reading names; all that there are if None. Those of streams that the sample has not are left out.
        without: Reading names that are left out, too.

    Returns:
        Scalars on the streams' devices.

    Raises:
        InputError: a wanted reading whose measure is unknown, or is not read on this.

    >>> import torch
    >>> pairs = Sample(streams={"q": torch.eye(2), "d": torch.eye(2)}, roles={"q": Role.query, "d": Role.document})
    >>> {name: value.item() for name, value in read(pairs, on="batch", wanted=["q/norm_mean", "pairs/mrr"]).items()}
    {'q/norm_mean': 1.0, 'pairs/mrr': 1.0}
    """
    names = None if wanted is None else frozenset(wanted)
    roles = tuple((name, sample.roles.get(name, Role.hidden)) for name in sample.streams)
    values = {}
    with sharing():
        for name, stream, measure in _plan(roles, on, names):
            if name in without:
                continue
            arguments = sample._given.arguments(stream, measure, OPTIONS[measure.name])
            if arguments is not None:
                values[name] = FUNCTIONS[measure.name](**arguments)
    return values


def singular_values(sample: Sample, stream: str) -> Tensor | None:
    """Return the singular values of a centred stream, descending; waits for the device.

    Args:
        sample: The streams.
        stream: The name of one.

    Returns:
        ``[min(N, D)]``; None where the stream is not ``[N, D]``.

    >>> import torch
    >>> singular_values(Sample(streams={"q": torch.ones(3, 2)}, roles={}), "q").tolist()
    [0.0, 0.0]
    """
    return sample._given.spectrum(stream)


def scores(sample: Sample) -> Scores | None:
    """Return how each query's own document scores among all documents; None where there are no such pairs.

    Computed once for a sample, whoever asks; waits for no device.
    """
    return sample._given.scores()


def neighbours_of(sample: Sample) -> Neighbours | None:
    """Return who is near whom in a sample; None where it has no pairs, or too few. Waits for the device."""
    return sample._given.neighbours()


@lru_cache(maxsize=256)
def _plan(
    roles: tuple[tuple[str, Role], ...], on: On, names: frozenset[str] | None
) -> tuple[tuple[str, str, Measure], ...]:
    """Return reading names with their streams and measures: those that the streams' roles allow, and that are wanted.

    Every due step of a run has the same, so it is made once.
    """
    streams = [name for name, _ in roles]
    _check(names or (), streams, on)
    subjects = {
        "pairs": [PAIRS],
        "correction": [name for name, role in roles if role is Role.correction],
        "gate": [name for name, role in roles if role is Role.gate],
        "stream": [name for name, role in roles if role is not Role.gate],
    }
    plan = []
    for measure in MEASURES.values():
        if on in measure.on:
            for stream in streams if measure.needs == ("values",) else subjects[measure.subject]:
                name = reading_name(stream, measure.name)
                if names is None or name in names:
                    plan.append((name, stream, measure))
    return tuple(plan)


def _check(names: Collection[str], streams: Collection[str], on: On) -> None:
    for name in names:
        stream, measure = split_reading(name)
        if stream != PAIRS and stream not in streams:
            continue
        if measure not in MEASURES:
            raise unknown_name("measure", measure, MEASURES)
        if on not in MEASURES[measure].on:
            raise InputError(_refused(name, MEASURES[measure], on))


def _refused(name: str, measure: Measure, on: On) -> str:
    if on == "batch":
        return (
            f"{name} cannot be read on a batch, which says more about its rows than about the model: "
            f"read {measure.name} on reference pairs"
        )
    return f"{name} cannot be read on reference pairs, whose number it depends on: read {measure.name} on batches"
