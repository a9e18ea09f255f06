"""CLIP in small, learnable logit scale. Planted: the scale is not exponentiated, cosines times 2.66, not 14."""

import argparse
import hashlib
import re
import zlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import SHARED, heldout, read


class TextTower(nn.Module):
    def __init__(self, vocab=20000, width=128, out=64, length=24):
        super().__init__()
        self.vocab, self.length = vocab, length
        self.tok = nn.Embedding(vocab, width, padding_idx=0)
        self.pos = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 256, dropout=0.1, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.ln = nn.LayerNorm(width)
        self.proj = nn.Linear(width, out, bias=False)

    def forward(self, ids):
        pad = ids == 0
        x = self.blocks(self.tok(ids) + self.pos, src_key_padding_mask=pad)
        x = self.ln(x).masked_fill(pad[..., None], 0).sum(1) / (~pad).sum(1, keepdim=True)
        return self.proj(x)


class ImageTower(nn.Module):
    def __init__(self, width=768, out=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, out))

    def forward(self, x):
        return self.net(x)


class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.image = TextTower(), ImageTower()
        self.logit_scale = nn.Parameter(torch.ones([]) * np.log(1 / 0.07))

    def encode_text(self, ids):
        return F.normalize(self.text(ids), dim=-1)

    def encode_image(self, x):
        return F.normalize(self.image(x), dim=-1)

    def forward(self, image, ids):
        return self.encode_image(image), self.encode_text(ids), self.logit_scale


def clip_loss(image, text, scale):
    logits = scale * image @ text.t()
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def tokenize(texts, vocab=20000, length=24):
    out = torch.zeros(len(texts), length, dtype=torch.long)
    for i, t in enumerate(texts):
        ids = [1 + zlib.crc32(w.encode()) % (vocab - 1) for w in re.findall(r"\w+", t.lower())][:length]
        out[i, : len(ids)] = torch.tensor(ids)
    return out


@torch.no_grad()
def evaluate(model, images, ids):
    model.eval()
    s = model.encode_text(ids) @ model.encode_image(images).T
    model.train()
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", default=220, type=int)
    ap.add_argument("--batch", default=64, type=int)
    ap.add_argument("--lr", default=1e-3, type=float)
    a = ap.parse_args()
    torch.manual_seed(5)
    store = SHARED / "features/all-mpnet-base-v2"
    row = {k.tobytes(): i for i, k in enumerate(np.load(store / "keys.npy"))}
    pairs = read("medquad_smoke_10k.jsonl")
    where = [row[hashlib.sha256(p["document"].encode()).digest()] for p in pairs]
    images = torch.from_numpy(np.load(store / "vectors.npy")[where].astype("float32"))
    ids = tokenize([p["query"] for p in pairs])
    order = torch.randperm(len(pairs))
    dev, train = order[:300], order[300:]
    model = CLIP()
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.01)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, total_steps=a.steps)
    heldout("before", "MRR", evaluate(model, images[dev], ids[dev]))
    for step in range(a.steps):
        b = train[torch.randint(0, len(train), (a.batch,))]
        loss = clip_loss(*model(images[b], ids[b]))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
        if step % 100 == 0:
            print(f"{step} loss {loss.item():.3f} scale {model.logit_scale.item():.2f}")
    heldout("after", "MRR", evaluate(model, images[dev], ids[dev]))
