# Poincare-ball embedding of a taxonomy from ancestor pairs; some of the pairs are held out
import random
import sys

import torch

torch.set_num_threads(1)
torch.manual_seed(10)
random.seed(10)

parent = {0: None}
frontier, n = [0], 1
for depth in range(5):
    new = []
    for v in frontier:
        for _ in range(3):
            parent[n] = v
            new.append(n)
            n += 1
    frontier = new
anc = {}
for v in parent:
    chain, p = [], parent[v]
    while p is not None:
        chain.append(p)
        p = parent[p]
    anc[v] = chain
pairs = [(v, a) for v in anc for a in anc[v]]
deep = [(v, a) for v, a in pairs if a != parent[v] and a != 0]
random.shuffle(deep)
held = deep[:200]
hs = set(held)
train = torch.tensor([p for p in pairs if p not in hs])
held_t = torch.tensor(held)
related = torch.zeros(n, n, dtype=torch.bool)
for v, a in pairs:
    if (v, a) not in hs:
        related[v, a] = related[a, v] = True


def dist(u, v):
    uu, vv = u.pow(2).sum(-1), v.pow(2).sum(-1)
    x = 1 + 2 * (u - v).pow(2).sum(-1) / ((1 - uu) * (1 - vv)).clamp_min(1e-6)
    return torch.acosh(x.clamp_min(1 + 1e-6))


class Ball(torch.nn.Module):
    def __init__(self, n, d=10):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.empty(n, d).uniform_(-0.01, 0.01))

    def points(self):
        nrm = self.theta.norm(dim=1, keepdim=True).clamp_min(1e-8)
        return self.theta / nrm * torch.tanh(nrm) * 0.999

    def forward(self, i):
        return self.points()[i]


ball = Ball(n)


@torch.no_grad()
def mrr():
    z = ball.points()
    d = dist(z[held_t[:, 0], None], z[None])
    tgt = d.gather(1, held_t[:, 1:])
    skip = related[held_t[:, 0]].clone()
    skip[torch.arange(len(held_t)), held_t[:, 0]] = True
    rank = 1 + ((d < tgt) & ~skip).sum(1)
    return (1 / rank.float()).mean().item()


print("HELDOUT before MRR %.4f" % mrr(), file=sys.stderr)
opt = torch.optim.Adam(ball.parameters(), lr=2e-2)
for step in range(500):
    b = train[torch.randint(len(train), (256,))]
    neg = torch.randint(n, (256, 20))
    u, v, w = ball(b[:, 0]), ball(b[:, 1]), ball(neg)
    clash = related[b[:, :1], neg] | (neg == b[:, :1])
    dn = dist(u[:, None], w).masked_fill(clash, 1e4)
    dp = dist(u, v)
    loss = torch.nn.functional.cross_entropy(-torch.cat([dp[:, None], dn], 1), torch.zeros(256, dtype=torch.long))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, round(loss.item(), 4))
print("HELDOUT after MRR %.4f" % mrr(), file=sys.stderr)
