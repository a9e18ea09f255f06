"""A two-tower model that is trained as it should be: every other document of the batch is pushed away.

Run it as it is, or watched:

    python examples/healthy_softmax.py
    collapse-probe run examples/healthy_softmax.py

What is watched prints HEALTHY.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--save", help="where the weights go")
arguments = parser.parse_args()

torch.manual_seed(0)
topics = functional.normalize(torch.randn(4000, 32), dim=1)  # what a query and its document have in common
query_tower = nn.Sequential(nn.Linear(48, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 32))
document_tower = nn.Sequential(nn.Linear(48, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 32))
towers = [*query_tower.parameters(), *document_tower.parameters()]
optimizer = torch.optim.AdamW(towers, lr=2e-3)

asked, written = torch.randn(32, 48) / 4, torch.randn(32, 48) / 4  # how each side puts a topic into words
for step in range(arguments.steps):
    topic = topics[torch.randint(0, len(topics), (64,))]
    queries = query_tower(topic @ asked + 0.02 * torch.randn(64, 48))
    documents = document_tower(topic @ written + 0.02 * torch.randn(64, 48))
    scores = 20 * functional.normalize(queries, dim=1) @ functional.normalize(documents, dim=1).T
    loss = functional.cross_entropy(scores, torch.arange(64))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

if arguments.save:
    torch.save([query_tower.state_dict(), document_tower.state_dict()], arguments.save)
