"""Where a step ends: heard from the optimisers themselves."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..recording import Containment, total_norm
from ._attach import Attachments
from ._calls import in_backward


def as_optimizers(given: Any) -> list[Optimizer]:
    """Return one optimiser or several as a list; wrappers such as accelerate's are looked into.

    Raises:
        InputError: something that is none.
    """
    if isinstance(given, list | tuple) and not given:
        raise InputError("optimizer is an empty list: give what steps, or leave it out and call w.step() after a step")
    several = given if isinstance(given, list | tuple) else [] if given is None else [given]
    found = []
    for one in several:
        inner = _stepping(getattr(one, "optimizer", one))
        if inner is None:
            raise InputError(f"optimizer is a {type(one).__name__}: give a torch.optim.Optimizer, or a list of them")
        found.append(inner)
    return found


def _stepping(given: Any) -> Optimizer | None:
    """Return what fires hooks: an optimiser that was never made one itself holds the one that steps."""
    if not isinstance(given, Optimizer) or hasattr(given, "_optimizer_step_pre_hooks"):
        return given if isinstance(given, Optimizer) else None
    return next((one for one in vars(given).values() if isinstance(one, Optimizer)), None)


def parameters_of(optimizers: Sequence[Optimizer]) -> list[nn.Parameter]:
    """Return every parameter that an optimiser holds, once."""
    found = {id(p): p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return list(found.values())


def describe(optimizers: Sequence[Optimizer]) -> list[dict[str, Any]]:
    """Return class and settings of every optimiser, for the run's configuration."""
    keep = ("lr", "eps", "weight_decay", "momentum", "betas")
    return [
        {
            "class": f"{type(one).__module__}.{type(one).__qualname__}",
            "groups": [
                {key: _plain(group[key]) for key in keep if key in group} | {"parameters": len(group["params"])}
                for group in one.param_groups
            ],
        }
        for one in optimizers
    ]


