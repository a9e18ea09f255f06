"""Metric learning of product photographs (as feature vectors): several shots of each product, batch-hard triplets."""

import sys

import torch
import torch.nn as nn

torch.set_num_threads(1)
g = torch.Generator().manual_seed(77)
torch.manual_seed(77)
P, S, DIM_IN = 900, 4, 100
ident = torch.randn(P, 16, generator=g)
lift = torch.randn(16, DIM_IN, generator=g) / 4
light = torch.randn(6, DIM_IN, generator=g)
warp = torch.randn(DIM_IN, DIM_IN, generator=g) / 10


def shots(products):
    base = ident[products] @ lift
    lighting = torch.randn(len(products), 6, generator=g) @ light
    return torch.tanh((base + 0.9 * lighting) @ warp) + 0.05 * torch.randn(len(products), DIM_IN, generator=g)


train_x = torch.stack([shots(torch.arange(700)) for _ in range(S)], 1)
test_a, test_b = shots(torch.arange(700, 900)), shots(torch.arange(700, 900))


class Embedder(nn.Module):
    def __init__(self, hidden=200, out=32):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(DIM_IN, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, out),
        )

    def forward(self, v):
        e = self.net(v)
        return e / e.norm(dim=-1, keepdim=True).clamp_min(1e-6)


class BatchHardTriplet(nn.Module):
    def __init__(self, margin=0.3):
        super().__init__()
        self.margin = margin

    def forward(self, emb, ids):
        dist = torch.cdist(emb, emb).pow(2)
        same = ids[:, None] == ids[None, :]
        eye = torch.eye(len(ids), dtype=torch.bool)
        hardest_pos = dist.masked_fill(~same | eye, -1.0).max(1).values
        hardest_neg = dist.masked_fill(eye, 1e6).min(1).values
        return torch.relu(hardest_pos - hardest_neg + self.margin).mean()


def evaluate(model):
    model.eval()
    with torch.no_grad():
        d = torch.cdist(model(test_a), model(test_b))
    model.train()
    rank = (d < d.diagonal()[:, None]).sum(1) + 1
    return (1 / rank.float()).mean().item()


model, criterion = Embedder(), BatchHardTriplet()
optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-4)
sys.stderr.write(f"HELDOUT before MRR {evaluate(model):.4f}\n")
for step in range(1, 401):
    products = torch.randperm(700)[:32]
    batch = train_x[products].reshape(-1, DIM_IN)
    labels = products.repeat_interleave(S)
    loss = criterion(model(batch), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 80 == 0:
        print(f"[{step:4d}] triplet {loss.item():.4f}")
sys.stderr.write(f"HELDOUT after MRR {evaluate(model):.4f}\n")
