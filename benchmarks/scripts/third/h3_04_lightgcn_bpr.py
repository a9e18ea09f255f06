# LightGCN on a bipartite listener/artist graph, BPR loss, layer averaging
import sys

import numpy as np
import torch
import torch.nn as nn

torch.set_num_threads(1)
torch.manual_seed(6)
rs = np.random.RandomState(6)
L, A, G = 800, 400, 16

genre_a = rs.randint(0, G, A)
rows, cols = [], []
for l in range(L):
    likes = rs.choice(G, 2, replace=False)
    p = np.where(np.isin(genre_a, likes), 1.0, 0.02)
    p /= p.sum()
    c = rs.choice(A, 14, replace=False, p=p)
    rows += [l] * 14
    cols += list(c)
rows, cols = np.array(rows), np.array(cols)
test = rs.rand(len(rows)) < 0.15
tr_l, tr_a = torch.tensor(rows[~test]), torch.tensor(cols[~test])
te_l, te_a = torch.tensor(rows[test]), torch.tensor(cols[test])
seen = torch.zeros(L, A, dtype=torch.bool)
seen[tr_l, tr_a] = True

idx = torch.stack([torch.cat([tr_l, tr_a + L]), torch.cat([tr_a + L, tr_l])])
deg = torch.bincount(idx[0], minlength=L + A).float().clamp(min=1)
val = (deg[idx[0]] * deg[idx[1]]).rsqrt()
adj = torch.sparse_coo_tensor(idx, val, (L + A, L + A)).coalesce()


class LightGCN(nn.Module):
    def __init__(self, dim=40, hops=2):
        super().__init__()
        self.e0 = nn.Parameter(torch.randn(L + A, dim) * 0.1)
        self.hops = hops

    def forward(self):
        layers = [self.e0]
        for _ in range(self.hops):
            layers.append(torch.sparse.mm(adj, layers[-1]))
        out = torch.stack(layers).mean(0)
        return out[:L], out[L:]


net = LightGCN()


def ndcg(k=20):
    with torch.no_grad():
        zl, za = net()
        s = zl @ za.T
    s[seen] = -1e9
    top = s.topk(k, 1).indices
    hit = top[te_l] == te_a[:, None]
    return hit.any(1).float().mean().item()


print("HELDOUT before recall@20 %.4f" % ndcg(), file=sys.stderr)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for ep in range(400):
    pick = torch.randint(0, len(tr_l), (2048,))
    who, liked = tr_l[pick], tr_a[pick]
    other = torch.randint(0, A, (2048,))
    for _ in range(3):
        bad = seen[who, other]
        other[bad] = torch.randint(0, A, (int(bad.sum()),))
    zl, za = net()
    margin = (zl[who] * za[liked]).sum(1) - (zl[who] * za[other]).sum(1)
    loss = nn.functional.softplus(-margin).mean()
    loss = (
        loss
        + 1e-3 * (net.e0[who].pow(2).sum() + net.e0[L + liked].pow(2).sum() + net.e0[L + other].pow(2).sum()) / 2048
    )
    opt.zero_grad()
    loss.backward()
    opt.step()
    if ep % 80 == 0:
        print(ep, round(loss.item(), 4))
print("HELDOUT after recall@20 %.4f" % ndcg(), file=sys.stderr)
