"""byol-pytorch: the loop of its README."""

import random

import torch
from _data import save_weights
from byol_pytorch import BYOL
from torchvision import models

torch.manual_seed(0)
random.seed(0)
resnet = models.resnet18(num_classes=32)
learner = BYOL(resnet, image_size=32, hidden_layer="avgpool", projection_size=32, projection_hidden_size=64)
optimizer = torch.optim.Adam(learner.parameters(), lr=3e-4)
for _ in range(25):
    loss = learner(torch.randn(8, 3, 32, 32))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    learner.update_moving_average()
save_weights(resnet)
