"""Keras on PyTorch: two towers and a softmax over the batch, by an optimiser of its own."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers


class Towers(keras.Model):
    """A tower a side; its output is their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.document = (
            keras.Sequential([layers.Embedding(200, 32), layers.GlobalAveragePooling1D(), layers.Dense(16)])
            for _ in range(2)
        )

    def call(self, inputs: list) -> object:
        return keras.ops.matmul(self.query(inputs[0]), keras.ops.transpose(self.document(inputs[1])))


def softmax(wanted: object, scores: object) -> object:
    """Return the loss of each query's own document."""
    own = keras.ops.arange(keras.ops.shape(scores)[0])
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(own, scores, from_logits=True))


keras.utils.set_random_seed(0)
model = Towers()
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=softmax)
texts = np.random.RandomState(0).randint(0, 200, (320, 8))
model.fit([texts, texts], np.zeros(320), batch_size=32, epochs=2, verbose=0)
np.save("weights.npy", np.concatenate([one.flatten() for one in model.get_weights()]))