def rates(optimizers: Sequence[Optimizer]) -> dict[str, float]:
    """Return ``rate/GROUP`` and, where there is any, ``decay/GROUP`` of every group, where they are plain numbers."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    found = {}
    for index, group in enumerate(groups):
        rate, decay = group.get("lr"), group.get("weight_decay")
        if isinstance(rate, int | float):
            found[f"rate/{index}"] = float(rate)
        if isinstance(decay, int | float) and decay:
            found[f"decay/{index}"] = float(decay)
    return found


class StepListener:
    """Hears steps of several optimisers as steps of training.

    The first optimiser that steps after a backward begins the end of a step, the others before the next backward belong
    to it, and it has ended when the last of them has stepped: the last of those that ever stepped together. Where
    one of them is left out, as by a GradScaler, the step ends at the next forward, the next step or :meth:`end`.

    Args:
        optimizers: The optimisers.
        before: Called just before the first optimiser of a step changes anything; where forward and backward run inside
            of its ``step``, as in Lightning's, after their first time.
        after: Called after the last one.
        modules: Whose forward begins the next step, where there are several optimisers.
        begins: Called as ``before`` is, also where forward and backward are still to run inside of ``step``.
        containment: What contains our failures.
        attachments: What takes the hooks off again.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        *,
        before: Callable[[], None],
        after: Callable[[], None],
        containment: Containment,
        attachments: Attachments,
        modules: Sequence[nn.Module] = (),
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        self._begins = begins
        self._optimizers = list(optimizers)
        self._stepped: list[int] = []
        self._together: dict[int, set[int]] = {}
        self._open = False
        self._new = True
        self._gradients: dict[int, tuple[Tensor, int] | None] = {}
        self._before = before
        self._after = after
        self._containment = containment
        for optimizer in optimizers:
            attachments.add(optimizer.register_step_pre_hook(self._pre).remove)
            attachments.add(optimizer.register_step_post_hook(self._post).remove)
        for module in modules if len(self._optimizers) > 1 else ():
            attachments.forward_pre_hook(module, self._forward)

    def end(self) -> None:
        """End the step that waits for an optimiser."""
        if self._open:
            self._open = False
            self._together.setdefault(self._stepped[0], set()).update(self._stepped)
            self._containment.run("after the step", self._after)

    def leave(self) -> None:
        """Forget the step that waits for an optimiser."""
        self._open = False

    def _forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._open and not in_backward():
            # What is read here must not fill the user's autocast cache with weights that have no graph.
            with torch.autocast(_device_type(args, module), enabled=False):
                self.end()

    def _is_new(self, optimizer: Optimizer) -> bool:
        if not self._stepped or id(optimizer) in self._stepped:
            return True
        # A backward since then has made a gradient, or added to the one that was there.
        known, now = self._gradients.get(id(optimizer)), _gradient(optimizer)
        return now is not None and (known is None or known[0] is not now[0] or known[1] != now[1])

    def _pre(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        self._new = self._is_new(optimizer)
        if self._new:
            self.end()
        if self._new:
            self._begins()
        if not self._new:
            return None
        if closure is None:
            self._containment.run("before the step", self._before)
            return None
        heard = self._followed(closure)
        return (args, {**kwargs, "closure": heard}) if "closure" in kwargs else ((args[0], heard, *args[2:]), kwargs)

    def _followed(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure that is followed by ``before`` the first time that it is called."""
        called: list[bool] = []

        @functools.wraps(closure, updated=())
        def heard() -> Any:
            found = closure()
            if not called:
                called.append(True)
                self._containment.run("before the step", self._before)
            return found

        return heard

    def _post(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._new:
            self._stepped = [id(optimizer)]
            others = [one for one in self._optimizers if one is not optimizer]
            self._gradients = {id(one): _gradient(one) for one in others}
            self._open = True
        else:
            self._stepped.append(id(optimizer))
            self._together.setdefault(self._stepped[0], set()).update(self._stepped)
        everyone = {id(one) for one in self._optimizers}
        if self._together.get(self._stepped[0], everyone) <= set(self._stepped):
            self.end()


def _device_type(args: tuple[Any, ...], module: nn.Module) -> str:
    tensors = (*(one for one in args if isinstance(one, Tensor)), *module.parameters())
    return next((one.device.type for one in tensors), "cpu")


def _gradient(optimizer: Optimizer) -> tuple[Tensor, int] | None:
    """Return an optimiser's first gradient and how often it has been written."""
    held = (parameter for group in optimizer.param_groups for parameter in group["params"])
    gradient = next((parameter.grad for parameter in held if parameter.grad is not None), None)
    return None if gradient is None else (gradient, gradient._version)


class ClipListener:
    """Hears the gradient norm before clipping from ``torch.nn.utils.clip_grad_norm_``, which returns it.

    Only calls through the module are heard; whoever imported the function before is not.

    Args:
        parameters: Whose norm is meant; what is clipped of others is not heard.
        containment: What contains our failures.
        attachments: What takes it off again.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, containment: Containment, attachments: Attachments
    ) -> None:
        self._parameters = {id(one): one for one in parameters}
        self._clipped: list[tuple[set[int], Tensor]] = []
        self.listen(torch.nn.utils, attachments)

    def listen(self, owner: Any, attachments: Attachments) -> None:
        """Hear the calls of an object's ``clip_grad_norm_(parameters, max_norm)``."""
        attachments.wrap(owner, "clip_grad_norm_", probe="gradient norm", given=_noting, after=self._hear)

    def take(self) -> Tensor | None:
        """Return the norm before clipping and forget it; None where nothing was clipped. Waits for no device.

        What was clipped apart is put together, and with it what was not clipped at all.
        """
        clipped, self._clipped = self._clipped, []
        if not clipped:
            return None
        known = set[int]().union(*(held for held, _ in clipped))
        rest = total_norm([one for key, one in self._parameters.items() if key not in known])
        norms = [norm for _, norm in clipped] + ([] if rest is None else [rest])
        if len(norms) == 1:
            return norms[0]
        return torch.linalg.vector_norm(torch.stack([norm.reshape(()).to(norms[0]) for norm in norms]))

    def _hear(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        most = kwargs.get("max_norm", args[1] if len(args) > 1 else None)
        # A bound of infinity only asks for the norm.
        if not isinstance(result, Tensor) or result.numel() != 1 or most == math.inf:
            return
        given = args[0] if args else kwargs.get("parameters")
        held = {id(one) for one in _parameters_in(given)} & set(self._parameters)
        if not held or any(held < other for other, _ in self._clipped):
            return
        self._clipped = [(other, norm) for other, norm in self._clipped if not held & other]
        self._clipped.append((held, result.detach()))


class _Noted:
    """An iterator that notes what it hands out."""

    def __init__(self, inner: Iterator[Any]) -> None:
        self.inner = inner
        self.noted: list[Any] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self.noted.append(next(self.inner))
        return self.noted[-1]


_noted: WeakKeyDictionary[Any, _Noted] = WeakKeyDictionary()


def _passing(noted: _Noted) -> Iterator[Any]:
    yield from noted


def _noting(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments so that parameters that can be gone through only once are noted on the way."""
    given = args[0] if args else kwargs.get("parameters")
    if not isinstance(given, Iterator):
        return args, kwargs
    noted: Any = _Noted(given)
    if isinstance(given, Generator):
        # An empty generator is warned of, where another iterator is not.
        passing = _passing(noted)
        _noted[passing], noted = noted, passing
    return ((noted, *args[1:]), kwargs) if args else (args, {**kwargs, "parameters": noted})


def _parameters_in(given: Any) -> list[Any]:
    if isinstance(given, Generator):
        given = _noted.get(given, ())
    if isinstance(given, _Noted):
        return given.noted
    return [given] if isinstance(given, Tensor) else list(given) if isinstance(given, Iterable) else []


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return None
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
