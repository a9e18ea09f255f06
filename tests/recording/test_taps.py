"""Taps observe: hooks leave no trace, in every way a block can end."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from collapse_probe.recording import OpenTaps, FoundingTap


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def output_tap(module: nn.Module, name: str = "out") -> FoundingTap:
    return FoundingTap(name, module, lambda m, arguments, output: {name: output})


def test_the_output_is_kept_detached_and_unchanged():
    layer = nn.Linear(3, 2)
    x = torch.ones(4, 3)
    plain = layer(x)
    with OpenTaps([output_tap(layer)]) as taps:
        tapped = layer(x)
    assert torch.equal(plain, tapped)
    assert tapped.requires_grad and not taps.kept["out"].requires_grad
    assert taps.calls == {"out": 1}


def test_evaluation_passes_are_not_kept():
    layer = nn.Linear(3, 2).eval()
    with OpenTaps([output_tap(layer)]) as taps:
        layer(torch.ones(1, 3))
    assert not taps.kept and taps.calls == {"out": 0}


def test_no_hook_is_left_when_training_raises():
    layer = nn.Linear(3, 2)
    with pytest.raises(RuntimeError, match="boom"), OpenTaps([output_tap(layer)]):
        raise RuntimeError("boom")
    assert hooks(layer) == 0


def test_no_hook_is_left_when_the_probe_raises():
    layer = nn.Linear(3, 2)

    def fail(module, arguments, output):
        raise KeyError("missing")

    with pytest.raises(KeyError), OpenTaps([output_tap(layer, "fine"), FoundingTap("bad", layer, fail)]):
        layer(torch.ones(1, 3))
    assert hooks(layer) == 0


def test_two_taps_of_one_name_are_refused():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="taps need unique names"):
        OpenTaps([output_tap(layer), output_tap(layer)])
