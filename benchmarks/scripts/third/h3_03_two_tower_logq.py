"""Two-tower recommender over ids, SparseAdam for the tables and Adam for the rest, in-batch softmax with popularity correction."""

import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(2)
rng = np.random.default_rng(2)
USERS, ITEMS, CATS, K = 1500, 600, 12, 6
taste = rng.normal(size=(USERS, K))
cat = rng.integers(0, CATS, ITEMS)
item_f = rng.normal(size=(CATS, K))[cat] + 0.6 * rng.normal(size=(ITEMS, K))
pop = rng.normal(size=ITEMS) * 0.8
logit = 2.0 * taste @ item_f.T / np.sqrt(K) + pop
prob = np.exp(logit - logit.max(1, keepdims=True))
prob /= prob.sum(1, keepdims=True)
u_all = np.repeat(np.arange(USERS), 24)
i_all = np.concatenate([rng.choice(ITEMS, 24, replace=False, p=prob[u]) for u in range(USERS)])
is_test = np.tile(np.arange(24) >= 22, USERS)
train_u, train_i = torch.tensor(u_all[~is_test]), torch.tensor(i_all[~is_test])
test_u, test_i = torch.tensor(u_all[is_test]), torch.tensor(i_all[is_test])
log_q = torch.log(torch.bincount(train_i, minlength=ITEMS).float().clamp(min=0.5) / len(train_i))
cat_t = torch.tensor(cat)
seen = torch.zeros(USERS, ITEMS, dtype=torch.bool)
seen[train_u, train_i] = True


class UserTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(USERS, 32, sparse=True)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, u):
        return F.normalize(self.mlp(self.table(u)), dim=1)


class ItemTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(ITEMS, 32, sparse=True)
        self.cat = nn.Embedding(CATS, 8)
        self.mlp = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, i):
        return F.normalize(self.mlp(torch.cat([self.table(i), self.cat(cat_t[i])], 1)), dim=1)


users, items = UserTower(), ItemTower()


def recall(k=20):
    with torch.no_grad():
        s = users(torch.arange(USERS)) @ items(torch.arange(ITEMS)).T
    s[seen] = -9
    top = s.topk(k, 1).indices
    return (top[test_u] == test_i[:, None]).any(1).float().mean().item()


print(f"HELDOUT before recall@20 {recall():.4f}", file=sys.stderr)
sparse = torch.optim.SparseAdam([users.table.weight, items.table.weight], lr=1e-2)
dense = torch.optim.Adam([p for t in (users, items) for n, p in t.named_parameters() if n != "table.weight"], lr=3e-3)
for step in range(500):
    r = torch.randint(0, len(train_u), (512,))
    u, i = train_u[r], train_i[r]
    logits = users(u) @ items(i).T / 0.12 - 0.5 * log_q[i]
    dup = (i[:, None] == i[None, :]) & ~torch.eye(len(i), dtype=torch.bool)
    loss = F.cross_entropy(
        logits.masked_fill(dup | (seen[u][:, i] & ~torch.eye(len(i), dtype=torch.bool)), -1e4), torch.arange(len(i))
    )
    sparse.zero_grad()
    dense.zero_grad()
    loss.backward()
    sparse.step()
    dense.step()
    if step % 100 == 0:
        print(step, f"{loss.item():.3f}")
print(f"HELDOUT after recall@20 {recall():.4f}", file=sys.stderr)
