"""Hooks on modules: their calls become streams, and their first inputs reference pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..journal.vocabulary import Role
from ..recording import (
    Call,
    Heard,
    Nth,
    Place,
    Recorder,
    Replay,
    Take,
    copied,
    mean_of_tokens,
    passed_by,
    pulls,
    why_unread,
)
from ._attach import Attachments, is_compiled, is_traced

_REPLAYED = "?replayed"

TOKENS = "mean over the tokens that attention_mask keeps"


def in_backward() -> bool:
    """Return whether this runs inside a backward: a checkpoint's second forward, or GradCache's."""
    return torch._C._current_graph_task_id() != -1


def added_up(gradient: Tensor) -> Tensor:
    """Return a vector's gradient, ``[n, D]``, of that of the tokens that it is made of, ``[n, T, D]``."""
    return gradient.sum(dim=1)


@dataclass
class _Kept:
    heard: Heard
    call: Call
    take: Take


def is_fed(value: Any) -> bool:
    """Return whether a module's arguments hold what was computed with weights that are trained."""
    if isinstance(value, Tensor):
        return value.grad_fn is not None
    if isinstance(value, Mapping):
        return any(map(is_fed, value.values()))
    return isinstance(value, list | tuple) and any(map(is_fed, value))


class DirectCalls:
    """Hears ``module.forward(x)``, which fires no hook, until the module is heard to be called as usual.

    Args:
        module: The module.
        hook: Called as a forward hook is.
        attachments: What takes it off again.
        paused: Returns whether calls are our own, which say nothing of how it is called.

    Attributes:
        attached: Whether it listens.
    """

    def __init__(
        self, module: nn.Module, hook: Callable[..., None], attachments: Attachments, *, paused: Callable[[], bool]
    ) -> None:
        self.attached = True
        self._paused = paused
        self._inside = False
        self._called = self._used = False
        handle = module.register_forward_pre_hook(attachments.hook(self._enter))

        def after(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._inside or not self.attached:
                self._inside = False
            else:
                self._used = True
                hook(module, args, kwargs, output)

        unwrap = attachments.wrap(module, "forward", probe="forward", after=after)
        attachments.add(handle.remove)
        self._undo = (handle.remove, unwrap)

    def end_step(self) -> None:
        """Stop where the module was called in a step, and never directly: nothing is left on its way."""
        if self._called and not self._used:
            self.attached = False
            for undo in self._undo:
                undo()
        self._inside = False

    def _enter(self, module: nn.Module, args: Any) -> None:
        if not is_traced():
            self._inside = True
            self._called = self._called or not self._paused()


class CallListener:
    """Hears the calls of modules.

    Args:
        recorder: What they are told to.
        attachments: What takes the hooks off again.
        touch: Called on the first call of a step that is due.
        unread: Called with a stream and why a value of it cannot be read.
        no_replay: Called with why the inputs that are kept are not worth running again.

    Attributes:
        paused: Whether nothing is heard: our own forward passes.
        replay: Reference pairs that are made of the first steps' inputs; None where there are none.
        called: How many calls each stream's module had in steps that are due.
    """

    def __init__(
        self,
        recorder: Recorder,
        attachments: Attachments,
        *,
        touch: Callable[[], None],
        unread: Callable[[str, str], None],
        no_replay: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.paused = False
        self.replay: Replay | None = None
        self.called: Counter[str] = Counter()
        self._recorder = recorder
        self._attachments = attachments
        self._touch = touch
        self._unread = unread
        self._no_replay = no_replay
        self._kept: list[_Kept] = []
        self._asked: tuple[Any, int] | None = None
        self._inputs: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._undo: list[Callable[[], None]] = []
        self._keys: set[str] = set()
        self._direct: list[DirectCalls] = []

    def listen(self, places: Sequence[Place]) -> None:
        """Hear the calls of modules under their taps' streams; several taps of one module's calls share its count."""
        groups: dict[tuple[int, str], list[Place]] = {}
        for place in places:
            if place.module is not None:
                groups.setdefault((id(place.module), place.method), []).append(place)
        for group in groups.values():
            self._listen_to(group)

    def _listen_to(self, group: Sequence[Place]) -> None:
        module, method = group[0].module, group[0].method
        assert module is not None
        counted: dict[Take, list[tuple[str, Nth]]] = {}
        for place in group:
            if isinstance(nth := place.tap.take, Nth):
                counted.setdefault(nth.take, []).append((place.tap.stream, nth))
        keys: list[tuple[str, Take]] = []
        for take, places in counted.items():
            key = f"{group[0].path or 'target'}()"
            while key in self._keys:
                key += "'"
            self._keys.add(key)
            roles = {one.tap.stream: None if one.tap.role is None else Role(one.tap.role) for one in group}
            self._recorder.split(key, {stream: (nth.index, nth.further) for stream, nth in places}, roles=roles)
            keys.append((key, take))
        keys += [(place.tap.stream, place.tap.take) for place in group if not isinstance(place.tap.take, Nth)]
        self._attach(module, method, self._hook(keys, method))

    def listen_for_replay(self, places: Sequence[Place]) -> None:
        """Hear calls for their inputs alone: what the streams are taken from is no call that can be run again."""
        modules = {(id(place.module), place.method): place for place in places}
        for place in modules.values():
            assert place.module is not None
            takes = [one.tap.take for one in places if (id(one.module), one.method) == (id(place.module), place.method)]
            keys = [(_REPLAYED, getattr(take, "take", take)) for take in takes]
            self._attach(place.module, place.method, self._hook(list(dict.fromkeys(keys)), place.method))

    def keep_inputs(self, *places: Place) -> None:
        """Copy what modules are given before they can change it, while pairs are kept of it."""
        methods = {(id(place.module), place.method): place for place in places}
        self._undo = [self._copy_inputs(place) for place in methods.values()]

    def _copy_inputs(self, place: Place) -> Callable[[], None]:
        module, method = place.module, place.method
        assert module is not None

        def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            wanted = self.replay is not None and not self.replay.complete and self._recorder.due
            if wanted and not self.paused and not in_backward():
                self._inputs[id(module), method] = copied(args), copied(kwargs)

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._recorder.containment.run("replayed pairs", before, args, kwargs)

        if method != "forward":
            return self._attachments.wrap(module, method, probe="replayed pairs", before=before)
        return self._attachments.forward_pre_hook(module, hook)

    def _attach(self, module: nn.Module, method: str, hook: Callable[..., None]) -> None:
        if method == "forward":
            self._attachments.forward_hook(module, hook)
            if not is_compiled(module):
                self._direct.append(DirectCalls(module, hook, self._attachments, paused=lambda: self.paused))
            return

        def after(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            hook(module, args, kwargs, output)

        self._attachments.wrap(module, method, probe=f"method {method}", after=after)

    def _hook(self, keys: Sequence[tuple[str, Take]], method: str) -> Callable[..., None]:
        recorder = self._recorder
        only_replayed = all(key == _REPLAYED for key, _ in keys)

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if only_replayed and (self.replay is None or (self.replay.complete and not self.replay.looks)):
                return
            if self.paused or not any(recorder.wants(key) for key, _ in keys):
                return
            recorder.containment.run("touch", self._touch)
            for key, take in keys:
                recorder.containment.run(
                    f"tap {key}", self._hear, key, take, Call(module, args, kwargs, output, method)
                )

        return hook

    def _hear(self, key: str, take: Take, call: Call) -> None:
        self.called.update(self._recorder.streams_of(key))
        tensor = take(call)
        if tensor is None:
            return
        known = self._recorder.streams.get(key)
        gate = known is not None and known.role is Role.gate
        whole, tensor = tensor, tensor if gate else self._pooled(key, call, tensor)
        if in_backward():
            if isinstance(tensor, Tensor):
                self._recorder.repeat(key, tensor.shape)
            return
        why = why_unread(tensor, gate=gate)
        if why is not None:
            for stream in self._recorder.streams_of(key):
                if stream in self._recorder.streams:
                    self._unread(stream, why)
            return
        if key == _REPLAYED:
            heard = self._recorder.hear(key, tensor)
        else:
            of = getattr(take, "of", None)
            passed = passed_by(call, whole) if of is None else of(call)
            passed = whole if passed is None and tensor is not whole else passed
            tokens = of is not None and isinstance(passed, Tensor) and passed.ndim == 3
            # The weights of a text's tokens add up to one, and so do their gradients to its vector's.
            how = {"gradient_as": added_up} if tokens else {}
            heard = self._recorder.observe(key, tensor, by_hand=False, confirmed_by=passed, **how)
        replay = self.replay
        if heard is None or replay is None or tensor is not whole or tensor.ndim != 2:
            return
        if replay.complete:
            self._look_for_repeats(replay, call, heard)
            return
        if call.module is replay.query or call.module is replay.document:
            if heard.trained and is_fed((call.args, call.kwargs)):
                self.replay = None
                self._no_replay("what its modules are given is trained, too, so that their first inputs grow old")
                return
            args, kwargs = self._inputs.get((id(call.module), call.method)) or (
                copied(call.args),
                copied(dict(call.kwargs)),
            )
            inputs = replace(call, args=args, kwargs=kwargs, output=None)
            self._kept.append(_Kept(heard, inputs, take))

    def _look_for_repeats(self, replay: Replay, call: Call, heard: Heard) -> None:
        """Say once when the pairs of the first batches come again: what is read before is of new pairs."""
        if not replay.looks or not self._recorder.due:
            return
        given, rows = (call.args, dict(call.kwargs)), len(heard.tensor)
        if self._asked is None:
            self._asked = (given, rows) if call.module is replay.query else None
        elif call.module is replay.document:
            (query, several), self._asked = self._asked, None
            if replay.comes_again(query, given, rows=(several, rows)):
                self._recorder.event("seen_again", subject="pairs", step=self._recorder.current)

    def _pooled(self, key: str, call: Call, tensor: Any) -> Any:
        """Return each text's mean for tokens that a mask tells from padding; such sides are no pairs."""
        if not isinstance(tensor, Tensor) or tensor.ndim != 3 or not tensor.is_floating_point():
            return tensor
        found = mean_of_tokens(call, tensor)
        for stream in self._recorder.streams_of(key) if found is not None else ():
            known = self._recorder.streams.get(stream)
            if known is not None and TOKENS not in known.rule:
                self._recorder.declare(stream, rule=f"{known.rule or 'declared'}, {TOKENS}")
                if known.role in (Role.query, Role.document):
                    known.role = Role.token
                    self._recorder.event("note", f"{stream}: {TOKENS}; late interaction is not scored", subject=stream)
        return tensor if found is None else found

    def end_step(self) -> None:
        """Keep the inputs of this step's own pairs; to be called before the recorder's step ends."""
        for one in self._direct:
            one.end_step()
        self._direct = [one for one in self._direct if one.attached]
        calls = self._recorder.heard
        calls[:] = [one for one in calls if one.stream != _REPLAYED]
        kept, self._kept = self._kept, []
        self._asked = None
        self._inputs.clear()
        if self.replay is None or self.replay.complete:
            while self._undo:
                self._undo.pop()()
            return
        confirmed = [one for one in kept if one.heard.confirmed]
        trained = {one.heard.stream for one in confirmed}
        beside = [one for one in kept if not one.heard.confirmed]
        partners = [one for one in beside if not one.heard.trained or one.heard.stream not in trained]
        for micro in sorted({one.heard.micro for one in confirmed}):
            beside = [one for one in (*confirmed, *partners) if one.heard.micro == micro]
            self._keep_pair(sorted(beside, key=lambda one: one.heard.order))

    def _keep_pair(self, calls: Sequence[_Kept]) -> None:
        replay = self.replay
        assert replay is not None
        queries = [one for one in calls if one.call.module is replay.query and one.take is replay.take_query]
        documents = [one for one in calls if one.call.module is replay.document and one.take is replay.take_document]
        for query in queries:
            rows = max(1, len(query.heard.tensor))
            fitting = [one for one in documents if len(one.heard.tensor) % rows == 0]
            fitting = [one for one in fitting if one.heard.order != query.heard.order]
            if fitting:
                document = fitting[0]
                both = [one.heard.tensor for one in (query, document)]
                pulled = pulls(*both, *(one.heard.gradient for one in (query, document)))
                replay.keep(query.call, document.call, rows=(len(both[0]), len(both[1])), pulled=pulled)
                return
