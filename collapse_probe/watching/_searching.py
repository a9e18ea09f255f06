"""What a watch makes of streams that were found, and of places where none can be heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import nn

from ..journal.vocabulary import Role
from ..recording import PADDED, Place, Recorder, Replay, input
from ._attach import Attachments, compiled_inside
from ._calls import CallListener
from ._coverage import Coverage, one_matrix
from ._finder import Finder
from ._pooling import PaddingCheck
from ._product_taps import ProductTaps
from ._references import ReferenceReader
from ._rules import LOSS, SINGLE, STORED, Choice
from ._terms import LossListener

INSIDE_COMPILED = (
    "off, since it lies inside of compiled code, where a hook would change what is compiled, and so the weights: tap "
    "what is compiled itself, an argument of the loss, or hand it over, w.observe(...)"
)
"""Why a tap hears nothing."""

_PAIRED, _LABELLED = (Role.query, Role.document), (Role.left, Role.right)
"""The two sides of reference pairs, and of rows with labels, of which those that the loss pulls together are pairs."""


class Searching:
    """The streams of a watch that nobody named, and the pairs that are made of them."""

    recorder: Recorder
    _target: nn.Module
    _attachments: Attachments
    _calls: CallListener
    _coverage: Coverage
    _finder: Finder | None
    _loss: LossListener
    _products: ProductTaps | None
    _reference: ReferenceReader
    _replays: bool
    _say: Callable[[str, str], None]

    def _new_padding_check(self, places: Sequence[Place]) -> PaddingCheck:
        """Return what says whether padding is pooled; it hears declared places, and what a finder does."""

        def found(how: str, share: float) -> None:
            self.recorder.scalars({"padding/share": share})
            if how:
                self.recorder.event("padding_pooled", PADDED[how], step=self.recorder.current)

        def cut(length: int) -> None:
            said = f"each of the first texts has exactly {length} tokens: are they cut, by max_length?"
            self.recorder.event("noted", said, step=self.recorder.current, subject="cut texts")

        def same(texts: int, length: int) -> None:
            said = f"all {texts} texts of a side are the same {length} tokens, in two steps"
            self.recorder.event("one_text", said, step=self.recorder.current)

        about = {"paused": lambda: self._calls.paused, "containment": self.recorder.containment}
        check = PaddingCheck(found, cut=cut, same=same, **about)
        check.listen([one.module for one in places if one.module is not None], self._target, self._attachments)
        self._attachments.add(check.close)
        return check

    def _look_for_silent(self) -> None:
        """Where what was declared is silent, look at one step for what could be meant."""
        if self._finder is None and self._coverage.silent():
            self._finder = Finder(self._target, self.recorder, self._attachments, loss=self._loss, found=None)
            self._coverage.looked_with(self._finder)

    def _found(self, chosen: Choice) -> None:
        """Take the streams that the finder found."""
        self._calls.listen(chosen.places)
        if chosen.meetings:
            roles = {stream: role for _, stream, role in chosen.streams}
            losses = frozenset() if self._finder is None else frozenset(self._finder.losses)
            about = {"paused": lambda: self._calls.paused, "losses": losses}
            self._products = ProductTaps(self._target, self.recorder, chosen.meetings, roles, **about)
            self._attachments.add(self._products.step_ended)
        if chosen.rule == SINGLE and chosen.streams[0][2] is None:
            self._say("one matrix", one_matrix(chosen.streams[0][0].said))
        elif not self._replays:
            return
        elif chosen.rule not in (LOSS, STORED) and not chosen.meetings:
            self._replay_declared(chosen.places)
        elif chosen.replay is not None:
            self._replay_declared(chosen.replay)
            self._calls.listen_for_replay(chosen.replay)
        else:
            self.recorder.event(
                "note",
                "no reference pairs: queries or documents are no module's output; the batches' own separation is read",
                subject="reference pairs",
            )

    def _outside_compiled(self, places: Sequence[Place]) -> list[Place]:
        """Return what can be heard, and say of the rest why it is off: it lies inside of compiled code."""
        inside = compiled_inside(self._target)
        off = [one for one in places if one.module is not None and id(one.module) in inside]
        for stream in (one.tap.stream for one in off if one.tap.stream in self.recorder.streams):
            self.recorder.declare(stream, why=INSIDE_COMPILED)
        if off:
            names = ", ".join(dict.fromkeys(one.tap.stream for one in off if one.tap.stream in self.recorder.streams))
            self._say("compiled", f"{names}: {INSIDE_COMPILED}")
        return [one for one in places if one not in off]

    def _replay_declared(self, places: Iterable[Place]) -> None:
        by_role = {place.tap.role: place for place in reversed(list(places)) if place.module is not None}
        labelled = Role.left in by_role
        query, document = (by_role.get(one) for one in (_LABELLED if labelled else _PAIRED))
        if query is None or document is None or input in (query.tap.take, document.tap.take):
            self._say(
                "replay",
                "no reference pairs can be made of the first batches, since query and document are not both a module's "
                "output: the batches' own pairs are read alone; give reference= for fixed ones",
            )
            return
        takes = [getattr(place.tap.take, "take", place.tap.take) for place in (query, document)]
        replay = Replay(query.module, document.module, *takes, graded=labelled)  # type: ignore[arg-type]
        self._calls.replay = self._reference.replay = replay
        self._calls.keep_inputs(query, document)
