"""Loops of the program's own: heard by the first step of their optimisers, and watched from then on."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch.optim import Optimizer

from ..errors import InputError
from ..journal import LiveRun
from ..recording import processes
from ..watching import Watch, open_watches, watch
from ._gates import gates
from ._losses import hear_backwards
from ._owners import has_gradient, held_by, optimizers_beside, owner_of
from ._proposals import Proposals
from ._said import Said

OPEN = 2
"""Watches that are open at a time: a model that is not trained any more must not be kept alive."""

MOST = 20
"""Loops that are watched in one program, such as one for each fold."""

_INSTEAD = (
    (("query", "document"), "streams are looked for instead"),
    (("reference",), "pairs of the first steps are taken instead"),
    (("query", "document", "reference"), "streams are looked for instead, and pairs of the first steps are taken"),
)
"""What is left out of what was asked, where that cannot be had, and what is done then."""


def _nothing() -> None:
    """Undo nothing."""


class Loops:
    """Watches models whose optimisers step, each from its first step on.

    Args:
        options: Arguments of a watch.
        said: Where lines of ours go.
    """

    def __init__(self, options: dict[str, Any], said: Said) -> None:
        self._options = options
        self._said = said
        self._known: weakref.WeakKeyDictionary[Optimizer, Watch | None] = weakref.WeakKeyDictionary()
        self._waiting: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._open: list[Watch] = []
        self._heard: dict[int, LiveRun] = {}
        self._proposals: dict[int, Proposals] = {}
        self._losses: Callable[[], None] = _nothing
        self._parted: list[Any] = []

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Hear that an optimiser is about to step."""
        if optimizer not in self._known:
            self._first_step(optimizer, kwargs.get("closure", args[1] if len(args) > 1 else None))
            return
        known = self._known[optimizer]
        if known is not None and id(known) in self._proposals:
            self._proposals[id(known)].before_step()

    def close(self, error: BaseException | None) -> list[LiveRun]:
        """Close all that is open, and return every run of this program, of trainers too, in their order."""
        self._losses()
        for parted in self._parted if error is None else ():
            if given := parted.said():
                self._said.line(f"after a training had ended its model was given other weights: {given}")
        for proposals in self._proposals.values():
            proposals.close()
        for one in open_watches():
            one.close(error)
        return list(self._heard.values())

    def leave_to_parent(self) -> None:
        """In a process that was forked: hear nothing, and end no run that the parent writes."""
        for one in open_watches():
            atexit.unregister(one._at_exit)

    def _first_step(self, optimizer: Optimizer, closure: Any) -> None:
        self._said.look()
        for one in open_watches():
            if any(optimizer is held for held in one.optimizers):
                self._known[optimizer] = None
                self._heard[id(one.live)] = one.live
                one.parted = self._parted
                return
        together = optimizers_beside(optimizer)
        if closure is not None and optimizer not in self._waiting and not any(map(has_gradient, together)):
            # Forward and backward are still to run, inside of this step: what is trained shows in the next one.
            self._waiting.add(optimizer)
            return
        together = [one for one in together if one not in self._known]
        for one in together:
            self._known[one] = None
            self._known.update(dict.fromkeys(held_by(one)))
        # Of several processes the first writes; the others leave it what it merges. No forward of ours is run.
        self._begin(together, reference=None if processes() == 1 else False)

    def _begin(self, optimizers: list[Optimizer], *, reference: Any) -> None:
        target = owner_of(optimizers)
        if target is None:
            self._said.once(_why_none(optimizers))
            return
        if len(self._heard) >= MOST:
            self._said.once(f"more than {MOST} loops in one program: the further ones are not watched")
            return
        while len(self._open) >= OPEN:
            self._end(self._open.pop(0))
        options = {**self._options, **({} if reference is None else {"reference": reference})}
        options["taps"] = [*options.pop("taps", ()), *gates(target, optimizers)]
        try:
            begun = self._watch(target, optimizers, options)
        except InputError as error:
            self._said.line(f"this training is not watched: {error}")
            return
        self._open.append(begun)
        if reference is None:
            self._hear_losses()
        self._heard[id(begun.live)] = begun.live
        begun.parted = self._parted
        for one in optimizers:
            self._known[one] = begun
        self._proposals[id(begun)] = Proposals(begun, target, self._said)

    def _hear_losses(self) -> None:
        """Hear what backwards begin from: in one process alone, since a loss of several is not read apart."""
        if self._losses is _nothing:
            self._losses = hear_backwards(lambda loss: [one.begins_backward(loss) for one in self._open])

    def _end(self, watch: Watch) -> None:
        """Close a watch and forget its model."""
        watch.close()
        proposals = self._proposals.pop(id(watch), None)
        if proposals is not None:
            proposals.close()
        for one, known in list(self._known.items()):
            self._known[one] = None if known is watch else known

    def _watch(self, target: Any, optimizers: list[Optimizer], options: dict[str, Any]) -> Watch:
        """Watch a model; what was asked and cannot be had is left out and said, since the training has begun."""
        try:
            return watch(target, optimizer=optimizers, **options)
        except InputError as error:
            for names, instead in _INSTEAD:
                kept = {name: one for name, one in options.items() if name not in names}
                if len(kept) < len(options):
                    with suppress(InputError):
                        begun = watch(target, optimizer=optimizers, **kept)
                        self._said.line(f"{error}; {instead}")
                        return begun
            raise


def _why_none(optimizers: list[Optimizer]) -> str:
    """Return why no model is found of what optimisers train."""
    name = type(optimizers[0]).__name__
    held = [one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]]
    if held and not any(one.requires_grad for one in held):
        made = "was it made before the parameters that are to be trained, such as an adapter's, were there?"
        return f"all {len(held)} parameters of {name} are frozen, so nothing is trained, and it is not watched: {made}"
    return f"no module owns what {name} trains: it is not watched"
