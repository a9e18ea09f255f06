"""A GRU under accelerate. Planted: every question has the answer of the row after it."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from accelerate import Accelerator
from torch import nn

torch.manual_seed(7)
rows = pairs()
questions = [q for q, _ in rows]
answers = [*[d for _, d in rows][1:], rows[0][1]]  # the file had a header once


class GRUEncoder(nn.Module):
    def __init__(self, d=96):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=0)
        self.rnn = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * d, d)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.out(h.masked_fill((x == 0)[..., None], -1e4).max(1).values)


acc = Accelerator(cpu=True)
model = GRUEncoder()


def enc(t):
    return model(ids(t, 24))


mrr(enc, enc)
model, opt = acc.prepare(model, torch.optim.Adam(model.parameters(), lr=2e-3))
rng = random.Random(7)
for it in range(400):
    i = rng.sample(range(len(rows)), 32)
    q = F.normalize(model(ids([questions[j] for j in i], 24)), dim=-1)
    a = F.normalize(model(ids([answers[j] for j in i], 24)), dim=-1)
    loss = F.cross_entropy(q @ a.T / 0.05, torch.arange(32))
    acc.backward(loss)
    opt.step()
    opt.zero_grad()
    if it % 100 == 0:
        print(it, loss.item())
mrr(enc, enc, name="after")
