"""Isotropy terms: what keeps embeddings from collapsing, or is meant to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._batch import Batch


class Isotropy(nn.Module):
    """The founding covariance penalty ``||C - var I||_F / D`` over queries and documents together.

    C is the covariance of the 2N embeddings of the batch and var the variance of all their entries
    flattened. Two blind spots: it is homogeneous of degree 2 in the embeddings, so shrinking them to zero
    satisfies it (no scale anchor), and the flattened variance ignores a common shift along the all-ones
    vector. It is 0.0000 to four decimals for any embedding of tiny scale, isotropic or not; at unit
    variance its floor for r = 2N - 1 samples is sqrt(1/r - 1/D), about 0.08 at N = 64, D = 768.
    """

    def forward(self, batch: Batch) -> Tensor:
        """Return the penalty, a scalar of at least 0."""
        both = torch.cat([batch.query, batch.document])
        covariance = torch.cov(both.T)
        dimension = both.shape[1]
        target = both.var() * torch.eye(dimension, device=both.device, dtype=both.dtype)
        return torch.linalg.matrix_norm(covariance - target) / dimension
