"""lightly: SimSiam in the loop of its tutorial."""

import torch
from _data import save_weights
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from torch import nn


class SimSiam(nn.Module):
    """A backbone, a projection and a prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.projection_head = SimSiamProjectionHead(32, 32, 16)
        self.prediction_head = SimSiamPredictionHead(16, 8, 16)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.projection_head(self.backbone(x))
        return z.detach(), self.prediction_head(z)


torch.manual_seed(0)
model, criterion = SimSiam(), NegativeCosineSimilarity()
optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
for _ in range(40):
    images = torch.rand(16, 3, 12, 12)
    (z0, p0), (z1, p1) = model(images + 0.1 * torch.randn_like(images)), model(images.flip(-1))
    loss = 0.5 * (criterion(z0, p1) + criterion(z1, p0))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
save_weights(model)
