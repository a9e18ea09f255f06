"""What a stream is in its step, and how queries are compared with documents."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Similarity = Literal["cosine", "dot", "euclidean"]
"""How a query is scored against a document; ``euclidean`` is the negative distance."""


class Role(StrEnum):
    """What a stream is. Only queries and documents are pairs: two views, or left and right, need not belong together.

    >>> Role("class") is Role.class_
    True
    """

    query = "query"
    document = "document"
    view = "view"
    class_ = "class"
    left = "left"
    right = "right"
    token = "token"
    correction = "correction"
    gate = "gate"
    prediction = "prediction"
    served = "served"
    hidden = "hidden"
