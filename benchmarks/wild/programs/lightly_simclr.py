"""lightly: SimCLR under Lightning, with a memory bank."""

import pytorch_lightning
import torch
from _data import save_weights
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SimCLR(pytorch_lightning.LightningModule):
    """As in the tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.projection_head = SimCLRProjectionHead(32, 32, 16)
        self.criterion = NTXentLoss(memory_bank_size=(64, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projection_head(self.backbone(x))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        images = batch[0]
        return self.criterion(self.forward(images + 0.1 * torch.randn_like(images)), self.forward(images.flip(-1)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.06)


pytorch_lightning.seed_everything(0)
model = SimCLR()
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
trainer = pytorch_lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet)
trainer.fit(model, DataLoader(TensorDataset(torch.rand(320, 3, 12, 12)), 16, shuffle=True))
save_weights(model)
