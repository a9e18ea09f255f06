"""Gates of a model: single trained numbers that say how much of a correction passes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from ..journal.vocabulary import Role
from ..recording import Tap

_NAMES = re.compile(r"(^|[._])(gate|gating|residual_weight|residual_scale|res_weight|rezero|alpha)$")


def gates(target: nn.Module, optimizers: Sequence[Optimizer]) -> list[Tap]:
    """Return a tap for every trained parameter of one number that is named as gates are.

    Args:
        target: The model.
        optimizers: What trains it.
    """
    trained = {id(one) for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]}
    found = [
        name
        for name, one in target.named_parameters()
        if one.numel() == 1 and id(one) in trained and _NAMES.search(name)
    ]
    return [
        Tap(stream="gate" if len(found) == 1 else f"gate-{name.replace('.', '-')}", at=name, role=Role.gate)
        for name in found[:8]
    ]
