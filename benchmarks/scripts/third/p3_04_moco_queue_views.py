# momentum contrast on synthetic "gene panels": two noisy panels of the same subject are a positive pair
import copy
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(21)

LATENT, OBS, DIM, K, M, T = 12, 80, 64, 1024, 0.95, 0.2
mix1 = torch.randn(LATENT, OBS) / math.sqrt(LATENT)
mix2 = torch.randn(OBS, OBS) / math.sqrt(OBS)
batch_effects = torch.randn(2, OBS) * 1.0
nuisance = torch.randn(10, OBS) * 0.9


def draw(n, gen=None):
    z = torch.randn(n, LATENT, generator=gen)
    clean = torch.tanh(z @ mix1 * 1.5) @ mix2

    def panel(k):
        u = torch.randn(n, 10, generator=gen)
        return clean + u @ nuisance * 0.5 + 0.3 * torch.randn(n, OBS, generator=gen) + batch_effects[k]

    return panel(0), panel(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(OBS, 256), nn.LayerNorm(256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.proj = nn.Linear(256, DIM)

    def forward(self, x):
        return F.normalize(self.proj(self.body(x)), dim=1)


class MoCo(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder_q = Net()
        self.encoder_k = copy.deepcopy(self.encoder_q)
        for p in self.encoder_k.parameters():
            p.requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(K, DIM), dim=1))
        self.ptr = 0

    @torch.no_grad()
    def momentum(self):
        for a, b in zip(self.encoder_q.buffers(), self.encoder_k.buffers()):
            b.data.mul_(M).add_(a.data, alpha=1 - M)

    @torch.no_grad()
    def push(self, keys):
        n = keys.shape[0]
        self.queue[self.ptr : self.ptr + n] = keys
        self.ptr = (self.ptr + n) % K

    def forward(self, xq, xk):
        q = self.encoder_q(xq)
        with torch.no_grad():
            self.momentum()
            k = self.encoder_k(xk)
        pos = (q * k).sum(1, keepdim=True)
        neg = q @ self.queue.clone().t()
        logits = torch.cat([pos, neg], 1) / T
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        self.push(k)
        return loss


gen = torch.Generator().manual_seed(5)
va, vb = draw(600, gen)


@torch.no_grad()
def score(net):
    net.eval()
    s = net(va) @ net(vb).t()
    net.train()
    r = 1 + (s > s.diag()[:, None]).sum(1)
    return (1.0 / r).mean().item()


moco = MoCo()
print("HELDOUT before MRR %.4f" % score(moco.encoder_q), file=sys.stderr)
opt = torch.optim.Adam(moco.encoder_q.parameters(), lr=1e-3, weight_decay=1e-5)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 500)
for it in range(500):
    a, b = draw(128)
    if it % 2:
        a, b = b, a
    loss = moco(a, b)
    opt.zero_grad()
    loss.backward()
    opt.step()
    sched.step()
    if it % 100 == 0:
        print(it, round(loss.item(), 4))
print("HELDOUT after MRR %.4f" % score(moco.encoder_q), file=sys.stderr)
