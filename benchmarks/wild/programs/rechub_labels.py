"""torch-rechub: two towers by labels of clicks."""

from _rechub import train

train(labels=True)
