"""A causal encoder, its last token pooled. Planted: texts are padded on the right, so that it is padding."""

import random

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from torch import nn

torch.manual_seed(22)


class CausalEncoder(nn.Module):
    """decoder as encoder, E5-mistral style: the last token's state"""

    def __init__(self, d=96, L=40):
        super().__init__()
        self.embed_tokens = nn.Embedding(V, d)
        self.pos = nn.Embedding(L, d)
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(d, 4, 192, dropout=0.0, batch_first=True, norm_first=True) for _ in range(1)]
        )
        self.norm = nn.LayerNorm(d)

    def forward(self, input_ids, attention_mask):
        n = input_ids.shape[1]
        h = self.embed_tokens(input_ids) + self.pos(torch.arange(n))
        causal = torch.triu(torch.full((n, n), float("-inf")), 1)
        for layer in self.layers:
            h = layer(h, src_mask=causal)
        return self.norm(h)


def last_token_pool(h, mask):
    return h[:, -1]  # written for padding_side="left"


model = CausalEncoder()


def encode(t, n):
    x = ids(t, n)
    m = (x > 0).long()
    h = model(x, m)
    return F.normalize(last_token_pool(h, m), dim=-1)


eq, ed = (lambda t: encode(t, 24)), (lambda t: encode(t, 32))
mrr(eq, ed)
opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
rng, data = random.Random(0), pairs()
for step in range(300):
    b = rng.sample(data, 24)
    s = eq([r[0] for r in b]) @ ed([r[1] for r in b]).T / 0.05
    loss = F.cross_entropy(s, torch.arange(24))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, loss.item())
mrr(eq, ed, name="after")
