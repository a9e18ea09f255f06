"""torch-rechub: two towers by a softmax over the batch."""

from _rechub import train

train(labels=False)
