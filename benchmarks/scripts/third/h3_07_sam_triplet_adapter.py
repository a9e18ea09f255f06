"""Sharpness-aware training (two closures a step) of an adapter on stored sentence vectors, semi-hard triplets, EMA for evaluation."""

import copy
import hashlib
import json
import sys

import numpy as np
import torch
import torch.nn as nn
from _shared import SHARED

torch.set_num_threads(1)
torch.manual_seed(51)
base = SHARED
row = {k.tobytes(): i for i, k in enumerate(np.load(base + "/features/all-MiniLM-L6-v2/keys.npy"))}
mat = np.load(base + "/features/all-MiniLM-L6-v2/vectors.npy", mmap_mode="r")


def pairs(path, n):
    out = []
    for l in open(path):
        r = json.loads(l)
        h = [hashlib.sha256(r[k].encode()).digest() for k in ("query", "document")]
        if all(x in row for x in h):
            out.append(np.stack([np.asarray(mat[row[x]], dtype=np.float32) for x in h]))
        if len(out) == n:
            break
    return torch.from_numpy(np.stack(out))  # [n, 2, 384]


blur = torch.randn(384, 384) / 384**0.5
damage = lambda t: torch.relu(8 * t @ blur + 0.2)
train, dev = (
    damage(pairs(base + "/data/medquad_smoke_10k.jsonl", 5000)),
    damage(pairs(base + "/data/medquad_validation_1k.jsonl", 800)),
)


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(384, 256)
        self.res = nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 256))

    def forward(self, t):
        h = self.lin(t)
        h = h + self.res(h)
        return h / h.norm(dim=-1, keepdim=True)


class SAM:
    def __init__(self, params, inner, rho=0.03):
        self.params, self.inner, self.rho = list(params), inner, rho

    def step(self, closure):
        loss = closure()
        norm = torch.stack([p.grad.norm() for p in self.params]).norm() + 1e-12
        with torch.no_grad():
            moves = [p.grad * (self.rho / norm) for p in self.params]
            for p, m in zip(self.params, moves):
                p.add_(m)
        closure()
        with torch.no_grad():
            for p, m in zip(self.params, moves):
                p.sub_(m)
        self.inner.step()
        return loss


def semihard(z, margin=0.25):
    d = 2 - 2 * z[:, 0] @ z[:, 1].T
    pos = d.diagonal()[:, None]
    off = ~torch.eye(len(z), dtype=torch.bool)
    cand = torch.relu(pos - d + margin)
    total = 0.0
    for c, p in ((cand, d > pos), (torch.relu(pos - d.T + margin), pos < d.T)):
        w = (off & (c > 0)).float()
        total = total + (c * w).sum() / w.sum().clamp_min(1)
    return total


@torch.no_grad()
def mrr(net):
    z = net(dev)
    s = z[:, 0] @ z[:, 1].T
    return (1 / (1 + (s > s.diagonal()[:, None]).sum(1)).float()).mean().item()


net = Adapter()
ema = copy.deepcopy(net)
print("HELDOUT before MRR %.4f" % mrr(net), file=sys.stderr)
opt = SAM(net.parameters(), torch.optim.Adam(net.parameters(), lr=6e-4))
for step in range(400):
    batch = train[torch.randperm(len(train))[:128]]

    def closure():
        opt.inner.zero_grad()
        loss = semihard(net(batch))
        loss.backward()
        return loss

    loss = opt.step(closure)
    with torch.no_grad():
        for e, p in zip(ema.parameters(), net.parameters()):
            e.lerp_(p, 0.03)
    if step % 80 == 0:
        print(step, round(loss.item(), 4))
print("HELDOUT after MRR %.4f" % mrr(ema), file=sys.stderr)
