"""GradCache by hand, a batch of 96 in chunks of 16. Planted: gradients go to the chunks in the reverse order."""

import contextlib
import random
import re
import zlib

import torch
import torch.nn.functional as F
from _shared import heldout, read
from torch import nn

random.seed(12)
torch.manual_seed(12)


class RandContext(contextlib.AbstractContextManager):
    """Same dropout masks in both passes."""

    def __init__(self):
        self.state = torch.get_rng_state()

    def __enter__(self):
        self.now = torch.get_rng_state()
        torch.set_rng_state(self.state)

    def __exit__(self, *_):
        torch.set_rng_state(self.now)


class Encoder(nn.Module):
    def __init__(self, vocab=20000, dim=96):
        super().__init__()
        self.vocab = vocab
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.drop = nn.Dropout(0.1)
        self.rnn = nn.GRU(dim, dim, batch_first=True)

    def forward(self, ids):
        h, _ = self.rnn(self.drop(self.emb(ids)))
        m = (ids != 0).unsqueeze(-1)
        return F.normalize((h * m).sum(1) / m.sum(1).clamp(min=1), dim=-1)


def tensorize(texts, length=20, vocab=20000):
    out = torch.zeros(len(texts), length, dtype=torch.long)
    for i, t in enumerate(texts):
        w = [1 + zlib.crc32(x.encode()) % (vocab - 1) for x in re.findall(r"\w+", t.lower())][:length]
        out[i, : len(w)] = torch.tensor(w)
    return out


class GradCache:
    def __init__(self, encoder, chunk, tau=0.05):
        self.encoder, self.chunk, self.tau = encoder, chunk, tau

    def no_graph(self, ids):
        embs, states = [], []
        for part in ids.split(self.chunk):
            states.append(RandContext())
            with torch.no_grad():
                embs.append(self.encoder(part))
        return torch.cat(embs).requires_grad_(), states

    def with_graph(self, ids, states, cache):
        for part, state in zip(ids.split(self.chunk), states, strict=True):
            with state:
                emb = self.encoder(part)
            torch.dot(emb.flatten(), cache.pop().flatten()).backward()

    def step(self, q_ids, d_ids):
        q, q_states = self.no_graph(q_ids)
        d, d_states = self.no_graph(d_ids)
        loss = F.cross_entropy(q @ d.T / self.tau, torch.arange(len(q)))
        loss.backward()
        self.with_graph(q_ids, q_states, list(q.grad.split(self.chunk)))
        self.with_graph(d_ids, d_states, list(d.grad.split(self.chunk)))
        return loss.detach()


@torch.no_grad()
def mrr(encoder, rows):
    encoder.eval()
    s = encoder(tensorize([r["query"] for r in rows])) @ encoder(tensorize([r["document"] for r in rows])).T
    encoder.train()
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


rows = read("medquad_smoke_10k.jsonl")
dev = read("medquad_validation_1k.jsonl")[:300]
encoder = Encoder()
optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
cached = GradCache(encoder, chunk=16)
heldout("before", "MRR", mrr(encoder, dev))
for step in range(1, 251):
    batch = random.sample(rows, 96)
    loss = cached.step(tensorize([r["query"] for r in batch]), tensorize([r["document"] for r in batch]))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if step % 50 == 0:
        print(f"step {step} loss {loss:.3f}")
heldout("after", "MRR", mrr(encoder, dev))
