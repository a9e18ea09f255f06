"""Whether padding is pooled into the vectors of texts, and whether texts are cut short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..recording import Call, Containment, Heard, kept_tokens, pooled_of_padding
from ._attach import Attachments, compiled_inside, is_compiled
from ._calls import in_backward
from ._candidates import entries, is_tokens

_STEPS, _TRIES = 20, 3
"""First steps in which it is looked for, and how many of them may have something to compare, and not tell."""

_MOST = 16
"""Outputs, about, with vectors of tokens that are kept of a step."""

_ROWS = 64
"""Texts of an output of which tokens are kept until the step ends, so that hardly any memory is held."""

_LEAST, _SHORT, _SEVERAL = 3, 16, 8
"""Tokens from which and up to which texts that all have as many look as if they were cut, and how many texts say so
(own choice)."""

_ONE = 0.9
"""Common share of a side's vectors above which they are one, but for dropout: .98 at a rate of .1 (measured)."""

_DEPTH = 2
"""How far below a declared module outputs are heard."""


class Tokens(NamedTuple):
    """What was heard of some of an output's texts, taken evenly: all that is held of it.

    Attributes:
        rows: Texts of the whole output.
        tokens: Their vectors of tokens ``[n, T, D]``, copied.
        kept: Which of these are of the text ``[n, T]``.
        ids: What may be their ids ``[n, T]``.
        module: What gave them.
        alone: Whether nothing else that the module was given differs by text, such as states of another encoder.
    """

    rows: int
    tokens: Tensor
    kept: Tensor
    ids: list[Tensor]
    module: nn.Module
    alone: bool = True


