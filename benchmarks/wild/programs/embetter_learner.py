"""embetter: its contrastive learner over fixed vectors, on pairs with labels."""

import numpy as np
import torch
from _data import save_weights
from embetter.finetune import ContrastiveLearner

torch.manual_seed(0)
draw = np.random.RandomState(0)
one = draw.randn(320, 48).astype("float32")
other = one + 0.5 * draw.randn(320, 48).astype("float32")
left, right = np.concatenate([one, one]), np.concatenate([other, other[draw.permutation(320)]])
labels = np.repeat([1.0, 0.0], 320)
learner = ContrastiveLearner(shape_out=24, batch_size=32, epochs=4, learning_rate=2e-3)
learner.fit(left, right, labels)
save_weights(learner.network_)
