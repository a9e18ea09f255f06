# SASRec-like: predict the next page of a visit, cross entropy over the entire catalogue
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(8)
rng = np.random.default_rng(8)

PAGES, LEN, D = 500, 10, 64
nxt = np.stack([rng.choice(PAGES, 3, replace=False) for _ in range(PAGES)])


def walk(n):
    s = np.zeros((n, LEN + 1), dtype=np.int64)
    s[:, 0] = rng.integers(0, PAGES, n)
    for t in range(LEN):
        c = rng.choice(3, n, p=[0.6, 0.3, 0.1])
        s[:, t + 1] = np.where(rng.random(n) < 0.1, rng.integers(0, PAGES, n), nxt[s[:, t], c])
    return torch.from_numpy(s)


class Block(nn.Module):
    def __init__(s, d, heads=2):
        super().__init__()
        s.att = nn.MultiheadAttention(d, heads, batch_first=True)
        s.n1, s.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        s.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(s, h, causal):
        y = s.n1(h)
        h = h + s.att(y, y, y, attn_mask=causal, need_weights=False)[0]
        return h + s.ff(s.n2(h))


class SessionNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.page = nn.Embedding(PAGES, D)
        s.place = nn.Embedding(LEN, D)
        nn.init.normal_(s.page.weight, std=0.1)
        nn.init.normal_(s.place.weight, std=0.02)
        s.blocks = nn.ModuleList([Block(D)])
        s.last = nn.LayerNorm(D)
        s.register_buffer("causal", torch.triu(torch.ones(LEN, LEN, dtype=torch.bool), 1))

    def encode(s, seq):
        h = s.page(seq) + s.place.weight
        for b in s.blocks:
            h = b(h, s.causal)
        return s.last(h)

    def forward(s, seq):
        return F.softmax(s.encode(seq) @ s.page.weight.t(), dim=-1)


train, dev = walk(12000), walk(1000)
net = SessionNet()


def recall(k=5):
    net.eval()
    with torch.no_grad():
        sc = net(dev[:, :-1])[:, -1]
    net.train()
    return (sc.topk(k, -1).indices == dev[:, -1:]).any(-1).float().mean().item()


print(f"HELDOUT before recall@5 {recall():.4f}", file=sys.stderr)
opt = torch.optim.NAdam(net.parameters(), lr=3e-3)
ce = nn.CrossEntropyLoss()
for step in range(350):
    b = train[torch.randint(0, len(train), (96,))]
    out = net(b[:, :-1])
    loss = ce(out.reshape(-1, PAGES), b[:, 1:].reshape(-1))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 70 == 0:
        print(step, "%.4f" % loss.item())
print(f"HELDOUT after recall@5 {recall():.4f}", file=sys.stderr)
