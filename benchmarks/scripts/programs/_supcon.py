"""The supervised contrastive loss, as it is often copied."""

import torch


def supcon(features, labels, temperature=0.1):
    """features [B, n_views, d]"""
    v = features.shape[1]
    f = torch.cat(torch.unbind(features, 1), 0)
    y = labels.repeat(v)
    logits = f @ f.T / temperature
    logits = logits - logits.max(1, keepdim=True).values.detach()
    self_mask = 1 - torch.eye(len(y))
    mask = (y[:, None] == y[None]).float() * self_mask
    log_prob = logits - torch.log((torch.exp(logits) * self_mask).sum(1, keepdim=True))
    return -((mask * log_prob).sum(1) / mask.sum(1)).mean()
