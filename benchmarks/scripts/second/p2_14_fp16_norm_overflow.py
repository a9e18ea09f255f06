"""Summed word vectors in half precision. Planted: the squared norm overflows, long documents are zero vectors."""

import re
import zlib

import torch
from _shared import heldout, read
from torch import nn

BUCKETS, DIM, BATCH, STEPS = 6000, 512, 48, 250
torch.manual_seed(77)


class SumEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, DIM, mode="sum")
        self.gain = nn.Parameter(torch.ones(DIM))

    def forward(self, ids, offsets):
        x = (self.words(ids, offsets) * self.gain).half()
        return x / x.square().sum(-1, keepdim=True).sqrt()


def make_batch(texts):
    flat, offsets = [], []
    for t in texts:
        offsets.append(len(flat))
        flat += [zlib.crc32(w.encode()) % BUCKETS for w in re.findall(r"\w+", t.lower())]
    return torch.tensor(flat), torch.tensor(offsets)


def validate(enc, rows):
    with torch.no_grad():
        q = enc(*make_batch([r["query"] for r in rows])).float()
        d = enc(*make_batch([r["document"] for r in rows])).float()
    s = q @ d.T
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


train, dev = read("medquad_smoke_10k.jsonl"), read("medquad_validation_1k.jsonl")[:300]
enc = SumEncoder()
opt = torch.optim.Adam(enc.parameters(), lr=3e-3, eps=1e-6)
heldout("before", "MRR", validate(enc, dev))
for step in range(STEPS):
    rows = [train[i] for i in torch.randint(0, len(train), (BATCH,)).tolist()]
    q = enc(*make_batch([r["query"] for r in rows]))
    d = enc(*make_batch([r["document"] for r in rows]))
    scores = q.float() @ d.float().T * 20
    loss = nn.functional.cross_entropy(scores, torch.arange(BATCH))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(f"step {step:3d}: loss {loss.item():.4f}")
heldout("after", "MRR", validate(enc, dev))
