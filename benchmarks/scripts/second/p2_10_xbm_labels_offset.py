"""Two BoW towers with a cross-batch memory. Planted: labels 0 to 31 point at the oldest documents of the memory."""

import collections
import re
import zlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import heldout, read

BUCKETS = 8000
torch.manual_seed(33)


class Tower(nn.Module):
    def __init__(self, dim=128):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, dim, mode="mean")
        self.body = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 256), nn.GELU(), nn.Linear(256, dim))

    def forward(self, bag):
        return F.normalize(self.body(self.words(*bag)), dim=1)


class XBM:
    """First in, first out; detached document vectors of the last steps."""

    def __init__(self, size):
        self.size, self.store = size, collections.deque()

    def enqueue(self, x):
        self.store.append(x.detach())
        while sum(map(len, self.store)) > self.size:
            self.store.popleft()

    def get(self):
        return torch.cat(list(self.store))

    def __len__(self):
        return len(self.store)


def to_bag(texts):
    ids, off = [], []
    for t in texts:
        off.append(len(ids))
        ids.extend(zlib.crc32(w.encode()) % BUCKETS for w in re.findall(r"\w{2,}", t.lower())[:50])
    return torch.tensor(ids), torch.tensor(off)


class Trainer:
    def __init__(self, steps=300, batch=32, memory=512, warmup=20, tau=0.07):
        self.steps, self.batch, self.warmup, self.tau = steps, batch, warmup, tau
        self.query_tower, self.doc_tower = Tower(), Tower()
        self.xbm = XBM(memory)
        self.train_rows, self.dev = read("medquad_smoke_10k.jsonl"), read("medquad_validation_1k.jsonl")[:300]
        params = list(self.query_tower.parameters()) + list(self.doc_tower.parameters())
        self.optimizer = torch.optim.AdamW(params, lr=2e-3)

    def loss(self, q, d, step):
        candidates = d
        if step >= self.warmup and len(self.xbm):
            candidates = torch.cat([self.xbm.get(), d])
        logits = q @ candidates.T / self.tau
        return F.cross_entropy(logits, torch.arange(len(q)))

    def fit(self):
        for step in range(self.steps):
            rows = [self.train_rows[i] for i in torch.randint(0, len(self.train_rows), (self.batch,)).tolist()]
            q = self.query_tower(to_bag([r["query"] for r in rows]))
            d = self.doc_tower(to_bag([r["document"] for r in rows]))
            loss = self.loss(q, d, step)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.xbm.enqueue(d)
            if step % 80 == 0:
                print(f"[{step}/{self.steps}] loss={loss.item():.4f} queue={len(self.xbm)}")

    @torch.no_grad()
    def mrr(self):
        q = self.query_tower(to_bag([r["query"] for r in self.dev]))
        s = q @ self.doc_tower(to_bag([r["document"] for r in self.dev])).T
        return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


t = Trainer()
heldout("before", "MRR", t.mrr())
t.fit()
heldout("after", "MRR", t.mrr())
