"""What each term of a loss does to the streams: its gradient at them, before the training's own backward.

One ``autograd.grad`` a term, from the term down to the streams and no further: no ``.grad`` and no random state is
touched, and the bits of the training stay (measured: dropout, accumulation, checkpointing below the streams, two
processes). What lies between term and stream runs backward once more for it. So nothing is measured where that may do
something of its own: backward hooks of modules, compiled code, functions that somebody wrote (collectives among them).
Hooks on tensors in between, and ``retain_grad`` there, cannot be seen from Python: they run once more for each term.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from ..journal.vocabulary import Role

if TYPE_CHECKING:
    from ._heard import Heard

EMBEDDED = (Role.query, Role.document, Role.view, Role.class_, Role.left, Role.right)
"""Roles of the embeddings at which forces are read."""

ADDED = (Role.correction, Role.gate)
"""Roles at which they are read where little lies between."""

MOST = 12
"""Terms whose forces are read."""

_FAR = 1000
"""Operations between terms and embeddings up to which they run backward once more."""

_NEAR = 100
"""Operations that corrections and gates may add to them: those of an encoder's first layers are not run again."""

_SEEN = 4000
"""Operations that are looked at for ways to a gate."""


_ours: WeakValueDictionary[int, Callable[..., None]] = WeakValueDictionary()


def ours(hook: Callable[[Tensor | None], None]) -> Callable[[Tensor | None], None]:
    """Mark a hook on a tensor as one of ours, which does nothing while a gradient of ours is taken."""
    _ours[id(hook)] = hook
    return hook


@dataclass
class Point:
    """Where a stream stands in the graph, from its hook until its backward.

    Attributes:
        edge: Its place, whatever is done to the tensor in place later.
        tensor: The tensor.
    """

    edge: GradientEdge
    tensor: Tensor

    @property
    def leaf(self) -> bool:
        """Whether it has no history, as a gate that is a parameter."""
        return "AccumulateGrad" in self.edge.node.name()

    @property
    def hooked(self) -> bool:
        """Whether somebody else waits for its gradient."""
        hooks = (self.tensor._backward_hooks or {}).values()
        return self.tensor.retains_grad or any(id(one) not in _ours for one in hooks)


def point_of(tensor: Tensor) -> Point | None:
    """Return where a tensor stands in the graph; None where that cannot be said, as of shards."""
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout is not torch.strided:
        return None
    with torch.enable_grad():
        return Point(get_gradient_edge(tensor), tensor)


@dataclass(frozen=True)
class Ways:
    """Which points each operation of a graph is made from, as bits.

    Attributes:
        reaches: Operation to its points, its own among them.
        below: Operation to the points that its inputs are made from: where one is asked for, it runs.
        whole: Whether all of the graph was looked at.
    """

    reaches: Mapping[Node, int]
    below: Mapping[Node, int]
    whole: bool

    def run(self, wanted: int) -> list[Node]:
        """Return the operations that run backward for some points."""
        return [node for node, below in self.below.items() if below & wanted]


def ways(roots: Sequence[Node], points: Sequence[Point]) -> Ways:
    """Look for the ways from terms down to points.

    What was made before the oldest point cannot be made from one, but for leaves: these are as old as they like.
    """
    bits: dict[Node, int] = {}
    for place, one in enumerate(points):
        bits[one.edge.node] = bits.get(one.edge.node, 0) | 1 << place
    made = [one.edge.node._sequence_nr() for one in points if not one.leaf]
    oldest = min(made) if made and not any(one.leaf for one in points) else -1
    reaches: dict[Node, int] = {}
    below: dict[Node, int] = {}
    stack = [(root, False) for root in roots]
    while stack:
        node, back = stack.pop()
        if back:
            under = 0
            for child, _ in node.next_functions:
                under |= reaches.get(child, 0) if child is not None else 0
            below[node], reaches[node] = under, under | bits.get(node, 0)
            continue
        if node in reaches:
            continue
        if len(reaches) > _SEEN:
            return Ways(reaches, below, False)
        reaches[node] = bits.get(node, 0)
        stack.append((node, True))
        stack += [
            (child, False)
            for child, _ in node.next_functions
            if child is not None and child not in reaches and child._sequence_nr() >= oldest
        ]
    return Ways(reaches, below, True)


