"""Next-purchase recommender: user = attention over the last purchases, trained with pairwise ranking."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn


@dataclass
class Config:
    n_items: int = 700
    n_themes: int = 14
    hist: int = 8
    dim: int = 48
    steps: int = 450
    batch: int = 256
    n_neg: int = 4
    lr: float = 4e-3


class Shop:
    """Customers like one or two themes; items belong to a theme and have a popularity."""

    def __init__(self, cfg, seed):
        self.cfg = cfg
        rs = np.random.RandomState(99)
        self.theme = rs.randint(0, cfg.n_themes, cfg.n_items)
        self.pop = rs.zipf(1.8, cfg.n_items).clip(max=30) ** 0.7
        self.members = [np.where(self.theme == t)[0] for t in range(cfg.n_themes)]
        self.rng = np.random.RandomState(seed)

    def sample(self, n):
        hist = np.zeros((n, self.cfg.hist), dtype=np.int64)
        nxt = np.zeros(n, dtype=np.int64)
        for i in range(n):
            t = self.rng.randint(self.cfg.n_themes)
            m = self.members[t]
            p = self.pop[m] / self.pop[m].sum()
            seq = self.rng.choice(m, self.cfg.hist + 1, p=p)
            noise = self.rng.rand(self.cfg.hist) < 0.2
            seq[:-1][noise] = self.rng.randint(0, self.cfg.n_items, noise.sum())
            hist[i], nxt[i] = seq[:-1], seq[-1]
        return torch.from_numpy(hist), torch.from_numpy(nxt)


class Recommender(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.items_in = nn.Embedding(cfg.n_items, cfg.dim)
        self.items_out = nn.Embedding(cfg.n_items, cfg.dim)
        self.att = nn.Linear(cfg.dim, 1)
        nn.init.normal_(self.items_in.weight, std=0.1)
        nn.init.normal_(self.items_out.weight, std=0.1)

    def user(self, hist):
        e = self.items_in(hist)
        w = self.att(torch.tanh(e)).softmax(1)
        return (w * e).sum(1)


class Trainer:
    def __init__(self, cfg):
        torch.manual_seed(0)
        self.cfg = cfg
        self.shop = Shop(cfg, 1)
        self.dev = Shop(cfg, 2).sample(1500)
        self.model = Recommender(cfg)
        self.optim = torch.optim.Adagrad(self.model.parameters(), lr=10 * self.cfg.lr)

    def loss(self, hist, nxt):
        u = self.model.user(hist)
        liked = self.model.items_out(nxt)
        other = self.model.items_out(torch.randint(0, self.cfg.n_items, (len(nxt), self.cfg.n_neg)))
        s_pos = (u * liked).sum(-1, keepdim=True)
        s_neg = torch.einsum("bd,bnd->bn", u, other)
        rank = -torch.log(torch.sigmoid(s_neg - s_pos) + 1e-8).mean()
        reg = 1e-4 * (u.pow(2).sum() + liked.pow(2).sum()) / len(nxt)
        return rank + reg

    @torch.no_grad()
    def recall(self, k=20):
        hist, nxt = self.dev
        scores = self.model.user(hist) @ self.model.items_out.weight.T
        return (scores.topk(k).indices == nxt[:, None]).any(1).float().mean().item()

    def fit(self):
        print(f"HELDOUT before recall@20 {self.recall():.4f}", file=sys.stderr)
        for step in range(self.cfg.steps):
            hist, nxt = self.shop.sample(self.cfg.batch)
            self.optim.zero_grad()
            l = self.loss(hist, nxt)
            l.backward()
            self.optim.step()
            if step % 90 == 0:
                print(f"step {step} loss {l.item():.4f}")
        print(f"HELDOUT after recall@20 {self.recall():.4f}", file=sys.stderr)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Trainer(Config()).fit()
