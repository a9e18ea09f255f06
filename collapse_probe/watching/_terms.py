"""Loss terms, heard at full precision in the forward of the module that makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..recording import Recorder
from ._attach import Attachments
from ._calls import in_backward
from ._candidates import entries
from ._graph import behind
from ._softmax import is_taken_twice

_LOOKS = 4
"""Losses of the first steps behind which is looked for a second softmax."""


@dataclass
class _Said:
    terms: dict[str, Tensor]
    live: dict[str, Tensor] = field(default_factory=dict)
    confirmed: list[bool] = field(default_factory=list)
    total: Tensor | None = None
    weights: Mapping[str, float] | None = None
    whole: bool = False
    micro: int = 0


class LossListener:
    """Hears what loss modules return: a scalar, or a dictionary of scalars that add up to the loss.

    Only what a backward comes through counts: a loss that is computed in an evaluation has none.

    Args:
        recorder: What they are told to.
        attachments: What takes the hooks off again.
        parameters: Returns those that are watched: a loss that was only met counts where it is one of theirs.

    Attributes:
        paused: Whether nothing is heard.
        by_hand: Whether the loop hands its terms over, so that modules are not heard.
    """

    def __init__(
        self, recorder: Recorder, attachments: Attachments, *, parameters: Callable[[], Iterable[Tensor]]
    ) -> None:
        self.paused = False
        self.by_hand = False
        self._recorder = recorder
        self._attachments = attachments
        self._said: list[_Said] = []
        self._known: set[int] = set()
        self._parameters = parameters
        self._micro = self._looked = 0
        self._backward = False

    def listen(self, loss: nn.Module, *, name: str | None = None, of_model: bool = False, met: bool = False) -> None:
        """Hear a loss module.

        Args:
            loss: Its output is a term, or a dictionary of terms.
            name: Of a single term; the module's class if None.
            of_model: Whether it is the model, whose output holds other things, too: what is called a loss is one.
            met: Whether nobody named it, so that it may be another model's.

        Raises:
            InputError: no module.
        """
        if not isinstance(loss, nn.Module):
            raise InputError(f"loss is a {type(loss).__name__}: give a module, or hand terms over, w.terms(name=value)")
        if self.knows(loss):
            return
        self.leave(loss)
        label = name or ("loss" if of_model else type(loss).__name__)
        containment = self._recorder.containment

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if not self.paused and not self.by_hand:
                containment.run("loss", self.hear, label, output, of_model=of_model, met=met)

        self._attachments.forward_hook(loss, hook)

    def leave(self, loss: nn.Module) -> None:
        """Leave a module's output to whoever hears it."""
        self._known.add(id(loss))

    def knows(self, loss: nn.Module) -> bool:
        """Return whether a module's output is heard."""
        return id(loss) in self._known

    @property
    def heard(self) -> int:
        """Outputs that were heard in the step in progress."""
        return len(self._said)

    def forget(self, heard: int) -> None:
        """Forget what was heard after so many outputs: parts of the one that is heard next."""
        del self._said[heard:]

    def hear(self, label: str, output: Any, *, apart: bool = False, of_model: bool = False, met: bool = False) -> bool:
        """Hear one output; it counts once a backward comes through all of it.

        Args:
            label: Of a single term.
            output: A scalar, or a dictionary of scalars.
            apart: Whether a term of a name that was heard since the last total gets a name of its own.
            of_model: Whether the output holds other things, too.
            met: Whether it may be another model's.

        Returns:
            Whether it holds a term.
        """
        if in_backward():
            return False
        found = _of_model(label, output) if of_model else _terms(label, output)
        if apart:
            known = [name for one in self._said if not one.whole for name in one.terms]
            found = {_fresh(name, known): value for name, value in found.items()}
        trained = {name: value for name, value in found.items() if value.requires_grad}
        if not trained or not torch.is_grad_enabled():
            return False
        if met and all(of_others(value, self._parameters()) for value in trained.values()):
            return False
        if self._backward:
            self._micro += 1
            self._backward = False
        if self._looked < _LOOKS:
            self._looked += 1
            if any(is_taken_twice(value.grad_fn) for value in trained.values()):
                self._looked = _LOOKS
                said_so = "the loss takes the logarithm of a softmax of what is a softmax already"
                self._recorder.event("softmax_twice", said_so, step=self._recorder.current)
        said = _Said({name: value.detach().clone() for name, value in found.items()}, micro=self._micro)
        self._said.append(said)
        if self._recorder.due:
            # What they are parts of, and with which weights, is known at the total.
            said.live = trained if apart else {}
            if not apart:
                self._recorder.forces(_parts(trained))
        next(iter(trained.values())).register_hook(self._confirms(said))
        return True

    def total(self, label: str, output: Any, *, weights: Mapping[str, float] | None = None) -> None:
        """Hear what everything that was heard since the last total adds up to.

        Args:
            label: Its name, where nothing else was heard.
            output: The loss; a dictionary's entries are the terms themselves.
            weights: Weights of the terms; 1 for those that have none.
        """
        parts = [one for one in self._said if not one.whole]
        self._said = [one for one in self._said if one.whole]
        before = len(self._said)
        self.hear(label, output)
        if len(self._said) == before:
            return
        said = self._said[-1]
        said.whole = True
        if parts and isinstance(output, Tensor):
            self._recorder.forces({name: one for part in parts for name, one in part.live.items()}, weights=weights)
            said.total, said.weights = said.terms[label], weights
            said.terms = {name: value for one in parts for name, value in one.terms.items()}

    def end_step(self) -> None:
        """Tell the recorder what was confirmed in this step."""
        said = [one for one in self._said if one.confirmed and not self.by_hand]
        self._said = []
        self._backward = False
        # Several losses of one micro-batch are added with weights that nobody knows.
        parts = [one for one in said if not one.whole]
        alone = len({one.micro for one in parts}) == len(parts) and len({tuple(one.terms) for one in parts}) <= 1
        for one in said:
            self._recorder.containment.run("loss", self._tell, one, whole=one.whole or alone)

    def _tell(self, said: _Said, *, whole: bool) -> None:
        terms, total = said.terms, said.total
        if total is None and len(terms) > 1:
            total = terms.get("loss")
            terms = _parts(terms)
        self._recorder.terms(terms, weights=said.weights, total=total if whole else None, whole=whole)

    def _confirms(self, said: _Said) -> Callable[[Tensor], None]:
        def confirm(gradient: Tensor) -> None:
            if not self._recorder.takes_forces:
                said.confirmed.append(True)
                said.live = {}
                self._backward = True

        return confirm


