"""Taps: where a stream comes from, and what of a call it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import InputError, unknown_name
from ..journal.vocabulary import Role
from ._handed import checked_role, checked_stream

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names that wrappers (DDP, compile, FSDP, checkpointing) put into a path; canonical paths have none."""

_ADAPTER = "base_model.model."


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        module: The module.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        output: What it returned.
        method: The method that was called; ``forward`` for the module itself.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    method: str = "forward"


Take = Callable[[Call], Tensor | None]
"""What of a call a tap takes; None where this call has none."""

_VECTORS = ("sentence_embedding", "embedding", "embeddings", "pooler_output", "last_hidden_state", "logits")


def output(call: Call) -> Tensor | None:
    """Return a call's output: itself, or of a tuple, dictionary or dataclass the first tensor of floats."""
    return first_tensor(call.output)


def input(call: Call) -> Tensor | None:
    """Return a call's first argument that is, or holds, a tensor of floats."""
    for value in (*call.args, *call.kwargs.values()):
        found = first_tensor(value)
        if found is not None:
            return found
    return None


def added(call: Call) -> Tensor | None:
    """Return what a module adds to its input: output minus input."""
    before, after = input(call), output(call)
    if before is None or after is None:
        return None
    if before.shape != after.shape:
        raise ValueError(f"added needs input and output of one shape, got {tuple(before.shape)}, {tuple(after.shape)}")
    return after - before


def item(key: str | int) -> Take:
    """Return a take of one entry of an output: a key, an attribute, or a position.

    >>> item("delta")(Call(nn.Identity(), (), {}, {"delta": 3}))
    3
    """

    def take(call: Call) -> Tensor | None:
        try:
            return call.output[key]
        except (TypeError, KeyError, IndexError):
            return getattr(call.output, str(key), None)

    return take


def token(take: Take, index: int) -> Take:
    """Return a take of one token's vectors ``[n, D]`` of what another take gives, ``[n, T, D]``; -1 is the last.

    >>> token(output, -1)(Call(nn.Identity(), (), {}, Tensor([[[1.0], [3.0]]]))).tolist()
    [[3.0]]
    """

    def taken(call: Call) -> Tensor | None:
        found = take(call)
        return found[:, index] if isinstance(found, Tensor) and found.ndim == 3 else found

    taken.of = take  # type: ignore[attr-defined]
    return taken


@dataclass(frozen=True)
class Nth:
    """A take of one of the calls of a micro-batch alone.

    Attributes:
        index: Which, from 0.
        take: What of it.
        further: Whether the calls after it are meant, too.
    """

    index: int
    take: Take = output
    further: bool = False

    def __call__(self, found: Call) -> Tensor | None:
        return self.take(found)


def call(index: int, take: Take = output, *, further: bool = False) -> Nth:
    """Return a take of the ``index``-th call of a micro-batch, from 0: of it alone, or of ``further`` ones, too."""
    return Nth(index, take, further)


@dataclass(frozen=True, kw_only=True)
class Tap:
    """Where a stream comes from.

    Attributes:
        stream: The stream's name; unique among taps, and without a slash.
        at: A module's or a parameter's path below the target (``""`` is the target; ``*`` stands for one part of a
            path, and gives a stream each), the module or parameter itself, or None where the loop hands it over by
            ``observe``.
        take: What of a call: :func:`output`, :func:`input`, :func:`added`, ``item("key")``, ``call(0)``.
        role: The stream's role, or its name; None where it has none.

    Raises:
        InputError: a name that cannot be a stream's, or a role that there is not.
    """

    stream: str
    at: str | nn.Module | nn.Parameter | None = None
    take: Take = output
    role: Role | str | None = None

    def __post_init__(self) -> None:
        checked_stream(self.stream)
        if self.role is not None:
            object.__setattr__(self, "role", checked_role(self.role))


