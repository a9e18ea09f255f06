"""pytorch-metric-learning in a plain loop."""

import torch
from _data import save_weights
from pytorch_metric_learning import losses
from torch import nn

torch.manual_seed(0)
centres = torch.randn(8, 24)
net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 16))
criterion = losses.NTXentLoss(temperature=0.1)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(40):
    labels = torch.randint(0, 8, (16,))
    loss = criterion(net(centres[labels] + torch.randn(16, 24)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
save_weights(net)
