"""Sequential recommender, BPR-max with a penalty on norms. Planted: the penalty is subtracted."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import heldout

parser = argparse.ArgumentParser()
parser.add_argument("--iters", type=int, default=500)
parser.add_argument("--bs", type=int, default=256)
parser.add_argument("--dim", type=int, default=48)
parser.add_argument("--neg", type=int, default=50)
parser.add_argument("--lr", type=float, default=5e-3)
parser.add_argument("--reg", type=float, default=0.05)
opt = parser.parse_args()

gen = torch.Generator().manual_seed(100)
torch.manual_seed(100)

# users have two tastes out of 60; an item belongs to one taste
USERS, ITEMS, TASTES, HIST = 5000, 1500, 60, 10
taste = torch.randint(0, TASTES, (ITEMS,), generator=gen)
by_taste = [torch.nonzero(taste == t).flatten() for t in range(TASTES)]
mine = torch.randint(0, TASTES, (USERS, 2), generator=gen)
history = torch.empty(USERS, HIST + 1, dtype=torch.long)
for u in range(USERS):
    for j in range(HIST + 1):
        pool = by_taste[mine[u, torch.randint(0, 2, (1,), generator=gen)].item()]
        noisy = torch.rand(1, generator=gen).item() < 0.1
        if noisy:
            history[u, j] = torch.randint(0, ITEMS, (1,), generator=gen)
        else:
            history[u, j] = pool[torch.randint(0, len(pool), (1,), generator=gen)]
train, test = history[:4500], history[4500:]


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_in = nn.Embedding(ITEMS, opt.dim)
        self.item_out = nn.Embedding(ITEMS, opt.dim)
        for e in (self.item_in, self.item_out):
            nn.init.normal_(e.weight, std=0.05)
        self.mlp = nn.Sequential(nn.Linear(opt.dim, opt.dim), nn.ReLU(), nn.Linear(opt.dim, opt.dim))

    def user(self, hist):
        h = self.item_in(hist).mean(1)
        return h + self.mlp(h)


def bpr_max(pos, neg):
    w = F.softmax(neg, dim=1)
    return -torch.log((w * torch.sigmoid(pos[:, None] - neg)).sum(1) + 1e-24).mean()


def l2(*tensors):
    return sum(t.pow(2).sum(-1).mean() for t in tensors)


def recall_at(model, k=20):
    with torch.no_grad():
        s = model.user(test[:, :-1]) @ model.item_out.weight.T
    return (s.topk(k).indices == test[:, -1:]).any(1).float().mean().item()


net = Recommender()
optimizer = torch.optim.Adam(net.parameters(), lr=opt.lr)
heldout("before", "recall@20", recall_at(net))
for it in range(opt.iters):
    rows = train[torch.randint(0, len(train), (opt.bs,))]
    u = net.user(rows[:, :-1])
    p = net.item_out(rows[:, -1])
    n = net.item_out(torch.randint(0, ITEMS, (opt.bs, opt.neg)))
    loss = bpr_max((u * p).sum(-1), torch.einsum("bd,bkd->bk", u, n)) - opt.reg * l2(u, p, n.flatten(0, 1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % 100 == 0:
        print(it, loss.item())
heldout("after", "recall@20", recall_at(net))
