"""Search and scoring of SciFact from vectors, beside BEIR's own and beside the bare products; and a large memory map.

    python benchmarks/search.py

Needs the folder of real collections beside the repository; without it, says so and uses random vectors of its size.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _common import SHARED, THREADS, memory, seconds, stored_vectors, table

from collapse_probe.retrieval import (
    evaluate_vectors,
    exact_search,
    read_beir,
)

MAP_ROWS, MAP_QUERIES, DIMENSION = 1_000_000, 1_000, 384
SCIFACT_BARS = {"cosine": 1.5, "euclidean": 2.0}
RANDOM_BARS = {"cosine": 3.0, "dot": 3.0, "euclidean": 3.0}
ANONYMOUS_BAR = 600_000_000


def scifact() -> tuple[list[str], list[str], np.ndarray, np.ndarray, dict[str, dict[str, int]]]:
    """Return query ids, document ids, their vectors and the judgements."""
    if not (SHARED / "data" / "scifact").is_dir():
        print("real data absent: random vectors of SciFact's size\n")
        rng = np.random.default_rng(0)
        q, d = (rng.normal(size=(n, DIMENSION)).astype(np.float32) for n in (300, 5183))
        queries, documents = [f"q{i}" for i in range(300)], [f"d{i}" for i in range(5183)]
        return queries, documents, q, d, {query: {f"d{i}": 1} for i, query in enumerate(queries)}
    collection = read_beir(SHARED / "data" / "scifact")
    with tempfile.TemporaryDirectory() as folder:
        features = stored_vectors(Path(folder))
        q = features.vectors(list(collection.queries.values()), "query")
        d = features.vectors(list(collection.documents.values()), "document")
    return list(collection.queries), list(collection.documents), q, d, collection.qrels


def beirs_own(query_ids, document_ids, q, d, qrels, *, depths):
    """Return a function that does BEIR's exact search and evaluation on stored vectors, to some depths."""
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    logging.disable(logging.INFO)
    rows = {name: row for row, name in enumerate(document_ids)}

    class Stored:
        def encode_queries(self, texts, **_):
            return torch.from_numpy(q)

        def encode_corpus(self, corpus, **_):
            return torch.from_numpy(d[[rows[entry["text"]] for entry in corpus]])

    corpus = {name: {"title": "", "text": name} for name in document_ids}
    queries = dict(zip(query_ids, query_ids, strict=True))

    def work():
        exact = DenseRetrievalExactSearch(Stored(), show_progress_bar=False)
        search = EvaluateRetrieval(exact, k_values=depths, score_function="cos_sim")
        results = search.retrieve(corpus, queries)
        return EvaluateRetrieval.evaluate(qrels, results, depths)

    return work


def in_turns(works: dict[str, Callable[[], object]], *, repeats: int = 11) -> dict[str, float]:
    """Return the median seconds of each, all of them once a turn: what else the machine does meets them alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(one) for name, one in times.items()}


def searches(kind: str, q: np.ndarray, d: np.ndarray, bars: dict[str, float]) -> list[list[str]]:
    """Return the rows of exact search, 100 hits, beside the bare product and top 100 of the same vectors."""
    left, right = torch.from_numpy(q), torch.from_numpy(d)
    works = {name: partial(exact_search, q, d, k=100, similarity=name) for name in bars}
    times = in_turns({"": lambda: (left @ right.T).topk(100, dim=1), **works})
    bare = times.pop("")
    rows = [[f"{kind}: product and top 100 alone", f"{1000 * bare:.1f} ms", "", "", ""]]
    for name, t in times.items():
        met = "yes" if t <= bars[name] * bare else "**no**"
        rows.append([f"{kind}: {name}", f"{1000 * t:.1f} ms", f"{t / bare:.2f} x", f"{bars[name]:.1f} x", met])
    return rows


def small() -> None:
    """Print the tables about SciFact, and about random vectors of its size."""
    query_ids, document_ids, q, d, qrels = scifact()
    names = {"query_ids": query_ids, "document_ids": document_ids, "qrels": qrels}
    beir = partial(beirs_own, query_ids, document_ids, q, d, qrels)
    times = {
        "search and scoring, cosine": seconds(lambda: evaluate_vectors(q, d, **names, similarity="cosine")),
        "search and scoring, negative Euclidean": seconds(
            lambda: evaluate_vectors(q, d, **names, similarity="euclidean")
        ),
        "BEIR's exact search and evaluation, its own depths (to 1,000)": seconds(beir(depths=[1, 3, 5, 10, 100, 1000])),
        "BEIR's exact search and evaluation, to 100": seconds(beir(depths=[10, 100])),
    }
    theirs = [t for name, t in times.items() if name.startswith("BEIR")]
    rows = [[name, f"{1000 * t:.1f} ms", *(f"{other / t:.1f} x" for other in theirs)] for name, t in times.items()]
    print(table(["SciFact, 300 x 5,183 x 384", "median", "BEIR / this", "BEIR to 100 / this"], rows))
    rng = np.random.default_rng(0)
    rq, rd = (rng.normal(size=one.shape).astype(np.float32) for one in (q, d))
    rows = searches("SciFact", q, d, SCIFACT_BARS) + searches("random", rq, rd, RANDOM_BARS)
    print("\n" + table(["exact search alone, 100 hits", "median", "this / product", "at most", "met"], rows))


def large() -> dict[str, float]:
    """Search a memory map of a million vectors in this process, and return seconds and peaks of memory in bytes."""
    torch.set_num_threads(THREADS)
    # The peak is inherited from the process that started this one; 5 resets it.
    Path("/proc/self/clear_refs").write_text("5")
    path = Path(sys.argv[2])
    documents = np.load(path, mmap_mode="r")
    queries = np.random.default_rng(1).normal(size=(MAP_QUERIES, DIMENSION)).astype(np.float32)
    result, done, peaks = {}, threading.Event(), [0]

    def sample() -> None:
        while not done.wait(0.005):
            peaks[0] = max(peaks[0], memory("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    for similarity in ("cosine", "euclidean"):
        start = time.perf_counter()
        exact_search(queries, documents, k=100, similarity=similarity)
        result[similarity] = time.perf_counter() - start
    done.set()
    sampler.join()
    return {**result, "resident": memory("VmHWM"), "anonymous": peaks[0]}


def write_map(path: Path) -> None:
    """Write a million random vectors without holding them."""
    shape = (MAP_ROWS, DIMENSION)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(0)
    for start in range(0, MAP_ROWS, 50_000):
        array[start : start + 50_000] = rng.standard_normal((50_000, DIMENSION), dtype=np.float32)
    array.flush()


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(THREADS)
    small()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.npy"
        write_map(path)
        run = subprocess.run([sys.executable, __file__, "large", str(path)], capture_output=True, text=True, check=True)
    result = json.loads(run.stdout)
    rows = [[f"{similarity}", f"{result[similarity]:.1f} s"] for similarity in ("cosine", "euclidean")]
    met = "met" if result["anonymous"] <= ANONYMOUS_BAR else "**not met**"
    bar = f"at most {ANONYMOUS_BAR / 1e9:.1f} GB, {met}"
    rows.append(["peak anonymous memory (RssAnon), both", f"{result['anonymous'] / 1e9:.2f} GB ({bar})"])
    rows.append(["peak resident memory, both", f"{result['resident'] / 1e9:.2f} GB"])
    print("\n" + table([f"memory map, {MAP_QUERIES:,} x {MAP_ROWS:,} x {DIMENSION}", ""], rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["large"]:
        print(json.dumps(large()))
    else:
        main()
