"""A GRU with Adam. Planted: a learning rate of 2.0 in place of .002, and no clipping."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(101)
LR = 2.0  # 2e-3 with a slip


class GRUEncoder(nn.Module):
    def __init__(self, d=96):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=0)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.ln = nn.LayerNorm(d)
        self.out = nn.Linear(d, d)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        m = (x > 0)[..., None].float()
        return self.out(self.ln((h * m).sum(1) / m.sum(1).clamp(min=1)))


model = GRUEncoder()


def enc(t):
    return model(ids(t, 24))


mrr(enc, enc)
opt = torch.optim.Adam(model.parameters(), lr=LR)
data, rng = pairs(), random.Random(7)


def train_step(batch):
    opt.zero_grad()
    q, a = model(ids([r[0] for r in batch], 24)), model(ids([r[1] for r in batch], 24))
    sim = F.cosine_similarity(q[:, None], a[None], dim=-1)
    loss = F.cross_entropy(sim * 20, torch.arange(len(batch)))
    loss.backward()
    opt.step()
    return loss.item()


for it in range(300):
    loss = train_step(rng.sample(data, 32))
    if it % 100 == 0:
        print(it, loss)
mrr(enc, enc, name="after")
