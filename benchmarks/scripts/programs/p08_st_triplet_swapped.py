"""TripletLoss of sentence-transformers. Planted: columns stand as anchor, negative, positive."""

import random
import tempfile

import torch
from _data import dev, mrr, pairs
from _sentence import encoders, small
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

torch.manual_seed(3)
random.seed(5)
model = small()
rows = pairs(2000)
docs = [d for _, d in rows]
# columns in the wrong order: TripletLoss reads (anchor, positive, negative) by position
train = Dataset.from_dict(
    {"anchor": [q for q, _ in rows], "negative": [random.choice(docs) for _ in rows], "positive": docs}
)
mrr(*encoders(model), dev(200))
args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=8,
    learning_rate=5e-5,
    warmup_ratio=0.1,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
)
loss = losses.TripletLoss(model, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.3)
SentenceTransformerTrainer(model=model, args=args, train_dataset=train, loss=loss).train()
mrr(*encoders(model), dev(200), name="after")