class TermForces:
    """Takes the gradients of each term at the streams.

    Args:
        say: Called with why forces are not measured; what was said before is not said again.

    Attributes:
        active: Whether a gradient of ours is being taken: then hooks of ours do not listen.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.active = False
        self._say = say
        self._leaves = True

    def take_from(
        self,
        calls: Sequence[Heard],
        terms: Mapping[str, Any],
        weights: Mapping[str, Any],
        *,
        role_of: Callable[[str], Role | bool | None],
        after_backward: bool,
    ) -> bool:
        """Take each term's gradient at the calls of a step, which keep it; return whether any was asked for.

        Args:
            calls: The step's calls.
            terms: Name to what may be a scalar with a graph.
            weights: Weights; 1 for terms that have none.
            role_of: Returns the role of a tap's calls where forces are read at them, False where not.
            after_backward: Whether a backward came, and nothing was heard since.
        """
        scales = {str(name): _weight(weights.get(name, 1.0)) for name, one in terms.items() if _has_graph(one)}
        found = {str(name): one for name, one in terms.items() if scales.get(str(name)) is not None}
        if len(found) < 2:
            return False
        read = [(one, role) for one in calls if (role := role_of(one.stream)) is not False]
        points = {place: (one.point, role) for place, (one, role) in enumerate(read) if one.point is not None}
        if not any(role not in ADDED for _, role in points.values()):
            if read and after_backward:
                self._say("terms came after the backward: hand them over before it")
            elif any(role not in ADDED for _, role in read):
                self._say("no embedding that was heard before the terms is in the graph of the loss")
            return False
        taken = self.take(found, scales, points)  # type: ignore[arg-type]
        for name, gradients in taken.items():
            for place, gradient in gradients.items():
                read[place][0].by_term[name] = gradient
        return True

    def take(
        self,
        terms: Mapping[str, Tensor],
        weights: Mapping[str, Any],
        points: Mapping[int, tuple[Point, Role | None]],
    ) -> dict[str, dict[int, Tensor]]:
        """Return each term's weighted gradient at the points that it reaches.

        Args:
            terms: Name to scalar with a graph.
            weights: Weights; 1 for terms that have none.
            points: Number to a point and its role; None for an embedding without one.

        Returns:
            Term to number to gradient; a term that reaches no point is left out.
        """
        if len(terms) > MOST:
            self._say(f"of {len(terms)} terms the forces of the first {MOST} are read")
            terms = dict(list(terms.items())[:MOST])
        if any(one.hooked for one, _ in points.values()):
            self._say("forces of single terms: an embedding has hooks of its own, which would run once more")
            return {}
        kept = {
            number: (one, role)
            for number, (one, role) in points.items()
            if role not in ADDED or self._leaves or not one.leaf
        }
        roots = {name: value.grad_fn for name, value in terms.items() if value.grad_fn is not None}
        found = ways(list(roots.values()), [one for one, _ in kept.values()])
        if not found.whole:
            self._leaves = False
            kept = {number: (one, role) for number, (one, role) in kept.items() if not one.leaf}
            found = ways(list(roots.values()), [one for one, _ in kept.values()])
        wanted = self._wanted(found, [role for _, role in kept.values()])
        if not wanted:
            return {}
        taken = {}
        for name, root in roots.items():
            reached = found.reaches.get(root, 0) & wanted
            numbers = [number for place, number in enumerate(kept) if reached >> place & 1]
            if all(kept[number][1] in ADDED for number in numbers):
                self._say(f"the term {name!r} does not reach the embeddings: it has no force there")
            if numbers:
                gradients = self._gradients(terms[name], [kept[number][0].edge for number in numbers])
                weight = weights.get(name, 1.0)
                plain = not isinstance(weight, Tensor) and weight == 1.0
                taken[name] = {
                    number: one if plain else one * weight
                    for number, one in zip(numbers, gradients, strict=True)
                    if one is not None and one.layout is torch.strided
                }
        return taken

    def _gradients(self, term: Tensor, edges: Sequence[GradientEdge]) -> Sequence[Tensor | None]:
        self.active = True
        try:
            # Casts of weights must not be remembered by a backward: they would have no graph.
            with torch.autocast(term.device.type, enabled=False):
                return torch.autograd.grad([term], edges, retain_graph=True, allow_unused=True)
        finally:
            self.active = False

    def _wanted(self, found: Ways, roles: Sequence[Role | None]) -> int:
        """Return which points are asked for, as bits: all, the embeddings alone, or none where that is not safe."""
        every = (1 << len(roles)) - 1
        embedded = sum(1 << place for place, role in enumerate(roles) if role not in ADDED)
        far = found.run(embedded)
        if len(far) > _FAR:
            self._say(f"forces of single terms: {len(far)} operations lie between the embeddings and the loss")
            return 0
        all_of_them = found.run(every)
        if len(all_of_them) - len(far) <= _NEAR and _unsafe(all_of_them) is None:
            return every
        why = _unsafe(far)
        if why is not None:
            self._say(f"forces of single terms: between the embeddings and the loss {why}, which would run once more")
            return 0
        return embedded


def _unsafe(nodes: Collection[Node]) -> str | None:
    """Return what among operations may do something of its own when it runs backward once more."""
    for node in nodes:
        name = node.name()
        if name.startswith("BackwardHookFunction"):
            return "a module has backward hooks"
        if name.startswith("CompiledFunction"):
            return "lies compiled code"
        if isinstance(node, BackwardCFunction):
            return f"lies a function of its own, {name.removesuffix('Backward')}"
        if "CppNode" in name or "c10d" in name:
            return f"lies {name}"
    return None


def _has_graph(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.grad_fn is not None and not value.is_complex()


def _weight(value: Any) -> Tensor | float | None:
    """Return a weight as something to multiply with, without its graph; None where it is none."""
    if isinstance(value, Tensor):
        return value.detach().reshape(()) if value.numel() == 1 else None
    return float(value) if isinstance(value, Real) else None
