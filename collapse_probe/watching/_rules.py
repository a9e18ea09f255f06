"""The rules by which candidates become streams, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..journal.vocabulary import Role
from ..recording import Place, Stacking, Tap, call, compares
from ._candidates import Candidate
from ._places import argument, place
from ._products import Site
from ._roles import is_view, role_of_name, roles_of_pair

LOSS = "loss module"
"""The rule for a loss's arguments whose names tell the sides."""

SINGLE = "single output"
"""The rule for one matrix a step."""

TOWERS = "two modules, one for each side"
"""The rule for a tower of each side."""

STORED = "output beside an argument of the loss"
"""The rule for one side that is trained and another one that is stored."""

_SCORES = ("logits", "scores", "similarity")
"""What scores are called in an output."""

SIDES = (("query", Role.query), ("document", Role.document), ("negative", Role.document))


@dataclass(frozen=True)
class Meeting:
    """Where a stream meets another one in a product.

    Attributes:
        site: The product's place in the program.
        query: Whether it is the product's query.
        number: Of the products there in a micro-batch, which, from 0.
    """

    site: Site
    query: bool
    number: int = 0


@dataclass(frozen=True)
class Choice:
    """What a rule chose.

    Attributes:
        rule: Its name.
        streams: Candidates of this step with their streams' names and roles.
        places: What to listen to from now on.
        replay: The places whose inputs make reference pairs, where these are others; None where there are none.
        stacked: How the one matrix holds several streams, and which with their roles.
        meetings: Streams that no module gives, and where they meet.
        unsure: Whether others might be meant as well, and nothing so far tells which.
    """

    rule: str
    streams: list[tuple[Candidate, str, Role | None]]
    places: list[Place]
    replay: list[Place] | None = field(default=None)
    stacked: tuple[Stacking, Mapping[str, Role]] | None = None
    meetings: Mapping[str, Meeting] = field(default_factory=dict)
    unsure: bool = False

    @property
    def settled(self) -> bool:
        """Whether no product has to be looked at: what a loss is given, and what holds both sides, are the sides."""
        return self.rule in (LOSS, STORED) or self.stacked is not None

    def sides(self) -> list[Candidate]:
        """Return the first query and the first document; fewer where there are none."""
        roles = {role: one for one, _, role in reversed(self.streams)}
        return [roles[role] for role in (Role.query, Role.document) if role in roles]


def choose(kept: Sequence[Candidate], scores: frozenset[int]) -> Choice | None:
    """Return the streams of a step by the first rule that yields some.

    Args:
        kept: The candidates.
        scores: Memory of what was given to losses of scores.
    """
    usable = [one for one in kept if one.usable]
    if any(one.heard.confirmed and not one.heard.beside for one in usable):
        usable = [one for one in usable if not one.heard.beside]
    for rule in (_by_loss, _by_output, _by_method, _by_call):
        found = rule(usable, scores)
        if found is not None:
            return (_with_stored(found, kept) or _beside(found, kept) or found) if found.rule == SINGLE else found
    return None


def _with_stored(single: Choice, kept: Sequence[Candidate]) -> Choice | None:
    """Return a single output with the side that is stored: an adapter's loss is given both raw, and it adapts one."""
    one = single.streams[0][0]
    given = [
        other for other in kept if other.kind == "argument" and other.width == one.width and not other.heard.trained
    ]
    for raw in (other for other in given if other.address in one.inputs):
        beside = {other.key: other for other in given if other.module is raw.module and other is not raw}
        sides = {role_of_name(str(raw.key)): raw, **{role_of_name(str(key)): other for key, other in beside.items()}}
        if len(beside) != 1 or set(sides) != {Role.query, Role.document}:
            continue
        stored = next(iter(beside.values()))
        role = Role.query if sides[Role.query] is raw else Role.document
        other = Role.document if role is Role.query else Role.query
        tap = Tap(stream=str(other), at=stored.module, take=argument(str(stored.key)), role=other)
        places = [place(one, str(role), role), Place(tap, stored.path, module=stored.module)]
        return Choice(STORED, [(one, str(role), role), (stored, str(other), other)], places)
    return None


