"""lightly-train: its one call, SimCLR of images in a folder."""

from pathlib import Path

import _data  # noqa: F401
import albumentations
import lightly_train
import numpy as np
import torch
from PIL import Image
from torch import nn


class Small(nn.Module):
    """A backbone of somebody's own, as its documentation asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward_features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"features": self.layers(x)}

    def forward_pool(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"pooled_features": self.pool(x["features"])}

    def feature_dim(self) -> int:
        return 32

    def get_model(self) -> nn.Module:
        return self


if __name__ == "__main__":
    draw = np.random.RandomState(0)
    Path("images").mkdir()
    for index in range(96):
        Image.fromarray(draw.randint(0, 255, (40, 40, 3)).astype("uint8")).save(f"images/{index}.png")
    # Augmentations draw their seed from the system, which no setting reaches: two runs would differ.
    seeded = albumentations.BaseCompose.set_random_seed
    albumentations.BaseCompose.set_random_seed = lambda self, seed: seeded(self, 7 if seed is None else seed)
    torch.manual_seed(0)
    model = Small()
    lightly_train.pretrain(
        out="out",
        data="images",
        model=model,
        method="simclr",
        method_args={"hidden_dim": 32, "output_dim": 16},
        embed_dim=24,
        epochs=5,
        batch_size=16,
        num_workers=0,
        accelerator="cpu",
        devices=1,
        transform_args={"image_size": (32, 32)},
    )
    torch.save(model.state_dict(), "weights.pt")
