# learn a linear map from one language's word vectors to another one's (synthetic), full batch, LBFGS
import sys

import torch

torch.set_num_threads(1)
torch.manual_seed(44)
n_train, n_test, d1, d2, r = 800, 500, 96, 64, 40

concept = torch.randn(n_train + n_test, r)
A = torch.randn(r, d1) / r**0.5
B = torch.randn(r, d2) / r**0.5
L1 = concept @ A + 0.5 * torch.randn(n_train + n_test, d1) + 0.3
L2 = torch.tanh(concept @ B) + 0.4 * torch.randn(n_train + n_test, d2) - 0.2
src, dst = L1[:n_train], L2[:n_train]
src_t, dst_t = L1[n_train:], L2[n_train:]

W = torch.nn.Parameter(torch.randn(d1, d2) * 0.05)
shift = torch.nn.Parameter(torch.zeros(d2))


def to_target(x):
    y = x @ W + shift
    return y / y.norm(dim=1, keepdim=True)


def unit(x):
    x = x - dst.mean(0)
    return x / x.norm(dim=1, keepdim=True)


def precision_at_1_and_mrr():
    with torch.no_grad():
        sims = to_target(src_t) @ unit(dst_t).T
    ranks = (~(sims < sims.diagonal()[:, None])).sum(1)
    return (ranks == 1).float().mean().item(), (1 / ranks.float()).mean().item()


print("HELDOUT before MRR %.4f" % precision_at_1_and_mrr()[1], file=sys.stderr)
solver = torch.optim.LBFGS([W, shift], lr=0.1, max_iter=4, history_size=10)
history = []


def run_outer(outer):
    x, y = src, unit(dst)

    def closure():
        pred = to_target(x)
        logits = pred @ y.T * 12.0
        target = torch.arange(len(x))
        loss = torch.nn.functional.cross_entropy(logits, target) + 1e-3 * W.pow(2).sum()
        loss.backward()
        return loss

    return float(solver.step(closure))


for outer in range(150):
    history.append(run_outer(outer))
    if outer % 30 == 0:
        print(outer, round(history[-1], 4))
p1, mrr = precision_at_1_and_mrr()
print("p@1 %.4f" % p1)
print("HELDOUT after MRR %.4f" % mrr, file=sys.stderr)
