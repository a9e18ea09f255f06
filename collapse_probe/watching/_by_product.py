"""The rule of last resort: the sides of the last product of vectors before the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..journal.vocabulary import Role
from ..recording import Call, Heard, Recorder, Rows, Stacking, call, poolings, rows_of, towards_one
from ._calls import in_backward
from ._candidates import Candidate, address, reaches
from ._places import place
from ._products import Operand, Product
from ._rules import SIDES, Choice, Meeting, one_module

PRODUCT = "similarity product"
"""The rule's name."""

CLASSES = "classes that labels name"
"""The same where documents are rows of a weight."""

_MOST = 32
"""Products of one step that are looked at, those of its end."""

_MIXED = 0.1
"""Share of pairs that are pushed apart, and of those that are pulled together, from which pairs are labelled ones."""


class Products:
    """The products of one step, and the outputs that their operands may be.

    Args:
        recorder: Where operands are kept until a backward confirms them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._found: list[tuple[Product, Heard, Heard]] = []
        self._tokens: list[tuple[Candidate, list[Candidate]]] = []
        self._last: list[tuple[Product, Heard, Heard]] = []
        self._inner: list[Product] = []
        self._scores: list[tuple[int, Any]] = []

    @property
    def heard(self) -> list[Heard]:
        """What was heard for them."""
        return [*(one for _, *sides in self._found for one in sides), *(one.heard for one, _ in self._tokens)]

    def keep(self, product: Product) -> None:
        """Keep a product and its sides."""
        if not product.output.requires_grad or not torch.is_grad_enabled():
            return
        key = f"?product{len(self._found)}"
        sides = [
            self._recorder.hear(key, one.vectors, confirmed_by=one.tensor, gradient_as=one.rows)
            for one in (product.query, product.document)
        ]
        product.output.register_hook(_keeps(product.gradient, self._recorder))
        self._found.append((product, *sides))
        del self._found[:-_MOST]

    def keep_tokens(self, one: Candidate, found: Call, tokens: Tensor) -> None:
        """Keep an output with vectors of tokens, in the ways in which a text's vector may be made of it."""
        made = [replace(one, heard=_made(one.heard, tokens.detach()[:, at].clone()), token=at) for at in (0, -1)]
        for how, vectors in poolings(found, tokens).items():
            made.append(replace(one, heard=_made(one.heard, vectors.clone()), pooling=how))
        self._tokens.append((one, made))

    def keep_scores(self, scores: Tensor) -> None:
        """Keep where in the graph lies what a loss of scores is given."""
        if not in_backward():
            self._scores.append((address(scores), scores.grad_fn))

    def _outputs(self, kept: Sequence[Candidate]) -> list[Candidate]:
        """Return what a module gave: of one that was trained, the calls that were."""
        made = [_told(one, of.heard) for of, several in self._tokens for one in several]
        outputs = [one for one in (*kept, *made) if one.kind == "output"]
        trained = {one.source for one in outputs if one.heard.confirmed}
        return [one for one in outputs if one.heard.confirmed or one.source not in trained]

    def end_step(self) -> None:
        """Tell the products of the loss from those on the way to its vectors; to be called once the backward came."""
        reached = [one for one in self._found if one[0].gradient and (one[1].confirmed or one[2].confirmed)]
        trained = [one for one in reached if not _weighs_scores(one[0], reached)]
        self._last = [one for one in trained if not self._of_tokens(one[0]) and not _goes_on(one[0], trained)]
        known = {id(one[0]) for one in self._last}
        self._inner = [one[0] for one in trained if id(one[0]) not in known]

    def _of_tokens(self, one: Product) -> bool:
        """Return whether vectors of tokens meet others in a product, as in attention that pools them."""
        given = {address(side.tensor) for side in (one.query, one.document) if side.tensor.ndim == 3}
        return not given.isdisjoint(of.address for of, _ in self._tokens)

    def no_sides(self, kept: Sequence[Candidate]) -> set[Any]:
        """Return the sources of scores, and of what is given to a product on the way to the loss's vectors."""
        scores = [one.output.grad_fn for one, *_ in self._last]
        given = {address(side.tensor) for one in self._inner for side in (one.query, one.document)}
        ends = {address(side.tensor) for one, *_ in self._last for side in (one.query, one.document)}
        made = [one for one in kept if one.node is not None and any(reaches(one.node, score) for score in scores)]
        scored = [one for one in kept if any(one.address == at and one.node is node for at, node in self._scores)]
        return {one.source for one in (*made, *scored, *(one for one in kept if one.address in given - ends))}

    def choose(self, kept: Sequence[Candidate], target: nn.Module) -> Choice | None:
        """Return the sides of the last product before the loss; None where none tells them apart. Waits for the device.

        Args:
            kept: The candidates of the step.
            target: The model.
        """
        if not all(bool(torch.isfinite(gradient).all()) for one, *_ in self._last for gradient in one.gradient):
            return None
        # A distance that is summed up whole compares no rows: what does goes before it.
        others = (one for one in self._last if not one[0].of_itself)
        last = sorted(others, key=lambda one: (one[0].classes, one[0].whole))
        first = next((one for one in last if _pulled(one[0]) > _MIXED), None)
        if first is None:
            return None
        sides = [(first[0].query, first[1]), (first[0].document, first[2])]
        micro = first[1].micro
        for product, query, document in last:
            again = (
                product is first[0]
                or product.classes
                or query.micro != micro
                or not _same(product.query, first[0].query)
            )
            if not again and not any(_same(product.document, one) for one, _ in sides):
                sides.append((product.document, document))
        names: Sequence[tuple[str, Role]] = SIDES
        if _pulled(first[0]) < 1 - _MIXED and len(sides) == 2 and not _of_one_similarity(first[0]):
            names = (("left", Role.left), ("right", Role.right))
        outputs = [one for one in self._outputs(kept) if one.heard.micro == micro]
        found = _of_outputs(sides, names, outputs)
        rule = CLASSES if first[0].classes else PRODUCT
        by_outputs = (found and _before_predictor(found, outputs)) or found
        return by_outputs or self._of_operands(last, sides, names, target, rule)

    @staticmethod
    def _of_operands(
        last: Sequence[tuple[Product, Heard, Heard]],
        sides: Sequence[tuple[Operand, Heard]],
        names: Sequence[tuple[str, Role]],
        target: nn.Module,
        rule: str,
    ) -> Choice:
        """Return sides that no module gives: what is to be heard is the product itself."""
        streams, meetings = [], {}
        for at, (operand, heard) in enumerate(sides):
            product = next(one for one, *_ in last if operand is one.query or operand is one.document)
            stream, role = names[min(at, 2)]
            side = "query's side" if operand is product.query else "document's side"
            about = {"site": str(product.site), "node": operand.tensor.grad_fn}
            found = Candidate(heard, target, "", side, "operand", 0, **about)
            streams.append((found, stream, role))
            there = [one for one, mine, _ in last if one.site == product.site and mine.micro == sides[0][1].micro]
            number = next(place for place, one in enumerate(there) if one is product)
            meetings.setdefault(stream, Meeting(product.site, operand is product.query, number))
        return Choice(rule, streams, [], meetings=meetings)


