"""One whole number for each tensor: equal for equal bits, and read where the tensor lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BYTES = 8
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32}


@torch.no_grad()
def digest(tensors: Sequence[Tensor]) -> Tensor:
    """Return what tells tensors from what they were before; waits for no device.

    The bits of each are added up as whole numbers of 8 bytes, which is exact in every order. Two tensors of different
    bits can have one number, but all of a model's seldom do. Of a tensor that lies on several devices the own part is
    read.

    Args:
        tensors: P of them, of any type and shape.

    Returns:
        int64 ``[P]``, where the first of them lies.

    >>> first, second = torch.zeros(3), torch.tensor([0.0, 0.0, -0.0])
    >>> digest([first, first]).tolist(), bool(digest([first]) == digest([second]))
    ([0, 0], False)
    """
    numbers = [_number(one) for one in tensors]
    return torch.stack([one.to(numbers[0].device) for one in numbers]) if numbers else torch.zeros(0, dtype=torch.int64)


def _number(tensor: Tensor) -> Tensor:
    local = getattr(tensor, "to_local", None)
    own: Tensor = tensor if local is None else local()
    flat = own.detach().contiguous().view(-1)
    size = flat.element_size()
    rest = flat.numel() % max(1, _BYTES // size)
    words, tail = flat[: flat.numel() - rest], flat[flat.numel() - rest :]
    if words.storage_offset() * size % _BYTES:
        words = words.clone()
    total = words.view(torch.int64).sum()
    return total + tail.view(_WHOLE[size]).sum(dtype=torch.int64) if rest else total
