"""What is attached to somebody else's objects, and how all of it comes off again."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from ..recording import Containment

_ABSENT = object()

COMPILED_CALL = "_compiled_call_impl"
"""Where torch keeps what a module that was compiled in place calls."""

_REPLICATE = "_replicate_for_data_parallel"

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")

Given = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
"""Returns the arguments of a call."""


def is_traced() -> bool:
    """Return whether this runs to be compiled, exported or traced: what is called then is no training."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_compiled(module: nn.Module) -> bool:
    """Return whether calls of a module go to compiled code, which a method of its own would make compile again."""
    return is_compiled_in_place(module) or hasattr(module, "_orig_mod")


def is_compiled_in_place(module: nn.Module) -> bool:
    """Return whether ``module.compile()`` was called, which compiles a module's hooks with it."""
    return getattr(module, COMPILED_CALL, None) is not None


def compiled_inside(target: nn.Module) -> frozenset[int]:
    """Return the ids of modules that lie inside of compiled code: a hook on one of them would be part of it."""
    compiled = [one for one in target.modules() if is_compiled(one)]
    return frozenset(id(part) for one in compiled for part in one.modules() if part is not one)


def compiled_calls(target: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return the modules whose calls lead into compiled code, each with the method that does."""
    inside = compiled_inside(target)
    found = [one for one in target.modules() if is_compiled(one) and id(one) not in inside]
    return [(one, COMPILED_CALL if is_compiled_in_place(one) else "forward") for one in found]


class Wrapped:
    """A bound method with something that happens around it; its own exceptions pass, ours never do.

    The user's method is called exactly once, with what it was given, and its result is returned as it is.

    Args:
        inner: The method.
        containment: What contains our failures.
        probe: Our name for what happens.
        after: Called with the arguments and the result afterwards.
        before: Called with the arguments first.
        failed: Called with what the method raised, before that passes on.
        given: Returns the arguments that the method gets instead: the same, looked at on the way.

    Attributes:
        own: What the object itself had under the method's name.
    """

    def __init__(
        self,
        inner: Callable[..., Any],
        *,
        containment: Containment,
        probe: str,
        after: Callable[[tuple[Any, ...], dict[str, Any], Any], None] | None = None,
        before: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        given: Given | None = None,
    ) -> None:
        self.inner = inner
        self.own: Any = _ABSENT
        self._failed = failed
        self._given = given
        self._containment = containment
        self._probe = probe
        self._after = after
        self._before = before
        self.__doc__ = getattr(inner, "__doc__", None)

    def __getattr__(self, name: str) -> Any:
        # Whoever looks at the method, as an exporter at its code, sees the user's own.
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return self.inner(*args, **kwargs)
        if self._given is not None:
            args, kwargs = self._containment.run(self._probe, self._given, args, kwargs) or (args, kwargs)
        if self._before is not None:
            self._containment.run(self._probe, self._before, args, kwargs)
        try:
            result = self.inner(*args, **kwargs)
        except BaseException as error:
            if self._failed is not None:
                self._containment.run(self._probe, self._failed, error)
            raise
        if self._after is not None:
            self._containment.run(self._probe, self._after, args, kwargs, result)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # A copy of the user's object is the user's alone: it is not watched.
        return copy.deepcopy(self.inner, memo)

    def __reduce__(self) -> Any:
        # Saved as what it stands for, so that whoever loads it needs nothing of ours.
        owner = getattr(self.inner, "__self__", None)
        return self.inner.__reduce_ex__(2) if owner is None else (getattr, (owner, self.inner.__name__))


class _Hook:
    """A hook that a copy of its module, or one that is sent to another process, does not have.

    Never traced: compiled code would be other code, and compiled anew whenever the step's number changes.
    """

    def __init__(self, hook: Callable[..., None]) -> None:
        self._hook = hook

    def __call__(self, *args: Any) -> None:
        if not is_traced():
            self._hook(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _nothing

    def __reduce__(self) -> Any:
        return (copy.copy, (_nothing,))


def _nothing(*args: Any) -> None:
    """Hear nothing."""


class Attachments:
    """Everything that a watch attached; :meth:`close` takes all of it off, in the reverse order.

    Args:
        containment: What contains our failures.

    Attributes:
        replicated: Called when a module is replicated, to run in threads.
    """

    def __init__(self, containment: Containment) -> None:
        self.replicated: Callable[[], None] = _nothing
        self._containment = containment
        self._undo: list[Callable[[], None]] = []
        self._plain: set[int] = set()

    def add(self, undo: Callable[[], None]) -> None:
        """Remember how something comes off."""
        self._undo.append(undo)

    @staticmethod
    def hook(function: Callable[..., None]) -> Callable[..., None]:
        """Return a hook that calls a function, and that a copy of its module does not have."""
        return _Hook(function)

    def forward_pre_hook(self, module: nn.Module, hook: Callable[..., None]) -> Callable[[], None]:
        """Call ``hook(module, args, kwargs)`` before every call of a module; it returns nothing.

        Returns:
            What takes it off again, if that is wanted before all else comes off.
        """
        if is_compiled_in_place(module):

            def before(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
                hook(module, args, kwargs)

            return self.wrap(module, COMPILED_CALL, probe="forward", before=before)
        remove = module.register_forward_pre_hook(_Hook(hook), with_kwargs=True).remove
        self.add(remove)
        self._keep_replicas_plain(module)
        return remove

    def forward_hook(self, module: nn.Module, hook: Callable[..., None]) -> Callable[[], None]:
        """Call ``hook(module, args, kwargs, output)`` after every call of a module; it returns nothing.

        Returns:
            What takes it off again, if that is wanted before all else comes off.
        """
        if is_compiled_in_place(module):

            def after(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
                hook(module, args, kwargs, output)

            return self.wrap(module, COMPILED_CALL, probe="forward", after=after)
        remove = module.register_forward_hook(_Hook(hook), with_kwargs=True).remove
        self.add(remove)
        self._keep_replicas_plain(module)
        return remove

    def wrap(
        self,
        owner: Any,
        name: str,
        *,
        probe: str,
        after: Callable[[tuple[Any, ...], dict[str, Any], Any], None] | None = None,
        before: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        given: Given | None = None,
    ) -> Callable[[], None]:
        """Put something around a method of one object; the class and other objects stay as they are.

        Returns:
            What takes it off again, if that is wanted before all else comes off.
        """
        inner = getattr(owner, name)
        wrapped = Wrapped(
            inner,
            containment=self._containment,
            probe=probe,
            after=after,
            before=before,
            failed=failed,
            given=given,
        )
        wrapped.own = vars(owner).get(name, _ABSENT)
        _set(owner, name, wrapped)

        def undo() -> None:
            outer = vars(owner).get(name)
            if outer is wrapped:
                _delete(owner, name) if wrapped.own is _ABSENT else _set(owner, name, wrapped.own)
            while isinstance(outer, Wrapped):
                # Another watch's stands around it, and closes later.
                if outer.inner is wrapped:
                    outer.inner, outer.own = wrapped.inner, wrapped.own
                outer = outer.inner

        self.add(undo)
        if isinstance(owner, nn.Module):
            self._keep_replicas_plain(owner)
        return undo

    def _keep_replicas_plain(self, module: nn.Module) -> None:
        """Let replicas of ``DataParallel`` have nothing of ours: they run in threads, each on a part of the batch."""
        if id(module) in self._plain or is_compiled_in_place(module):
            return
        self._plain.add(id(module))

        def after(args: tuple[Any, ...], kwargs: dict[str, Any], replica: nn.Module) -> None:
            _strip(replica)
            self.replicated()

        self.wrap(module, _REPLICATE, probe="replicas", after=after)

    def close(self) -> None:
        """Take everything off; may be called twice."""
        while self._undo:
            self._containment.run("closing", self._undo.pop())


def _strip(replica: nn.Module) -> None:
    """Take what is ours off a copy of a module that shares its hooks with the module itself."""
    own = vars(replica)
    for name, value in list(own.items()):
        if isinstance(value, Wrapped):
            del own[name]
        elif name in _HOOKS:
            own[name] = type(value)((key, one) for key, one in value.items() if not isinstance(one, _Hook))


def _set(owner: Any, name: str, value: Any) -> None:
    # nn.Module.__setattr__ would look for parameters; a plain attribute is all that is wanted.
    object.__setattr__(owner, name, value)


def _delete(owner: Any, name: str) -> None:
    object.__delattr__(owner, name)


def no_warning_of_hooks() -> Callable[[], None]:
    """Keep torch from warning whoever calls a compiled module of hooks that are ours; returns what ends it."""
    if torch_modules._has_any_global_hook():
        return lambda: None
    message = r"Using `torch\.compile\(module\)` when there are global hooks"
    warnings.filterwarnings("ignore", message=message, category=UserWarning)
    entry = warnings.filters[0]

    def undo() -> None:
        if entry in warnings.filters:
            warnings.filters.remove(entry)  # type: ignore[attr-defined]

    return undo