def _beside(single: Choice, kept: Sequence[Candidate]) -> Choice | None:
    """Return a single output with the one that the loop cut off from the loss, as a frozen side would stand there.

    It is another module's, called next to it with as many rows, and no step on the way to anything.
    """
    one = single.streams[0][0]
    calls = [other for other in kept if (other.kind, other.method, other.depth) == ("output", "forward", one.depth)]
    calls = [other for other in calls if other.heard.micro == one.heard.micro and other.width == one.width]
    others = [other for other in calls if not other.usable and other.module is not one.module and other.key == one.key]
    if len(calls) != 2 or len(others) != 1 or len(others[0].heard.tensor) != len(one.heard.tensor):
        return None
    if one.comes_from(others[0]) or others[0].comes_from(one):
        return None
    return _towers([[call] for call in sorted((one, others[0]), key=lambda call: call.heard.order)], None)


def _by_loss(usable: Sequence[Candidate], scores: frozenset[int]) -> Choice | None:
    """The outermost loss module whose arguments have the names of sides, views, or of one stream beside labels."""
    arguments = sorted((one for one in usable if one.kind == "argument"), key=lambda one: one.depth)
    for module in {id(one.module): one.module for one in arguments if one.heard.confirmed}.values():
        # Of a loss that is called several times, the first call.
        mine = list({one.key: one for one in reversed(arguments) if one.module is module}.values())[::-1]
        named = _named([str(one.key) for one in mine])
        if named is None:
            continue
        streams = [(one, *named[str(one.key)]) for one in mine if str(one.key) in named]
        places = [
            Place(Tap(stream=name, at=module, take=argument(str(one.key)), role=role), one.path, module=module)
            for one, name, role in streams
        ]
        return Choice(LOSS, streams, places, _replayed(streams, usable))
    return None


def _named(keys: Sequence[str]) -> dict[str, tuple[str, Role | None]] | None:
    """Return stream and role of the arguments that are streams, by their names."""
    roles = {key: role_of_name(key) for key in keys}
    if {Role.query, Role.document} <= set(roles.values()):
        named: dict[str, tuple[str, Role | None]] = {}
        for key, role in roles.items():
            if role is not None:
                name = str(role) if all(str(role) != taken for taken, _ in named.values()) else key
                named[key] = (name, role)
        return named
    views = [key for key in keys if is_view(key)]
    if len(views) >= 2:
        return {key: (key, Role.view) for key in views}
    alone = [key for key in keys if key.lower() in ("embedding", "embeddings", "features")]
    return {alone[0]: ("embedding", None)} if len(alone) == 1 else None


def _replayed(streams: Sequence[tuple[Candidate, str, Role | None]], usable: Sequence[Candidate]) -> list[Place] | None:
    """Return the calls that the arguments of a loss came from, if they can be run again; of views, the first two."""
    views = [one for one, _, role in streams if role is Role.view]
    sides = [next((one for one, _, role in streams if role is wanted), None) for wanted in (Role.query, Role.document)]
    sides = [views[0], views[1]] if len(views) >= 2 else sides
    outputs = sorted((one for one in usable if one.kind == "output"), key=lambda one: (one.depth, -one.heard.order))
    found = []
    for side in sides:
        fits = (one for one in outputs if side is not None and one.width == side.width and side.comes_from(one))
        found.append(next(fits, None))
    query, document = found
    if query is None or document is None or query is document:
        return None
    if views:
        query, document = sorted((query, document), key=lambda one: one.heard.order)
    if query.heard.order > document.heard.order:
        return None
    if views and query.module is document.module and query.source != document.source:
        return None  # two forms of each view: one call gives both, and they would be the same view's
    if query.source == document.source:
        return _calls_of(query, 2)
    return [place(query, "query", Role.query), place(document, "document", Role.document)]


def _by_output(usable: Sequence[Candidate], scores: frozenset[int]) -> Choice | None:
    """One call whose output holds two matrices of one width; where no names tell, of which one moves by the other."""
    for first in usable:
        if first.kind != "output" or first.key is None or not first.heard.confirmed:
            continue
        mine = [one for one in usable if one.module is first.module and one.kind == "output"]
        mine = [one for one in mine if one.heard.micro == first.heard.micro and one.width == first.width]
        unique = list({one.key: one for one in mine}.values())
        pair = roles_of_pair([str(one.key) for one in unique])
        if len(unique) < 2 or (pair is None and len(unique) > 2):
            continue
        query, document = (unique[index] for index in (pair or (0, 1)))
        if pair is None and not _compared(query, document):
            continue
        return _pair("model output", query, document)
    return None


