"""The trainer of sentence-transformers, CoSENT on scores 0 and 1. Planted: nothing."""

import random
import tempfile

import torch
from _data import dev, mrr, pairs
from _sentence import encoders, small
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

torch.manual_seed(3)
random.seed(3)
model = small()
rows = pairs(2000)
a, b, s = [], [], []
for i, (q, d) in enumerate(rows):
    if i % 2:
        a.append(q)
        b.append(d)
        s.append(1.0)
    else:
        a.append(q)
        b.append(random.choice(rows)[1])
        s.append(0.0)
train = Dataset.from_dict({"sentence1": a, "sentence2": b, "score": s})
mrr(*encoders(model), dev(200))
args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=8,
    learning_rate=5e-5,
    warmup_steps=30,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
)
SentenceTransformerTrainer(model=model, args=args, train_dataset=train, loss=losses.CoSENTLoss(model)).train()
mrr(*encoders(model), dev(200), name="after")
