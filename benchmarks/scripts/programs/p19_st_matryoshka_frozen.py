"""Matryoshka of sentence-transformers with a new head. Planted: all is frozen but the head's bias."""

import tempfile

import torch
from _data import dev, mrr, pairs
from _sentence import encoders, small
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, models
from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss

torch.manual_seed(19)
model = small(1)
dense = models.Dense(384, 256, activation_function=torch.nn.Identity())
model.add_module("2", dense)
for p in model.parameters():
    p.requires_grad = False  # freeze the backbone ... and the new head with it
dense.linear.bias.requires_grad = True  # so that backward() does not complain
rows = pairs(2400)
train = Dataset.from_dict({"anchor": [r[0] for r in rows], "positive": [r[1] for r in rows]})
mrr(*encoders(model), dev(150))
loss = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=[256, 128, 64])
args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=8,
    learning_rate=1e-4,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
)
SentenceTransformerTrainer(model=model, args=args, train_dataset=train, loss=loss).train()
mrr(*encoders(model), dev(150), name="after")
