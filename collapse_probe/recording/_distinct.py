"""Which rows of several calls are given the same: by content, so that nothing is counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor


def row_keys(given: Any, rows: int) -> list[bytes]:
    """Return what tells each row of a call's arguments from others; equal content gives equal keys. Waits.

    Rows are those of tensors and of lists of texts that have as many; everything else belongs to all rows. Of tensors
    beside an ``attention_mask`` padding is left out. Objects of other types are told by identity.

    Args:
        given: The arguments.
        rows: Rows of the call's output.

    >>> a, b = torch.ones(2, 3), torch.zeros(1, 3)
    >>> keys = row_keys((torch.cat([a, b]),), 3)
    >>> keys[0] == keys[1], keys[0] == keys[2], keys[0] == row_keys((a,), 2)[1]
    (True, False, True)
    """
    found = _Rows(rows)
    found.take(given)
    shared = found.shared.digest()
    if not found.told:
        return [shared + str(row).encode() for row in range(rows)]
    return [one.digest() + shared for one in found.own]


class _Rows:
    def __init__(self, rows: int) -> None:
        self.shared = blake2b(digest_size=16)
        self.own = [blake2b(digest_size=16) for _ in range(rows)]
        self.told = False

    def take(self, value: Any, mask: Tensor | None = None) -> None:
        if isinstance(value, Tensor):
            self._take_tensor(value, mask)
        elif isinstance(value, Mapping):
            mask = value.get("attention_mask")
            for key, entry in value.items():
                self.shared.update(repr(key).encode())
                self.take(entry, mask if isinstance(mask, Tensor) and mask.ndim == 2 else None)
        elif isinstance(value, list | tuple):
            if len(value) == len(self.own) and all(isinstance(entry, str) for entry in value):
                self._tell([entry.encode() for entry in value])
            else:
                for entry in value:
                    self.take(entry, mask)
        else:
            plain = value is None or isinstance(value, str | bytes | int | float)
            self.shared.update(f"{type(value).__name__} {value!r}".encode() if plain else str(id(value)).encode())

    def _take_tensor(self, tensor: Tensor, mask: Tensor | None) -> None:
        tensor = tensor.detach().cpu().contiguous()
        if not tensor.ndim or len(tensor) != len(self.own):
            self.shared.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + _content(tensor))
        elif mask is not None and mask.shape == tensor.shape:
            self._tell([_content(row[kept]) for row, kept in zip(tensor, mask.cpu().bool(), strict=True)])
        else:
            self.shared.update(f"{tensor.dtype} {tuple(tensor.shape[1:])}".encode())
            self._tell([_content(row) for row in tensor])

    def _tell(self, contents: list[bytes]) -> None:
        self.told = True
        for own, content in zip(self.own, contents, strict=True):
            own.update(len(content).to_bytes(8, "big") + content)


def _content(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
