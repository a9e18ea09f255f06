"""Questions and answers of MedQuAD, and the held-out figure that each program prints."""

import json
import os
import random
import re
import sys
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F

SHARED = Path(os.environ.get("COLLAPSE_PROBE_SHARED", Path(__file__).resolve().parents[4] / "shared"))
V = 12000
torch.set_num_threads(1)


def _rows(name):
    seen, out = set(), []
    with (SHARED / "data" / name).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["query"] in seen or row["document"] in seen:
                continue
            seen |= {row["query"], row["document"]}
            out.append((row["query"], row["document"]))
    return out


def pairs(n=8000, seed=0):
    """Return training pairs, in an order of their own."""
    rows = _rows("medquad_smoke_10k.jsonl")
    random.Random(seed).shuffle(rows)
    return rows[:n]


def dev(n=400):
    """Return held-out pairs."""
    return _rows("medquad_validation_1k.jsonl")[:n]


def focus(query):
    """Return the disease that a question asks about."""
    found = re.search(r"(?:of|for|to|is|are|is \(are\)|by|with|have|causes|about|treat)\s+([A-Z0-9].*?)\s*\?", query)
    return found.group(1).lower().strip() if found else None


def ids(texts, length=40):
    """Return hashed words of texts, [B, length], padded with 0."""
    out = torch.zeros(len(texts), length, dtype=torch.long)
    for i, text in enumerate(texts):
        words = [1 + zlib.crc32(x.encode()) % (V - 1) for x in re.findall(r"[a-z0-9]+", text.lower())[:length]]
        if words:
            out[i, : len(words)] = torch.tensor(words)
    return out


@torch.no_grad()
def mrr(encode_q, encode_d, rows=None, name="before", sim="cos", bs=100):
    """Print and return the reciprocal rank of held-out pairs among each other; ties count half."""
    rows = rows or dev()
    q = torch.cat([encode_q([r[0] for r in rows[i : i + bs]]).float() for i in range(0, len(rows), bs)])
    d = torch.cat([encode_d([r[1] for r in rows[i : i + bs]]).float() for i in range(0, len(rows), bs)])
    if sim == "cos":
        q, d = F.normalize(q, dim=-1), F.normalize(d, dim=-1)
    s = q @ d.T if sim != "l2" else -torch.cdist(q, d)
    s = torch.nan_to_num(s, nan=-1e9)
    gold = s.diag()[:, None]
    rank = (s > gold).sum(1) + ((s == gold).sum(1) - 1).float() / 2 + 1
    value = (1 / rank).mean().item()
    print(f"HELDOUT {name} MRR {value:.3f}", file=sys.stderr, flush=True)
    return value
