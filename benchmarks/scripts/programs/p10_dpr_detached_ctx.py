"""DPR with two towers. Planted: the random context tower runs under no_grad."""

import random

import torch
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(10)


class Tower(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.embedding = nn.Embedding(V, d, padding_idx=0)
        self.layer = nn.Linear(d, d)

    def forward(self, x):
        return self.layer(self.embedding(x).sum(1) / (x > 0).sum(1, keepdim=True).clamp(min=1))


class DPR(nn.Module):
    def __init__(self):
        super().__init__()
        self.question_encoder, self.ctx_encoder = Tower(), Tower()

    def forward(self, q, c):
        qe = self.question_encoder(q)
        with torch.no_grad():  # "passages are precomputed"
            ce = self.ctx_encoder(c)
        return torch.log_softmax(qe @ ce.T, dim=1)


model = DPR()
eq, ed = (lambda t: model.question_encoder(ids(t))), (lambda t: model.ctx_encoder(ids(t)))
mrr(eq, ed, sim="dot")
opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
rng, data, nll = random.Random(3), pairs(), nn.NLLLoss()
for step in range(500):
    b = rng.sample(data, 48)
    loss = nll(model(ids([r[0] for r in b]), ids([r[1] for r in b])), torch.arange(48))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(eq, ed, name="after", sim="dot")
