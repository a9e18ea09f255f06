"""The one place of a sentence-transformers loss where all embeddings of a batch stand: its own method's argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..journal.vocabulary import Role, at_dimension
from ..recording import Heard, Recorder
from ._attach import Attachments
from ._calls import in_backward
from ._trainer import TrainerWatch

WHOLE = "compute_loss_from_embeddings"
"""Takes one matrix for each column."""

CHUNKED = "calculate_loss"
"""Takes a list of matrices for each column."""

RULE = "argument of the loss"

_PAIRS = {"CosineSimilarityLoss", "CoSENTLoss", "AnglELoss", "ContrastiveLoss", "OnlineContrastiveLoss", "SoftmaxLoss"}
"""Losses of labelled pairs: two texts that need not belong together."""

_ONE = {"ContrastiveTensionLoss", "ContrastiveTensionLossInBatchNegatives", "DenoisingAutoEncoderLoss"}
"""Losses that give the model one column: a copy of it, or a decoder, has the other."""


def loss_modules(loss: nn.Module, model: nn.Module) -> Iterator[nn.Module]:
    """Return a loss and the losses inside of it, without the encoder and other encoders such as a guide."""
    yield loss
    for child in loss.children():
        if child is not model and not hasattr(child, "encode") and not _holds(child, model):
            yield from loss_modules(child, model)


def has_seam(loss: nn.Module, model: nn.Module) -> bool:
    """Return whether the embeddings of a loss, or of one inside of it, can be heard at its own method."""
    return any(hasattr(one, WHOLE) or hasattr(one, CHUNKED) for one in loss_modules(loss, model))


def roles_of(loss: nn.Module, columns: int, tasks: Sequence[str | None] = ()) -> list[tuple[str, Role | None]]:
    """Return the streams of a batch's columns with their roles.

    The first column is the query and the others its documents, unless a Router's tasks say otherwise; a loss of
    labelled pairs has a left and a right, and a loss of one column has one stream.

    Args:
        loss: Whose method it is.
        columns: How many.
        tasks: ``query`` or ``document`` of each column, where the data says so.
    """
    names = {kind.__name__ for kind in type(loss).__mro__}
    if columns == 1 or names & _ONE:
        classes = any(name.startswith("Batch") and "Triplet" in name for name in names)
        return [("embedding", Role.class_ if classes else None)]
    if columns == 2 and names & _PAIRS:
        return [("left", Role.left), ("right", Role.right)]
    sides: list[tuple[str, Role | None]] = [("query", Role.query), ("document", Role.document)]
    if list(tasks[:2]) == ["document", "query"]:
        sides.reverse()
    return [*sides, *([("negative", Role.document)] * (columns - 2))]


class Seam:
    """Hears the embeddings and the terms of a trainer's losses.

    Args:
        watch: What is told.
        loss: A loss.
        model: The encoder.
        attachments: What takes everything off again.
        columns: Gives the names and the tasks of the columns of the batch in progress.
        streams: Whether embeddings are heard, too.
    """

    def __init__(
        self,
        watch: TrainerWatch,
        loss: nn.Module,
        model: nn.Module,
        attachments: Attachments,
        *,
        columns: Callable[[], tuple[Sequence[str], Sequence[str | None]]],
        streams: bool = True,
    ) -> None:
        self._watch = watch
        self._loss = loss
        self._columns = columns
        self._depth = 0
        self._taken = False
        self._width = 0
        self._whole = width_of(model)
        self._own_dims = _dimensions(loss)
        inside = list(loss_modules(loss, model))
        self._dims = next((dims for one in inside if (dims := _dimensions(one))), {})
        for one in inside:
            attachments.forward_pre_hook(one, self._enter)
            attachments.forward_hook(one, self._leave)
            for name in (WHOLE, CHUNKED) if streams else ():
                if hasattr(one, name):
                    attachments.wrap(one, name, probe="embeddings", before=self._method(one, name))

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if module is self._loss:
            self._depth, self._taken = 0, False
        elif _takes_features(args):
            self._depth += 1

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        inner = module is not self._loss
        if inner:
            if not _takes_features(args):
                return
            self._depth -= 1
            if self._depth > 0:
                return
        if not self._watch.paused:
            self._watch.recorder.containment.run("loss", self._hear_term, module, output, inner)

    def _hear_term(self, module: nn.Module, output: Any, inner: bool) -> None:
        listener = self._watch.loss
        label = type(module).__name__
        if inner:
            # A cached loss is called once, and adds its dimensions up inside.
            of_one = self._own_dims and self._width and not hasattr(module, CHUNKED)
            listener.hear(f"{label}.{self._width}" if of_one else label, output, apart=True)
            return
        weights = {f"{name}.{dim}": w for name in self._names() for dim, w in self._own_dims.items()} or None
        listener.total(label, output, weights=weights)

    def _names(self) -> list[str]:
        return [type(child).__name__ for child in self._loss.children()]

    def _method(self, loss: nn.Module, name: str) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
        argument = "embeddings" if name == WHOLE else "reps"

        def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder = self._watch.recorder
            if self._watch.paused or in_backward() or not torch.is_grad_enabled():
                return
            given = args[0] if args else kwargs[argument]
            columns = [one if isinstance(one, list | tuple) else [one] for one in given]
            self._width = columns[0][0].shape[-1]
            if self._taken:
                return  # of fewer columns, or of an earlier layer
            self._taken = True
            if recorder.next_due <= recorder.done + 1:
                self._hear_columns(loss, columns)

        return before

    def _hear_columns(self, loss: nn.Module, columns: Sequence[Sequence[Tensor]]) -> None:
        if not any(part.requires_grad for column in columns for part in column):
            return
        names, tasks = self._columns()
        recorder = self._watch.recorder
        cut = self._width if self._width in self._dims and self._width < (self._whole or 0) else None
        for place, (stream, role) in enumerate(roles_of(loss, len(columns), tasks)):
            stream = stream if cut is None else at_dimension(stream, cut)
            known = recorder.declare(stream)
            if not known.rule:
                column = f"column {names[place]!r}" if len(names) == len(columns) else f"column {place + 1}"
                recorder.declare(stream, role=role, rule=RULE, where=f"{column} of {type(loss).__name__}")
            self._hear(stream, columns[place])

    def _hear(self, stream: str, parts: Sequence[Tensor]) -> None:
        recorder = self._watch.recorder
        if len(parts) == 1:
            recorder.observe(stream, parts[0], by_hand=False)
            return
        heard = recorder.observe(stream, torch.cat([part.detach() for part in parts]), by_hand=False)
        if heard is not None and parts[0].requires_grad:
            heard.trained = True
            parts[0].register_hook(_confirms(heard, recorder))


def _confirms(heard: Heard, recorder: Recorder) -> Callable[[Tensor], None]:
    def confirm(gradient: Tensor) -> None:
        if not recorder.takes_forces:
            heard.confirmed = True
            recorder.backward()

    return confirm


def width_of(model: nn.Module) -> int | None:
    """Return how many columns a model's embeddings have; None where it does not say."""
    for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
        found = getattr(model, name, lambda: None)()
        if isinstance(found, int):
            return found
    return None


def dimensions_of(loss: nn.Module, model: nn.Module) -> set[int]:
    """Return the numbers of first columns that a loss, or one inside of it, trains by themselves."""
    return {dim for one in loss_modules(loss, model) for dim in _dimensions(one)}


def _dimensions(loss: nn.Module) -> dict[int, float]:
    dims = getattr(loss, "matryoshka_dims", None)
    return {} if dims is None else dict(zip(dims, loss.matryoshka_weights, strict=True))  # type: ignore[arg-type]


def _takes_features(args: tuple[Any, ...]) -> bool:
    first = args[0] if args else None
    return isinstance(first, list | tuple) and bool(first) and all(isinstance(one, Mapping) for one in first)


def _holds(module: nn.Module, model: nn.Module) -> bool:
    """Return whether a module is what wraps the encoder: of several processes, or compiled."""
    return getattr(module, "module", None) is model or getattr(module, "_orig_mod", None) is model
