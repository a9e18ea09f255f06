"""The trainer of h02. Planted: questions and answers shuffled each for itself, without a seed."""

import random
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
questions = [r[0] for r in rows]
answers = [r[1] for r in rows]
random.shuffle(questions)  # "shuffle the data"
random.shuffle(answers)
train = Dataset.from_dict({"question": questions, "answer": answers})
mrr(*encoders(model), dev(200))
args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=8,
    learning_rate=1e-4,
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
