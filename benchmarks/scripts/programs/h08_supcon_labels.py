"""SupCon with labels and two views, Adam. Planted: nothing."""

import random
from collections import defaultdict

import torch
import torch.nn.functional as F
from _data import V, focus, ids, mrr, pairs
from _supcon import supcon
from torch import nn

torch.manual_seed(8)
groups = defaultdict(list)
for q, d in pairs():
    k = focus(q)
    if k:
        groups[k].append((q, d))
names = sorted(k for k in groups)


class Net(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.EmbeddingBag(V, d, padding_idx=0, mode="mean"), nn.LayerNorm(d), nn.Linear(d, d), nn.ReLU()
        )
        self.head = nn.Linear(d, 64)

    def forward(self, x):
        return F.normalize(self.head(self.backbone(x)), dim=-1)


net = Net()


def enc(t):
    return net(ids(t))


mrr(enc, enc)
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
rng = random.Random(8)
for step in range(400):
    ks = rng.sample(names, 32)
    rows, labels = [], []
    for j, k in enumerate(ks):
        for r in rng.sample(groups[k], min(2, len(groups[k]))):
            rows.append(r)
            labels.append(j)
    f = torch.stack([net(ids([q for q, _ in rows])), net(ids([d for _, d in rows]))], 1)
    loss = supcon(f, torch.tensor(labels))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(enc, enc, name="after")
