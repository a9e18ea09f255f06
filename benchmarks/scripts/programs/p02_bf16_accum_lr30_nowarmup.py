"""A small transformer in bf16, accumulation over 2. Planted: a rate 30 times too large, no warm-up."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(2)


class Encoder(nn.Module):
    def __init__(self, d=96, L=16):
        super().__init__()
        self.embeddings = nn.Embedding(V, d, padding_idx=0)
        self.positions = nn.Embedding(L, d)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.1, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, input_ids, attention_mask):
        x = self.embeddings(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        x = self.layers(x, src_key_padding_mask=attention_mask == 0)
        m = attention_mask[..., None]
        return (x * m).sum(1) / m.sum(1).clamp(min=1)


model = Encoder()


def tok(t):
    x = ids(t, 16)
    return {"input_ids": x, "attention_mask": (x > 0).long()}


def enc(t):
    model.eval()
    e = model(**tok(t))
    model.train()
    return e


mrr(enc, enc)
opt = torch.optim.AdamW(model.parameters(), lr=3e-2)  # 1e-3 in the paper
accum = 2
rng = random.Random(1)
data = pairs()
for it in range(320):
    b = rng.sample(data, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q = F.normalize(model(**tok([r[0] for r in b])), dim=-1)
        d = F.normalize(model(**tok([r[1] for r in b])), dim=-1)
        loss = F.cross_entropy(q @ d.T / 0.05, torch.arange(16)) / accum
    loss.backward()
    if (it + 1) % accum == 0:
        opt.step()
        opt.zero_grad()
    if it % 100 == 0:
        print(it, loss.item() * accum)
mrr(enc, enc, name="after")
