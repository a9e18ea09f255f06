"""pytorch-metric-learning, circle loss. Planted: labels are 0, 0, 1, 1 for questions that stand before all answers."""

import functools
import re
import zlib

import torch
from _shared import heldout, read
from pytorch_metric_learning import distances, losses, miners
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(64)


def ids_of(text, *, length, buckets):
    w = [1 + zlib.crc32(x.encode()) % (buckets - 1) for x in re.findall(r"\w+", text.lower())][:length]
    return torch.tensor(w + [0] * (length - len(w)))


to_ids = functools.partial(ids_of, length=32, buckets=20000)


class GatedCNN(nn.Module):
    def __init__(self, buckets=20000, dim=96):
        super().__init__()
        self.emb = nn.Embedding(buckets, dim, padding_idx=0)
        self.conv = nn.Conv1d(dim, 2 * dim, 5, padding=2)
        self.glu = nn.GLU(dim=1)
        self.fc = nn.Linear(dim, 96)

    def forward(self, x):
        e = self.emb(x).transpose(1, 2)
        h = e + self.glu(self.conv(e))
        mask = (x > 0).unsqueeze(1)
        return self.fc((h * mask).sum(-1) / mask.sum(-1).clamp(min=1))


def collate(rows):
    return torch.stack([to_ids(r["query"]) for r in rows]), torch.stack([to_ids(r["document"]) for r in rows])


def train(model, loader, loss_fn, miner, optimizer, max_steps):
    step = 0
    while step < max_steps:
        for q, d in loader:
            emb = model(torch.cat([q, d]))
            labels = torch.arange(len(q)).repeat_interleave(2)
            loss = loss_fn(emb, labels, miner(emb, labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 100 == 0:
                print(f"step {step}: {loss.item():.3f}")
            if step >= max_steps:
                return


@torch.no_grad()
def test(model, rows):
    q, d = collate(rows)
    s = distances.CosineSimilarity()(model(q), model(d))
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


model = GatedCNN()
dev = read("medquad_validation_1k.jsonl")[:300]
loader = DataLoader(read("medquad_smoke_10k.jsonl"), batch_size=32, shuffle=True, drop_last=True, collate_fn=collate)
heldout("before", "MRR", test(model, dev))
train(
    model,
    loader,
    losses.CircleLoss(m=0.4, gamma=80),
    miners.MultiSimilarityMiner(epsilon=0.3),
    torch.optim.Adam(model.parameters(), lr=2e-3),
    max_steps=400,
)
heldout("after", "MRR", test(model, dev))
