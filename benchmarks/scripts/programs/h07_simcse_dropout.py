"""SimCSE by dropout, both views of a sentence in turns in one matrix. Planted: nothing."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(7)


class SimCSE(nn.Module):
    def __init__(self, d=128, p=0.2):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=0)
        self.drop = nn.Dropout(p)
        self.dense = nn.Linear(d, d)
        self.act = nn.Tanh()

    def forward(self, x):
        e = self.drop(self.emb(x))
        h = e.sum(1) / (x > 0).sum(1, keepdim=True).clamp(min=1)
        return self.act(self.dense(h))


def simcse_unsup_loss(y_pred, lamda=0.05):
    """[2B, d], rows 2i and 2i+1 are the same sentence."""
    idxs = torch.arange(0, y_pred.shape[0])
    y_true = idxs + 1 - idxs % 2 * 2
    sim = F.cosine_similarity(y_pred.unsqueeze(1), y_pred.unsqueeze(0), dim=2)
    sim = sim - torch.eye(y_pred.shape[0]) * 1e12
    return torch.mean(F.cross_entropy(sim / lamda, y_true))


model = SimCSE()


def enc(t):
    model.eval()
    e = model(ids(t))
    model.train()
    return e


mrr(enc, enc)
opt = torch.optim.AdamW(model.parameters(), lr=5e-4)
sentences = [t for r in pairs() for t in r]
rng = random.Random(0)
for i in range(500):
    batch = rng.sample(sentences, 48)
    x = ids(batch).repeat_interleave(2, 0)
    loss = simcse_unsup_loss(model(x))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if i % 100 == 0:
        print(i, loss.item())
mrr(enc, enc, name="after")
