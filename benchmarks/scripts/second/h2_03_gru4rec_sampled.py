"""GRU4Rec with shared sampled negatives (logQ correction), item embeddings tied in and out. Planted: nothing."""

import time

import numpy as np
import torch
import torch.nn as nn
from _shared import heldout

N_ITEMS, N_CLUSTERS, SESSION = 2000, 100, 12
rng = np.random.default_rng(7)
torch.manual_seed(7)

cluster_of = rng.integers(0, N_CLUSTERS, N_ITEMS)
members = [np.flatnonzero(cluster_of == c) for c in range(N_CLUSTERS)]
follow = rng.permutation(N_CLUSTERS)
popularity = rng.zipf(1.4, N_ITEMS).clip(max=200).astype(float)


def draw(c):
    w = popularity[members[c]]
    return rng.choice(members[c], p=w / w.sum())


def make_session():
    c = rng.integers(N_CLUSTERS)
    out = []
    for _ in range(SESSION):
        out.append(draw(c))
        u = rng.random()
        c = follow[c] if u < 0.25 else (rng.integers(N_CLUSTERS) if u < 0.30 else c)
    return out


sessions = np.array([make_session() for _ in range(4000)])
train, test = torch.from_numpy(sessions[:3500]), torch.from_numpy(sessions[3500:])
counts = torch.bincount(train.flatten(), minlength=N_ITEMS).float()
q_dist = (counts + 1) ** 0.75
q_dist = q_dist / q_dist.sum()


class GRU4Rec(nn.Module):
    def __init__(self, n_items, dim=64):
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        nn.init.normal_(self.items.weight, std=0.1)
        self.drop = nn.Dropout(0.2)
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, seq):
        h, _ = self.gru(self.drop(self.items(seq)))
        return h


@torch.no_grad()
def recall(model, k=20):
    model.eval()
    h = model(test[:, :-1])[:, -1]
    top = (h @ model.items.weight.T).topk(k).indices
    model.train()
    return (top == test[:, -1:]).any(1).float().mean().item()


model = GRU4Rec(N_ITEMS)
opt = torch.optim.Adagrad(model.parameters(), lr=0.1)
heldout("before", "recall@20", recall(model))
tic = time.time()
for it in range(450):
    batch = train[torch.randint(0, len(train), (64,))]
    h = model(batch[:, :-1]).reshape(-1, 64)
    pos = batch[:, 1:].reshape(-1)
    neg = torch.multinomial(q_dist, 256, replacement=True)
    p = (h * model.items(pos)).sum(-1, keepdim=True) - q_dist[pos].log()[:, None]
    n = h @ model.items(neg).T - q_dist[neg].log()
    n = n.masked_fill(neg[None] == pos[:, None], -1e9)
    loss = nn.functional.cross_entropy(torch.cat([p, n], 1), torch.zeros(len(p), dtype=torch.long))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 75 == 0:
        print(f"it {it} loss {loss.item():.3f} {time.time() - tic:.1f}s")
heldout("after", "recall@20", recall(model))
