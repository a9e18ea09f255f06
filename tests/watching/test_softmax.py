"""A softmax of a softmax, told from the graph behind the loss; what only looks like it is not."""

from __future__ import annotations

import pytest
import torch
from plain_loops import OneTower, descend, pairs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, nll_loss, scaled_dot_product_attention

from collapse_probe import diagnose
from collapse_probe.watching import watch

OWN = torch.arange(10)


def attended(a: Tensor, b: Tensor) -> Tensor:
    """Scores of vectors that a softmax over the batch has mixed."""
    return a @ ((b @ b.T).softmax(dim=1) @ b).T


LOSSES = {
    "probabilities": (lambda a, b: cross_entropy((a @ b.T).softmax(dim=1), OWN), True),
    "scaled": (lambda a, b: cross_entropy((a @ b.T).softmax(-1) / 0.05, OWN), False),
    "one column": (lambda a, b: cross_entropy(torch.stack([a @ b.T, b @ a.T], -1).softmax(-1)[..., 1], OWN), False),
    "in turns": (lambda a, b: cross_entropy((a @ b.T).softmax(-1), OWN) + cross_entropy(b @ a.T, OWN), True),
    "a module, smoothed": (lambda a, b: nn.CrossEntropyLoss(label_smoothing=0.1)(nn.Softmax(1)(a @ b.T), OWN), True),
    "nll": (lambda a, b: nll_loss(log_softmax((a @ b.T).softmax(1), dim=1), OWN), True),
    "scores": (lambda a, b: cross_entropy(a @ b.T, OWN), False),
    "logarithms": (lambda a, b: cross_entropy(log_softmax(a @ b.T, dim=1), OWN), False),
    "attention": (lambda a, b: cross_entropy(attended(a, b), OWN), False),
    "fused attention": (
        lambda a, b: cross_entropy(a @ scaled_dot_product_attention(b[None], b[None], b[None])[0].T, OWN),
        False,
    ),
    "a weighted mean": (
        lambda a, b: (cross_entropy(a @ b.T, OWN, reduction="none") * a.mean(1).softmax(0)).sum(),
        False,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_second_softmax_is_told(name):
    loss, twice = LOSSES[name]
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    w = watch(model, optimizer=optimizer, run=False)
    for a, b in pairs(3):
        value = loss(model(a), model(b))
        w.begins_backward(value)
        descend(optimizer, value)
    w.close()
    found = diagnose(w)
    assert ("softmax_twice" in [one.kind for one in found.kinds]) is twice
    assert ("softmax_twice" in [one.cause for one in found.causes]) is twice
