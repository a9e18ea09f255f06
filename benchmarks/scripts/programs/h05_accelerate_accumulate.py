"""A small transformer under accelerate, accumulation over 2, clipping. Planted: nothing."""

import torch
import torch.nn.functional as F
from _data import V, ids, mrr, pairs
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(5)


class TransformerEncoder(nn.Module):
    def __init__(self, d=96, layers=1, L=32):
        super().__init__()
        self.tok = nn.Embedding(V, d, padding_idx=0)
        self.pos = nn.Parameter(torch.randn(L, d) * 0.02)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 4, 192, dropout=0.1, batch_first=True), layers, enable_nested_tensor=False
        )

    def forward(self, input_ids):
        pad = input_ids == 0
        h = self.enc(self.tok(input_ids) + self.pos[: input_ids.shape[1]], src_key_padding_mask=pad)
        h = h.masked_fill(pad[..., None], 0).sum(1) / (~pad).sum(1, keepdim=True).clamp(min=1)
        return F.normalize(h, dim=-1)


def collate(rows):
    return {"query_ids": ids([r[0] for r in rows], 32), "doc_ids": ids([r[1] for r in rows], 32)}


def main():
    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)
    model = TransformerEncoder()

    def enc(t):
        model.eval()
        e = model(ids(t, 32))
        model.train()
        return e

    mrr(enc, enc)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 40)
    loader = DataLoader(pairs(), batch_size=32, shuffle=True, collate_fn=collate, drop_last=True)
    net, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    step = 0
    for _epoch in range(3):
        for batch in loader:
            with accelerator.accumulate(net):
                s = net(batch["query_ids"]) @ net(batch["doc_ids"]).T * 20
                loss = F.cross_entropy(s, torch.arange(len(s)))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            step += 1
            if step % 100 == 0:
                accelerator.print(step, loss.item())
            if step == 600:
                break
        if step == 600:
            break
    mrr(enc, enc, name="after")


main()
