"""Reference pairs that are texts: encoded by the model itself, as its users would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..recording import processes

_OPTIONS = {"convert_to_tensor": True, "show_progress_bar": False}


class TextPairs:
    """Own pairs of texts, through ``encode_query`` and ``encode_document`` of a model, or ``encode``.

    Args:
        model: Encodes texts.
        queries: Texts.
        documents: Texts, each of the query in its place.
        query_options: Further arguments for queries, such as a prompt.
        document_options: Further arguments for documents.

    Attributes:
        apart: Pairs that do not belong together by their labels; None where none are known.
    """

    in_parts = True
    apart: TextPairs | None = None

    def __init__(
        self,
        model: Any,
        queries: Sequence[str],
        documents: Sequence[str],
        *,
        query_options: Mapping[str, Any] | None = None,
        document_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.queries = list(queries)
        self.documents = list(documents)
        distinct = {text: place for place, text in enumerate(dict.fromkeys(self.documents))}
        self._own = [distinct[text] for text in self.documents]
        self._model = model
        self._query_options = {**_OPTIONS, **(query_options or {})}
        self._document_options = {**_OPTIONS, **(document_options or {})}

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 over the texts, in hexadecimal."""
        content = json.dumps([self.queries, self.documents]).encode()
        return hashlib.sha256(content).hexdigest()

    def __len__(self) -> int:
        return len(self.queries)

    def __call__(self, most: int | None = None) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of the first pairs, of all if None, each ``[n, D]``.

        Where queries share a document it comes once, and a third part says which document is whose.

        Raises:
            InputError: the model encodes no text into one vector, as models of late interaction.
        """
        vectors = self._encoded("query", self.queries[:most], self._query_options)
        distinct = list(dict.fromkeys(self.documents[:most]))
        return self._each_once(vectors, self._encoded("document", distinct, self._document_options))

    def _encoded(self, side: str, texts: Sequence[str], options: Mapping[str, Any]) -> Tensor:
        encode = getattr(self._model, f"encode_{side}", None) or self._model.encode
        kind = type(self._model).__name__
        if processes() > 1 and "device" in signature(encode).parameters:
            # Without one it is sent to the other processes, where these share an evaluation.
            options = {**options, "device": getattr(self._model, "device", None)}
        try:
            found = encode(texts, **options)
        except TypeError as error:
            raise InputError(f"{kind} does not encode texts as sentence-transformers does ({error})") from error
        if getattr(found, "ndim", 0) != 2:
            raise InputError(f"{kind} gives a text no single vector")
        return found

    def of_rows(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Return the same from vectors of every pair's query and document, row by row."""
        first = [self._own.index(place) for place in range(max(self._own) + 1)]
        return self._each_once(queries, documents[first])

    def _each_once(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        if len(queries) == len(documents):
            return queries, documents
        return queries, documents, torch.tensor(self._own[: len(queries)])