def _by_method(usable: Sequence[Candidate], scores: frozenset[int]) -> Choice | None:
    """Methods that encode."""
    methods = [one for one in usable if one.method != "forward"]
    # Of several matrices that one returns, dense and lexical ones, the first.
    first = {(id(one.module), one.method): one.key for one in reversed(methods)}
    methods = [one for one in methods if one.key == first[id(one.module), one.method]]
    return _of_calls(methods, "method") if any(one.heard.confirmed for one in methods) else None


_TELLS = 2500
"""Entries of a batch from which on chance alone pulls no row with what it has nothing to do with by more than .1."""


def _compared(query: Candidate, document: Candidate) -> bool:
    """Return whether the loss compares the two row by row; two heads for two targets are no pair."""
    both = query.heard, document.heard
    return compares(*(one.tensor for one in both), *(one.gradient for one in both))


def _by_call(usable: Sequence[Candidate], scores: frozenset[int]) -> Choice | None:
    """A module that is called for each side, two towers that are called once each, or one that gives one matrix."""
    calls = [one for one in usable if one.kind == "output" and one.method == "forward"]
    single = None
    for depth in sorted({one.depth for one in calls if one.heard.confirmed}):
        found = _of_calls([one for one in calls if one.depth == depth], None)
        if found is None:
            continue
        one = found.streams[0][0]
        if found.rule != SINGLE:
            return found
        if depth == 0:
            # A square matrix is rather one of scores: then look deeper first. What a loss of scores is given is one.
            square = one.width == len(one.heard.tensor)
            if one.address not in scores and not square:
                return found
            single = None if one.address in scores or one.key in _SCORES else found
    return single


def _of_calls(calls: Sequence[Candidate], rule: str | None) -> Choice | None:
    """Choose among calls at one depth."""
    calls = _first_micro(calls)
    trained = [one for one in calls if one.heard.confirmed]
    if not trained:
        return None
    calls = [one for one in calls if one.width == trained[-1].width]
    sources: dict[Any, list[Candidate]] = {}
    for one in calls:
        sources.setdefault(one.source, []).append(one)
    sources = {key: _of_training(found) for key, found in sources.items()}
    sources = {key: found for key, found in sources.items() if not _feeds_another(found, sources)}
    chunked = any(one.heard.again for one in calls)
    if not chunked and (found := _tower_called_again(list(sources.values()), rule)) is not None:
        return found
    repeated = [found for found in sources.values() if len(found) > 1 and any(one.heard.confirmed for one in found)]
    if repeated and not (chunked and len(sources) > 1):
        # Of several, the one with most calls has the ends of what others, such as relations, stand between: perhaps.
        most = max(reversed(repeated), key=len)
        apart = not chunked and most[0].heard.tensor.numel() >= _TELLS and not _compared(*most[:2])
        unsure = len(repeated) > 1 or apart
        return replace(one_module(most, rule, chunked=chunked), unsure=unsure)
    if len(sources) >= 2:
        return _towers(list(sources.values()), rule)
    if not sources or not any(one.heard.confirmed for one in next(iter(sources.values()))):
        return None
    one = next(iter(sources.values()))[0]
    return Choice(rule or SINGLE, [(one, "embedding", None)], [place(one, "embedding", None)])


def _of_training(calls: list[Candidate]) -> list[Candidate]:
    """Return one module's calls without those that score beside the training, such as an evaluation before a step.

    With two trained calls both sides are there; beside a single one, a call without a graph may be the other side, if
    its rows fit, and if the module was not put into evaluation mode for it.
    """
    trained = [one for one in calls if one.heard.confirmed or one.heard.again]
    if len(trained) != 1:
        return trained or calls
    own = trained[0]
    rows = len(own.heard.tensor)
    return [
        one for one in calls if one is own or (len(one.heard.tensor) % rows == 0 and (one.training or not own.training))
    ]


