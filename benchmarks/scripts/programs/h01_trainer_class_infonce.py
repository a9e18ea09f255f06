"""A trainer class with batches in dicts, symmetric InfoNCE, warm-up and cosine schedule. Planted: nothing."""

import math

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(1)


class Encoder(nn.Module):
    def __init__(self, dim=96, out=64):
        super().__init__()
        self.emb = nn.Embedding(V, dim, padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(dim, 192), nn.GELU(), nn.Linear(192, out))

    def forward(self, x):
        m = (x > 0).unsqueeze(-1).float()
        return self.mlp((self.emb(x) * m).sum(1) / m.sum(1).clamp(min=1))


class Trainer:
    def __init__(self, model, lr=2e-3, steps=500, warmup=50, temperature=0.05):
        self.model, self.t = model, temperature
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        self.sched = torch.optim.lr_scheduler.LambdaLR(
            self.opt, lambda s: min((s + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(s / steps, 1))))
        )

    def compute_loss(self, batch):
        q, d = F.normalize(self.model(batch["query"]), dim=-1), F.normalize(self.model(batch["document"]), dim=-1)
        s = q @ d.T / self.t
        y = torch.arange(len(q))
        return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y)) / 2

    def fit(self, loader, steps):
        self.model.train()
        step = 0
        while step < steps:
            for batch in loader:
                loss = self.compute_loss(batch)
                self.opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.opt.step()
                self.sched.step()
                step += 1
                if step % 100 == 0:
                    print(step, loss.item())
                if step >= steps:
                    break


def collate(rows):
    return {"query": ids([r[0] for r in rows]), "document": ids([r[1] for r in rows])}


if __name__ == "__main__":
    model = Encoder()

    def enc(t):
        model.eval()
        return model(ids(t))

    mrr(enc, enc)
    Trainer(model).fit(DataLoader(pairs(), batch_size=64, shuffle=True, collate_fn=collate, drop_last=True), 500)
    mrr(enc, enc, name="after")
