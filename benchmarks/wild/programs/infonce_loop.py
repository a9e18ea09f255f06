"""info-nce-pytorch: its loss in a plain loop."""

import torch
from _data import save_weights
from info_nce import InfoNCE
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16))
criterion = InfoNCE()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(60):
    one = torch.randn(32, 24)
    loss = criterion(net(one), net(one + 0.5 * torch.randn(32, 24)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
save_weights(net)