def _terms(label: str, output: Any) -> dict[str, Tensor]:
    if isinstance(output, Tensor):
        return {label: output} if output.numel() == 1 else {}
    if isinstance(output, Mapping):
        return {str(k): v for k, v in output.items() if isinstance(v, Tensor) and v.numel() == 1}
    return {}


def _parts(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return terms without a "loss" beside its parts: it is what they add up to."""
    return {name: one for name, one in terms.items() if name != "loss" or len(terms) == 1}


def _fresh(name: str, known: list[str]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}.{number}") in known:
        number += 1
    return found


def _of_model(label: str, output: Any) -> dict[str, Tensor]:
    if isinstance(output, Tensor):
        return _terms(label, output)
    found = {}
    for key, value in entries(output):
        named = key == 0 or (isinstance(key, str) and "loss" in key.lower())
        if named and isinstance(value, Tensor) and value.numel() == 1:
            found[label if key == 0 else str(key)] = value
    return found


def is_loss(value: Any) -> bool:
    """Return whether an output is a scalar, or a dictionary of scalars."""
    scalars = [value] if isinstance(value, Tensor) else list(value.values()) if isinstance(value, Mapping) else []
    return bool(scalars) and all(isinstance(one, Tensor) and one.numel() == 1 for one in scalars)


def of_others(loss: Tensor, parameters: Iterable[Tensor]) -> bool:
    """Return whether a loss trains other parameters alone; reads no value.

    What the graph does not show is not held against it: embeddings that were detached to be trained in a second
    pass, a checkpoint that finds its parameters in the backward, or shards.
    """
    ours = {id(one): one for one in parameters}
    others = False
    for node in behind(loss.grad_fn):
        leaf = getattr(node, "variable", None)
        if "Checkpoint" in node.name() or (leaf is not None and (id(leaf) in ours or not _is_parameter(leaf))):
            return False
        others = others or leaf is not None
    return others and not any(hasattr(one, "to_local") for one in ours.values())


def _is_parameter(leaf: Tensor) -> bool:
    return isinstance(leaf, nn.Parameter)