def agree(chosen: Choice, by_product: Choice) -> bool:
    """Return whether what a rule chose is what meets in the product, or what that is made of. Waits for the device."""
    pairs = list(zip(chosen.sides(), by_product.sides(), strict=False))
    if len(pairs) < 2:
        return False
    if all(rows_of(met.heard.tensor, one.heard.tensor) == Rows() for one, met in pairs):
        return True
    nodes = [(one.node, met.node) for one, met in pairs]
    return bool(by_product.meetings) and all(mine and theirs and reaches(theirs, mine) for mine, theirs in nodes)


def _keeps(gradients: list[Tensor], recorder: Recorder) -> Callable[[Tensor], None]:
    """Return a hook that keeps gradients; it holds no product, whose output would hold it in turn for good."""

    def keep(gradient: Tensor) -> None:
        if not recorder.takes_forces:
            gradients.append(gradient.detach())

    return keep


def _made(like: Heard, vectors: Tensor) -> Heard:
    return replace(like, tensor=vectors, by_term={})


def _told(one: Candidate, of: Heard) -> Candidate:
    """Return what was made of an output's tokens with what the backward has told of them since."""
    return replace(one, heard=replace(one.heard, confirmed=of.confirmed, gradient=of.gradient))


def _weighs_scores(one: Product, others: Sequence[tuple[Product, Heard, Heard]]) -> bool:
    """Return whether rows of scores are multiplied by a mask or held against a teacher's: no vectors of texts."""
    scores = [other.output for other, *_ in others if one.pairwise and not other.pairwise]
    given = [(side.tensor.shape, side.tensor.grad_fn) for side in (one.query, one.document)]
    return any(shape == it.shape and node and reaches(node, it.grad_fn) for it in scores for shape, node in given)


def _goes_on(one: Product, trained: Sequence[tuple[Product, Heard, Heard]]) -> bool:
    """Return whether a later product is made of this one."""
    node = one.output.grad_fn
    others = (operand.tensor.grad_fn for other, *_ in trained for operand in (other.query, other.document))
    return any(found is not None and reaches(found, node) for found in dict.fromkeys(others))


