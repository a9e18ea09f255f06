"""Hard negatives [B, k, D]. Planted: the loss is given vectors before they are normalised, logits of 1e4."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from _teacher import teach
from torch import nn

torch.manual_seed(17)
data = pairs(4000)
sims = teach([q for q, _ in data]) @ teach([d for _, d in data]).T
hard = sims.topk(9, dim=1).indices.tolist()


class Ranker(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.table = nn.Embedding(V, d, padding_idx=0)
        self.body = nn.Sequential(nn.Linear(d, 256), nn.GELU(), nn.Linear(256, d))
        nn.init.normal_(self.table.weight, std=2.0)

    def features(self, x):
        return self.body(self.table(x).sum(-2) / (x > 0).sum(-1, keepdim=True).clamp(min=1) ** 0.5)

    def forward(self, x):
        h = self.features(x)
        return h, F.normalize(h, dim=-1)


model = Ranker()


def enc(t):
    return model(ids(t))[1]


mrr(enc, enc)
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
rng = random.Random(0)
for step in range(400):
    i = rng.sample(range(len(data)), 32)
    q, _ = model(ids([data[j][0] for j in i]))  # [B,D]: took [0], [1] is the normalised one
    p, _ = model(ids([data[j][1] for j in i]))
    n, _ = model(torch.stack([ids([data[k][1] for k in hard[j] if k != j][:4]) for j in i]))  # [B,k,D]
    pos = (q * p).sum(-1, keepdim=True)
    neg = torch.einsum("bd,bkd->bk", q, n)
    loss = F.cross_entropy(
        torch.cat([pos, neg, q @ p.T - torch.eye(32) * 1e4], 1) / 0.02, torch.zeros(32, dtype=torch.long)
    )
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(enc, enc, name="after")
