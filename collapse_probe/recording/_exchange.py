"""How the processes of one training hand to the first one what each has read: through their store.

No collective is ever called: it could come between those of the training, or wait for a process that does not come.
A process leaves bytes in the store that ``torch.distributed`` met at and goes on; the first one looks there now and
then, and waits for nobody.
"""

from __future__ import annotations

import os
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import InputError

KEPT = 8
"""Due steps by which a process may be behind the first one, and which one that it has not met keeps for it."""

LINKS = (RuntimeError, OSError)
"""What a store raises that cannot be reached any more, or whose names are gone."""

_SHORT = 5.0
"""Seconds after which a call of our own client ends, where the store does not answer."""

_watched: Counter[str] = Counter()


def process_rank() -> int:
    """Return which process of a training this is, from 0: as ``torch.distributed`` says it, else ``RANK``."""
    if _has_group():
        return distributed.get_rank()
    given = os.environ.get("RANK", "0")
    return int(given) if given.isdigit() else 0


def processes() -> int:
    """Return how many processes train together, as far as that is known."""
    if _has_group():
        return distributed.get_world_size()
    given = os.environ.get("WORLD_SIZE", "1")
    return int(given) if given.isdigit() else 1


def reachable() -> bool:
    """Return whether whoever keeps the store is there: while there is a group, and as long as a torchrun that does."""
    return _has_group() or _is_the_agents()


def _has_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def is_sharded(parameter: torch.Tensor) -> bool:
    """Return whether a tensor lies in parts on several processes, so that reading it needs all.

    Parts of FSDP are tensors of a kind of their own, or views into one that FSDP marks; DeepSpeed marks its own.
    """
    return _is_of_parts(type(parameter)) or hasattr(parameter, "ds_id") or hasattr(parameter, "_fsdp_flattened")


@cache
def _is_of_parts(kind: type) -> bool:
    """Asked of every gradient in every step, so it is known for each kind of tensor."""
    return bool({one.__name__ for one in kind.__mro__} & {"DTensor", "FlatParameter"})


