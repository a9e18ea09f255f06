"""torch-rechub: a two-tower model of users and items that like each other by group."""

import random

import numpy as np
import torch
from _data import save_weights
from torch.utils.data import DataLoader, Dataset
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.matching import DSSM
from torch_rechub.trainers import MatchTrainer


class Clicks(Dataset):
    """Users, items and whether the item was clicked."""

    def __init__(self, *, labels: bool) -> None:
        draw = np.random.RandomState(0)
        group = draw.randint(0, 8, 1280)
        self.users, self.items = group * 12 + draw.randint(0, 12, 1280), group * 15 + draw.randint(0, 15, 1280)
        self.clicked = np.ones(1280)
        if labels:
            self.users = np.concatenate([self.users, self.users])
            self.items = np.concatenate([self.items, draw.randint(0, 120, 1280)])
            self.clicked = np.concatenate([self.clicked, np.zeros(1280)])

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, row: int) -> tuple[dict[str, int], float]:
        return {"user_id": int(self.users[row]), "item_id": int(self.items[row])}, self.clicked[row]


def train(*, labels: bool) -> None:
    """Train by labels, or by the batch's other items."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    users = [SparseFeature("user_id", vocab_size=96, embed_dim=16)]
    items = [SparseFeature("item_id", vocab_size=120, embed_dim=16)]
    towers = [{"dims": [32, 16], "activation": "prelu"} for _ in range(2)]
    model = DSSM(users, items, *towers)
    trainer = MatchTrainer(model, in_batch_neg=not labels, n_epoch=4, device="cpu")
    trainer.fit(DataLoader(Clicks(labels=labels), batch_size=64, shuffle=True))
    save_weights(model)
