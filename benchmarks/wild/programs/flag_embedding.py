"""FlagEmbedding: makes the data and the model; the package's own module trains them."""

from pathlib import Path

from _data import save_bert, write_triplets

save_bert(Path("bert"))
write_triplets(Path("pairs.jsonl"), 320, 3)
