"""Reference pairs that are texts: encoded by the model itself, as its users would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_OPTIONS = {"convert_to_tensor": True, "show_progress_bar": False}


class TextPairs:
    """Own pairs of texts, through ``encode_query`` and ``encode_document`` of a model, or ``encode``.

    Args:
        model: Encodes texts.
        queries: Texts.
        documents: Texts, each of the query in its place.
        query_options: Further arguments for queries, such as a prompt.
        document_options: Further arguments for documents.
    """

    in_parts = True

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
        """
        query = getattr(self._model, "encode_query", None) or self._model.encode
        document = getattr(self._model, "encode_document", None) or self._model.encode
        vectors = query(self.queries[:most], **self._query_options)
        distinct = list(dict.fromkeys(self.documents[:most]))
        return self._each_once(vectors, document(distinct, **self._document_options))

    def of_rows(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Return the same from vectors of every pair's query and document, row by row."""
        first = [self._own.index(place) for place in range(max(self._own) + 1)]
        return self._each_once(queries, documents[first])

    def _each_once(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        if len(queries) == len(documents):
            return queries, documents
        return queries, documents, torch.tensor(self._own[: len(queries)])
