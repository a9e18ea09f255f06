"""torch_geometric: a graph's autoencoder, evaluated after every step as in its example."""

import random

import torch
from _data import save_weights
from torch import Tensor, nn
from torch_geometric import transforms
from torch_geometric.data import Data
from torch_geometric.nn import GAE, GCNConv


class Encoder(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(24, 32), GCNConv(32, 16)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, edges).relu(), edges)


torch.manual_seed(0)
random.seed(0)
group = torch.arange(200) % 10
edges = torch.stack([torch.arange(200).repeat_interleave(4), (torch.randint(0, 20, (800,)) * 10)])
edges[1] += group[edges[0]]
data = Data(x=torch.randn(10, 24)[group] + torch.randn(200, 24), edge_index=edges)
split = transforms.RandomLinkSplit(num_val=0.05, num_test=0.1, split_labels=True, add_negative_train_samples=False)
train, _, test = split(data)
model = GAE(Encoder())
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(60):
    model.train()
    optimizer.zero_grad()
    z = model.encode(train.x, train.edge_index)
    model.recon_loss(z, train.pos_edge_label_index).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        z = model.encode(test.x, test.edge_index)
        model.test(z, test.pos_edge_label_index, test.neg_edge_label_index)
save_weights(model)
