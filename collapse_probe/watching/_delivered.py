"""Whose weights are there when a training is over: those of its last step, of an earlier one, or of the start."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..recording import Recorder, digest, is_sharded
from ._attach import Attachments, is_traced

_ASKED_FOR = 20
_SHARE = 10
"""States that are told apart because the program asked for them: so many, and one more in so many steps."""

_LOOKED = 3
"""Steps after which it is looked whether the program writes its weights between any two of them."""

_READ, _READ_SHARE = 3, 100
"""Times that pairs are read before a state is loaded: so many, and one more in so many steps."""


@dataclass(frozen=True)
class Left:
    """Whose weights a model has.

    Attributes:
        step: Optimiser steps after which it had them; None where it had them at no time that is known.
        itself: Whether a state was loaded that is the weights themselves, so that nothing was put back.
    """

    step: int | None
    itself: bool = False


class WeightsLeft:
    """Tells whose weights a model has by digests of its trained parameters: no copy of them is kept.

    They are taken before the first step, when something is evaluated or saved, where the program asks for the model's
    ``state_dict()``, and before it loads one.

    Args:
        target: The model.
        trained: What the optimisers hold; empty for all that can be trained.
        recorder: Knows how many steps are done.
        attachments: What takes the hooks off again.
        before_loading: Called before a state is loaded, the first time after a step: it is the last moment at which
            something can be read of these weights.
    """

    def __init__(
        self,
        target: nn.Module,
        trained: Iterable[nn.Parameter],
        recorder: Recorder,
        attachments: Attachments,
        *,
        before_loading: Callable[[], None],
    ) -> None:
        self._target = target
        held = {id(one) for one in trained}
        known = {
            name: one
            for name, one in target.named_parameters()
            if (id(one) in held if held else one.requires_grad) and not nn.parameter.is_lazy(one)
        }
        self._types = {name: (one.dtype, one.is_meta) for name, one in known.items()}
        self._recorder = recorder
        self._kept: list[tuple[int, Tensor]] = []
        self._asked = self._read = 0
        self._begun = False
        self._before_loading = before_loading
        self._loaded, self._itself = -1, False
        self._ends = [*known.values()][:1] + [*known.values()][1:][-1:]
        self._written = self._counts()
        self._samples = [_Sample(one) for one in self._ends if one.is_contiguous() and not is_sharded(one)]
        self._writes_itself = False
        self._between: list[tuple[Tensor, Tensor]] = []
        parts = {""} | {".".join(name.split(".")[:depth]) for name in known for depth in (1, 2)}
        for path, module in target.named_modules():
            if path in parts:
                attachments.add(module.register_state_dict_pre_hook(attachments.hook(self._is_asked)).remove)
                loads = attachments.hook(self._loads)
                attachments.add(module.register_load_state_dict_pre_hook(loads).remove)

    @property
    def loaded(self) -> bool:
        """Whether a state was loaded since the last step."""
        return self._loaded == self._recorder.done

    def begins(self) -> None:
        """Keep what training begins with, also where it is not what it was when the watch began."""
        if not self._begun:
            self._begun = True
            self.note(again=True)
        elif 0 < self._recorder.done <= _LOOKED:
            self._writes_itself = self._writes_itself or self._written != self._counts()
            self._between += [(one.kept, one.now()) for one in self._samples if one.kept is not None]

    def after_step(self) -> None:
        """Keep how often two of the parameters have been written, and a few of their numbers: whoever writes counts."""
        self._written = self._counts()
        for one in self._samples:
            one.keep()

    def note(self, *, again: bool = False) -> None:
        """Keep what the weights are after the steps that are done, once for each, or once more."""
        done = self._recorder.done
        while self._kept and self._kept[-1][0] > done:
            self._kept.pop()
        if (again or not self._kept or self._kept[-1][0] < done) and (found := self._now()) is not None:
            self._kept.append((done, found))

    def found(self) -> Left | None:
        """Return whose weights are there now; None where that is not known. Waits for the device."""
        done, now = self._recorder.done, self._now()
        if now is None or not self._kept or not done:
            return None
        if self.loaded and self._itself:
            return Left(done, itself=True)
        equal = (torch.stack([one.to(now.device) for _, one in self._kept]) == now).all(dim=1).tolist()
        same = [step for (step, _), alike in zip(self._kept, equal, strict=True) if alike]
        if done in same:
            return Left(done)
        if not self.loaded and not (self._is_written() and (same or not self._writes_between())):
            # Where no step moves a weight all states are one: it takes somebody who wrote them.
            return None
        return Left(same[-1] if same else None)

    def _now(self) -> Tensor | None:
        return _digest_of(self._target, self._types)

    def part(self) -> Parting:
        """Return what tells, once the watch has ended, whether the model is given other weights."""
        return Parting(self._target, self._types, self._kept, self._recorder.done)

    def _is_written(self) -> bool:
        """Return whether somebody wrote weights since the last step, by ``.data`` too, which no count tells."""
        now = [(one.kept, one.now()) for one in self._samples if one.kept is not None]
        return self._written != self._counts() or not all(_equal(*one) for one in now)

    def _writes_between(self) -> bool:
        """Return whether the program itself changes weights after a step, as one that clamps them."""
        return self._writes_itself or not all(_equal(*one) for one in self._between)

    def _counts(self) -> list[int]:
        return [one._version for one in self._ends]

    def _is_asked(self, *call: Any) -> None:
        if not is_traced() and self._asked < _ASKED_FOR + self._recorder.done // _SHARE:
            self._asked += not self._kept or self._kept[-1][0] != self._recorder.done
            self._recorder.containment.run("delivered weights", self.note)

    def _loads(self, module: nn.Module, state: Mapping[str, Any], prefix: str, *more: Any) -> None:
        self._recorder.containment.run("delivered weights", self._is_loaded, module, state, prefix)

    def _is_loaded(self, module: nn.Module, state: Mapping[str, Any], prefix: str) -> None:
        self.note()
        own = [one for name, one in module.named_parameters() if _is_one(one, state.get(prefix + name))]
        itself = len(own) == sum(1 for _ in module.parameters())
        done, first = self._recorder.done, not self.loaded
        self._itself, self._loaded = itself and (self._itself or first), done
        if done and first and self._read < _READ + done // _READ_SHARE:
            self._read += 1
            self._before_loading()


class Parting:
    """Tells whether a model was given other weights after its watch had ended; keeps no model alive.

    Args:
        target: The model, whose weights are those that it ended with.
        types: Type of each trained parameter by name, and whether it has no numbers.
        known: Digests that were taken, with their steps.
        last: The last step.
    """

    def __init__(
        self,
        target: nn.Module,
        types: Mapping[str, tuple[torch.dtype, bool]],
        known: Sequence[tuple[int, Tensor]],
        last: int,
    ) -> None:
        self._target = weakref.ref(target)
        self._types = types
        self._known = list(known)
        self._last = last
        self._end = _digest_of(target, types)

    def said(self) -> str:
        """Return in words whose weights the model was given; nothing where it has what it ended with, or is gone."""
        target = self._target()
        now = None if target is None else _digest_of(target, self._types)
        if now is None or self._end is None or torch.equal(now, self._end.to(now.device)):
            return ""
        same = [step for step, one in self._known if torch.equal(one.to(now.device), now)]
        return said_of(Left(same[-1] if same else None), self._last) or f"the weights of step {self._last} are back"


def _digest_of(target: nn.Module, types: Mapping[str, tuple[torch.dtype, bool]]) -> Tensor | None:
    """Return the digest of parameters; None where they are others, or of another type, than they were."""
    known = (one for one in target.named_parameters() if one[0] in types)
    held = {name: one for name, one in known if not nn.parameter.is_lazy(one)}
    if not held or {name: (one.dtype, one.is_meta) for name, one in held.items()} != types:
        return None
    return None if any(one.is_meta for one in held.values()) else digest(list(held.values()))


class _Sample:
    """A few numbers of a parameter: what they are now, and what they were after the last step."""

    def __init__(self, parameter: Tensor) -> None:
        self._parameter = parameter
        self._view = self._viewed()
        self.kept: Tensor | None = None

    def keep(self) -> None:
        """Keep what they are, where they are: nothing waits."""
        self.kept = self.now()

    def now(self) -> Tensor:
        """Return a copy of them."""
        if self._view.data_ptr() != self._parameter.data_ptr():
            self._view = self._viewed()
        return self._view.clone()

    def _viewed(self) -> Tensor:
        flat = self._parameter.detach().flatten()
        return flat[:: max(1, len(flat) // 8)]


def said_of(left: Left, last: int) -> str:
    """Return in words whose weights are left, where they are not simply those of the last step; else nothing.

    >>> said_of(Left(0), 60), said_of(Left(60), 60)
    ('the delivered weights are those of the start, not of step 60, the last', '')
    """
    if left.itself:
        return (
            f"the delivered weights are those of step {last}, the last: what was loaded then is the live weights "
            "themselves, so nothing was put back; keep a copy, copy.deepcopy(model.state_dict())"
        )
    if left.step == last:
        return ""
    if left.step is None:
        return (
            f"the delivered weights are others than those of step {last}, the last, and of no step that was seen: "
            "an average of several, or from elsewhere"
        )
    whose = f"step {left.step}" if left.step else "the start"
    return f"the delivered weights are those of {whose}, not of step {last}, the last"


def beside(target: nn.Module, losses: Sequence[nn.Module], trained: Iterable[nn.Parameter]) -> list[str]:
    """Return the parts of losses that are trained with a model and are no part of it: what is saved lacks them."""
    own = {id(one) for one in target.parameters()}
    held = {id(one) for one in trained} - own
    names = [
        f"{type(loss).__name__}.{name.rpartition('.')[0] or name}"
        for loss in losses
        for name, one in loss.named_parameters()
        if id(one) in held
    ]
    return list(dict.fromkeys(names))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one.nan_to_num(), other.nan_to_num())


def _is_one(parameter: Tensor, loaded: Any) -> bool:
    if not isinstance(loaded, Tensor) or parameter.shape != loaded.shape:
        return False
    return loaded is parameter or (parameter.numel() > 0 and loaded.data_ptr() == parameter.data_ptr())
