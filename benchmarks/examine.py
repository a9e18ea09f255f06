"""Three fine-tunings of the bundled encoder, and a folder of 20 checkpoints, judged as finished models.

    python benchmarks/examine.py [--only NAME ...] [--documents N] [--queries N] [--no-between NAME ...]

healthy: in-batch softmax at a small rate, on docstrings and SciFact's training claims. forgetting: the same loss at a
large rate, on docstrings alone; its 20 checkpoints are examined as well. collapse: a loss that only pulls, on
docstrings. Each is trained by the trainer of sentence-transformers, for minutes. Then `collapse-probe examine` runs on
SciFact and on docstring pairs that nobody trained on: once with whatever is stored, and once more with everything
stored, which is what is timed. Encoding all of SciFact by one model takes 10 to 20 minutes of one core; models and
vectors are kept, so a benchmark that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import SHARED, table

from collapse_probe import Run, diagnose
from collapse_probe.diagnosis import Remedy, keeping

WORDS = 16
BATCH = 32
STEPS = 20
TRAININGS: dict[str, dict[str, Any]] = {
    "healthy": {"rate": 5e-5, "mixed": True},
    "forgetting": {"rate": 5e-4, "mixed": False, "steps": 40, "saved": 20},
    "collapse": {"rate": 5e-4, "mixed": False, "pulls": True},
}
CHECKPOINTS = "checkpoints"
SCIFACT = SHARED / "data" / "scifact"
FEATURES = SHARED / "features" / "all-MiniLM-L6-v2"


def docstrings(folder: Path) -> tuple[list[tuple[str, str]], Path]:
    """Return docstring pairs to train on, and a file of others that share no text with them."""
    from collapse_probe.demo import build_embedded
    from collapse_probe.retrieval import read_pairs

    made = build_embedded(folder)
    queries = [json.loads(line)["text"] for line in (made.collection / "queries.jsonl").read_text().splitlines()]
    documents = [json.loads(line)["text"] for line in (made.collection / "corpus.jsonl").read_text().splitlines()]
    held_out = folder / "held-out.jsonl"
    rows = [json.dumps({"query": one, "document": of}) for one, of in zip(queries, documents, strict=False)]
    held_out.write_text("\n".join(rows) + "\n")
    pairs = read_pairs(made.pairs)
    return list(zip(pairs.queries, pairs.documents, strict=True)), held_out


def claims() -> list[tuple[str, str]]:
    """Return SciFact's training claims, each with a relevant abstract."""
    from collapse_probe.retrieval import open_collections

    (found,) = open_collections(str(SCIFACT), split="train", cache=SCIFACT)
    return [
        (found.queries[query], found.documents[name])
        for query, judged in found.qrels.items()
        for name, value in judged.items()
        if value > 0 and name in found.documents
    ]


def train(name: str, folder: Path, pairs: list[tuple[str, str]], how: dict) -> Path:
    """Return a fine-tuning of the bundled encoder, trained where it is not there yet; minutes."""
    target = folder / name
    if target.exists():
        return target
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss

    from collapse_probe.demo import bundled_folder

    pulls, saved, steps = how.get("pulls", False), how.get("saved", 0), how.get("steps", STEPS)
    chosen = random.Random(0).sample(pairs, min(len(pairs), BATCH * steps))
    columns = {
        "anchor": [" ".join(query.split()[:WORDS]) for query, _ in chosen],
        "positive": [" ".join(document.split()[:WORDS]) for _, document in chosen],
        **({"score": [1.0] * len(chosen)} if pulls else {}),
    }
    model = SentenceTransformer(str(bundled_folder()), device="cpu", local_files_only=True)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / CHECKPOINTS if saved else folder / f"{name}-training"),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=how["rate"],
        warmup_steps=steps // 10,
        logging_steps=1,
        save_strategy="steps" if saved else "no",
        save_steps=steps // (saved or 1),
        save_only_model=True,
        report_to="none",
        use_cpu=True,
        seed=0,
        disable_tqdm=True,
    )
    loss = CosineSimilarityLoss(model) if pulls else MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()
    model.save(str(target), create_model_card=False)
    return target


def examine(model: Path, name: str, folder: Path, pairs: Path, limits: list[str]) -> tuple[float, Path]:
    """Run `collapse-probe examine` as a user would, and return its seconds and its run; an older run is removed."""
    run = folder / "runs" / name
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "collapse_probe", "examine", "all-MiniLM-L6-v2", str(model)]
    command += ["--beir", str(SCIFACT), "--pairs", str(pairs), "--features", str(FEATURES), *limits]
    start = time.perf_counter()
    done = subprocess.run([*command, "--run", str(run), "--reports", str(folder / "reports")])
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    return time.perf_counter() - start, run


def row(name: str, run: Path, seconds: float) -> list[str]:
    """Return what was said of a run: verdict, changes with their intervals, what to keep, who fell, and its time."""
    found = diagnose(run)
    moved = {
        one["collection"]: f"{one['start']:.3f} -> {one['end']:.3f} {_sure(one['change'])}" for one in found.retrieval
    }
    kept = keeping(Run.load(run))
    gain = "" if kept is None else f"{kept.change['keep']}: {kept.reading} {_sure(as_change(kept))}"
    fell = [f"{one.collection}: {len(one.lost)} of {one.n}" for one in found.who_fell]
    first = found.summary.splitlines()[0]
    cells = [first, moved["scifact"], moved["held-out pairs"], gain or "-", "; ".join(fell) or "-", f"{seconds:.0f} s"]
    return [name, *cells]


def as_change(kept: Remedy) -> dict[str, float | None]:
    """Return a gain as the rows of retrieval have their changes."""
    return {"value": kept.gain, "low": kept.low, "high": kept.high}


def _sure(change: dict[str, float | None] | None) -> str:
    return "" if not change else f"{change['value']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


def main() -> None:
    """Train, examine twice, and print what was said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*TRAININGS, CHECKPOINTS], metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("runs/examine"))
    parser.add_argument("--documents", type=int, metavar="N", help="of SciFact beside the relevant ones; all if absent")
    parser.add_argument("--queries", type=int, metavar="N")
    parser.add_argument("--no-between", nargs="*", default=[], metavar="NAME", help="of these, none between is encoded")
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    own, held_out = docstrings(options.folder / "docstrings")
    limits = [f"--{name}={value}" for name in ("documents", "queries") if (value := getattr(options, name))]
    rows = []
    for name in options.only:
        trained = "forgetting" if name == CHECKPOINTS else name
        how = TRAININGS[trained]
        pairs = own if not how["mixed"] else [*random.Random(1).sample(own, len(claims())), *claims()]
        model = train(trained, options.folder, pairs, how)
        if options.train_only:
            continue
        some = limits if name != CHECKPOINTS else ["--documents=300", "--queries=100"]
        some = [*some, *(["--no-between"] if name in options.no_between else [])]
        place = model if name != CHECKPOINTS else options.folder / CHECKPOINTS
        first, _ = examine(place, name, options.folder, held_out, some)
        again, run = examine(place, name, options.folder, held_out, some)
        print(f"{name}: {first:.0f} s with what was stored, {again:.0f} s with everything stored", flush=True)
        rows.append(row(name, run, again))
    if rows:
        headers = ["model", "first line", "SciFact", "held-out pairs", "keep", "lost more than .2", "all stored"]
        print("\n" + table(headers, rows))


if __name__ == "__main__":
    main()
