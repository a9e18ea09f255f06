"""Adapter over frozen sentence vectors. Two objectives: match question with answer, and know the sort of question."""

import hashlib
import json
import sys
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import SHARED

torch.set_num_threads(1)
torch.manual_seed(31)
S = SHARED
keys = {k.tobytes(): i for i, k in enumerate(np.load(f"{S}/features/all-MiniLM-L6-v2/keys.npy"))}
vectors = np.load(f"{S}/features/all-MiniLM-L6-v2/vectors.npy", mmap_mode="r")


def vec(text):
    return np.asarray(vectors[keys[hashlib.sha256(text.encode()).digest()]], dtype=np.float32)


def known(text):
    return hashlib.sha256(text.encode()).digest() in keys


def read(name, n):
    rs = [json.loads(x) for x in open(f"{S}/data/{name}")]
    return [r for r in rs if known(r["query"]) and known(r["document"])][:n]


train, dev = read("medquad_smoke_10k.jsonl", 6000), read("medquad_validation_1k.jsonl", 1000)
sort_of = lambda q: " ".join(q.lower().split()[:3])
common = [s for s, _ in Counter(sort_of(r["query"]) for r in train).most_common(8)]
labels = torch.tensor([common.index(sort_of(r["query"])) if sort_of(r["query"]) in common else 8 for r in train])
stack = lambda rs, k: torch.from_numpy(np.stack([vec(r[k]) for r in rs]))
rot = torch.linalg.qr(torch.randn(384, 384))[0]
warp = lambda v: torch.tanh(6 * v @ rot)
tq, td = warp(stack(train, "query")), warp(stack(train, "document"))
dq, dd = warp(stack(dev, "query")), warp(stack(dev, "document"))


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(384, 256), nn.GELU(), nn.Linear(256, 96))
        self.proto = nn.Parameter(F.normalize(torch.randn(9, 96), dim=1))

    def forward(self, *inputs):
        return tuple(F.normalize(self.shared(i), dim=-1) for i in inputs)


def mrr(net):
    with torch.no_grad():
        a, b = net(dq, dd)
    s = a @ b.T
    return (1 / (1 + (s > s.diagonal()[:, None]).sum(1)).float()).mean().item()


net = Adapter()
print("HELDOUT before MRR", f"{mrr(net):.4f}", file=sys.stderr)
opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
W_MATCH, W_SORT = 1.0, 40.0
for step in range(400):
    ix = torch.randperm(len(tq))[:128]
    a, b = net(tq[ix], td[ix])
    match = F.cross_entropy(a @ b.T / 0.05, torch.arange(len(ix)))
    p = F.normalize(net.proto, dim=1)
    sort = F.cross_entropy(a @ p.T / 0.2, labels[ix]) + F.cross_entropy(b @ p.T / 0.2, labels[ix])
    pull = (1 - (a * p[labels[ix]]).sum(1)).mean() + (1 - (b * p[labels[ix]]).sum(1)).mean()
    loss = W_MATCH * match + W_SORT * (sort + pull)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 80 == 0:
        print(f"{step} match {match.item():.3f} sort {sort.item():.3f}")
print("HELDOUT after MRR", f"{mrr(net):.4f}", file=sys.stderr)
