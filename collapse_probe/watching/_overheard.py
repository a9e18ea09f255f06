"""Hearing torch's functions for a step: outside of the encoder, and with the stack of modes left as it was."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils.hooks import RemovableHandle

from ..recording import Containment
from ._attach import is_compiled, is_traced
from ._calls import in_backward
from ._products import Listener

_FAST = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""Modules that compute otherwise, to the last bits, where a mode is entered and no gradient is needed."""


class _Mode(TorchFunctionMode):
    def __init__(self, hear: Callable[..., None]) -> None:
        super().__init__()
        self._hear = hear

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._hear(func, args, kwargs or {}, out)
        return out


class Overheard:
    """Hears torch's functions between two optimiser steps.

    A mode is entered for that, and left inside of modules that are trained as parts of the model, where gradients are
    off, and in those that compute otherwise under a mode. It is entered only where no other mode is but that of the
    default device, so that what the program enters and leaves is its own.

    Args:
        target: The model.
        listener: What is told.
        containment: What contains our failures.
        paused: Returns whether calls are our own.
        losses: Modules that are known to give a loss: in them it is listened to, trained or not.
    """

    def __init__(
        self,
        target: nn.Module,
        listener: Listener,
        containment: Containment,
        *,
        paused: Callable[[], bool],
        losses: Collection[int] = (),
    ) -> None:
        self._target = target
        self._listener = listener
        self._containment = containment
        self._paused = paused
        self._losses = losses
        self._mode = _Mode(self._called)
        self._parts: frozenset[int] = frozenset()
        self._inside: list[nn.Module] = []
        self._place: int | None = None
        self._mine = (0, 0)
        self._handles: list[RemovableHandle] = []
        self._undo: Callable[[], Any] = lambda: None

    @property
    def on(self) -> bool:
        """Whether it listens."""
        return bool(self._handles)

    def possible(self) -> bool:
        """Return whether it may listen: nothing is compiled, which would be compiled anew, and no mode is entered."""
        return not (
            compiled_frames()
            or any(map(is_compiled, self._target.modules()))
            or any(one is not _default_device() for one in _get_current_function_mode_stack())
            or is_traced()
        )

    def begin(self) -> None:
        """Listen, if that is possible."""
        if self.on or not self.possible():
            return
        self._mine = _thread()
        trained = [one for one in self._target.modules() if any(True for _ in one.parameters())]
        self._parts = frozenset(id(one) for one in trained if one is not self._target)
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        self._before_compiling()
        _push_mode(self._mode)

    def _before_compiling(self) -> None:
        """Listen no more as soon as the program compiles something, which would be compiled with the mode in it."""
        dynamo = sys.modules.get("torch._dynamo.callback")  # which an optimiser's step imports
        if dynamo is None:
            return
        handler = dynamo.callback_handler

        def compiles(*_: Any) -> None:
            self._containment.run("products", self.end, compiling=True)

        def undo() -> None:
            with suppress(ValueError):  # a program may have cleared them all
                handler.remove_start_callback(compiles)

        handler.register_start_callback(compiles)
        self._undo = undo

    def end(self, *, compiling: bool = False) -> None:
        """Listen no more; may be called twice.

        Args:
            compiling: Whether torch asks who is to be told of it, and its list is not to be changed.
        """
        if not compiling:
            self._undo()
        while self._handles:
            self._handles.pop().remove()
        self._inside.clear()
        _take(self._mode)
        self._listener.forget()

    def _quiet(self, module: nn.Module) -> bool:
        part = id(module) in self._parts and id(module) not in self._losses
        return part or not torch.is_grad_enabled() or isinstance(module, _FAST)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._run(self._entered, module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._run(self._left, module)

    def _run(self, function: Callable[..., None], *args: Any) -> None:
        if self._mine != _thread():
            return  # hooks are of all threads, and a process that was forked, as of a data loader, has all of it
        self._containment.run("products", function, *args)
        if self._containment.off("products") and self.on:
            self.end()

    def _entered(self, module: nn.Module) -> None:
        if not is_traced() and (self._inside or self._quiet(module)):
            if not self._inside:
                self._place = _take(self._mode)
            self._inside.append(module)

    def _left(self, module: nn.Module) -> None:
        if self._inside and any(one is module for one in self._inside):
            while self._inside.pop() is not module:
                pass
            if not self._inside and self._place is not None and self.on:
                _put(self._mode, self._place)

    def _called(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if self.on and not (self._paused() or in_backward() or is_traced()) and torch.is_grad_enabled():
            name = str(getattr(func, "__name__", ""))
            self._run(self._listener.hear, name, args, kwargs, out)


def _thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def compiled_frames() -> int:
    """Return how many functions torch has compiled in this program."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["frames"]["total"])


def _default_device() -> Any:
    """Return the mode that ``torch.set_default_device`` enters, and leaves by what it is."""
    return getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)


def _take(mode: TorchFunctionMode) -> int | None:
    """Take a mode out of the stack, and return how many stand below it; None where it is not there."""
    known = _get_current_function_mode_stack()
    place = next((at for at, one in enumerate(known) if one is mode), None)
    if place is not None:
        for _ in known[place:]:
            _pop_mode()
        for one in known[place + 1 :]:
            _push_mode(one)
    return place


def _put(mode: TorchFunctionMode, place: int) -> None:
    """Put a mode where it stood, so that what was entered after it is left before it."""
    known = _get_current_function_mode_stack()
    # The default device has to be the lowest.
    place = max(place, int(bool(known) and known[0] is _default_device()))
    for _ in known[place:]:
        _pop_mode()
    for one in (mode, *known[place:]):
        _push_mode(one)
