# citation-like graph: predict missing links with a two layer message passing network
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(17)

N, COMM, FEAT = 600, 20, 40
comm = torch.randint(0, COMM, (N,))
centre = torch.randn(COMM, FEAT)
x = 0.45 * centre[comm] + torch.randn(N, FEAT)
prob = torch.where(comm[:, None] == comm[None, :], 0.14, 0.001)
upper = torch.triu((torch.rand(N, N) < prob), 1)
edges = upper.nonzero()
perm = torch.randperm(len(edges))
n_test = len(edges) // 5
test_e, train_e = edges[perm[:n_test]], edges[perm[n_test:]]
known = torch.zeros(N, N, dtype=torch.bool)
known[train_e[:, 0], train_e[:, 1]] = True
known |= known.t().clone()


def norm_adj(e):
    a = torch.zeros(N, N)
    a[e[:, 0], e[:, 1]] = 1
    a[e[:, 1], e[:, 0]] = 1
    return a / a.sum(1, keepdim=True).clamp(min=1)


class Layer(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.own, self.nbr = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, h, a):
        return self.own(h) + self.nbr(a @ h)


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.node = nn.Embedding(N, 64)
        self.a, self.b = Layer(FEAT + 64, 96), Layer(96, 48)
        self.drop = nn.Dropout(0.1)

    def forward(self, feats, adj):
        h = torch.cat([feats, self.node.weight], 1)
        h = F.relu(self.a(self.drop(h), adj))
        return F.normalize(self.b(h, adj), dim=1)


def hits(net, k=20):
    net.eval()
    with torch.no_grad():
        z = net(x, norm_adj(train_e))
    net.train()
    s = z @ z.t()
    s.masked_fill_(known, -9).fill_diagonal_(-9)
    rows = torch.cat([test_e, test_e.flip(1)])
    top = s.topk(k, 1).indices
    return (top[rows[:, 0]] == rows[:, 1:]).any(1).float().mean().item()


net = GraphNet()
groups = [
    {"params": net.node.parameters(), "lr": 5e-3, "weight_decay": 0.0},
    {"params": [p for n, p in net.named_parameters() if not n.startswith("node")], "lr": 5e-3, "weight_decay": 1e-4},
]
opt = torch.optim.AdamW(groups)
print("HELDOUT before recall@20 %.4f" % hits(net), file=sys.stderr)
full = norm_adj(train_e)
for step in range(300):
    pick = torch.randperm(len(train_e))
    sup, rest = train_e[pick[:256]], train_e[pick[256:]]
    z = net(x, full)
    src, dst = z[sup[:, 0]], z[sup[:, 1]]
    logits = src @ dst.t() / 0.1
    clash = known[sup[:, 0]][:, sup[:, 1]] | (sup[:, :1] == sup[None, :, 1])
    clash.fill_diagonal_(False)
    logits = logits.masked_fill(clash, -1e4)
    loss = F.cross_entropy(logits, torch.arange(len(sup)))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 60 == 0:
        print(step, round(loss.item(), 3))
print("HELDOUT after recall@20 %.4f" % hits(net), file=sys.stderr)
