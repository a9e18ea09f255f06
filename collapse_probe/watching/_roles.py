"""Which side of a pair a name stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..journal.vocabulary import Role

_QUERY = {"query", "queries", "q", "anchor", "anchors", "question", "questions", "text", "image", "user", "left"}
_DOCUMENT = {
    "document",
    "documents",
    "d",
    "doc",
    "docs",
    "positive",
    "positives",
    "pos",
    "passage",
    "passages",
    "p",
    "context",
    "contexts",
    "ctx",
    "answer",
    "answers",
    "corpus",
    "candidate",
    "candidates",
    "negative",
    "negatives",
    "neg",
    "item",
    "response",
    "right",
}


def role_of_name(name: str) -> Role | None:
    """Return the side that an argument's, a key's or a module's name stands for; None where it names none.

    >>> role_of_name("q_reps"), role_of_name("text_pos"), role_of_name("DocTower"), role_of_name("z_i")
    (<Role.query: 'query'>, <Role.document: 'document'>, <Role.document: 'document'>, None)
    """
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]
    sides = [Role.document if word in _DOCUMENT else Role.query for word in words if word in _DOCUMENT | _QUERY]
    # "text_pos" and "query_passage": the last word says which.
    return sides[-1] if sides else None


def is_view(name: str) -> bool:
    """Return whether an argument's name stands for one of several views of the same thing.

    >>> [is_view(name) for name in ("z_i", "out0", "view_b", "z1", "query", "size")]
    [True, True, True, True, False, False]
    """
    return re.fullmatch(r"(z|h|p|out|x|view|embedding)_?([ijab]|\d+)", name.lower()) is not None


def roles_of_pair(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the places of the query and of the document among names; None where they do not say.

    Of an image and a text, the image stands first, as in the scores of contrastive image models.

    >>> roles_of_pair(["p_reps", "q_reps"]), roles_of_pair(["image_features", "text_features"])
    ((1, 0), (0, 1))
    """
    if len(names) == 2 and {"image", "text"} <= {word for name in names for word in re.split(r"[^a-z]+", name.lower())}:
        return (0, 1) if "image" in names[0].lower() else (1, 0)
    roles = [role_of_name(name) for name in names]
    if Role.query in roles and Role.document in roles:
        return roles.index(Role.query), roles.index(Role.document)
    return None
