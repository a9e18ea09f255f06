"""Numbers on their way from the device to the journal, without a wait on a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_AT = {"cpu": 1}
_ELSEWHERE = 2048
_NOTHING = torch.zeros(0)


@dataclass(frozen=True)
class _Parcel:
    values: Tensor
    hand: Callable[[Tensor], None]


@dataclass(frozen=True)
class _Copy:
    parcels: list[_Parcel]
    values: Tensor
    done: Any


def stack(values: Mapping[str, Tensor]) -> Tensor:
    """Return scalars as one vector in the widest type of their device; waits for none.

    Where some lie on the CPU and others do not, all go to where the others are: that way needs no wait.
    """
    scalars = [value.detach() if value.ndim == 0 else value.detach().reshape(()) for value in values.values()]
    kinds = {(value.device, value.dtype) for value in scalars}
    device = next((one for one, _ in kinds if one.type != "cpu"), scalars[0].device)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    if len(kinds) == 1:
        return torch.stack(scalars).to(dtype)
    return torch.stack([value.to(device, dtype, non_blocking=True) for value in scalars])


def floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars as floats; one wait for the device for all of them."""
    if not values:
        return {}
    return dict(zip(values, stack(values).tolist(), strict=True))


class Outbox:
    """Gathers named scalars on their device and hands them out as floats some steps later.

    On a GPU they are copied into pinned memory in the background, and handed out once that copy is done; only
    :meth:`flush` waits. On the CPU handing out costs no wait. What lies on ``meta`` has no value and is dropped.
    """

    def __init__(self) -> None:
        self._parcels: list[_Parcel] = []
        self._count = 0
        self._copies: list[_Copy] = []

    def put(self, values: Mapping[str, Tensor], write: Callable[[dict[str, float]], None]) -> None:
        """Take in scalars of one device; ``write`` is called with their values, by name, in the order of ``put``."""
        if not values:
            return
        if all(type(value) is Tensor and value.device.type == "cpu" for value in values.values()):
            # One by one in less time than stacking them takes; nobody else holds them.
            plain = dict(values)
            self._parcels.append(_Parcel(_NOTHING, lambda _: write({one: float(plain[one].item()) for one in plain})))
            self._count += 1
        else:
            names = tuple(values)
            self.put_vector(stack(values), lambda found: write(dict(zip(names, found.tolist(), strict=True))))

    def put_vector(self, vector: Tensor, hand: Callable[[Tensor], None]) -> None:
        """Take in a vector; ``hand`` is called with it on the CPU, in the same order."""
        self._parcels.append(_Parcel(vector, hand))
        self._count += len(vector)

    def post(self) -> None:
        """Send off what has gathered, if it is enough; waits for no device."""
        while self._copies and self._copies[0].done.query():
            self._hand_out(self._copies.pop(0))
        if self._parcels and self._count >= _AT.get(self._parcels[-1].values.device.type, _ELSEWHERE):
            self._send()

    def flush(self) -> None:
        """Hand out everything; waits for the device."""
        for copy in self._copies:
            copy.done.synchronize()
            self._hand_out(copy)
        self._copies = []
        parcels, self._parcels, self._count = self._parcels, [], 0
        for parcel in parcels:
            if parcel.values.device.type != "meta":
                parcel.hand(parcel.values.cpu())

    def _send(self) -> None:
        device = self._parcels[-1].values.device
        if device.type != "cuda" or any(parcel.values.device != device for parcel in self._parcels):
            if device.type in ("cpu", "meta"):
                self.flush()
            return
        parcels, self._parcels, self._count = self._parcels, [], 0
        gathered = torch.cat([parcel.values for parcel in parcels])
        values = torch.empty(gathered.shape, dtype=gathered.dtype, pin_memory=True)
        values.copy_(gathered, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(device))
        self._copies.append(_Copy(parcels, values, done))

    def _hand_out(self, copy: _Copy) -> None:
        for parcel, values in zip(
            copy.parcels, copy.values.split([len(parcel.values) for parcel in copy.parcels]), strict=True
        ):
            parcel.hand(values)
