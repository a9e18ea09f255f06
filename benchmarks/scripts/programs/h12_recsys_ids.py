"""A recommender of user and item ids, in-batch softmax with logQ. Planted: nothing."""

import collections
import csv
import random
import sys

import torch
import torch.nn.functional as F
from _data import SHARED
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
torch.manual_seed(12)
random.seed(12)
users, items, inter = {}, {}, []
with open(SHARED / "data" / "nfcorpus-tokenized" / "qrels" / "train.tsv") as file:
    for r in csv.reader(file, delimiter="\t"):
        if r[0] == "query-id":
            continue
        inter.append((users.setdefault(r[0], len(users)), items.setdefault(r[1], len(items))))
random.shuffle(inter)
test, train = inter[:4000], inter[4000:]
freq = collections.Counter(i for _, i in train)
logq = torch.tensor([freq.get(i, 1) / len(train) for i in range(len(items))]).log()


class Interactions(Dataset):
    def __len__(self):
        return len(train)

    def __getitem__(self, i):
        return {"user_id": train[i][0], "item_id": train[i][1]}


class UserTower(nn.Module):
    def __init__(self, n, d=64):
        super().__init__()
        self.table = nn.Embedding(n, d)
        self.out = nn.Linear(d, 32)
        nn.init.normal_(self.table.weight, std=0.05)

    def forward(self, u):
        return self.out(F.relu(self.table(u)) + self.table(u))


class ItemTower(UserTower):
    pass


class TwoTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.user_tower, self.item_tower = UserTower(len(users)), ItemTower(len(items))

    def forward(self, batch):
        u, v = self.user_tower(batch["user_id"]), self.item_tower(batch["item_id"])
        return u @ v.T - logq[batch["item_id"]]


@torch.no_grad()
def recall(model, name, k=50):
    s = model.user_tower(torch.arange(len(users))) @ model.item_tower(torch.arange(len(items))).T
    for u, i in train:
        s[u, i] = -1e9
    top = s.topk(k).indices
    print(f"HELDOUT {name} recall@50 {sum(int((top[u] == i).any()) for u, i in test) / len(test):.3f}", file=sys.stderr)


model = TwoTower()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
recall(model, "before")
it = 0
for _epoch in range(3):
    for batch in DataLoader(Interactions(), batch_size=512, shuffle=True, drop_last=True):
        loss = F.cross_entropy(model(batch), torch.arange(512))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        it += 1
        if it % 100 == 0:
            print(it, loss.item())
recall(model, "after")
