"""Two towers over tags, softmax of one positive and 20 negatives. Planted: the softmax runs over the batch, dim=0."""

import torch
from _shared import heldout
from torch import nn

torch.manual_seed(2024)
N_TAGS, N_ITEMS, N_USERS, K = 800, 3000, 6000, 20
GENRES = 40

# ----------------------------------------------------------------------------------------------- data
tag_genre = torch.randint(0, GENRES, (N_TAGS,))
item_genre = torch.randint(0, GENRES, (N_ITEMS,))
prob = torch.full((GENRES, N_TAGS), 0.2 / N_TAGS)
for g in range(GENRES):
    prob[g, tag_genre == g] += 0.8 / (tag_genre == g).sum()
item_tags = torch.multinomial(prob[item_genre], 6)
user_genre = torch.randint(0, GENRES, (N_USERS,))
user_tags = torch.multinomial(prob[user_genre], 10)
genre_items = [torch.nonzero(item_genre == g).flatten() for g in range(GENRES)]
clicks = torch.stack([genre_items[g][torch.randint(0, len(genre_items[g]), (8,))] for g in user_genre.tolist()])
test_users = torch.arange(5500, N_USERS)


# ---------------------------------------------------------------------------------------------- model
def tower(dim=64):
    return nn.Sequential(
        nn.EmbeddingBag(N_TAGS, dim, mode="mean"),
        nn.Linear(dim, dim),
        nn.LeakyReLU(),
        nn.Dropout(0.1),
        nn.Linear(dim, 32),
    )


class TwoTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.user_tower, self.item_tower = tower(), tower()

    def forward(self, users, items):
        u = self.user_tower(users)
        i = self.item_tower(items.flatten(0, 1)).unflatten(0, items.shape[:2])
        return torch.bmm(i, u.unsqueeze(-1)).squeeze(-1)  # [B, 1 + K]


def recall(model, k=100):
    model.eval()
    with torch.no_grad():
        s = model.user_tower(user_tags[test_users]) @ model.item_tower(item_tags).T
        top = s.topk(k).indices
    model.train()
    return (top[:, :, None] == clicks[test_users][:, None, :]).any(1).float().mean().item()


model = TwoTower()
log_softmax = nn.LogSoftmax(dim=0)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
heldout("before", "recall@100", recall(model))

for step in range(400):
    b = torch.randint(0, 5500, (128,))
    positive = clicks[b, torch.randint(0, 8, (128,))]
    negatives = torch.randint(0, N_ITEMS, (128, K))
    candidates = torch.cat([positive[:, None], negatives], dim=1)
    scores = model(user_tags[b], item_tags[candidates])
    loss = -log_softmax(scores)[:, 0].mean()

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if (step + 1) % 100 == 0:
        print(f"step {step + 1}  loss {loss.item():.4f}")

heldout("after", "recall@100", recall(model))
