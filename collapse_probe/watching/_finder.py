"""Finding streams that nobody named: candidates of the first steps, confirmed by a backward, chosen by rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ..journal.vocabulary import Role
from ..recording import Heard, Place, Recorder, Tap, call, canonical, item, output
from ._attach import Attachments
from ._calls import in_backward
from ._methods import MethodListener
from ._roles import role_of_name, roles_of_pair
from ._terms import LossListener

STEPS = 20
"""Steps in which streams are looked for."""

_MOST = 64
"""Calls of one step that are kept as candidates."""

_ON_SCORES = (
    nn.CrossEntropyLoss,
    nn.NLLLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.KLDivLoss,
    nn.MultiMarginLoss,
)
"""Losses whose arguments are scores, not embeddings."""


@dataclass(frozen=True)
class Candidate:
    """A matrix that was heard.

    Attributes:
        heard: The copy, and whether a backward came through it.
        module: The module whose call it belongs to.
        path: Its path below the target; its class for a module outside.
        key: Which entry of the output, or which argument; None for the output itself.
        kind: ``argument`` of a loss, ``output`` of a call, or ``return`` of a method.
        depth: Calls of the target's modules around it.
        address: Where its memory begins.
        inputs: Where the memory of its call's arguments begins.
    """

    heard: Heard
    module: nn.Module
    path: str
    key: str | int | None
    kind: str
    depth: int
    address: int = 0
    inputs: frozenset[int] = frozenset()

    @property
    def said(self) -> str:
        """What it is, in words."""
        entry = "" if self.key is None else f" {self.key}"
        shape = "x".join(str(size) for size in self.heard.tensor.shape)
        if self.kind == "return":
            return f"{self.kind} of {self.path} of the model ({shape})"
        where = f"module {self.path}" if self.path else "the model"
        return f"{self.kind}{entry} of {where} ({shape})"


@dataclass
class _Step:
    candidates: list[Candidate] = field(default_factory=list)


class Finder:
    """Listens to every module for the first steps, and says which calls are the streams.

    It listens through hooks of the whole process, since a loss is often no part of the model; they are gone once
    streams are found, and after 20 steps.

    Args:
        target: The model.
        recorder: Where candidates are kept until a backward confirms them.
        attachments: Where cheaper hooks go.
        loss: What hears loss terms.
        found: Called with the places to listen to from now on, and the rule.

    Attributes:
        paused: Whether nothing is heard: our own forward passes, and a trainer's evaluations.
    """

    def __init__(
        self,
        target: nn.Module,
        recorder: Recorder,
        attachments: Attachments,
        *,
        loss: LossListener,
        found: Callable[[Sequence[Place], str], None],
    ) -> None:
        self._target = target
        self._recorder = recorder
        self._attachments = attachments
        self._loss = loss
        self._found = found
        self._paths = {id(module): canonical(path) for path, module in target.named_modules()}
        self._stack: list[nn.Module] = []
        self._marks: list[tuple[int, int]] = []
        self._losses: list[nn.Module] = []
        self._step = _Step()
        self._last: list[str] = []
        self._methods = MethodListener(target, recorder, attachments, candidate=self._hear_return)
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    def candidates(self) -> list[str]:
        """Return what was heard in the latest step, in words."""
        return self._last

    def close(self) -> None:
        """Listen no more; may be called twice."""
        while self._handles:
            handle = self._handles.pop()
            handle.remove()
            # torch 2.13 forgets this entry, and then warns whoever compiles a module of hooks that are gone.
            getattr(torch_modules, "_global_forward_hooks_with_kwargs", {}).pop(handle.id, None)
        losses, self._losses = self._losses, []
        for loss in losses:
            self._loss.listen(loss)

    def end_step(self) -> None:
        """Choose the streams of this step, if there are any; to be called before the recorder's step ends."""
        self._methods.end_step()
        if not self._handles:
            return
        step, self._step = self._step, _Step()
        self._stack.clear()
        self._marks.clear()
        calls = self._recorder.heard
        kept = [one for one in step.candidates if one.heard in calls]
        calls[:] = [one for one in calls if all(one is not other.heard for other in kept)]
        confirmed = [one for one in kept if one.heard.confirmed]
        self._last = list(dict.fromkeys(one.said for one in kept))
        chosen = next((found for rule in _RULES if (found := rule(kept, confirmed))), None)
        if chosen is not None:
            self._take(chosen, kept, calls)
        elif self._recorder.current >= STEPS:
            self.close()

    def _take(self, chosen: Choice, kept: Sequence[Candidate], calls: list[Heard]) -> None:
        self.close()
        others = [one.said for one in kept if all(one is not candidate for candidate, _, _ in chosen.streams)]
        for candidate, stream, role in chosen.streams:
            candidate.heard.stream = stream
            calls.append(candidate.heard)
            self._recorder.declare(
                stream,
                role=role,
                where=candidate.said.rpartition(" (")[0],
                rule=chosen.rule,
                candidates=list(dict.fromkeys(others))[:10],
            )
        calls.sort(key=lambda one: one.order)
        for key, streams in chosen.split.items():
            self._recorder.split(key, *streams)
        self._methods.take(chosen.methods)
        self._found(chosen.places, chosen.rule)

    def _enter(self, module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._stack.append(module)
            self._marks.append((self._loss.heard, len(self._losses)))

    def _leave(self, module: nn.Module, args: Any, *rest: Any) -> None:
        if torch.compiler.is_compiling():
            return
        mark = (self._loss.heard, len(self._losses))
        while self._stack:
            mark = self._marks.pop()
            if self._stack.pop() is module:
                break
        # After an exception in a forward, torch leaves out the keyword arguments.
        kwargs, output = rest if len(rest) == 2 else ({}, None)
        if self.paused or output is None or in_backward() or len(self._step.candidates) >= _MOST:
            return
        self._recorder.containment.run("finding streams", self._look, module, args, kwargs, output, mark)

    def _look(
        self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any, mark: tuple[int, int]
    ) -> None:
        path = self._paths.get(id(module))
        inside = [one for one in self._stack if id(one) in self._paths]
        if path is None:
            if not inside and _is_loss(output) and not isinstance(module, _ON_SCORES):
                names = _argument_names(module, args)
                for name, value in (*zip(names, args, strict=False), *kwargs.items()):
                    self._keep(value, module, type(module).__name__, name, kind="argument", depth=0)
                self._hear_loss(module, output, mark)
            return
        if len(inside) > 1 or (inside and inside[0] is not self._target):
            return
        given = frozenset(_address(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        for key, value in _entries(output):
            self._keep(value, module, path, key, kind="output", depth=len(inside), inputs=given)

    @property
    def paused(self) -> bool:
        """Whether nothing is heard."""
        return self._methods.paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._methods.paused = paused

    def _hear_return(self, name: str, value: Tensor) -> None:
        if self._handles and len(self._step.candidates) < _MOST:
            self._keep(value, self._target, f"{name}()", None, kind="return", depth=0)

    def _hear_loss(self, module: nn.Module, output: Any, mark: tuple[int, int]) -> None:
        """Hear a loss instead of the losses inside of it."""
        heard, losses = mark
        self._loss.forget(heard)
        del self._losses[losses:]
        if self._loss.knows(module):
            return  # its own hook, which comes after this one, hears it
        self._losses.append(module)
        self._loss.hear(type(module).__name__, output)

    def _keep(
        self,
        value: Any,
        module: nn.Module,
        path: str,
        key: str | int | None,
        *,
        kind: str,
        depth: int,
        inputs: frozenset[int] = frozenset(),
    ) -> None:
        if not isinstance(value, Tensor) or value.ndim != 2 or not value.is_floating_point() or value.shape[1] < 2:
            return
        heard = self._recorder.hear(f"?{len(self._step.candidates)}", value)
        self._step.candidates.append(Candidate(heard, module, path, key, kind, depth, _address(value), inputs))


@dataclass(frozen=True)
class Choice:
    """What a rule chose.

    Attributes:
        rule: Its name.
        streams: Candidates of this step with their streams' names and roles.
        places: What to listen to from now on.
        methods: Methods to listen to from now on, with their streams or keys.
        split: Keys that are several streams, the first call the first.
    """

    rule: str
    streams: list[tuple[Candidate, str, Role | None]]
    places: list[Place]
    methods: dict[str, str] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)


def _by_loss(kept: Sequence[Candidate], confirmed: Sequence[Candidate]) -> Choice | None:
    """The outermost loss module whose arguments have the names of sides."""
    arguments = [one for one in kept if one.kind == "argument"]
    modules = list({id(one.module): one.module for one in confirmed if one.kind == "argument"}.values())
    for module in modules:
        mine = [one for one in arguments if one.module is module]
        roles = {str(one.key): role_of_name(str(one.key)) for one in mine}
        if not {Role.query, Role.document} <= set(roles.values()):
            continue
        streams, places, used = [], [], set()
        for one in mine:
            role = roles[str(one.key)]
            if role is None or one.key in used:
                continue
            used.add(one.key)
            name = str(role) if all(name != str(role) for _, name, _ in streams) else str(one.key)
            streams.append((one, name, role))
            tap = Tap(stream=name, at=module, take=_argument(str(one.key)), role=role)
            places.append(Place(tap, one.path, module=module))
        return Choice("loss module", streams, places)
    return None


def _by_output(kept: Sequence[Candidate], confirmed: Sequence[Candidate]) -> Choice | None:
    """One call whose output holds two matrices of one width."""
    for first in confirmed:
        if first.kind != "output" or first.key is None:
            continue
        mine = [
            one
            for one in kept
            if one.module is first.module
            and one.heard.micro == first.heard.micro
            and one.kind == "output"
            and one.heard.tensor.shape[1] == first.heard.tensor.shape[1]
        ]
        unique = list({one.key: one for one in mine}.values())
        if len(unique) < 2:
            continue
        pair = roles_of_pair([str(one.key) for one in unique])
        if pair is None and len(unique) > 2:
            continue
        query, document = (unique[index] for index in (pair or (0, 1)))
        streams: list[tuple[Candidate, str, Role | None]] = [
            (query, "query", Role.query),
            (document, "document", Role.document),
        ]
        places = [
            Place(Tap(stream=name, at=one.module, take=item(one.key), role=role), one.path, module=one.module)
            for one, name, role in streams
            if one.key is not None
        ]
        return Choice("model output", streams, places)
    return None


def _by_methods(kept: Sequence[Candidate], confirmed: Sequence[Candidate]) -> Choice | None:
    """A method that is called for each side, or one method for each side."""
    if not any(one.kind == "return" for one in confirmed):
        return None
    calls = [one for one in kept if one.kind == "return" and one.heard.micro == 0]
    names = list(dict.fromkeys(one.path for one in calls))
    if len(names) == 1 and len(calls) > 1:
        chosen = _one_module(calls)
        streams = [place.tap.stream for place in chosen.places]
        key = names[0]
        return Choice(
            "one method, called for each side", chosen.streams, [], {key.removesuffix("()"): key}, {key: streams}
        )
    pair = roles_of_pair(names) if len(names) == 2 else None
    if pair is None:
        return None
    sides: list[tuple[Candidate, str, Role | None]] = []
    for place, role in zip(pair, (Role.query, Role.document), strict=True):
        sides += [(one, str(role), role) for one in calls if one.path == names[place]]
    methods = {one.path.removesuffix("()"): stream for one, stream, _ in sides}
    return Choice("two methods, one for each side", sides, [], methods)


def _by_calls(kept: Sequence[Candidate], confirmed: Sequence[Candidate]) -> Choice | None:
    """A module that is called twice or more, two towers that are called once each, or one that gives one matrix."""
    whole = [one for one in kept if one.kind == "output" and one.key is None]
    for depth in sorted({one.depth for one in confirmed if one.kind == "output"}):
        calls = [one for one in whole if one.depth == depth and one.heard.micro == 0]
        trained = [one for one in calls if one.heard.confirmed]
        if not trained:
            continue
        last = trained[-1].heard.tensor.shape[1]
        calls = [one for one in calls if one.heard.tensor.shape[1] == last]
        by_module: dict[int, list[Candidate]] = {}
        for one in calls:
            by_module.setdefault(id(one.module), []).append(one)
        repeated = [found for found in by_module.values() if len(found) > 1 and any(o.heard.confirmed for o in found)]
        if repeated:
            return _one_module(repeated[-1])
        ends = _ends([found[0] for found in by_module.values()])
        if len(ends) >= 2:
            return _two_towers(ends)
        if len(ends) == 1 and depth == 0:
            one = ends[0]
            tap = Tap(stream="embedding", at=one.module, take=output)
            return Choice("single output", [(one, "embedding", None)], [Place(tap, one.path, module=one.module)])
    return None


_RULES = (_by_loss, _by_output, _by_methods, _by_calls)


def _one_module(calls: Sequence[Candidate]) -> Choice:
    module, path = calls[0].module, calls[0].path
    names = [("query", Role.query), ("document", Role.document), ("negative", Role.document)]
    streams: list[tuple[Candidate, str, Role | None]] = [
        (one, *names[min(index, 2)]) for index, one in enumerate(calls)
    ]
    places = [
        Place(Tap(stream=name, at=module, take=call(index), role=role), path, module=module)
        for index, (name, role) in enumerate(names[: max(2, min(3, len(calls)))])
    ]
    return Choice("one module, called for each side", streams, places)


def _two_towers(ends: Sequence[Candidate]) -> Choice:
    pair = roles_of_pair([one.path for one in ends]) or (0, 1)
    sides = [(ends[pair[0]], "query", Role.query), (ends[pair[1]], "document", Role.document)]
    streams: list[tuple[Candidate, str, Role | None]] = list(sides)
    places = [
        Place(Tap(stream=name, at=one.module, take=output, role=role), one.path, module=one.module)
        for one, name, role in sides
    ]
    return Choice("two modules, one for each side", streams, places)


def _ends(calls: Sequence[Candidate]) -> list[Candidate]:
    """Return the calls whose output is not the input of another one: the ends of chains."""
    unconfirmed_fit = [one for one in calls if one.heard.confirmed or not one.heard.trained]
    return [one for one in unconfirmed_fit if not _feeds_another(one, unconfirmed_fit)]


def _feeds_another(one: Candidate, calls: Sequence[Candidate]) -> bool:
    return any(other is not one and one.address in other.inputs - {0} for other in calls)


def _address(tensor: Tensor) -> int:
    return 0 if tensor.device.type == "meta" else tensor.data_ptr()


def _argument(name: str) -> Callable[[Any], Tensor | None]:
    def take(found: Any) -> Tensor | None:
        if name in found.kwargs:
            return found.kwargs[name]
        names = _argument_names(found.module, found.args)
        return found.args[names.index(name)] if name in names[: len(found.args)] else None

    return take


def _argument_names(module: nn.Module, args: Sequence[Any]) -> list[str]:
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        names = []
    return names + [f"argument {index}" for index in range(len(names), len(args))]


def _entries(value: Any) -> Iterator[tuple[str | int | None, Any]]:
    if isinstance(value, Tensor):
        yield None, value
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple | list):
        yield from enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, getattr(value, name, None)) for name in value.__dataclass_fields__)


def _is_loss(value: Any) -> bool:
    scalars = [value] if isinstance(value, Tensor) else list(value.values()) if isinstance(value, Mapping) else []
    return bool(scalars) and all(isinstance(one, Tensor) and one.numel() == 1 for one in scalars)
