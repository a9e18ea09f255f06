"""stable-pretraining: SimCLR by the package's own module and forward, under Lightning."""

from pathlib import Path

import lightning
import stable_pretraining
import torch
from _data import save_weights
from stable_pretraining.forward import simclr
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Views(Dataset):
    """Two views of made-up images."""

    def __init__(self) -> None:
        self.images = torch.rand(320, 3, 12, 12)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, list[dict[str, torch.Tensor]]]:
        image = self.images[index]
        return {"views": [{"image": image + 0.1 * torch.randn_like(image)}, {"image": image.flip(-1)}]}


stable_pretraining.set(cache_dir=str(Path("cache").absolute()))
lightning.seed_everything(0)
module = stable_pretraining.Module(
    forward=simclr,
    backbone=nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    projector=nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 16)),
    simclr_loss=stable_pretraining.losses.NTXEntLoss(temperature=0.5),
    optim={"optimizer": {"type": "AdamW", "lr": 1e-3}, "scheduler": "ConstantLR", "interval": "epoch"},
)
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", num_sanity_val_steps=0, **quiet)
data = stable_pretraining.data.DataModule(train=DataLoader(Views(), 16, shuffle=True))
stable_pretraining.Manager(trainer=trainer, module=module, data=data, seed=0)()
save_weights(module)