class _Alone(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "c10d" in func.namespace:
            raise InputError(
                "it calls the other processes, which are not reading: the first process reads alone; call the model "
                "inside of what wraps it, and gather nothing"
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def alone(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Run forward passes of ours in one process of several, where nothing may wait for the others.

    A ``DistributedDataParallel`` does not send its buffers meanwhile; what calls another process raises.

    Args:
        modules: What is run.

    Raises:
        InputError: parameters lie in parts on several processes, or another process is called.
    """
    if processes() == 1:
        yield
        return
    parts = [part for module in modules for part in module.modules()]
    wrapped = any(type(part).__name__ == "FullyShardedDataParallel" for part in parts)
    if wrapped or any(is_sharded(one) for part in parts for one in part.parameters(recurse=False)):
        raise InputError("the weights lie in parts on several processes, which would all have to read at once")
    quiet: list[DistributedDataParallel] = []

    def hush(module: nn.Module, args: Any) -> None:
        if isinstance(module, DistributedDataParallel) and module.require_forward_param_sync:
            module.require_forward_param_sync = False
            quiet.append(module)

    hook = nn.modules.module.register_module_forward_pre_hook(hush)
    try:
        with _Alone():
            yield
    finally:
        hook.remove()
        for module in quiet:
            module.require_forward_param_sync = True


def own_name(name: str) -> str:
    """Return a name for a watch that the other processes' watch of the same model has, too: they are counted."""
    _watched[name] += 1
    return f"collapse_probe/{name}/{_watched[name]}"


def connect(name: str, *, first: bool) -> Exchange | None:
    """Return the way to the other processes; None where there are none, or not yet.

    Raises:
        InputError: they cannot be reached so, or another process than the one that writes is the first.
    """
    if not _has_group() or distributed.get_world_size() == 1:
        return None
    if first != (distributed.get_rank() == 0):
        raise InputError("watch() was called before init_process_group without RANK being set, so each process writes")
    try:
        under = store = distributed.distributed_c10d._get_default_store()
    except (AttributeError, ValueError):
        raise InputError("the store in which the processes met is not known") from None
    while isinstance(under, distributed.PrefixStore):
        under = under.underlying_store
    if isinstance(under, getattr(distributed, "FileStore", ())):
        raise InputError("the processes met at a file, which would grow with every step: init_method='tcp://...' helps")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    cloned = isinstance(under, getattr(distributed, "TCPStore", ())) and hasattr(store, "clone")
    return Exchange(_Client(name, store, cloned=cloned), rank=rank, world=world)


class _Client:
    """A way to the store, of our own where it can be: whoever waits there in another thread holds the shared one.

    The shared one is looked up at every call, unless a torchrun keeps it: whoever holds the store of a group keeps it
    alive, and a second group would meet at the first one's keys.

    Args:
        name: What our keys begin with.
        store: That of the group.
        cloned: Whether it can be cloned: there is another connection to its server then.
    """

    def __init__(self, name: str, store: Any, *, cloned: bool) -> None:
        self._name = name
        self._group: Any = weakref.ref(distributed.group.WORLD)
        self._own: Any = None
        if cloned:
            own = store.clone()
            own.set_timeout(timedelta(seconds=_SHORT))
            self._own = distributed.PrefixStore(name, own)
        elif _is_the_agents():
            self._own = distributed.PrefixStore(name, store)

    def __call__(self) -> Any:
        """Return the store.

        Raises:
            RuntimeError: its group was destroyed.
        """
        if not _is_the_agents() and (not _has_group() or self._group() is not distributed.group.WORLD):
            raise RuntimeError("the group of processes was destroyed")
        if self._own is not None:
            return self._own
        return distributed.PrefixStore(self._name, distributed.distributed_c10d._get_default_store())


def _is_the_agents() -> bool:
    """Return whether a torchrun keeps the store, in a process of its own."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


class Exchange:
    """One process's side of the store; every call of it is short, and waits for no other process.

    Args:
        store: Returns a ``torch.distributed`` store with names of its own, the same at every call.
        rank: Which process this is, from 0.
        world: How many there are.

    Attributes:
        others: The processes that the first one still expects something of.
    """

    def __init__(self, store: Callable[[], Any], *, rank: int, world: int) -> None:
        self.rank = rank
        self.world = world
        self.others = list(range(1, world))
        self._found = store
        self._unsent: deque[tuple[str, bytes]] = deque(maxlen=KEPT)
        self._met = False
        if rank == 0:
            for other in self.others:
                self._store.set(f"expected/{other}", b"1")

    @property
    def _store(self) -> Any:
        return self._found()

    # What any process but the first does

    def send(self, key: str, payload: bytes) -> bool:
        """Leave something for the first process; it is kept, :data:`KEPT` at most, until that one is there.

        Returns:
            Whether the first process still expects something.
        """
        self._unsent.append((key, payload))
        if not self._store.check([f"expected/{self.rank}"]):
            return not self._met
        self._met = True
        while self._unsent:
            key, payload = self._unsent.popleft()
            self._store.set(f"{key}/{self.rank}", payload)
        return True

    def end(self) -> None:
        """Say that no more will come of this process."""
        if self._met:
            self._store.set(f"ended/{self.rank}", b"1")

    # What the first process does

    def take(self, key: str, *, partly: bool = False) -> dict[int, bytes] | None:
        """Return what the others left under a key, by rank; None where some have not, unless a part is enough."""
        names = {rank: f"{key}/{rank}" for rank in self.others}
        if names and not self._store.check(list(names.values())):
            if not partly:
                return None
            names = {rank: name for rank, name in names.items() if self._store.check([name])}
        found = {rank: bytes(self._store.get(name)) for rank, name in names.items()}
        for name in names.values():
            self._store.delete_key(name)
        return found

    def left(self, key: str, rank: int) -> bool:
        """Return whether a process left something under a key."""
        return self._store.check([f"{key}/{rank}"])

    def ended(self) -> list[int]:
        """Return the expected processes that have said that no more will come of them."""
        return [rank for rank in self.others if self._store.check([f"ended/{rank}"])]

    def give_up(self, rank: int) -> None:
        """Expect nothing more of a process, which then leaves nothing more."""
        self.others.remove(rank)
        self._store.delete_key(f"expected/{rank}")

    def close(self) -> None:
        """Expect nothing more of anybody; a store that is gone already is left alone."""
        with suppress(*LINKS):
            for rank in list(self.others):
                self.give_up(rank)

    def say(self, key: str, payload: bytes) -> bytes:
        """Leave something for every process, and return it."""
        self._store.set(key, payload)
        return payload

    def said(self, key: str) -> bytes | None:
        """Return what was left for every process; None where nothing was."""
        return bytes(self._store.get(key)) if self._store.check([key]) else None
