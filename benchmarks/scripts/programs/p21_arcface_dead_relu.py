"""ArcFace over diseases. Planted: biases of -.6 before a ReLU, a constant embedding that no gradient passes."""

import math
import random
from collections import Counter

import torch
import torch.nn.functional as F
from _data import V, focus, ids, mrr, pairs
from torch import nn

torch.manual_seed(21)
rows = [(t, focus(q)) for q, d in pairs() for t in (q, d) if focus(q)]
count = Counter(k for _, k in rows)
classes = {k: i for i, k in enumerate(sorted(k for k in count if count[k] >= 4))}
rows = [(t, classes[k]) for t, k in rows if k in classes]


class ArcMarginProduct(nn.Module):
    def __init__(self, in_features, out_features, s=30.0, m=0.3):
        super().__init__()
        self.s, self.m = s, m
        self.weight = nn.Parameter(torch.FloatTensor(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)
        self.cos_m, self.sin_m, self.th, self.mm = (
            math.cos(m),
            math.sin(m),
            math.cos(math.pi - m),
            math.sin(math.pi - m) * m,
        )

    def forward(self, x, label):
        cosine = F.linear(F.normalize(x), F.normalize(self.weight))
        sine = torch.sqrt((1.0 - cosine**2).clamp(1e-6, 1))
        phi = cosine * self.cos_m - sine * self.sin_m
        phi = torch.where(cosine > self.th, phi, cosine - self.mm)
        one_hot = torch.zeros_like(cosine).scatter_(1, label.view(-1, 1), 1)
        return self.s * (one_hot * phi + (1 - one_hot) * cosine)


class Net(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=0)
        self.fc1, self.fc2 = nn.Linear(d, 256), nn.Linear(256, d)
        nn.init.constant_(self.fc1.bias, -0.6)  # "sparse features"

    def forward(self, x):
        h = self.emb(x).sum(1) / (x > 0).sum(1, keepdim=True).clamp(min=1)
        return F.relu(self.fc2(F.relu(self.fc1(h))))


model = Net()
head = ArcMarginProduct(128, len(classes))


def enc(t):
    return model(ids(t))


mrr(enc, enc)
opt = torch.optim.SGD(list(model.parameters()) + list(head.parameters()), lr=0.5, momentum=0.9)
rng = random.Random(21)
for step in range(500):
    b = rng.sample(rows, 128)
    loss = F.cross_entropy(
        head(model(ids([t for t, _ in b])), torch.tensor([y for _, y in b])), torch.tensor([y for _, y in b])
    )
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(enc, enc, name="after")
