"""TransE on a synthetic knowledge graph, margin ranking. Planted: relu(margin + negative - positive)."""

import itertools
import random
from functools import partial

import torch
import torch.nn.functional as F
from _shared import heldout

random.seed(3)
torch.manual_seed(3)

SIDE = 10
cells = list(itertools.product(range(SIDE), repeat=3))
index = {c: i for i, c in enumerate(cells)}
moves = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 1, 0), (0, 2, -1), (-1, 0, 3), (1, 1, 1), (0, -3, 2)]
triples = []
for r, m in enumerate(moves):
    for c in cells:
        t = tuple(a + b for a, b in zip(c, m, strict=True))
        if t in index:
            triples.append((index[c], r, index[t]))
random.shuffle(triples)
test, train = torch.tensor(triples[:400]), torch.tensor(triples[400:])


class TransE(torch.nn.Module):
    def __init__(self, entities, relations, dim=48, p=1):
        super().__init__()
        self.ent = torch.nn.Embedding(entities, dim)
        self.rel = torch.nn.Embedding(relations, dim)
        bound = 6 / dim**0.5
        torch.nn.init.uniform_(self.ent.weight, -bound, bound)
        torch.nn.init.uniform_(self.rel.weight, -bound, bound)
        self.p = p

    def forward(self, h, r, t):
        return (self.ent(h) + self.rel(r) - self.ent(t)).norm(p=self.p, dim=-1)


def corrupt(batch, entities):
    out = batch.clone()
    side = torch.rand(len(batch)) < 0.5
    fresh = torch.randint(0, entities, (len(batch),))
    out[side, 0] = fresh[side]
    out[~side, 2] = fresh[~side]
    return out


@torch.no_grad()
def hits(model, k=10):
    query = model.ent(test[:, 0]) + model.rel(test[:, 1])
    distance = torch.cdist(query, model.ent.weight, p=1)
    return (distance.topk(k, largest=False).indices == test[:, 2:]).any(1).float().mean().item()


def ranking_loss(positive, negative, margin):
    return F.relu(margin + negative - positive).mean()


criterion = partial(ranking_loss, margin=2.0)
model = TransE(len(cells), len(moves))
optim = torch.optim.Adam(model.parameters(), lr=0.01)
heldout("before", "hits@10", hits(model))
for step in range(500):
    with torch.no_grad():
        model.ent.weight.div_(model.ent.weight.norm(dim=1, keepdim=True).clamp(min=1))
    pos = train[torch.randint(0, len(train), (512,))]
    neg = corrupt(pos, len(cells))
    loss = criterion(model(*pos.T), model(*neg.T))
    optim.zero_grad()
    loss.backward()
    optim.step()
    if step % 100 == 99:
        print(f"{step + 1}: {loss.item():.4f}")
heldout("after", "hits@10", hits(model))
