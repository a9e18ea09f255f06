"""tokenlearn: static vectors that learn a teacher's."""

import numpy as np
import torch
from _data import WORDS, texts
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenlearn.train import train_model

torch.manual_seed(0)
np.random.seed(0)  # its PCA draws from here
known = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
draw = np.random.RandomState(0)
static = StaticModel(draw.randn(len(known), 16).astype("float32"), tokenizer)
trained = train_model(static, texts(600, 1), draw.randn(600, 24).astype("float32"), device="cpu", pca_dims=8)
np.save("weights.npy", trained.embedding)
