"""What users hand over, looked at before it is taken: what cannot be read is said, and is no fault of ours."""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, unknown_name
from ..journal.vocabulary import NOT_STREAMS, Role
from ._exchange import is_sharded

_PARTS = "lies in parts on several processes, which would all have to read at once"


def checked_stream(name: Any) -> str:
    """Return a name that a stream may have.

    Raises:
        InputError: it may not.
    """
    if not isinstance(name, str) or not name or "/" in name or name in NOT_STREAMS:
        raise InputError(f"a stream is named {name!r}: give a name without a slash that is no reading's own")
    return name


def checked_role(role: Any) -> Role:
    """Return a role by its name.

    Raises:
        InputError: there is no such role.
    """
    if not isinstance(role, str) or role not in set(Role):
        raise unknown_name("role", str(role), [one.value for one in Role])
    return Role(role)


def why_unread(value: Any, *, gate: bool = False) -> str | None:
    """Return why a value is no stream's, None where it is one: vectors ``[n, D]``, a gate of any
    shape.

    >>> why_unread(torch.ones(4, 2)), why_unread(torch.ones(4))
    (None, 'its shape is (4,), where [n, D] is needed')
    """
    if not isinstance(value, Tensor):
        return f"it is a {type(value).__name__}, where a tensor [n, D] is needed"
    if is_sharded(value):
        return f"it {_PARTS}: hand over a whole tensor"
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        return "it is sparse, nested or quantised, where a dense tensor [n, D] is needed"
    if value.is_complex():
        return "it is complex, where real numbers are needed"
    shape = tuple(value.shape)
    if value.ndim == 3 and not gate:
        return f"its shape is {shape}, [n, T, D], and no attention_mask of it says what is padding: give [n, D]"
    if value.ndim != 2 and not gate:
        return f"its shape is {shape}, where [n, D] is needed"
    return None if value.numel() else f"its shape is {shape}: it is empty"


def scalar(name: str, value: Any) -> Tensor | float:
    """Return a number or a tensor of one, detached and copied.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, Tensor):
        if is_sharded(value):
            raise InputError(f"{name} {_PARTS}: it is not recorded")
        if value.numel() != 1 or value.is_complex() or value.layout is not torch.strided:
            shape = f"a {value.dtype} of shape {tuple(value.shape)}".replace("torch.", "")
            raise InputError(f"{name} is {shape}, where one real number is needed: it is not recorded")
        return value.detach().clone() if value.ndim == 0 else value.detach().reshape(()).clone()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} is a {type(value).__name__}, where a number is needed: it is not recorded")
    return float(value)