class PaddingCheck:
    """Compares each text's vector with what its tokens give, with the padding and without it.

    What a text's tokens are, its ``attention_mask`` says, else the ``padding_idx`` of the table that looked them up.
    Nothing is told where a layer stands between the tokens and the vector, or no text is padded. Waits for the device
    in those of the first steps in which vectors of tokens were heard, until it has told.

    Args:
        found: Called with how vectors are made of padding, and how much of them it is; how is empty where they are not.
        cut: Called with the tokens of every text, once, where all of a step's have as many, and few.
        same: Called with the texts of a side and their tokens, once, where all are one, and were that in a step before.
        paused: Returns whether calls are our own.
        containment: What contains our failures: a forward of the model's goes on.

    Attributes:
        open: Whether it still looks.
    """

    def __init__(
        self,
        found: Callable[[str, float], None],
        *,
        cut: Callable[[int], None],
        same: Callable[[int, int], None],
        paused: Callable[[], bool],
        containment: Containment,
    ) -> None:
        self.open = True
        self._cut: Callable[[int], None] | None = cut
        self._found = found
        self._same: Callable[[int, int], None] | None = same
        self._alike: list[Tensor] = []
        self._knows = False
        self._attachments: Attachments | None = None
        self._listened: frozenset[int] | set[int] = frozenset()
        self._paused = paused
        self._containment = containment
        self._steps = self._tried = 0
        self._tokens: list[Tokens] = []
        self._looked_up: list[Tensor] = []
        self._undo: list[Callable[[], None]] = []

    def listen(self, modules: Sequence[nn.Module], target: nn.Module, attachments: Attachments) -> None:
        """Hear modules that give declared streams, and what is in them; what is compiled is left alone."""
        inside = compiled_inside(target)
        self._attachments, self._listened = attachments, inside
        for module in {id(part): part for one in modules for part in _near(one, _DEPTH)}.values():
            self._listen_to(module)
        tables = {id(one): one for module in modules for one in module.modules() if _pads(one)}
        for table in tables.values():
            if id(table) not in inside and not is_compiled(table):
                self._undo.append(attachments.forward_hook(table, lambda module, *rest: self.look_up(module, rest[0])))

    def _listen_to(self, module: nn.Module) -> None:
        if id(module) not in self._listened and not is_compiled(module) and self._attachments is not None:
            self._listened = self._listened | {id(module)}
            self._undo.append(self._attachments.forward_hook(module, self._hook))

    def _hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.hear(Call(module, args, kwargs, output))

    def look_up(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Hear a table that looks tokens up: which of them are padding, it knows."""
        self._containment.run("padding", self._look_up, module, args)

    def _look_up(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.open and _pads(module) and args and isinstance(args[0], Tensor) and args[0].ndim == 2:
            self._looked_up = [*self._looked_up[-1:], args[0] != module.padding_idx]

    def hear(self, call: Call) -> None:
        """Hear an output, in which vectors of tokens may be."""
        self._containment.run("padding", self._hear, call)

    def _hear(self, call: Call) -> None:
        if not self.open or self._paused() or in_backward():
            return
        for _, value in entries(call.output):
            if is_tokens(value) and len(self._tokens) < _MOST:
                kept = kept_tokens(call, value)
                shape = value.shape[:2]
                # Both sides may have been looked up before either goes on: the latest may be the other's.
                masks = [one for one in self._looked_up if one.shape == shape] if kept is None else [kept]
                if masks:
                    alone = not isinstance(call.module, nn.Embedding) and not _differ(call, shape[0])
                    every = _every(len(value))
                    tokens, ids = value.detach()[::every].clone(), [one[::every] for one in _ids(call, shape)]
                    self._tokens += [Tokens(len(value), tokens, one[::every], ids, call.module, alone) for one in masks]

    def end_step(self, calls: Sequence[Heard]) -> None:
        """Compare the step's vectors with its tokens; to be called before the recorder's step ends."""
        tokens, self._tokens, self._looked_up = self._tokens, [], []
        if not self.open:
            return
        self._steps += 1
        if tokens and self._cut is not None:
            cut, self._cut = self._cut, None
            if length := _cut_to(tokens):
                cut(length)
        sides = [one.tensor for one in calls if one.tensor.ndim == 2 and (one.confirmed or not one.trained)]
        waits = self._look_for_one_text(tokens, sides)
        fits = [[one for one in tokens if side.shape == (one.rows, one.tokens.shape[2])] for side in sides]
        told = [_told(side, some) for side, some in zip(sides, fits, strict=True)]
        known = max((one for one in told if one is not None), key=lambda one: one[1], default=None)
        if known is not None and not self._knows:
            self._knows = True
            self._found(*known)
        self._tried += any(fits)
        if not waits and (self._knows or self._tried >= _TRIES or self._steps >= _STEPS):
            self.close()

    def _look_for_one_text(self, tokens: Sequence[Tokens], sides: Sequence[Tensor]) -> bool:
        """Say it where all texts of a side are one, as in a step before; return whether another step will tell."""
        alone = [one for one in tokens if one.alone and one.rows >= _SEVERAL and one.ids]
        # Without such tokens no value is read.
        ones = {len(side) for side in sides if alone and _is_one(side)}
        several = [(one.module, _one_text(one.ids)) for one in alone if one.rows in ones]
        alike = [found for _, found in several if found is not None]
        again = (one for one in alike for other in self._alike if torch.equal(one, other))
        found = next(again, None)
        waits = bool(alike) and not self._alike
        self._alike = alike or self._alike
        for module in (one for one, ids in several if waits and ids is not None):
            self._listen_to(module)  # whoever heard it for us may be done
        if found is not None and self._same is not None:
            same, self._same = self._same, None
            same(max(one.rows for one in tokens), len(found))
        return waits

    def close(self) -> None:
        """Look no more; may be called twice."""
        self.open = False
        self._tokens, self._looked_up, self._alike = [], [], []
        while self._undo:
            self._undo.pop()()


def _told(vectors: Tensor, several: Sequence[Tokens]) -> tuple[str, float] | None:
    """Return how texts' vectors are made of padding; not at all, if any vectors of tokens and their mask say so."""
    vectors = vectors[:: _every(len(vectors))]
    # Tokens that may be of texts without padding, by one of their masks, tell nothing by the other side's.
    whole = {id(one.tokens) for one in several if bool(one.kept.all())}
    several = [one for one in several if id(one.tokens) not in whole]
    told = (pooled_of_padding(vectors, one.tokens, one.kept) for one in several if _are_padding(one.ids, ~one.kept))
    return min((one for one in told if one is not None), key=lambda one: one[1], default=None)


def _one_text(ids: Sequence[Tensor]) -> Tensor | None:
    """Return the ids that all texts have; None where they differ, or masks, types and positions alone are known."""
    if any(bool((one != one[0]).any()) for one in ids):
        return None
    rows = (one[0] for one in ids if one.shape[1] >= _LEAST and int(one.max()) > 1)
    return next((row.clone() for row in rows if bool((row.diff() != 1).any())), None)


def _is_one(side: Tensor) -> bool:
    """Return whether all vectors of a side are one, but for dropout."""
    unit = torch.nn.functional.normalize(side.float(), dim=1)
    return len(side) >= _SEVERAL and float(unit.mean(dim=0).square().sum()) > _ONE


def _differ(call: Call, rows: int) -> bool:
    """Return whether a call was given numbers that differ by text."""
    for given in (*call.args, *call.kwargs.values()):
        for value in given.values() if isinstance(given, Mapping) else (given,):
            fits = isinstance(value, Tensor) and value.ndim > 1 and len(value) == rows and value.layout is torch.strided
            if fits and bool((value != value[0]).any()):
                return True
    return False


def _every(rows: int) -> int:
    return max(1, -(-rows // _ROWS))


def _cut_to(several: Sequence[Tokens]) -> int:
    """Return the tokens of every text where all have as many, and few; 0 for texts of several lengths."""
    length, rows = several[0].kept.shape[1], min(one.rows for one in several)
    if any(one.kept.shape[1] != length or not one.ids for one in several):
        return 0
    if not _LEAST <= length <= _SHORT or rows < _SEVERAL:
        return 0
    return length if all(bool(one.kept.all()) for one in several) else 0


def _ids(call: Call, shape: torch.Size) -> Iterator[Tensor]:
    for given in (*call.args, *call.kwargs.values()):
        for value in given.values() if isinstance(given, Mapping) else (given,):
            if isinstance(value, Tensor) and value.shape == shape and value.dtype in (torch.int32, torch.int64):
                yield value


def _are_padding(ids: Sequence[Tensor], left_out: Tensor) -> bool:
    """Return whether what a mask leaves out is one and the same token, and what it keeps is not.

    Some masks are 1 where others are 0. Without ids it is taken at its word.
    """
    if not bool(left_out.any()) or bool(left_out.all()):
        return False
    split = [(one[left_out], one[~left_out]) for one in (one.to(left_out.device) for one in ids)]
    varied = [tuple(bool((part != part[0]).any()) for part in parts) for parts in split]
    return (False, True) in varied or all(not out for out, _ in varied)


def _pads(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and module.padding_idx is not None


def _near(module: nn.Module, depth: int) -> list[nn.Module]:
    below = [part for child in module.children() for part in _near(child, depth - 1)] if depth else []
    return [module, *below]
