"""Invented data and random models, made anew for every program."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

# Set before torch is loaded, as a program of somebody's own may do.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = [f"w{index}" for index in range(60)]


def texts(rows: int, seed: int, length: int = 6) -> list[str]:
    """Return made-up texts."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=length)) for _ in range(rows)]


def pairs(rows: int) -> tuple[list[str], list[str]]:
    """Return queries, and documents that share half of their words."""
    queries, others = texts(rows, 1), texts(rows, 2)
    return queries, [" ".join([*q.split()[:3], *o.split()[:3]]) for q, o in zip(queries, others, strict=True)]


def write_triplets(path: Path, rows: int, negatives: int) -> Path:
    """Write queries with a positive and several negatives, one JSON a line."""
    queries, documents = pairs(rows)
    wrong = [texts(rows, 10 + index) for index in range(negatives)]
    lines = [
        json.dumps({"query": q, "pos": [d], "neg": [one[index] for one in wrong]})
        for index, (q, d) in enumerate(zip(queries, documents, strict=True))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def save_bert(folder: Path, hidden: int = 32) -> Path:
    """Save a random two-layer BERT with its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", known["[CLS]"]), ("[SEP]", known["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def save_weights(module: object, path: str | Path = "weights.pt") -> None:
    """Save a module's weights, to be compared."""
    import torch

    torch.save(module.state_dict(), path)  # type: ignore[attr-defined]
