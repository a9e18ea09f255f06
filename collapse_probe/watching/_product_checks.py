"""When products are looked for, and what they say of the sides that a rule chose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor, nn

from ..recording import Call, Heard, Recorder
from ._by_product import CLASSES, Products, agree
from ._calls import added_up
from ._candidates import Candidate, address
from ._classes import is_language_model
from ._overheard import Overheard
from ._products import Listener, Product
from ._rules import SINGLE, Choice

TRIES = 3
"""Steps in which products are looked for."""

TOKENS_FROM = 3
"""The step from which single tokens of a text are looked at, where nothing else was found."""


class ProductChecks:
    """Listens to products in the steps after one that told no sides for certain.

    Args:
        target: The model.
        recorder: Where operands are kept.
        tries: Steps in which it may listen.
        paused: Returns whether calls are our own.
        losses: Ids of modules that are known to give a loss.

    Attributes:
        no_sides: Sources that are known to be no sides: scores, and what leads to the vectors of the loss.
    """

    def __init__(
        self,
        target: nn.Module,
        recorder: Recorder,
        *,
        tries: int,
        paused: Callable[[], bool],
        losses: Collection[int],
    ) -> None:
        self.no_sides: set[Any] = set()
        self._target = target
        self._recorder = recorder
        self._tries = tries
        self._losses = losses
        self._losses_known = 0
        self._asks = False
        self._products: Products | None = None
        listener = Listener(self._met, scores=self._scored)
        self._overheard = Overheard(target, listener, recorder.containment, paused=paused, losses=losses)

    @property
    def on(self) -> bool:
        """Whether this step's products are heard."""
        return self._products is not None

    @property
    def heard(self) -> list[Heard]:
        """What was heard for them in this step."""
        return [] if self._products is None else self._products.heard

    def step_begins(self) -> None:
        """Listen in this step, if the one before it told no sides."""
        if self._asks and self._tries and self._overheard.possible():
            self._tries -= 1
            self._losses_known = len(self._losses)
            self._products = Products(self._recorder)
            self._overheard.begin()

    def step_ends(self) -> None:
        """Listen no more; may be called twice."""
        self._overheard.end()

    def close(self) -> None:
        """Listen no more, and keep no graph; may be called twice."""
        self.step_ends()
        self._products = None
        self._asks = False

    def hear_tokens(self, value: Tensor, found: Call, path: str, key: str | int | None, **about: Any) -> None:
        """Hear an output with vectors of tokens, of which a program may make vectors of texts."""
        if self._products is not None:
            heard = self._recorder.hear("?tokens", value[:, 0], confirmed_by=value, gradient_as=added_up)
            about |= {"address": address(value), "node": value.grad_fn}
            self._products.keep_tokens(Candidate(heard, found.module, path, key, **about), found, value)

    def sides(self, kept: Sequence[Candidate]) -> list[Candidate]:
        """Return what may be a side; to be called once the step's backward came."""
        if self._products is not None:
            self._products.end_step()
            self.no_sides |= self._products.no_sides(kept)
        return [one for one in kept if one.source not in self.no_sides]

    def checked(self, chosen: Choice | None, kept: Sequence[Candidate]) -> Choice | None:
        """Return a choice, or what the product before the loss says in its place; None to look on.

        Waits for the device where products were heard.

        Args:
            chosen: What a rule chose; None for nothing.
            kept: The candidates of the step.
        """
        products, self._products = self._products, None
        known = chosen is not None and not chosen.unsure and (chosen.rule != SINGLE or chosen.stacked is not None)
        known = known and chosen is not None and _fits(chosen)
        self._asks = not known
        if products is not None and not (known and chosen is not None and chosen.settled):
            met = products.choose(kept, self._target)
            if met is not None and not (known and chosen is not None and (met.rule == CLASSES or agree(chosen, met))):
                # Where no module gives what is compared, single tokens of texts are looked at first.
                self._asks = bool(met.meetings) and self._recorder.current < TOKENS_FROM
                return None if self._asks else met
        heard = products is not None and len(self._losses) == self._losses_known
        tried = heard or not self._tries or not self._overheard.possible()
        return chosen if known or (tried and chosen is not None and not chosen.unsure) else None

    def _met(self, product: Product) -> None:
        if self._products is not None and not (product.classes and is_language_model(self._target)):
            self._products.keep(product)

    def _scored(self, scores: Tensor) -> None:
        if self._products is not None:
            self._products.keep_scores(scores)


def _fits(chosen: Choice) -> bool:
    """Return whether the rows of both sides can be pairs: whole tables, of which rows are taken later, hardly can."""
    rows = [len(one.heard.tensor) for one in chosen.sides()]
    return len(rows) < 2 or rows[1] % rows[0] == 0
