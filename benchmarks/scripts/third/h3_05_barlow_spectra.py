"""Barlow Twins on synthetic spectra: two instruments measure the same substance."""

import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(14)
BINS = 120
axis = torch.linspace(0, 1, BINS)


def substances(n, g):
    pos = torch.rand(n, 5, 1, generator=g)
    height = torch.rand(n, 5, 1, generator=g) + 0.3
    return pos, height


def measure(sub, g, width):
    pos, height = sub
    n = len(pos)
    gain = torch.exp(0.25 * torch.randn(n, 1, generator=g))
    drift = torch.randn(n, 1, generator=g) * 0.4 * axis + torch.randn(n, 1, generator=g) * 0.2
    peaks = (height * torch.exp(-(((axis - pos) / width) ** 2))).sum(1)
    return gain * peaks + drift + 0.08 * torch.randn(n, BINS, generator=g)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(BINS, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))
        self.projector = nn.Sequential(
            nn.Linear(128, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128, bias=False)
        )

    def forward(self, x):
        h = self.trunk(x)
        return h, self.projector(h)


def barlow(z1, z2, lam=0.01):
    n, d = z1.shape
    z1 = (z1 - z1.mean(0)) / (z1.std(0) + 1e-5)
    z2 = (z2 - z2.mean(0)) / (z2.std(0) + 1e-5)
    c = z1.T @ z2 / n
    on = (torch.diagonal(c) - 1).pow(2).sum()
    off = c.pow(2).sum() - torch.diagonal(c).pow(2).sum()
    return on + lam * off


@torch.no_grad()
def evaluate(t1, t2, x1, x2):
    t1.eval(), t2.eval()
    a, b = F.normalize(t1(x1)[1], dim=1), F.normalize(t2(x2)[1], dim=1)
    t1.train(), t2.train()
    s = a @ b.T
    return (1 / (1 + (s > s.diagonal()[:, None]).sum(1)).float()).mean().item()


vg = torch.Generator().manual_seed(3)
vsub = substances(400, vg)
vx1, vx2 = measure(vsub, vg, 0.03), measure(vsub, vg, 0.06)
first, second = Tower(), Tower()
print("HELDOUT before MRR %.4f" % evaluate(first, second, vx1, vx2), file=sys.stderr)
g = torch.Generator().manual_seed(4)
opt = torch.optim.AdamW(list(first.parameters()) + list(second.parameters()), lr=2e-3, weight_decay=1e-4)
sch = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=3e-3, total_steps=400)
for step in range(400):
    sub = substances(256, g)
    _, p1 = first(measure(sub, g, 0.03))
    _, p2 = second(measure(sub, g, 0.06))
    loss = barlow(p1, p2)
    opt.zero_grad()
    loss.backward()
    opt.step()
    sch.step()
    if step % 80 == 0:
        print(step, "%.3f" % loss.item())
print("HELDOUT after MRR %.4f" % evaluate(first, second, vx1, vx2), file=sys.stderr)
