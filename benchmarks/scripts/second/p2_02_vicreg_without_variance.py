"""VICReg on text: two views by word dropout, expander on top. Planted: the variance term is left out."""

import random
import re
import zlib
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from _shared import heldout, read
from torch import nn

args = SimpleNamespace(steps=350, batch=128, lr=1e-3, sim=25.0, std=25.0, cov=1.0, buckets=10000, drop=0.3)
random.seed(9)
torch.manual_seed(9)


def words(text):
    return [zlib.crc32(w.encode()) % args.buckets for w in re.findall(r"\w+", text.lower())][:50]


def bag(lists):
    flat = [w for ws in lists for w in ws]
    lengths = torch.tensor([0] + [len(ws) for ws in lists[:-1]])
    return torch.tensor(flat), lengths.cumsum(0)


def view(ws):
    kept = [w for w in ws if random.random() > args.drop]
    return kept or ws[:1]


class Backbone(nn.Module):
    def __init__(self, dim=128):
        super().__init__()
        self.table = nn.EmbeddingBag(args.buckets, dim, mode="mean")
        self.fc = nn.Sequential(nn.Linear(dim, 256), nn.ReLU(), nn.Linear(256, 128))

    def forward(self, ids, offsets):
        return self.fc(self.table(ids, offsets))


class VICReg(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.projector = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256))

    def forward(self, a, b):
        x, y = self.projector(self.backbone(*a)), self.projector(self.backbone(*b))
        repr_loss = F.mse_loss(x, y)
        x, y = x - x.mean(0), y - y.mean(0)
        cov_x, cov_y = (x.T @ x) / (len(x) - 1), (y.T @ y) / (len(y) - 1)
        cov_loss = off_diagonal(cov_x).pow(2).sum() / 256 + off_diagonal(cov_y).pow(2).sum() / 256
        return args.sim * repr_loss + args.cov * cov_loss


def off_diagonal(x):
    n, _ = x.shape
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


train = read("medquad_smoke_10k.jsonl")
held = read("medquad_validation_1k.jsonl")[:300]
corpus = [words(r["query"] + " " + r["document"]) for r in train]


@torch.no_grad()
def score(model):
    q = F.normalize(model.backbone(*bag([words(r["query"]) for r in held])))
    d = F.normalize(model.backbone(*bag([words(r["document"]) for r in held])))
    s = q @ d.T
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


model = VICReg()
opt = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-6)
heldout("before", "MRR", score(model))
for step in range(args.steps):
    texts = random.sample(corpus, args.batch)
    loss = model(bag([view(t) for t in texts]), bag([view(t) for t in texts]))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(step, f"{loss.item():.4f}")
heldout("after", "MRR", score(model))
