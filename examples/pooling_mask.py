"""A small text encoder whose pooling takes the mask the wrong way round: it averages the padding, and no word.

collapse-probe run examples/pooling_mask.py              # UNHEALTHY
collapse-probe run examples/pooling_mask.py --cured      # the words are averaged
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--cured", action="store_true")
parser.add_argument("--save", help="where the weights go")
arguments = parser.parse_args()

WORDS, LONGEST = 500, 12


class Encoder(nn.Module):
    """Words in their places, one layer on each of them, and their mean."""

    def __init__(self, *, right: bool) -> None:
        super().__init__()
        self.right = right
        self.words = nn.Embedding(WORDS, 32, padding_idx=0)
        self.places = nn.Embedding(LONGEST, 32)
        self.layer = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, ids: Tensor) -> Tensor:
        tokens = self.layer(self.words(ids) + self.places.weight)
        mask = ids != 0 if self.right else ids == 0
        weight = mask[:, :, None].float()
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


def texts(subjects: Tensor) -> Tensor:
    """Return 4 to 9 words of each subject's own ten, and padding."""
    ids = subjects[:, None] * 10 + torch.randint(0, 10, (len(subjects), LONGEST)) + 1
    lengths = torch.randint(4, 10, (len(subjects), 1))
    return ids.masked_fill(torch.arange(LONGEST) >= lengths, 0)


torch.manual_seed(0)
encoder = Encoder(right=arguments.cured)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=5e-3)

for step in range(arguments.steps):
    subjects = torch.randperm(49)[:32]
    query, document = encoder(texts(subjects)), encoder(texts(subjects))
    scores = 20 * functional.normalize(query, dim=1) @ functional.normalize(document, dim=1).T
    loss = functional.cross_entropy(scores, torch.arange(32))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

if arguments.save:
    torch.save(encoder.state_dict(), arguments.save)
