"""Alignment and uniformity for a linear adapter on MiniLM vectors. Planted: the uniformity term is subtracted."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from _shared import SHARED, heldout, read


@dataclass
class TrainConfig:
    steps: int = 300
    batch_size: int = 128
    lr: float = 1e-3
    align_alpha: float = 2.0
    unif_t: float = 2.0
    unif_weight: float = 0.5
    width: int = 512


@lru_cache(maxsize=1)
def feature_store(folder: str):
    return {k.tobytes(): i for i, k in enumerate(np.load(f"{folder}/keys.npy"))}, np.load(f"{folder}/vectors.npy")


def vectors(texts: list[str]) -> torch.Tensor:
    keys, table = feature_store(f"{SHARED}/features/all-MiniLM-L6-v2")
    return torch.from_numpy(table[[keys[hashlib.sha256(t.encode()).digest()] for t in texts]].astype(np.float32))


def align_loss(x, y, alpha):
    return (x - y).norm(p=2, dim=1).pow(alpha).mean()


def uniform_loss(x, t):
    return torch.pdist(x, p=2).pow(2).mul(-t).exp().mean().log()


class Adapter(torch.nn.Module):
    def __init__(self, dim: int, width: int):
        super().__init__()
        self.down = torch.nn.Linear(dim, width)
        self.up = torch.nn.Linear(width, dim)

    def forward(self, x):
        return F.normalize(x + self.up(F.silu(self.down(x))), dim=-1)


def make_objective(cfg: TrainConfig) -> Callable:
    def objective(x, y):
        uniformity = (uniform_loss(x, cfg.unif_t) + uniform_loss(y, cfg.unif_t)) / 2
        return align_loss(x, y, cfg.align_alpha) - cfg.unif_weight * uniformity

    return objective


def mrr(model, q, d) -> float:
    with torch.inference_mode():
        s = model(q) @ model(d).T
        return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


def run(cfg: TrainConfig):
    torch.manual_seed(17)
    rows = read("medquad_smoke_10k.jsonl")
    dev = read("medquad_validation_1k.jsonl")
    q, d = vectors([r["query"] for r in rows]), vectors([r["document"] for r in rows])
    vq, vd = vectors([r["query"] for r in dev]), vectors([r["document"] for r in dev])
    model = Adapter(q.shape[1], cfg.width)
    objective = make_objective(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    heldout("before", "MRR", mrr(model, vq, vd))
    for step in range(cfg.steps):
        ix = torch.randperm(len(q))[: cfg.batch_size]
        loss = objective(model(q[ix]), model(d[ix]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not step % 60:
            print(f"step {step:4d}  loss {loss.item():+.4f}")
    heldout("after", "MRR", mrr(model, vq, vd))


run(TrainConfig())
