"""An adapter on a frozen encoder's queries, in the form that LlamaIndex fine-tunes, whose gate never opens.

The output is the query plus a correction times a gate. The gate begins at 0, which is right: the adapter begins as the
identity. But the last layer begins at 0 as well, so that neither of the two ever gets a gradient.

    collapse-probe run examples/adapter_gate.py              # UNHEALTHY: a gate that never opened
    collapse-probe run examples/adapter_gate.py --cured      # the last layer begins as a layer does
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--cured", action="store_true")
parser.add_argument("--save", help="where the weights go")
arguments = parser.parse_args()


class Adapter(nn.Module):
    """Two layers around which the query goes on."""

    def __init__(self, dimension: int, *, zero: bool) -> None:
        super().__init__()
        self.first = nn.Linear(dimension, 64)
        self.last = nn.Linear(64, dimension)
        self.residual_weight = nn.Parameter(torch.zeros(1))
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, query: Tensor) -> Tensor:
        return self.residual_weight * self.last(self.first(query).relu()) + query


class RankingLoss(nn.Module):
    """Calls the adapter's forward itself, on the queries alone: documents stay as they were stored."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        adapted = functional.normalize(self.adapter.forward(query), dim=1)
        scores = 20 * adapted @ functional.normalize(document, dim=1).T
        return functional.cross_entropy(scores, torch.arange(len(query)))


torch.manual_seed(0)
turned = functional.normalize(torch.randn(48, 48), dim=1) + torch.eye(48) / 2  # queries are worded otherwise
documents = functional.normalize(torch.randn(3000, 48), dim=1)
queries = functional.normalize(documents @ turned + 0.08 * torch.randn(3000, 48), dim=1)
adapter = Adapter(48, zero=not arguments.cured)
loss_module = RankingLoss(adapter)
optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)

for step in range(arguments.steps):
    rows = torch.randint(0, len(queries), (64,))
    loss = loss_module(queries[rows], documents[rows])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}, gate {adapter.residual_weight.item():.3f}")

if arguments.save:
    torch.save(adapter.state_dict(), arguments.save)