@dataclass(frozen=True)
class Place:
    """A tap whose place was found.

    Attributes:
        tap: The tap; its stream's name tells the places of one path with ``*`` apart.
        path: Canonical path.
        module: The module; None for a parameter.
        parameter: The parameter; None for a module.
        method: The module's method whose calls are meant; ``forward`` stands for the module's own calls, too.
    """

    tap: Tap
    path: str
    module: nn.Module | None = None
    parameter: nn.Parameter | None = None
    method: str = "forward"


def canonical(path: str) -> str:
    """Return a path without what wrappers put into it.

    >>> canonical("module._orig_mod.base_model.model.encoder.layer.0")
    'encoder.layer.0'
    """
    parts = [part for part in path.split(".") if part not in WRAPPERS]
    text = ".".join(parts)
    return text.removeprefix(_ADAPTER) if text.startswith(_ADAPTER) else text


def find(tap: Tap, target: nn.Module) -> list[Place]:
    """Return the places of a tap.

    Raises:
        InputError: a path that names no module and no parameter.
    """
    if tap.at is None:
        return []
    if isinstance(tap.at, nn.Parameter):
        return [Place(tap, tap.stream, parameter=tap.at)]
    if isinstance(tap.at, nn.Module):
        return [Place(tap, _path_of(tap.at, target) or type(tap.at).__name__, module=tap.at)]
    if not isinstance(tap.at, str):
        raise InputError(f"tap {tap.stream!r}: at is a {type(tap.at).__name__}, where a path or a module is needed")
    modules: dict[str, nn.Module] = {}
    for path, module in target.named_modules(remove_duplicate=False):
        # What was compiled is heard at its wrapper, outside of the compiled code; other wrappers hold what is meant.
        if not hasattr(modules.get(canonical(path)), "_orig_mod"):
            modules[canonical(path)] = module
    parameters = {canonical(path): parameter for path, parameter in target.named_parameters(remove_duplicate=False)}
    wanted = canonical(tap.at)
    if wanted in modules:
        return [Place(tap, wanted, module=modules[wanted])]
    if wanted in parameters:
        return [Place(tap, wanted, parameter=parameters[wanted])]
    places = list(_matching(tap, wanted, modules, parameters)) if "*" in wanted else []
    if not places:
        wrappers = {"", "base_model", "base_model.model"} if _ADAPTER[:-1] in modules else {""}
        raise unknown_name(
            "module", wanted, [path for path in (*modules, *parameters) if path not in wrappers], most=12
        )
    return places


def _matching(
    tap: Tap, pattern: str, modules: Mapping[str, nn.Module], parameters: Mapping[str, nn.Parameter]
) -> Iterator[Place]:
    parts = pattern.split(".")
    for path, found in (*modules.items(), *parameters.items()):
        names = path.split(".")
        if len(names) != len(parts) or any(part not in ("*", name) for part, name in zip(parts, names, strict=True)):
            continue
        label = ".".join(name for part, name in zip(parts, names, strict=True) if part == "*")
        one = Tap(stream=f"{tap.stream}.{label}", at=tap.at, take=tap.take, role=tap.role)
        yield Place(one, path, module=found) if isinstance(found, nn.Module) else Place(one, path, parameter=found)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield a value's tensors of floats, the likeliest vectors first, also from within mappings and sequences."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        named = [key for key in _VECTORS if key in value]
        for key in dict.fromkeys((*named, *value)):
            yield from tensors_of(value[key])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_of(entry)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_of(getattr(value, name, None))


def first_tensor(value: Any) -> Tensor | None:
    """Return a value's first tensor of floats; None where there is none."""
    return next(tensors_of(value), None)


def passed_by(call: Call, taken: Tensor) -> Tensor | None:
    """Return what a backward comes through where what was taken of a call is trained; None for itself."""
    entries = list(tensors_of(call.output))
    if any(entry is taken for entry in entries):
        return None
    # One token's vectors are a view of what they are taken from.
    whole = (
        entry
        for entry in entries
        if taken._is_view() and taken._base is (entry if entry._base is None else entry._base)
    )
    return next(whole, entries[0] if entries else None)


def _path_of(module: nn.Module, target: nn.Module) -> str:
    return next((canonical(path) for path, one in target.named_modules() if one is module), "")
