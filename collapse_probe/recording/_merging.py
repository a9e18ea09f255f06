"""What each process leaves for the first one, and what the first makes of all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..journal.vocabulary import MEASURES, Role, reading_name
from ..measures import RowState, Sample

States = Mapping[str, tuple[RowState, str]]
"""Of a micro-batch: stream to what is left of its rows, and their element type."""


@dataclass(frozen=True)
class Part:
    """What one process read in a due step, or of a window.

    Attributes:
        about: What can be written as JSON.
        vector: Float64, on the CPU.
    """

    about: Mapping[str, Any]
    vector: Tensor

    def to_bytes(self) -> bytes:
        """Return it as it goes through the store: a line of JSON, and numbers."""
        return json.dumps(self.about).encode() + b"\n" + self.vector.double().numpy().tobytes()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Part:
        """Return what :meth:`to_bytes` was called of.

        Raises:
            ValueError: something else.
        """
        line, _, rest = payload.partition(b"\n")
        vector = torch.frombuffer(bytearray(rest), dtype=torch.float64) if rest else torch.zeros(0, dtype=torch.float64)
        return cls(json.loads(line), vector)


def states_of(sample: Sample) -> States:
    """Return what is left of the streams of vectors in a micro-batch; waits for no device."""
    return {name: (RowState.of(sample.streams[name]), dtype_of(sample.streams[name])) for name in _shared(sample)}


def shared_readings(sample: Sample) -> list[str]:
    """Return the readings that follow from what is left of a micro-batch's streams."""
    return [reading_name(name, one) for name in _shared(sample) for one in RowState.measures(sample.streams[name])]


def _shared(sample: Sample) -> list[str]:
    return [
        name
        for name, one in sample.streams.items()
        if one.ndim == 2 and one.numel() and one.is_floating_point() and sample.roles.get(name) is not Role.gate
    ]


def as_handed(
    about: Mapping[str, Any], micros: Sequence[States], norm: Tensor | None
) -> tuple[dict[str, Any], Tensor | None]:
    """Return a due step as it is handed over: what is known of it, and a vector on the device, the norm in front.

    Args:
        about: What else is known of it.
        micros: What is left of the rows of each micro-batch.
        norm: Of the gradients.

    Returns:
        No vector where nothing was heard.
    """
    shapes = [
        {name: [state.moments.n, len(state.directions), dtype] for name, (state, dtype) in one.items()}
        for one in micros
    ]
    parts = [state.vector() for one in micros for state, _ in one.values()]
    told = {**about, "micros": shapes}
    if not parts:
        return told, None
    like = parts[0]
    first = like.new_full((1,), math.nan) if norm is None else norm.detach().reshape(1).to(like, non_blocking=True)
    return told, torch.cat([first, *(part.to(like, non_blocking=True) for part in parts)])


def dtype_of(tensor: Tensor) -> str:
    """Return a tensor's element type as the journal has it.

    >>> dtype_of(torch.zeros(1))
    'float32'
    """
    return str(tensor.dtype).removeprefix("torch.")


def _states(part: Part) -> list[dict[str, tuple[RowState, str]]]:
    start, found = 0, []
    for one in part.about["micros"]:
        states = {}
        for name, (n, dimension, dtype) in one.items():
            end = start + RowState.size(n, dimension)
            states[name] = (RowState.from_vector(part.vector[start:end], n=n, dimension=dimension), dtype)
            start = end
        found.append(states)
    return found


def merged(
    own: Part, others: Mapping[int, Part], *, say: Callable[[str, str], None]
) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """Return readings and shape of each stream, over the rows of all processes: of several micro-batches their mean."""
    parts = [own, *(other for other in others.values() if other.about["dataset"] == own.about["dataset"])]
    read = [_states(part) for part in parts]
    names = dict.fromkeys(name for states in read for micro in states for name in micro)
    found = []
    for name in names:
        values, shape = [], None
        for micro in range(max(len(states) for states in read)):
            heard = [states[micro][name] for states in read if micro < len(states) and name in states[micro]]
            if not heard:
                continue
            state, dtype = heard[0]
            rest = [one for one, _ in heard[1:] if len(one.directions) == len(state.directions)]
            count = 1 + len(rest)
            if rest and all(state.same_rows(one) for one in rest):
                say(f"same {name}", f"{name}: every process has the same rows, which are counted once")
                rest = []
            for one in rest:
                state = state.merge(one)
            values.append(state.finish())
            n = state.moments.n
            shape = shape or {"n": n, "dimension": len(state.directions), "dtype": dtype, "processes": count}
        on_batch = [measure for measure in values[0] if "batch" in MEASURES[measure].on]
        means = {
            reading_name(name, measure): float(torch.stack([one[measure] for one in values]).mean())
            for measure in on_batch
        }
        assert shape is not None
        found.append((means, shape))
    return found


def counts_of(part: Part) -> dict[str, tuple[Tensor, int]]:
    about = part.about["counts"]
    split = part.vector.split([length for length, _ in about.values()]) if about else ()
    return {name: (found.long(), rows) for found, (name, (_, rows)) in zip(split, about.items(), strict=True)}
