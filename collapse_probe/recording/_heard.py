"""What the taps heard in the step in progress, and which of it was training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ._forces import Point, ours, point_of


@dataclass
class Heard:
    """One call that a tap heard: a copy of what it took.

    Attributes:
        stream: The tap's stream.
        tensor: A detached copy.
        order: How many calls came before it in the step.
        micro: Micro-batch of the step, from 0.
        index: How many calls of the same tap came before it in the micro-batch.
        trained: Whether it had a gradient to pass on.
        confirmed: Whether a backward came through it, or a user's hand gave it.
        beside: Whether the backward came through what computed it and not through itself: what is compiled is one node
            of the graph with all of its outputs.
        again: Whether it had no graph, and was computed again inside of a backward.
        by_hand: Whether the user handed it over.
        enabled: Whether gradients were enabled then, as they are in training, and seldom while something is scored.
        gradient: The loss's gradient at it, where it was asked for and came.
        point: Its place in the graph, in steps whose forces are read, until the backward.
        by_term: The weighted gradient at it of each term that reaches it.
    """

    stream: str
    tensor: Tensor
    order: int
    micro: int
    index: int
    trained: bool
    confirmed: bool = False
    beside: bool = False
    again: bool = False
    by_hand: bool = False
    enabled: bool = True
    gradient: Tensor | None = None
    point: Point | None = None
    by_term: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Step:
    """The calls of the step in progress.

    A micro-batch ends with the backward through one of its calls: the next call begins another.

    Attributes:
        calls: The calls, in order.
        deaf: Returns whether a backward is one of our own, through which nothing is confirmed.
        contained: Calls something of ours in the training's backward, under a name: what it raises ends no training.
        forces_done: Whether the forces of this step's terms were taken.
    """

    calls: list[Heard] = field(default_factory=list)
    deaf: Callable[[], bool] = lambda: False
    contained: Callable[..., Any] = lambda probe, function, *args: function(*args)
    forces_done: bool = False
    _micro: int = 0
    _backward: bool = False
    _index: dict[str, int] = field(default_factory=dict)
    _handles: list[Any] = field(default_factory=list)

    def hear(
        self,
        stream: str,
        tensor: Tensor,
        *,
        by_hand: bool = False,
        confirmed_by: Tensor | None = None,
        with_gradient: bool = False,
        with_graph: bool = False,
        gradient_as: Callable[[Tensor], Tensor] | None = None,
    ) -> Heard:
        """Keep a copy of a tensor, and wait for a backward to come through it; waits for no device.

        Args:
            stream: What it is called.
            tensor: What is copied.
            by_hand: Whether the user says that it is training.
            confirmed_by: What a backward has to come through, where the tensor itself is not in the graph.
            with_gradient: Whether the loss's gradient at it is kept, too.
            with_graph: Whether its place in the graph is kept until the first backward of the step.
            gradient_as: Makes the tensor's gradient of that of ``confirmed_by``; None where nothing does.
        """
        passed = tensor if confirmed_by is None else confirmed_by
        if self._backward:
            self._micro += 1
            self._backward = False
            self._index.clear()
        index = self._index.get(stream, 0)
        self._index[stream] = index + 1
        trained = passed.requires_grad and torch.is_grad_enabled()
        one = Heard(stream, tensor.detach().clone(), len(self.calls), self._micro, index, trained, by_hand)
        one.by_hand, one.enabled = by_hand, torch.is_grad_enabled()
        self.calls.append(one)
        # A gate is a leaf, and has its place even where an evaluation is the first to come by it.
        placed = trained or (by_hand and passed.is_leaf and passed.requires_grad)
        if with_graph and placed and passed is tensor and self._micro == 0:
            one.point = point_of(tensor)
        if trained and not (by_hand and passed.is_leaf):
            kept = (lambda found: found) if passed is tensor else gradient_as
            self._hook(passed, self._confirms(one, kept if with_gradient else None))
        own = passed is not tensor and gradient_as is None
        if with_gradient and own and tensor.requires_grad and torch.is_grad_enabled():
            # What a call was given: a backward through the call confirms it, and the gradient is its own.
            self._hook(tensor, self._keeps(one))
        return one

    def _hook(self, tensor: Tensor, hook: Callable[[Tensor | None], None]) -> None:
        handle = tensor.register_hook(hook)
        if tensor.is_leaf:
            self._handles.append(handle)

    @property
    def after_backward(self) -> bool:
        """Whether a backward came, and nothing was heard since."""
        return self._backward

    def release(self) -> None:
        """Keep no graph any longer."""
        for one in self.calls:
            one.point = None

    def repeat(self, stream: str, shape: torch.Size) -> None:
        """Note that something without a graph was computed again, in a backward: so it is trained."""
        self._backward = True
        for one in reversed(self.calls):
            if one.stream == stream and not one.trained and not one.confirmed and one.tensor.shape == shape:
                one.confirmed = one.again = True
                return

    def close(self) -> None:
        """Take the hooks off that would outlive the step: those on leaves, which have no graph that goes."""
        for handle in self._handles:
            handle.remove()

    def backward(self) -> None:
        """Note that a backward came, from elsewhere than a stream of this step."""
        if not self.deaf():
            self._backward = True

    def _confirms(self, one: Heard, kept: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor | None], None]:
        def confirm(gradient: Tensor | None) -> None:
            if self.deaf():
                return
            one.confirmed, one.beside = True, gradient is None
            one.point = None
            self._backward = True
            if kept is not None:
                self.contained("gradients", _keep, one, None if gradient is None else kept(gradient))

        return ours(confirm)

    def _keeps(self, one: Heard) -> Callable[[Tensor | None], None]:
        def keep(gradient: Tensor | None) -> None:
            if not self.deaf():
                self.contained("gradients", _keep, one, gradient)

        return ours(keep)

    def training(
        self, sides: Callable[[str], int] = lambda stream: 0, needed: Callable[[str], int] = lambda stream: 1
    ) -> list[Heard]:
        """Return the calls that belong to training.

        That is every one that a backward came through, and of a tap that has none such the calls that stand beside
        one: the frozen partner. Of several such calls in one micro-batch (an evaluation may lie between) the one whose
        rows are as many, or a multiple, that was made with gradients enabled, and is nearest; as many of them as a tap
        needs, whose calls are told apart by their number.

        Args:
            sides: How many sides a tap's calls are of: chunks of each are put together. 0 for calls that are never
                chunks of one batch.
            needed: How many calls of a micro-batch a tap's streams are taken from.
        """
        confirmed = [one for one in self.calls if one.confirmed]
        for stream in dict.fromkeys(one.stream for one in confirmed):
            if sides(stream):
                confirmed = _whole(confirmed, self.calls, stream, sides(stream))
        heard = {one.stream for one in confirmed}
        partners = []
        for micro in sorted({one.micro for one in confirmed}):
            beside = [one for one in confirmed if one.micro == micro]
            for stream in dict.fromkeys(one.stream for one in self.calls if one.stream not in heard):
                found = [one for one in self.calls if one.stream == stream and one.micro == micro]
                fitting = [one for one in found if _fits(one, beside)] or ([] if len(found) > 1 else found)
                partners += sorted(fitting, key=lambda one: _away(one, beside))[: needed(stream)]
        return sorted([*confirmed, *partners], key=lambda one: one.order)


def _keep(one: Heard, gradient: Tensor | None) -> None:
    if gradient is not None and gradient.layout is torch.strided:
        found = gradient.detach().clone()
        one.gradient = found if one.gradient is None else one.gradient + found


def _fits(one: Heard, beside: list[Heard]) -> bool:
    rows = [len(other.tensor) for other in beside if other.tensor.ndim]
    return one.tensor.ndim > 0 and any(n and len(one.tensor) % n == 0 for n in rows)


def _away(one: Heard, beside: list[Heard]) -> tuple[bool, int, bool, int]:
    """Return how far a call is from those that a backward came through: what looks like scoring is the farthest."""
    distance = min(abs(one.order - other.order) for other in beside)
    as_many = any(one.tensor.shape[:1] == other.tensor.shape[:1] for other in beside)
    return not one.enabled, distance, not as_many, -one.order


def _whole(confirmed: list[Heard], calls: list[Heard], stream: str, sides: int) -> list[Heard]:
    """Put the chunks of a batch together, where it was computed as GradCache does.

    There every chunk is computed without a graph, and again with one once the gradient is known: inside of a backward,
    or each before a small backward of its own, which would look like as many micro-batches.
    """
    mine = [one for one in confirmed if one.stream == stream]
    chunks = [one for one in mine if one.again]
    if not chunks:
        chunks = _second_pass(mine, [one for one in calls if one.stream == stream and not one.trained])
    replaced = {id(one) for one in (mine if chunks else [])}
    rest = [one for one in confirmed if id(one) not in replaced]
    middle = len(chunks) // 2 if sides == 2 and len(chunks) % 2 == 0 else len(chunks)
    halves = [chunks[:middle], chunks[middle:]]
    joined = [_joined(half, index) for index, half in enumerate(halves) if half]
    return sorted([*rest, *joined], key=lambda one: one.order)


def _second_pass(mine: list[Heard], before: list[Heard]) -> list[Heard]:
    """Return calls with a graph that repeat, chunk by chunk, the calls without one that came before all of them."""
    first = [one for one in before if one.order < mine[0].order][-len(mine) :]
    if len(mine) < 2 or len({one.micro for one in mine}) < 2:
        return []
    if [one.tensor.shape for one in first] != [one.tensor.shape for one in mine]:
        return []
    return [replace(one, micro=earlier.micro, order=earlier.order) for one, earlier in zip(mine, first, strict=True)]


def _joined(chunks: list[Heard], index: int) -> Heard:
    if len(chunks) == 1:
        return replace(chunks[0], index=index)
    gradients = [one.gradient for one in chunks if one.gradient is not None]
    gradient = torch.cat(gradients) if len(gradients) == len(chunks) else None
    return replace(chunks[0], tensor=torch.cat([one.tensor for one in chunks]), index=index, gradient=gradient)
