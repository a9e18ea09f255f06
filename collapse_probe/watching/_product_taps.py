"""Sides that no module gives: heard at the product itself, in the steps that are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn

from ..journal.vocabulary import Role
from ..recording import Recorder
from ._overheard import Overheard
from ._products import Listener, Product
from ._rules import Meeting


class ProductTaps:
    """Hears the sides of products as streams; torch's functions are listened to in steps that are due alone.

    Args:
        target: The model.
        recorder: What is told.
        meetings: Stream to where it meets another one.
        roles: Stream to its role.
        paused: Returns whether calls are our own.
        losses: Ids of modules that are known to give a loss.
    """

    def __init__(
        self,
        target: nn.Module,
        recorder: Recorder,
        meetings: Mapping[str, Meeting],
        roles: Mapping[str, Role | None],
        *,
        paused: Callable[[], bool],
        losses: Collection[int] = (),
    ) -> None:
        self._recorder = recorder
        self._keys: dict[str, Meeting] = {}
        for place in dict.fromkeys((one.site, one.query) for one in meetings.values()):
            mine = {stream: found for stream, found in meetings.items() if (found.site, found.query) == place}
            last = max(found.number for found in mine.values())
            key = f"product{len(self._keys)}()"
            self._keys[key] = next(iter(mine.values()))
            split = {
                stream: (found.number, found.number == last and found.number > 0) for stream, found in mine.items()
            }
            recorder.split(key, split, roles={stream: roles[stream] for stream in mine})
        listener = Listener(self._keep, [one.site for one in self._keys.values()])
        self._overheard = Overheard(target, listener, recorder.containment, paused=paused, losses=losses)

    def step_begins(self) -> None:
        """Listen, if what is heard now is read."""
        if any(self._recorder.wants(key) for key in self._keys):
            self._overheard.begin()

    def step_ended(self) -> None:
        """Listen no more; may be called twice."""
        self._overheard.end()

    def _keep(self, product: Product) -> None:
        for key, meeting in self._keys.items():
            if meeting.site == product.site:
                side = product.query if meeting.query else product.document
                how = {"confirmed_by": side.tensor, "gradient_as": side.rows}
                self._recorder.observe(key, side.vectors, by_hand=False, **how)
