"""Matrices that were heard and may be streams, and how one of them came from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..recording import POOLINGS, Heard, Take, item, output, pooled, token
from ._graph import behind

_NODES = 20_000
"""Nodes of a graph that are looked at, at most."""


@dataclass(frozen=True)
class Candidate:
    """A matrix that was heard.

    Attributes:
        heard: The copy, and whether a backward came through it.
        module: The module whose call it belongs to.
        path: Its path below the target; its class for a module outside.
        key: Which entry of the output, or which argument; None for the output itself.
        kind: ``argument`` of a loss, or ``output`` of a call.
        depth: Calls of the target's modules around it; for an argument, calls of any module.
        method: The method that was called.
        address: Its memory.
        inputs: The memory of its call's arguments.
        node: Where it stands in the graph; None without a gradient.
        token: Of an output with vectors of tokens, which of them it is: 0 the first, -1 the last; None for all of it.
        passed: Which tokens a backward came through, ``[n, T]`` of bool, once it came.
        pooling: Of an output with vectors of tokens, how each text's vector is made of them; empty for otherwise.
        site: Of an operand of a product, where the product stands; empty for others.
        training: Whether the module was in training mode.
    """

    heard: Heard
    module: nn.Module
    path: str
    key: str | int | None
    kind: str
    depth: int
    method: str = "forward"
    address: int = 0
    inputs: frozenset[int] = frozenset()
    node: Any = None
    token: int | None = None
    passed: list[Tensor] = field(default_factory=list)
    pooling: str = ""
    site: str = ""
    training: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Note the mode of the call."""
        object.__setattr__(self, "training", self.module.training)

    @property
    def usable(self) -> bool:
        """Whether it is training: a backward came through it, or it is frozen."""
        return self.heard.confirmed or not self.heard.trained

    @property
    def alone(self) -> bool:
        """Whether of each text this token, and no other one, is in the loss; waits for the device."""
        if self.token is None or len(self.passed) != 1:
            return False
        passed = self.passed[0]
        return bool((passed[:, self.token] & (passed.sum(1) == 1)).all())

    @property
    def take(self) -> Take:
        """What takes it from a call."""
        whole = output if self.key is None else item(self.key)
        if self.pooling:
            return pooled(whole, self.pooling)
        return whole if self.token is None else token(whole, self.token)

    @property
    def width(self) -> int:
        """Columns."""
        return self.heard.tensor.shape[1]

    @property
    def source(self) -> tuple[int, str, str | int | None]:
        """What is the same for all calls of one place."""
        return id(self.module), self.method, self.key

    @property
    def maker(self) -> tuple[Any, int | None, str]:
        """What is the same for all calls of one place that are made into a text's vector in one way."""
        return self.source, self.token, self.pooling

    @property
    def where(self) -> str:
        """Where it comes from, in words."""
        if self.site:
            return f"{self.key} of {self.site}"
        call = "" if self.method == "forward" else f" of {self.method}()"
        which = f"{POOLINGS[self.pooling]} " if self.pooling else ""
        which = which if self.token is None else f"{'last' if self.token else 'first'} token of "
        return f"{which}{entry_of(self.kind, self.key)}{call} of {f'module {self.path}' if self.path else 'the model'}"

    @property
    def said(self) -> str:
        """What it is, in words, with its shape."""
        return f"{self.where} ({sizes(self.heard.tensor)})"

    def comes_from(self, other: Candidate) -> bool:
        """Return whether it is, or was computed from, another one's output."""
        if other is self:
            return False
        # Memory that was freed is given out again: what came later has it, and is nothing that this came from.
        if other.heard.order < self.heard.order and other.address in {self.address, *self.inputs}:
            return True
        return other.node is not None and self.node is not None and reaches(self.node, other.node)


def reaches(node: Any, other: Any) -> bool:
    """Return whether a graph leads back from one node to another."""
    return any(one is other for one in islice(behind(node), _NODES))


def sizes(tensor: Tensor) -> str:
    """Return a shape in words, as 32x8."""
    return "x".join(str(size) for size in tensor.shape)


def entry_of(kind: str, key: str | int | None) -> str:
    """Return which entry of an output, or which argument, in words."""
    return kind if key is None else f"{kind} {key}"


def address(tensor: Tensor) -> int:
    """Return what stands for a tensor's memory, on ``meta``, too."""
    return tensor.untyped_storage()._cdata


def is_tokens(value: Any) -> bool:
    """Return whether a value is vectors of tokens, ``[n, T, D]``."""
    return (
        isinstance(value, Tensor)
        and value.ndim == 3
        and value.is_floating_point()
        and value.layout is torch.strided
        and min(value.shape) > 0
        and value.shape[2] > 1
    )


def entries(value: Any) -> Iterator[tuple[str | int | None, Any]]:
    """Yield what an output holds, with its key; None for the output itself."""
    if isinstance(value, Tensor):
        yield None, value
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple | list):
        yield from enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, getattr(value, name, None)) for name in value.__dataclass_fields__)
