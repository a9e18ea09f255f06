"""Late interaction: token vectors of a one-layer encoder, MaxSim, in-batch negatives. Planted: nothing."""

import random
import re
import zlib

import torch
from _shared import heldout, read
from torch import nn
from torch.nn import functional as F

VOCAB, DIM, QLEN, DLEN = 20000, 96, 14, 48


def encode_text(texts, length):
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    for i, t in enumerate(texts):
        w = [1 + zlib.crc32(x.encode()) % (VOCAB - 1) for x in re.findall(r"[a-z0-9]+", t.lower())][:length]
        ids[i, : len(w)] = torch.tensor(w)
    return ids, ids > 0


class ColBERT(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, DIM, padding_idx=0)
        self.conv = nn.Conv1d(DIM, DIM, 3, padding=1)
        self.drop = nn.Dropout(0.1)
        self.linear = nn.Linear(DIM, 48, bias=False)

    def tokens(self, ids, mask):
        x = self.emb(ids)
        x = x + F.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        x = F.normalize(self.linear(self.drop(x)), dim=-1)
        return x * mask[..., None]

    def score(self, Q, D, d_mask):
        sim = torch.einsum("qid,pjd->qpij", Q, D)
        sim = sim.masked_fill(~d_mask[None, :, None, :], -2)
        return sim.amax(-1).sum(-1)

    def forward(self, q, d):
        Q, D = self.tokens(*q), self.tokens(*d)
        return self.score(Q, D, d[1])


def load(name, n=None):
    rows = read(name)[:n]
    return [(r["query"], r["document"]) for r in rows]


@torch.no_grad()
def mrr(model, pairs):
    model.eval()
    q = encode_text([p[0] for p in pairs], QLEN)
    d = encode_text([p[1] for p in pairs], DLEN)
    s = model(q, d)
    model.train()
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


torch.manual_seed(11)
random.seed(11)
train, dev = load("medquad_smoke_10k.jsonl"), load("medquad_validation_1k.jsonl", 200)
model = ColBERT()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
heldout("before", "MRR", mrr(model, dev))
for step in range(300):
    batch = random.sample(train, 24)
    scores = model(encode_text([q for q, _ in batch], QLEN), encode_text([d for _, d in batch], DLEN))
    loss = F.cross_entropy(scores, torch.arange(len(batch)))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 60 == 0:
        print(step, "loss", round(loss.item(), 3))
heldout("after", "MRR", mrr(model, dev))
