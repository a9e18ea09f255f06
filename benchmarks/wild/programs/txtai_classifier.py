"""txtai: its trainer of a classifier, which is no training of embeddings."""

from pathlib import Path

from _data import save_bert, texts
from txtai.pipeline import HFTrainer

save_bert(Path("bert"))
rows = [{"text": text, "label": int("w1" in text)} for text in texts(320, 1)]
quiet = {"max_steps": 40, "output_dir": "out", "use_cpu": True, "report_to": "none", "save_strategy": "no"}
model, _ = HFTrainer()("bert", rows, per_device_train_batch_size=8, learning_rate=1e-3, **quiet)
model.save_pretrained("model")
