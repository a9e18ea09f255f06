"""The trainer of sentence-transformers, MultipleNegativesRankingLoss, one layer of MiniLM. Planted: nothing."""

import tempfile

import torch
from _data import dev, mrr, pairs
from _sentence import encoders, small
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss

torch.manual_seed(2)
model = small()
rows = pairs(2400)
train = Dataset.from_dict({"anchor": [r[0] for r in rows], "positive": [r[1] for r in rows]})
mrr(*encoders(model), dev(200))
args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=250,
    per_device_train_batch_size=8,
    learning_rate=5e-5,
    warmup_steps=25,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
    seed=3,
)
SentenceTransformerTrainer(
    model=model, args=args, train_dataset=train, loss=MultipleNegativesRankingLoss(model)
).train()
mrr(*encoders(model), dev(200), name="after")