def _first_micro(calls: Sequence[Candidate]) -> list[Candidate]:
    """Return the calls of the first micro-batch; of a GradCache, those with a graph in the place of those before."""
    again = [one for one in calls if one.heard.confirmed]
    first = [one for one in calls if again and not one.heard.trained and one.heard.order < again[0].heard.order]
    first = first[-len(again) :]
    shapes = [[(one.source, one.heard.tensor.shape) for one in found] for found in (first, again)]
    if len({one.heard.micro for one in again}) < 2 or shapes[0] != shapes[1]:
        return [one for one in calls if one.heard.micro == 0]
    for one, earlier in zip(again, first, strict=True):
        one.heard.micro, one.heard.order, one.heard.again = 0, earlier.heard.order, True
    return again


def _feeds_another(calls: Sequence[Candidate], sources: dict[Any, list[Candidate]]) -> bool:
    """Return whether these calls are steps on the way to others, not ends."""
    others = [one for found in sources.values() if found is not calls for one in found]
    return any(other.comes_from(one) for one in calls for other in others)


def one_module(calls: Sequence[Candidate], rule: str | None, *, chunked: bool = False) -> Choice:
    """Return one module's calls as the sides, in their order; of a chunked batch as many for each."""
    rule = rule or "one module, called for each side"
    if chunked and len(calls) % 2 == 0:
        half = len(calls) // 2
        streams = [(one, *SIDES[index // half]) for index, one in enumerate(calls)]
        return Choice(rule, streams, _calls_of(calls[0], 2))
    rows = [len(one.heard.tensor) for one in calls[:2]]
    sides = SIDES
    if rows[0] > rows[1] and rows[0] % rows[1] == 0:
        # So many queries have no document each; so many documents have a query each.
        rule, sides = f"{rule}, documents first", (SIDES[1], SIDES[0], SIDES[2])
    streams = [(one, *sides[min(index, 2)]) for index, one in enumerate(calls)]
    return Choice(rule, streams, _calls_of(calls[0], min(3, len(calls)), sides))


def _calls_of(one: Candidate, count: int, sides: Sequence[tuple[str, Role]] = SIDES) -> list[Place]:
    """Return the places of the first calls of a micro-batch."""
    take = one.take
    return [
        place(one, name, role, call(index, take, further=index == count - 1))
        for index, (name, role) in enumerate(sides[:count])
    ]


def _tower_called_again(ends: Sequence[Sequence[Candidate]], rule: str | None) -> Choice | None:
    """Return two towers of which the documents' is called again, for negatives; None where they are not that.

    The other one is called once, with as many rows or a part of them; a name that makes it the documents' speaks
    against it.
    """
    if len(ends) != 2:
        return None
    (query, *more), documents = sorted(ends, key=len)
    rows = len(query.heard.tensor)
    trained = all(any(one.heard.confirmed for one in end) for end in ends)
    if more or len(documents) < 2 or not trained or any(len(one.heard.tensor) % rows for one in documents):
        return None
    if roles_of_pair([_called(query), _called(documents[0])]) == (1, 0):
        return None
    streams = [(query, *SIDES[0]), *((one, *SIDES[min(at, 2)]) for at, one in enumerate(documents, start=1))]
    places = [place(query, *SIDES[0]), *_calls_of(documents[0], min(2, len(documents)), SIDES[1:])]
    return Choice(f"{rule or TOWERS}, negatives again", streams, places)


def _called(one: Candidate) -> str:
    return one.method if one.method != "forward" else one.path


def _towers(ends: Sequence[Sequence[Candidate]], rule: str | None) -> Choice | None:
    named = roles_of_pair([_called(end[0]) for end in ends])
    pair = named or (0, 1)
    if named is None and len(ends) == 2 and not _compared(ends[0][0], ends[1][0]):
        return None
    found = _pair(rule or TOWERS, ends[pair[0]][0], ends[pair[1]][0])
    streams = [
        (one, *SIDES[side])
        for side in (0, 1)
        for one in ends[pair[side]]
        if one.heard.again or one is ends[pair[side]][0]
    ]
    return Choice(found.rule, streams, found.places, unsure=named is None and len(ends) > 2)


def _pair(rule: str, query: Candidate, document: Candidate) -> Choice:
    streams = [(query, *SIDES[0]), (document, *SIDES[1])]
    return Choice(rule, streams, [place(one, name, role) for one, name, role in streams])
