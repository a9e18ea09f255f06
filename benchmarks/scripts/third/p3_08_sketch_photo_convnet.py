"""Sketch -> photo retrieval with a small shared convolutional network. Images are rendered on the fly."""

import sys

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(11)
SIDE = 16
yy, xx = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")


def scenes(n, gen):
    """Every scene is three blobs; returns [n, SIDE, SIDE]"""
    cx = torch.rand(n, 3, 1, 1, generator=gen) * 1.6 - 0.8
    cy = torch.rand(n, 3, 1, 1, generator=gen) * 1.6 - 0.8
    w = torch.rand(n, 3, 1, 1, generator=gen) * 0.25 + 0.15
    return torch.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / w**2).amax(1)


def photo(s, gen):
    shade = torch.rand(len(s), 1, 1, generator=gen) * 0.4
    grad = torch.randn(len(s), 1, 1, generator=gen) * 0.4 * xx
    im = 2.5 + 1.5 * s * (1 + shade) + grad + 0.25 * torch.randn(s.shape, generator=gen)
    return im.unsqueeze(1)


def sketch(s, gen):
    dx = s[:, :, 1:] - s[:, :, :-1]
    dy = s[:, 1:, :] - s[:, :-1, :]
    edge = F.pad(dx.abs(), (0, 1)) + F.pad(dy.abs(), (0, 0, 0, 1))
    im = -1.0 - (edge > 0.12).float() * 1.0 + 0.1 * torch.randn(s.shape, generator=gen)
    return im.unsqueeze(1)


def block(i, o, stride):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(block(1, 16, 1), block(16, 32, 2), block(32, 48, 2))
        self.fc = nn.Sequential(
            nn.Flatten(), nn.Linear(48 * 16, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64)
        )

    def forward(self, im):
        return F.normalize(self.fc(self.features(im)), dim=1)


net = Net()
val_gen = torch.Generator().manual_seed(1000)
vs = scenes(400, val_gen)
val_sketch, val_photo = sketch(vs, val_gen), photo(vs, val_gen)


@torch.no_grad()
def recall_at(k):
    net.eval()
    s = torch.cat([net(c) for c in val_sketch.split(100)]) @ torch.cat([net(c) for c in val_photo.split(100)]).t()
    net.train()
    return (s.topk(k, dim=1).indices == torch.arange(len(s)).unsqueeze(1)).any(1).float().mean().item()


print("HELDOUT before recall@5", round(recall_at(5), 4), file=sys.stderr)
gen = torch.Generator().manual_seed(2)
optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
for i in range(300):
    s = scenes(64, gen)
    a = net(sketch(s, gen))
    b = net(photo(s, gen))
    logits = a @ b.t() / 0.1
    y = torch.arange(len(s))
    loss = (F.cross_entropy(logits, y) + F.cross_entropy(logits.t(), y)) / 2
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if i % 60 == 0:
        print("iter", i, "loss", round(loss.item(), 4))
print("HELDOUT after recall@5", round(recall_at(5), 4), file=sys.stderr)