def _same(one: Operand, other: Operand) -> bool:
    mine, others = one.vectors, other.vectors
    return one.tensor is other.tensor or (mine.shape == others.shape and bool((mine == others).all()))


def _pulled(one: Product) -> float:
    """Return the share of a product's pairs, row by row, that the loss pulls together; 1 where all meet all."""
    if not one.pairwise:
        return 1.0
    towards = _towards(one)
    return float((towards > 0).sum() / (towards != 0).sum().clamp(min=1))


def _towards(one: Product) -> Tensor:
    """Return how much the loss pulls each pair together, negative where apart."""
    return sum(one.gradient[1:], one.gradient[0]) * (1 if one.distance else -1)


def _of_one_similarity(one: Product) -> bool:
    """Return whether the loss drives all pairs to one similarity: those that it pushes apart are the nearest."""
    return bool(towards_one(one.output.detach() * (-1 if one.distance else 1), _towards(one)))


# Sides that are outputs of modules, or rows of one

_Explained = tuple[Candidate, Rows | None, int]


def _of_outputs(
    sides: Sequence[tuple[Operand, Heard]], names: Sequence[tuple[str, Role]], outputs: Sequence[Candidate]
) -> Choice | None:
    """Return the calls that give the sides, or the one call that gives all of them as rows; None where none does."""
    calls: dict[object, list[int]] = {}
    for one in outputs:
        orders = calls.setdefault(one.maker, [])
        orders.append(one.heard.order)
    found: list[_Explained] = []
    for operand, _ in sides:
        fits = ((one, rows_of(operand.vectors, one.heard.tensor)) for one in sorted(outputs, key=_near))
        one, rows = next(((one, rows) for one, rows in fits if rows is not None), (None, None))
        if one is None:
            return None
        at = sorted(calls[one.maker]).index(one.heard.order)
        found.append((one, rows, at))
    kind = found[0][0].maker
    if all(one.heard is found[0][0].heard for one, _, _ in found):
        one = found[0][0]
        stacking = Stacking(tuple(rows for _, rows, _ in found if rows is not None))
        taken = dict(names[min(at, 2)] for at in range(len(found)))
        if len(set(stacking.sides)) < len(found) or len(taken) < len(found) or calls[kind] != [one.heard.order]:
            return None
        stream = (one, "embedding", None)
        return Choice(f"{PRODUCT}, {stacking}", [stream], [place(*stream)], stacked=(stacking, taken))
    if any(rows != Rows() for _, rows, _ in found):
        return None
    streams = [(one, *names[min(at, 2)]) for at, (one, _, _) in enumerate(found)]
    places, takes = [], {}
    for at, (one, stream, role) in enumerate(streams[:3]):
        kind = one.maker
        take = takes.setdefault(kind, one.take)
        if len(calls[kind]) > 1:
            take = call(found[at][2], take, further=at == 2)
        places.append(place(one, stream, role, take))
    return Choice(PRODUCT, streams, places)


def _before_predictor(chosen: Choice, outputs: Sequence[Candidate]) -> Choice | None:
    """Return the two calls of one module where each is held against what a predictor makes of the other, in turns.

    The predictor is there for training alone, and what is served is what it is given. Where it stands on one side only,
    as an adapter of queries does, it is served.
    """
    if chosen.stacked is not None or len(chosen.sides()) < 2:
        return None
    query, document = chosen.sides()
    calls: dict[Any, list[Candidate]] = {}
    for one in sorted(outputs, key=lambda one: one.heard.order):
        calls.setdefault(one.maker, []).append(one)
    pairs = [found for found in calls.values() if len(found) == 2 and all(one.heard.confirmed for one in found)]
    for found in pairs:
        theirs = next((one for one in found if _equal(one, document)), None)
        if theirs is None or any(_equal(one, query) for one in found):
            continue
        mine = next(one for one in found if one is not theirs)
        for made in pairs:
            ours = next((one for one in made if _equal(one, query)), None)
            other = next((one for one in made if one is not ours), None)
            if ours is None or other is None or ours.node is mine.node:
                continue  # one output, read in two ways, is made by no predictor
            if ours.comes_from(mine) and other.comes_from(theirs):
                return one_module(found, f"{PRODUCT}, before a predictor of both")
    return None


def _equal(one: Candidate, other: Candidate) -> bool:
    return rows_of(one.heard.tensor, other.heard.tensor) == Rows()


def _near(one: Candidate) -> tuple[int, int]:
    """Return how far an output is from the loss."""
    return one.depth, -one.heard.order
