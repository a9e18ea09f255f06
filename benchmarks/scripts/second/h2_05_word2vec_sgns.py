"""word2vec (skip-gram, negative sampling) on the answers of MedQuAD. Planted: nothing."""

import collections
import re

import numpy as np
import torch
from _shared import heldout, read

rng = np.random.default_rng(1)
torch.manual_seed(1)

# %% vocabulary
docs = [re.findall(r"[a-z]+", r["document"].lower()) for r in read("medquad_smoke_10k.jsonl")]
held = [re.findall(r"[a-z]+", r["document"].lower()) for r in read("medquad_validation_1k.jsonl")]
freq = collections.Counter(w for d in docs for w in d)
vocab = {w: i for i, (w, _) in enumerate(freq.most_common(4000))}
count = np.array([freq[w] for w in vocab], dtype=float)
keep = np.minimum(1, np.sqrt(1e-3 / (count / count.sum())))
noise = torch.tensor((count**0.75) / (count**0.75).sum())

# %% centre/context pairs
centres, contexts = [], []
for d in docs[:5000]:
    ids = [vocab[w] for w in d if w in vocab and rng.random() < keep[vocab[w]]]
    for i, c in enumerate(ids):
        for j in range(max(0, i - 3), min(len(ids), i + 4)):
            if i != j:
                centres.append(c), contexts.append(ids[j])
centres, contexts = torch.tensor(centres), torch.tensor(contexts)
print(len(vocab), "words", len(centres), "pairs")

# held-out: find the word in the middle from the mean of those around it
windows = []
for d in held:
    ids = [vocab[w] for w in d if w in vocab and keep[vocab[w]] > 0.4]
    if len(ids) > 20:
        windows.append((ids[6:9] + ids[10:13], ids[9]))
around, middle = torch.tensor([w[0] for w in windows]), torch.tensor([w[1] for w in windows])


# %%
class SGNS(torch.nn.Module):
    def __init__(self, n, dim=100):
        super().__init__()
        self.inp = torch.nn.Embedding(n, dim)
        self.out = torch.nn.Embedding(n, dim)
        self.inp.weight.data.uniform_(-0.5 / dim, 0.5 / dim)
        self.out.weight.data.zero_()

    def forward(self, c, o, neg):
        v, u, n = self.inp(c), self.out(o), self.out(neg)
        good = torch.nn.functional.logsigmoid((v * u).sum(-1))
        bad = torch.nn.functional.logsigmoid(-torch.bmm(n, v.unsqueeze(-1)).squeeze(-1)).sum(-1)
        return -(good + bad).mean()


def recall(m, k=50):
    with torch.no_grad():
        s = m.inp(around).mean(1) @ m.out.weight.T + 1e-9 * torch.rand(len(vocab))
        return (s.topk(k).indices == middle[:, None]).any(1).float().mean().item()


model = SGNS(len(vocab))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
heldout("before", "recall@50", recall(model))
# %%
order = torch.randperm(len(centres))
B = 2048
for step in range(400):
    ix = order[(step * B) % (len(order) - B) :][:B]
    neg = torch.multinomial(noise, B * 5, replacement=True).view(B, 5)
    loss = model(centres[ix], contexts[ix], neg)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    if step % 100 == 0:
        print(step, round(loss.item(), 3))
heldout("after", "recall@50", recall(model))
