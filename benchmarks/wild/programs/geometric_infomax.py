"""torch_geometric: deep graph infomax, as in its example: right and shuffled nodes against a summary."""

import torch
from _data import save_weights
from torch import Tensor, nn
from torch_geometric.nn import DeepGraphInfomax, GCNConv


class Encoder(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = GCNConv(24, 32), nn.PReLU(32)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.act(self.conv(x, edges))


torch.manual_seed(0)
x, edges = torch.randn(200, 24), torch.randint(0, 200, (2, 800))
model = DeepGraphInfomax(
    hidden_channels=32,
    encoder=Encoder(),
    summary=lambda z, *args, **kwargs: z.mean(dim=0).sigmoid(),
    corruption=lambda x, edges: (x[torch.randperm(len(x))], edges),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
for _ in range(60):
    optimizer.zero_grad()
    model.loss(*model(x, edges)).backward()
    optimizer.step()
save_weights(model)
