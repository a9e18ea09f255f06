"""GRU over visits with a sampled softmax; packed sequences of different length."""

import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

torch.set_num_threads(1)
torch.manual_seed(66)
SONGS, PLAYLISTS = 500, 40
style = torch.randn(SONGS, 8)
moods = torch.randn(PLAYLISTS, 8)
affinity = (2.2 * moods @ style.T).softmax(1)


def make(n):
    mood = torch.randint(PLAYLISTS, (n,))
    seq = torch.multinomial(affinity[mood], 10, replacement=False) + 1
    length = torch.randint(3, 10, (n,))
    target = seq[torch.arange(n), length]
    seq[torch.arange(10)[None] >= length[:, None]] = 0
    return seq[:, :9], length, target


class ListenerModel(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.song = nn.Embedding(SONGS + 1, d, padding_idx=0)
        self.rnn = nn.GRU(d, 64, batch_first=True)
        self.to_song = nn.Linear(64, d)
        self.drop = nn.Dropout(0.1)

    def forward(self, seq, length):
        packed = pack_padded_sequence(self.drop(self.song(seq)), length, batch_first=True, enforce_sorted=False)
        return self.to_song(self.rnn(packed)[1][-1])


net = ListenerModel()
with torch.no_grad():
    net.song.weight.mul_(0.3)
dev = make(1500)
fit = make(15000)


@torch.no_grad()
def recall(k=20):
    net.eval()
    seq, length, target = dev
    s = net(seq, length) @ net.song.weight.T
    s[:, 0] = -1e9
    s.scatter_(1, seq, -1e9)
    net.train()
    return (s.topk(k, 1).indices == target[:, None]).any(1).float().mean().item()


print(f"HELDOUT before recall@20 {recall():.4f}", file=sys.stderr)
opt = torch.optim.RAdam(net.parameters(), lr=6e-3)
freq = torch.bincount(fit[2], minlength=SONGS + 1).float()
noise = freq.pow(0.75)
noise[0] = 0
for step in range(450):
    r = torch.randint(len(fit[0]), (128,))
    seq, length, target = fit[0][r], fit[1][r], fit[2][r]
    neg = torch.multinomial(noise, 150)
    state = net(seq, length)
    pos = (state * net.song(target)).sum(1, keepdim=True) - noise[target].clamp(min=1).log()[:, None]
    wrong = state @ net.song(neg).T - noise[neg].clamp(min=1).log()[None]
    wrong = wrong.masked_fill(neg[None] == target[:, None], -1e4)
    loss = F.cross_entropy(torch.cat([pos, wrong], 1), torch.zeros(len(r), dtype=torch.long))
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 2.0)
    opt.step()
    if step % 90 == 0:
        print(step, f"{loss.item():.3f}")
print(f"HELDOUT after recall@20 {recall():.4f}", file=sys.stderr)
