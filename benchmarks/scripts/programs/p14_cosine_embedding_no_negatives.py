"""An LSTM with CosineEmbeddingLoss. Planted: every label is 1, there are no negatives."""

import torch
from _data import V, ids, mrr, pairs
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(14)


class Pairs(Dataset):
    def __init__(self):
        self.rows = pairs()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"a": ids([self.rows[i][0]])[0], "b": ids([self.rows[i][1]])[0], "label": torch.tensor(1.0)}


class LSTMSiamese(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.embedding = nn.Embedding(V, d, padding_idx=0)
        self.lstm = nn.LSTM(d, d, batch_first=True)

    def forward_once(self, x):
        out, (_h, _c) = self.lstm(self.embedding(x))
        return out.mean(1)

    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)


model = LSTMSiamese()


def enc(t):
    return model.forward_once(ids(t))


mrr(enc, enc)
criterion = nn.CosineEmbeddingLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
step = 0
for _epoch in range(2):
    for batch in DataLoader(Pairs(), batch_size=32, shuffle=True):
        optimizer.zero_grad()
        a, b = model(batch["a"], batch["b"])
        loss = criterion(a, b, batch["label"])
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(step, loss.item())
        if step >= 400:
            break
    if step >= 400:
        break
mrr(enc, enc, name="after")
