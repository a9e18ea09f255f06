"""angle-emb: AnglE on pairs of texts, each with a label, by its own trainer and loss."""

from pathlib import Path

from _data import pairs, save_bert, save_weights, texts
from angle_emb import AnglE
from datasets import Dataset

queries, documents = pairs(160)
wrong = texts(160, 5)
data = Dataset.from_dict({"query": queries, "positive": documents, "negative": wrong})
angle = AnglE(str(save_bert(Path("bert"))), max_length=32, pooling_strategy="cls", device="cpu")
quiet = {"use_cpu": True, "report_to": "none", "max_steps": 40}
angle.fit(data, batch_size=8, output_dir="out", warmup_steps=2, save_strategy="no", argument_kwargs=quiet)
save_weights(angle.pooler.model)
