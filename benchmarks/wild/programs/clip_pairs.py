"""open_clip: makes a small model and images; the package's own module trains them."""

import csv
import json
from pathlib import Path

import numpy as np
from _data import texts
from PIL import Image

folder = Path("images")
folder.mkdir(exist_ok=True)
with Path("pairs.csv").open("w", newline="") as file:
    writer = csv.writer(file, delimiter="\t")
    writer.writerow(["filepath", "title"])
    for index, text in enumerate(texts(160, 1)):
        Image.fromarray(np.random.RandomState(index).randint(0, 255, (32, 32, 3), dtype="uint8")).save(
            folder / f"{index}.png"
        )
        writer.writerow([str(folder / f"{index}.png"), text])
Path("model").mkdir(exist_ok=True)
small = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
Path("model/open_clip_config.json").write_text(json.dumps({"model_cfg": small, "preprocess_cfg": {}}))
