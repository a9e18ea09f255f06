"""x-clip: the loop of its README, texts beside images."""

import torch
from _data import save_weights
from x_clip import CLIP

torch.manual_seed(0)
text = {"dim_text": 64, "num_text_tokens": 200, "text_enc_depth": 1, "text_seq_len": 24, "text_heads": 2}
image = {"dim_image": 64, "visual_enc_depth": 1, "visual_image_size": 32, "visual_patch_size": 16, "visual_heads": 2}
clip = CLIP(dim_latent=32, decoupled_contrastive_learning=True, **text, **image)
optimizer = torch.optim.Adam(clip.parameters(), lr=1e-3)
texts, images = torch.randint(1, 200, (160, 24)), torch.rand(160, 3, 32, 32)
for _ in range(40):
    rows = torch.randperm(160)[:16]
    loss = clip(texts[rows], images[rows], freeze_image_encoder=False, return_loss=True)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
save_weights(clip)
