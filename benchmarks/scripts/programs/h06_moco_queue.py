"""MoCo: a momentum encoder and a queue of 1,024. Planted: nothing."""

import copy
import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(6)


class Base(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.embed = nn.Embedding(V, d, padding_idx=0)
        self.norm = nn.LayerNorm(d)
        self.fc = nn.Linear(d, d)

    def forward(self, x):
        m = (x != 0).float()[..., None]
        h = (self.embed(x) * m).sum(1) / m.sum(1).clamp(min=1)
        return F.normalize(self.fc(self.norm(h)), dim=1)


class MoCo(nn.Module):
    def __init__(self, K=1024, m=0.99, T=0.07):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q = Base()
        self.encoder_k = copy.deepcopy(self.encoder_q)
        for p in self.encoder_k.parameters():
            p.requires_grad = False
        self.register_buffer("queue", F.normalize(torch.randn(128, K), dim=0))
        self.register_buffer("ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _update(self):
        for a, b in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=False):
            b.data = b.data * self.m + a.data * (1 - self.m)

    @torch.no_grad()
    def _enqueue(self, k):
        p = int(self.ptr)
        self.queue[:, p : p + len(k)] = k.T
        self.ptr[0] = (p + len(k)) % self.K

    def forward(self, im_q, im_k):
        q = self.encoder_q(im_q)
        with torch.no_grad():
            self._update()
            k = self.encoder_k(im_k)
        l_pos = (q * k).sum(1, keepdim=True)
        l_neg = q @ self.queue.clone().detach()
        logits = torch.cat([l_pos, l_neg], 1) / self.T
        self._enqueue(k)
        return logits, torch.zeros(len(q), dtype=torch.long)


model = MoCo()


def enc(t):
    return model.encoder_q(ids(t))


mrr(enc, enc)
opt = torch.optim.Adam(model.encoder_q.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
data = pairs()
rng = random.Random(0)
for step in range(600):
    rows = rng.sample(data, 64)
    output, target = model(ids([r[0] for r in rows]), ids([r[1] for r in rows]))
    loss = criterion(output, target)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(enc, enc, name="after")
