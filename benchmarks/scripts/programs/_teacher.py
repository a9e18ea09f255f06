"""A teacher: stored vectors of MiniLM."""

import hashlib

import numpy as np
import torch
from _data import SHARED

_FOLDER = SHARED / "features" / "all-MiniLM-L6-v2"
_ROWS = {bytes(key): i for i, key in enumerate(np.load(_FOLDER / "keys.npy"))}
_VECTORS = np.load(_FOLDER / "vectors.npy", mmap_mode="r")


def teach(texts):
    """Return the teacher's vectors of texts, [B, 384]."""
    return torch.tensor(np.stack([_VECTORS[_ROWS[hashlib.sha256(text.encode()).digest()]] for text in texts]))
