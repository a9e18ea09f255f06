"""Two encoders. Planted: the optimiser holds the query encoder alone, the random document encoder is forgotten."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(11)


class Model(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.query_encoder = nn.Sequential(
            nn.EmbeddingBag(V, d, padding_idx=0), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 64)
        )
        self.doc_encoder = nn.Sequential(
            nn.EmbeddingBag(V, d, padding_idx=0), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 64)
        )

    def forward(self, q, d):
        return F.normalize(self.query_encoder(q), dim=-1), F.normalize(self.doc_encoder(d), dim=-1)


model = Model()
eq, ed = (lambda t: model.query_encoder(ids(t))), (lambda t: model.doc_encoder(ids(t)))
mrr(eq, ed)
optimizer = torch.optim.AdamW(model.query_encoder.parameters(), lr=1e-3)  # doc_encoder forgotten
rng, data = random.Random(3), pairs()
for step in range(500):
    b = rng.sample(data, 48)
    q, d = model(ids([r[0] for r in b]), ids([r[1] for r in b]))
    loss = F.cross_entropy(q @ d.T / 0.05, torch.arange(48))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(eq, ed, name="after")
