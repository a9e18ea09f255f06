"""A bag of words that learns MiniLM's vectors by MSE. Planted: nothing."""

import random

import torch
from _data import V, ids, mrr, pairs
from _teacher import teach
from torch import nn

torch.manual_seed(10)


class Student(nn.Module):
    """Bag of words student of a sentence encoder."""

    def __init__(self, hidden=192):
        super().__init__()
        self.bag = nn.EmbeddingBag(V, hidden, mode="mean", padding_idx=0)
        self.head = nn.Linear(hidden, 384)
        nn.init.normal_(self.bag.weight, std=0.1)

    def forward(self, x):
        return self.head(self.bag(x))


student = Student()


def enc(t):
    student.eval()
    o = student(ids(t, 64))
    student.train()
    return o


mrr(enc, enc)
texts = [t for r in pairs() for t in r]
opt = torch.optim.AdamW(student.parameters(), lr=3e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=400)
mse = nn.MSELoss()
rng = random.Random(1)
for step in range(400):
    batch = rng.sample(texts, 64)
    target = teach(batch)
    loss = mse(student(ids(batch, 64)), target)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    sched.step()
    if step % 100 == 0:
        print(f"step {step} mse {loss:.5f}")
mrr(enc, enc, name="after")
