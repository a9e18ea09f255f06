"""MarginMSE of dot products, hard negatives [B, k, D], MiniLM as teacher. Planted: nothing."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from _teacher import teach
from torch import nn

torch.manual_seed(11)
data = pairs(4000)
T_q, T_d = teach([q for q, _ in data]), teach([d for _, d in data])
sims = T_q @ T_d.T
hard = sims.topk(21, dim=1).indices.tolist()


class BiEncoder(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.word = nn.Embedding(V, d, padding_idx=0)
        self.gate = nn.Linear(d, 1)
        self.proj = nn.Linear(d, d)

    def encode(self, x):
        e = self.word(x)
        a = self.gate(e).squeeze(-1).masked_fill(x == 0, -1e4).softmax(-1)
        return self.proj((a[..., None] * e).sum(-2))

    def forward(self, query, pos, negs):  # [B,L], [B,L], [B,k,L]
        q, p = self.encode(query), self.encode(pos)
        n = self.encode(negs)  # [B,k,D]
        return (q * p).sum(-1), torch.einsum("bd,bkd->bk", q, n)


model = BiEncoder()


def enc(t):
    return model.encode(ids(t))


mrr(enc, enc, sim="dot")
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
rng = random.Random(2)
K = 4
for step in range(500):
    index = rng.sample(range(len(data)), 48)
    negs = [rng.sample([j for j in hard[i] if j != i], K // 2) + rng.sample(range(len(data)), K // 2) for i in index]
    q, p = ids([data[i][0] for i in index]), ids([data[i][1] for i in index])
    n = torch.stack([ids([data[j][1] for j in row]) for row in negs])
    s_p, s_n = model(q, p, n)
    with torch.no_grad():
        margin = 10 * (
            sims[index, index][:, None] - torch.stack([sims[i, row] for i, row in zip(index, negs, strict=False)])
        )
    loss = F.mse_loss(s_p[:, None] - s_n, margin)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, float(loss))
mrr(enc, enc, name="after", sim="dot")
