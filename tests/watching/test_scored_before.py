"""A model that is scored before it is trained: what it scores is no batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import collapse_probe
from collapse_probe.journal import Event


def test_scores_before_the_first_step_are_no_batch():
    """Bug: 300 queries and 500 documents of an evaluation were the pairs of step 1."""
    torch.manual_seed(0)
    model = nn.Linear(16, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    queries, documents = torch.randn(300, 16), torch.randn(500, 16)
    w = collapse_probe.watch(model, optimizer=optimizer, run=False)
    with torch.no_grad():
        model(queries), model(documents)
    for _ in range(22):
        x = torch.randn(32, 16)
        q, d = model(x), model(x + 0.1)
        cross_entropy(20 * normalize(q) @ normalize(d).T, torch.arange(32)).backward()
        optimizer.step()
        optimizer.zero_grad()
    w.close()
    series = w.live.series("pairs/mrr", on="batch")
    assert list(series.steps[:3]) == [1, 2, 3] and set(series.n) == {32}
    assert not [one.message for one in w.live.of(Event) if "not read as pairs" in one.message]
    assert "negative" not in w.live.coverage
