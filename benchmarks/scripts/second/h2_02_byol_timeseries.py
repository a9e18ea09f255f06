"""BYOL for sensor traces: two augmentations of one window, EMA target, predictor. Planted: nothing."""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from _shared import heldout
from torch import nn


@dataclass
class Config:
    steps: int = 300
    batch: int = 96
    length: int = 128
    lr: float = 1e-3
    tau: float = 0.99
    dim: int = 64
    seed: int = 0


cfg = Config()
torch.manual_seed(cfg.seed)


def make_traces(n):
    """Each trace: four harmonics with its own frequencies and weights, and a trend."""
    t = torch.linspace(0, 1, cfg.length)
    freq = 1 + 20 * torch.rand(n, 4, 1)
    amp = torch.rand(n, 4, 1)
    phase = 2 * math.pi * torch.rand(n, 4, 1)
    return (amp * torch.sin(2 * math.pi * freq * t + phase)).sum(1)


def augment(x):
    scale = 1 + 0.3 * torch.randn(len(x), 1)
    x = x * scale + 0.3 * torch.randn_like(x)
    shift = int(torch.randint(0, 24, (1,)))
    x = torch.roll(x, shift, dims=1)
    start = int(torch.randint(0, cfg.length - 16, (1,)))
    x = x.clone()
    x[:, start : start + 16] = 0
    return x


def conv_encoder():
    return nn.Sequential(
        nn.Unflatten(1, (1, cfg.length)),
        nn.Conv1d(1, 32, 9, stride=2, padding=4),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Conv1d(32, 64, 7, stride=2, padding=3),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Conv1d(64, 64, 5, stride=2, padding=2),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(256, cfg.dim),
    )


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(inplace=True), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(conv_encoder(), mlp(cfg.dim, 128, 64))
        self.predictor = mlp(64, 128, 64)
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad = False

    def forward(self, a, b):
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        return (2 - 2 * F.cosine_similarity(pa, tb).mean()) + (2 - 2 * F.cosine_similarity(pb, ta).mean())

    @torch.no_grad()
    def update_target(self):
        for o, t in zip(self.online.parameters(), self.target.parameters(), strict=True):
            t.data = cfg.tau * t.data + (1 - cfg.tau) * o.data


train, test = make_traces(8000), make_traces(400)
g1, g2 = augment(test), augment(test)


@torch.no_grad()
def recall_at_5(model):
    model.eval()
    a, b = (F.normalize(model.online[0](x)) for x in (g1, g2))
    model.train()
    hit = (a @ b.T).topk(5).indices == torch.arange(len(a))[:, None]
    return hit.any(1).float().mean().item()


model = BYOL()
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=cfg.lr)
heldout("before", "recall@5", recall_at_5(model))
for step in range(cfg.steps):
    x = train[torch.randint(0, len(train), (cfg.batch,))]
    loss = model(augment(x), augment(x))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.update_target()
    if step % 50 == 0:
        print(f"step {step} loss {loss.item():.4f}")
heldout("after", "recall@5", recall_at_5(model))
