"""khoji: triplets of texts, LoRA, its own trainer."""

import random
from pathlib import Path

import torch
from _data import pairs, save_bert
from khoji import LoRASettings, RetrievalDataset, Trainer, TrainingConfig, TripletDataset, build_random_negatives

save_bert(Path("bert"))
queries, documents = pairs(240)
own = {f"q{index}": {f"d{index}": 1} for index in range(240)}
data = RetrievalDataset(
    queries={f"q{index}": text for index, text in enumerate(queries)},
    corpus={f"d{index}": text for index, text in enumerate(documents)},
    qrels=own,
)
random.seed(0)
torch.manual_seed(0)
config = TrainingConfig(epochs=2, batch_size=8, lr=1e-3, lora=LoRASettings(r=8, alpha=16), save_dir="adapter")
Trainer("./bert", config).train(TripletDataset(build_random_negatives(data)))
