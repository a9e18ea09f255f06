"""uniem: its fine-tuner, a loop of its own under accelerate."""

from pathlib import Path

from _data import pairs, save_bert, save_weights
from uniem.finetuner import FineTuner

queries, documents = pairs(160)
rows = [{"text": q, "text_pos": d} for q, d in zip(queries, documents, strict=True)]
tuner = FineTuner.from_pretrained(str(save_bert(Path("bert"))), dataset=rows)
embedder = tuner.run(epochs=2, batch_size=8, output_dir="out", lr=1e-3)
save_weights(embedder)
