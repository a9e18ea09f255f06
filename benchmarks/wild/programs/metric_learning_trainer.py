"""pytorch-metric-learning's own trainer: a trunk and an embedder, an optimiser each."""

import torch
from _data import save_weights
from pytorch_metric_learning import losses, miners, trainers
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
centres = torch.randn(8, 24)
labels = torch.randint(0, 8, (320,))
data = TensorDataset(centres[labels] + torch.randn(320, 24), labels)
trunk, embedder = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Dropout(0.1)), nn.Linear(32, 16)
models = {"trunk": trunk, "embedder": embedder}
optimizers = {f"{name}_optimizer": torch.optim.Adam(one.parameters(), lr=1e-3) for name, one in models.items()}
trainer = trainers.MetricLossOnly(
    models=models,
    optimizers=optimizers,
    batch_size=16,
    loss_funcs={"metric_loss": losses.TripletMarginLoss()},
    dataset=data,
    mining_funcs={"tuple_miner": miners.MultiSimilarityMiner()},
    dataloader_num_workers=0,
    data_device="cpu",
)
trainer.train(num_epochs=2)
save_weights(nn.ModuleDict(models))
