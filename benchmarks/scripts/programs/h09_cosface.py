"""CosFace over 1,354 diseases, with BatchNorm. Planted: nothing."""

from collections import Counter

import torch
import torch.nn.functional as F
from _data import V, focus, ids, mrr, pairs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(9)
rows = [(t, focus(q)) for q, d in pairs() for t in (q, d) if focus(q)]
count = Counter(k for _, k in rows)
classes = {k: i for i, k in enumerate(sorted(k for k in count if count[k] >= 4))}
rows = [(t, classes[k]) for t, k in rows if k in classes]
X, Y = ids([t for t, _ in rows]), torch.tensor([y for _, y in rows])


class CosFace(nn.Module):
    def __init__(self, d, n, s=20.0, m=0.2):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, d))
        nn.init.xavier_uniform_(self.weight)
        self.s, self.m = s, m

    def forward(self, x, y):
        cos = F.linear(F.normalize(x), F.normalize(self.weight))
        return F.cross_entropy(self.s * (cos - self.m * F.one_hot(y, cos.shape[1])), y)


class Embedder(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=0)
        self.fc1 = nn.Linear(d, d)
        self.bn = nn.BatchNorm1d(d)
        self.fc2 = nn.Linear(d, d)

    def forward(self, x):
        h = self.emb(x).sum(1) / (x > 0).sum(1, keepdim=True).clamp(min=1)
        return h + self.fc2(F.relu(self.bn(self.fc1(h))))


model, head = Embedder(), CosFace(128, len(classes))


def enc(t):
    model.eval()
    e = model(ids(t))
    model.train()
    return e


mrr(enc, enc)
optimizer = torch.optim.Adam([{"params": model.parameters()}, {"params": head.parameters(), "lr": 1e-2}], lr=1e-3)
step = 0
for _epoch in range(20):
    for x, y in DataLoader(TensorDataset(X, Y), batch_size=128, shuffle=True):
        loss = head(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(step, len(classes), loss.item())
        if step >= 500:
            break
    if step >= 500:
        break
mrr(enc, enc, name="after")
