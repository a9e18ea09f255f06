"""Finding streams that nobody named: candidates of the first steps, confirmed by a backward, chosen by rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from ..journal.vocabulary import Role
from ..recording import Call, Recorder, canonical, stacking_of
from ._attach import Attachments, compiled_calls, compiled_inside, is_compiled, is_traced, no_warning_of_hooks
from ._calls import added_up, in_backward
from ._candidates import Candidate, address, entries, entry_of, is_tokens, sizes
from ._places import argument_names
from ._pooling import PaddingCheck
from ._product_checks import TOKENS_FROM, TRIES, ProductChecks
from ._rules import SINGLE, Choice, choose
from ._terms import LossListener, is_loss

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

_METHODS = ("encode", "encode_query", "encode_queries", "encode_passage", "encode_passages", "encode_document")
_METHODS += ("encode_documents", "encode_corpus", "get_embedding", "get_embeddings", "embed")


@dataclass
class _Step:
    candidates: list[Candidate] = field(default_factory=list)
    scores: set[int] = field(default_factory=set)
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entered:
    """A call in progress, and how many losses were heard before it."""

    module: nn.Module
    heard: int
    losses: int


class Finder:
    """Listens to every module for the first steps, and says which calls are the streams.

    It listens through hooks of the whole process, since a loss is often no part of the model, and around methods of
    the model and its parts; all of it is gone once streams are found, and after 20 steps.

    Args:
        target: The model.
        recorder: Where candidates are kept until a backward confirms them.
        attachments: Where what takes it off again is kept.
        loss: What hears loss terms.
        found: Called with what was chosen; None where nothing is to be chosen, and candidates alone are wanted.
        padding: Hears what was heard here, too.

    Attributes:
        paused: Whether nothing is heard: our own forward passes, and a trainer's evaluations.
        losses: Ids of modules that gave a loss.
    """

    def __init__(
        self,
        target: nn.Module,
        recorder: Recorder,
        attachments: Attachments,
        *,
        loss: LossListener,
        found: Callable[[Choice], None] | None,
        padding: PaddingCheck | None = None,
    ) -> None:
        self.paused = False
        self._padding = padding
        self._target = target
        self._recorder = recorder
        self._attachments = attachments
        self._loss = loss
        self._found = found
        self._paths = {id(module): canonical(path) for path, module in target.named_modules()}
        self._stack: list[_Entered] = []
        self._methods: list[str] = []
        self._step = _Step()
        self._last: list[str] = []
        self._losses: list[tuple[nn.Module, bool]] = []
        self._warned = no_warning_of_hooks()
        self._open = True
        tries = 0 if found is None else TRIES
        self.losses: set[int] = set()
        about = {"paused": lambda: self.paused, "losses": self.losses}
        self._checks = ProductChecks(target, recorder, tries=tries, **about)
        self._handles: list[RemovableHandle] = []
        self._listen()
        self._undo = [undo for module in (target, *target.children()) for undo in self._wrap(module)]
        self._undo += [self._wrap_call(module, name, compiled=True) for module, name in compiled_calls(target)]
        attachments.add(self._off)

    def candidates(self) -> list[str]:
        """Return what was heard in the latest step, in words."""
        return self._last

    @property
    def no_sides(self) -> frozenset[int]:
        """Ids of modules whose outputs are scores, or are on the way to the vectors of the loss."""
        return frozenset(module for module, _, _ in self._checks.no_sides)

    def close(self) -> None:
        """Listen no more, but to the losses that were heard; may be called twice."""
        if not self._open:
            return
        self._off()
        if self._found is None:
            return
        for module, of_model in {id(one): (one, of_model) for one, of_model in self._losses}.values():
            self._loss.listen(module, of_model=of_model, met=not of_model)

    def _listen(self) -> None:
        if self._open and not self._handles:
            self._handles = [
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
            ]

    def _listen_not(self) -> None:
        while self._handles:
            handle = self._handles.pop()
            handle.remove()
            # torch 2.13 forgets this entry, and then warns whoever compiles a module of hooks that are gone.
            getattr(torch_modules, "_global_forward_hooks_with_kwargs", {}).pop(handle.id, None)

    def _off(self) -> None:
        self._open = False
        self._step = _Step()  # candidates know where they stand in the graph
        self._checks.close()
        self._listen_not()
        while self._undo:
            self._undo.pop()()
        self._warned()

    def step_begins(self) -> None:
        """Look for products in this step, if the one before it told no sides."""
        if self._open:
            self._checks.step_begins()

    def end_step(self) -> None:
        """Choose the streams of this step, if there are any; to be called before the recorder's step ends."""
        self._checks.step_ends()
        if not self._open:
            return
        step, self._step = self._step, _Step()
        self._stack.clear()
        self._methods.clear()
        calls = self._recorder.heard
        heard = {id(one) for one in calls}
        kept = [one for one in step.candidates if id(one.heard) in heard]
        mine = {id(one) for one in (*(one.heard for one in kept), *self._checks.heard)}
        calls[:] = [one for one in calls if id(one) not in mine]
        kept = self._checks.sides(kept)
        self._last = list(dict.fromkeys([*(one.said for one in kept), *reversed(step.others)]))
        chosen = None if self._found is None else self._unstacked(self._choose(kept, frozenset(step.scores)))
        chosen = self._checks.checked(chosen, kept)
        if chosen is not None:
            self._take(chosen, kept)
        elif self._recorder.current >= STEPS:
            self.close()

    @staticmethod
    def _choose(kept: list[Candidate], scores: frozenset[int]) -> Choice | None:
        """Choose among matrices, else among single tokens whose vectors stand for their texts."""
        found = choose([one for one in kept if one.token is None], scores)
        return found or choose([one for one in kept if one.alone], scores)

    def _take(self, chosen: Choice, kept: list[Candidate]) -> None:
        self.close()
        parts: Mapping[str, Role] = {}
        if chosen.stacked is not None:
            stacking, parts = chosen.stacked
            self._recorder.unstack(chosen.streams[0][1], stacking, parts)
        calls = self._recorder.heard
        taken = {id(one) for one, _, _ in chosen.streams}
        others = list(dict.fromkeys(one.said for one in kept if id(one) not in taken))
        for one, stream, role in chosen.streams:
            one.heard.stream = stream
            calls.append(one.heard)
            about = {"where": one.where, "rule": chosen.rule, "candidates": others[:10]}
            for name in self._recorder.streams_of(stream):
                known = self._recorder.streams.get(name)
                if known is None or not known.where:
                    self._recorder.declare(name, role=parts.get(name, role), **about)
        calls.sort(key=lambda one: one.order)
        if self._found is not None:
            self._found(chosen)

    @staticmethod
    def _unstacked(chosen: Choice | None) -> Choice | None:
        """Return a single matrix as both sides of its batch, where it holds them."""
        if chosen is None or chosen.rule != SINGLE or chosen.unsure or chosen.streams[0][2] is not None:
            return chosen
        stacking = stacking_of(chosen.streams[0][0].heard.tensor)
        if stacking is None:
            return chosen
        sides = {str(side): side for side in (Role.query, Role.document)}
        return replace(chosen, rule=str(stacking), stacked=(stacking, sides))

    # What is heard

    def _wrap(self, module: nn.Module) -> list[Callable[[], None]]:
        """Put something around the methods that may be called past a module's hooks."""
        if is_compiled(module):
            return []
        found = [name for name in _METHODS if callable(getattr(type(module), name, None))]
        undo = [self._wrap_method(module, name) for name in found]
        inside = id(module) in compiled_inside(self._target)
        return undo if inside else [*undo, self._wrap_call(module, "forward")]

    def _wrap_method(self, module: nn.Module, name: str) -> Callable[[], None]:
        def before(args: Any, kwargs: Any) -> None:
            self._methods.append(name)

        def after(args: Any, kwargs: Any, output: Any) -> None:
            # One method that calls another is one call.
            outermost = len(self._methods) == 1
            if self._methods:
                self._methods.pop()
            if outermost and not self.paused:
                self._hear_output(module, args, kwargs, output, method=name, depth=0)

        def failed(error: BaseException) -> None:
            del self._methods[-1:]

        return self._attachments.wrap(module, name, probe="finding streams", before=before, after=after, failed=failed)

    def _wrap_call(self, module: nn.Module, name: str, *, compiled: bool = False) -> Callable[[], None]:
        """Hear the calls past a module's hooks; where they lead into compiled code, no hook of ours may be met there.

        It would be compiled with it, and once more when it is gone: for any size, where another one has been met since.
        """
        direct: list[bool] = []

        def before(args: Any, kwargs: Any) -> None:
            direct.append(not (self._stack and self._stack[-1].module is module))
            if direct[-1]:
                self._enter(module, args)
            if compiled:
                self._listen_not()

        def after(args: Any, kwargs: Any, output: Any) -> None:
            self._listen()
            if direct and direct.pop():
                self._leave(module, args, kwargs, output)

        def failed(error: BaseException) -> None:
            self._listen()
            if direct and direct.pop():
                self._left(module)

        return self._attachments.wrap(module, name, probe="finding streams", before=before, after=after, failed=failed)

    def _enter(self, module: nn.Module, args: Any) -> None:
        if not is_traced():
            self._stack.append(self._entered(module))

    def _entered(self, module: nn.Module) -> _Entered:
        return _Entered(module, self._loss.heard, len(self._losses))

    def _left(self, module: nn.Module) -> _Entered:
        while self._stack:
            entered = self._stack.pop()
            if entered.module is module:
                return entered
        return self._entered(module)

    def _leave(self, module: nn.Module, args: Any, *rest: Any) -> None:
        if is_traced():
            return
        entered = self._left(module)
        # After an exception in a forward, torch leaves out the keyword arguments.
        kwargs, output = rest if len(rest) == 2 else ({}, None)
        if output is not None and not self.paused:
            self._recorder.containment.run("finding streams", self._look, entered, args, kwargs, output)

    def _look(self, entered: _Entered, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        module = entered.module
        if is_loss(output) and not in_backward():
            self.losses.add(id(module))
        if self._padding is not None:
            self._padding.look_up(module, args)
        inside = [one.module for one in self._stack if id(one.module) in self._paths]
        if id(module) not in self._paths:
            if inside and isinstance(module, _ON_SCORES):
                self._look_at_arguments(module, type(module).__name__, args, kwargs)
            if not inside and not in_backward():
                self._look_at_loss(entered, args, kwargs, output)
            return
        if module is self._target and not inside:
            self._hear_loss(module, output, of_model=True)
        elif is_loss(output) and not in_backward():
            self._look_at_arguments(module, self._paths[id(module)], args, kwargs, least=2)
        if len(inside) <= 1 and (not inside or inside[0] is self._target):
            self._hear_output(module, args, kwargs, output, depth=len(inside))

    def _look_at_loss(self, entered: _Entered, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if not is_loss(output):
            return
        module = entered.module
        # The outermost loss is heard instead of those inside of it.
        self._loss.forget(entered.heard)
        del self._losses[entered.losses :]
        self._hear_loss(module, output, of_model=False)
        self._look_at_arguments(module, type(module).__name__, args, kwargs)

    def _look_at_arguments(
        self, module: nn.Module, path: str, args: Any, kwargs: Mapping[str, Any], *, least: int = 1
    ) -> None:
        """Keep the matrices that a loss is given, if there are so many: a part of the model may have one of its own."""
        given = [*zip(argument_names(module, args), args, strict=False), *kwargs.items()]
        given = [(name, value) for name, value in given if isinstance(value, Tensor)]
        if isinstance(module, _ON_SCORES):
            self._step.scores.update(address(value) for _, value in given)
            return
        if sum(value.ndim == 2 and value.is_floating_point() for _, value in given) >= least:
            for name, value in given:
                self._keep(value, module, path, name, kind="argument", depth=len(self._stack))

    def _hear_loss(self, module: nn.Module, output: Any, *, of_model: bool) -> None:
        if self._found is None or self._loss.knows(module):
            return  # its own hook, which comes after this one, hears it
        if self._loss.hear("loss" if of_model else type(module).__name__, output, of_model=of_model, met=not of_model):
            self._losses.append((module, of_model))

    def _hear_output(
        self, module: nn.Module, args: Any, kwargs: Any, output: Any, *, depth: int, method: str = "forward"
    ) -> None:
        path = self._paths[id(module)]
        given = frozenset(address(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        about = {"kind": "output", "depth": depth, "inputs": given, "method": method}
        call = Call(module, args, kwargs, output, method)
        for key, value in entries(output):
            self._keep(value, module, path, key, **about)
            if self._checks.on and is_tokens(value) and not in_backward():
                self._checks.hear_tokens(value, call, path, key, **about)
        if self._padding is not None:
            self._padding.hear(call)

    def _keep(self, value: Any, module: nn.Module, path: str, key: str | int | None, **about: Any) -> None:
        if not self._open or not isinstance(value, Tensor) or not value.is_floating_point():
            return
        if value.ndim == 3 and about["kind"] == "output":
            place = f"module {path}" if path else "the model"
            self._step.others.append(f"{entry_of('output', key)} of {place} ({sizes(value)}, vectors of tokens)")
            if self._recorder.current >= TOKENS_FROM and value.requires_grad and not in_backward():
                self._keep_tokens(value, module, path, key, **about)
        if value.ndim != 2:
            return
        if value.shape[1] < 2 or not len(value) or value.layout is not torch.strided:
            return
        source = (id(module), about.get("method", "forward"), key)
        if in_backward():
            self._repeat(source, value)
        elif len(self._step.candidates) < _MOST:
            heard = self._recorder.hear(f"?{len(self._step.candidates)}", value)
            found = Candidate(heard, module, path, key, **about, address=address(value), node=value.grad_fn)
            self._step.candidates.append(found)

    def _keep_tokens(self, value: Tensor, module: nn.Module, path: str, key: str | int | None, **about: Any) -> None:
        """Keep the first and the last token of each text, and which tokens a backward comes through."""
        if len(self._step.candidates) + 2 > _MOST or min(value.shape[1:]) < 2 or not len(value):
            return
        passed: list[Tensor] = []

        def hook(gradient: Tensor) -> None:
            if not self._recorder.takes_forces:
                # A norm is read without a copy, which of a language model's scores would be large.
                passed.append(torch.linalg.vector_norm(gradient, float("inf"), dim=2) != 0)

        value.register_hook(hook)
        about |= {"address": address(value), "node": value.grad_fn, "passed": passed}
        for token in (0, -1):
            kept = {"confirmed_by": value, "gradient_as": added_up}
            heard = self._recorder.hear(f"?{len(self._step.candidates)}", value[:, token], **kept)
            self._step.candidates.append(Candidate(heard, module, path, key, **about, token=token))

    def _repeat(self, source: Any, value: Tensor) -> None:
        """Note that something without a graph was computed again, in a backward: so it is trained."""
        for one in self._step.candidates:
            if (
                one.source == source
                and not one.heard.trained
                and not one.heard.confirmed
                and one.heard.tensor.shape == value.shape
            ):
                self._recorder.repeat(one.heard.stream, value.shape)
                return
