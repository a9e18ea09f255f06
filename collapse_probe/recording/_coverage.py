"""Coverage: whether the taps heard anything, in which element type, and whether it was finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ._readings import dtype_name

STREAMS = {"query": "embeddings", "document": "embeddings", "delta": "delta", "loss/total": "loss"}
"""What is looked at, and the tap that it comes from; the tap of the embeddings fires once for each of two."""


class Coverage:
    """Counts over one epoch; stays on the device until :meth:`records`."""

    def __init__(self) -> None:
        self._finite: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}
        self._dtypes: dict[str, str] = {}

    def watch(self, kept: Mapping[str, Tensor]) -> None:
        """Look at one step's tensors; waits for no device."""
        for name in STREAMS:
            if name not in kept:
                continue
            tensor = kept[name].reshape(-1, kept[name].shape[-1] if kept[name].ndim else 1)
            share = measures.finite_share(tensor).double() * len(tensor)
            self._finite[name] = self._finite.get(name, torch.zeros_like(share)) + share
            self._rows[name] = self._rows.get(name, 0) + len(tensor)
            self._dtypes[name] = dtype_name(tensor)

    def records(self, calls: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return one record for every stream whose tap is open, also where nothing was heard.

        Args:
            calls: How often each open tap has fired.
        """
        return [
            {
                "tap": stream,
                "calls": calls[tap],
                "dtype": self._dtypes.get(stream, "not seen"),
                "finite_share": float(self._finite[stream]) / self._rows[stream] if stream in self._finite else None,
                "n": self._rows.get(stream, 0),
            }
            for stream, tap in STREAMS.items()
            if tap in calls
        ]
