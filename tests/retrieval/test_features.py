"""Stored vectors are used only where they are the encoder's own, as queries and as documents."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import EncoderIdentity, Features
from collapse_probe.retrieval._features import SAMPLES

PLAIN = EncoderIdentity("toy", "ab" * 32, 8, 8, "mean", True, "ef" * 32)
TEXTS = [f"text {i}" for i in range(40)]


class Toy:
    """An encoder whose vectors are drawn from the text, its prompt and its seed."""

    def __init__(self, identity: EncoderIdentity = PLAIN, *, seed: str = "", here: bool = True) -> None:
        self.identity = identity
        self.name = identity.name
        self.is_here = here
        self.encoded: list[str] = []
        self._seed = seed

    def stand_in(self, identity: EncoderIdentity) -> None:
        self.identity = replace(identity, verified=False)

    def encode(self, texts, task) -> np.ndarray:
        self.encoded += list(texts)
        encoding = self.identity.encoding(task)
        asked = [f"{self._seed}|{encoding.prompt}{encoding.route}|{text}" for text in texts]
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") for text in asked]
        rows = np.array([np.random.default_rng(seed).normal(size=8) for seed in seeds])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(cache: Path, encoder: Toy, **more) -> Features:
    features = Features(encoder, cache=cache, **more)  # type: ignore[arg-type]
    features.verify({"query": TEXTS, "document": TEXTS})
    features.add({"query": TEXTS, "document": TEXTS})
    return features


def store_of(cache: Path, encoder: Toy, task="document") -> Path:
    return cache / "features" / encoder.identity.encoding(task).key


def as_before(store: Path) -> Path:
    """Make a store's manifest one of version 0.1."""
    path = store / "manifest.json"
    keep = ("encoder", "weights_sha256", "max_seq_length", "dimension", "pooling", "unit_norm", "dtype", "count")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({key: manifest[key] for key in keep}))
    return store


def test_queries_and_documents_share_a_store_where_the_model_makes_no_difference(tmp_path):
    encoder = Toy()
    features = filled(tmp_path, encoder)
    assert sorted(encoder.encoded) == sorted(TEXTS)
    np.testing.assert_array_equal(features.vectors(TEXTS, "query"), features.vectors(TEXTS, "document"))


@pytest.mark.parametrize("change", [{"prompts": ("query: ", "")}, {"routed": True}])
def test_they_have_a_store_each_where_it_does(tmp_path, change):
    encoder = Toy(replace(PLAIN, **change))
    features = filled(tmp_path, encoder)
    for task in ("query", "document"):
        np.testing.assert_array_equal(features.vectors(TEXTS, task), encoder.encode(TEXTS, task))
    assert not np.allclose(features.vectors(TEXTS, "query"), features.vectors(TEXTS, "document"))


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "0" * 64}, {"prompts": ("q: ", "d: ")}, {"dtype": "bfloat16"}, {"routed": True}],
)
def test_what_decides_a_vector_is_in_the_key(change):
    other = replace(PLAIN, **change)
    for task in ("query", "document"):
        assert other.encoding(task).key != PLAIN.encoding(task).key
    assert replace(PLAIN, name="other").encoding("query").key == PLAIN.encoding("query").key


def test_a_store_that_was_filled_here_is_not_encoded_again(tmp_path):
    filled(tmp_path, Toy())
    again = Toy()
    features = filled(tmp_path, again)
    features.vectors(TEXTS, "query")
    assert again.encoded == []


def test_a_store_is_verified_once_for_each_encoder_and_content(tmp_path):
    filled(tmp_path / "a", Toy())
    store = as_before(store_of(tmp_path / "a", Toy()))
    for expected in (SAMPLES, 0):
        encoder = Toy()
        features = Features(encoder, cache=tmp_path / "b", extra=[store])  # type: ignore[arg-type]
        said = features.verify({"document": TEXTS})
        assert len(encoder.encoded) == expected
        assert bool(said) == bool(expected)
        assert features.missing({"document": TEXTS}) == {"document": []}
    (record,) = (tmp_path / "b" / "features" / "verified").iterdir()
    assert json.loads(record.read_text())["worst_cosine"] == pytest.approx(1.0)


def test_vectors_of_another_encoder_are_refused_though_the_manifest_says_otherwise(tmp_path):
    filled(tmp_path / "a", Toy(seed="other"))
    store = as_before(store_of(tmp_path / "a", Toy()))
    features = Features(Toy(), cache=tmp_path / "b", extra=[store])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"not this encoder's: the cosine .* 0\.9999 is needed; give a store made"):
        features.verify({"document": TEXTS})
    with pytest.raises(InputError, match="not this encoder's"):
        features.vectors(TEXTS, "document")


def test_the_cache_of_another_encoder_under_this_ones_key_is_refused(tmp_path):
    """As after a copy of folders: checksums and fingerprint are right, and the vectors are another's."""
    filled(tmp_path / "a", Toy(seed="other"))
    (tmp_path / "b" / "features").mkdir(parents=True)
    store_of(tmp_path / "a", Toy()).rename(store_of(tmp_path / "b", Toy()))
    features = Features(Toy(), cache=tmp_path / "b")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="remove the folder to encode again"):
        features.vectors(TEXTS, "query")


def test_half_precision_is_verified_more_loosely(tmp_path):
    encoder = Toy()
    filled(tmp_path / "a", encoder)
    store = as_before(store_of(tmp_path / "a", encoder))
    vectors = np.load(store / "vectors.npy")
    np.save(store / "vectors.npy", vectors.astype(np.float16))
    Features(Toy(), cache=tmp_path / "b", extra=[store]).verify({"document": TEXTS})  # type: ignore[arg-type]
    np.save(store / "vectors.npy", vectors + np.float32(0.02) * np.roll(vectors, 1, axis=1))
    with pytest.raises(InputError, match="not this encoder's"):
        Features(Toy(), cache=tmp_path / "c", extra=[store]).verify({"document": TEXTS})  # type: ignore[arg-type]


def test_a_store_without_prompts_serves_the_task_that_has_none(tmp_path):
    filled(tmp_path / "a", Toy())
    store = as_before(store_of(tmp_path / "a", Toy()))
    encoder = Toy(replace(PLAIN, prompts=("query: ", "")))
    features = Features(encoder, cache=tmp_path / "b", extra=[store])  # type: ignore[arg-type]
    said = features.verify({"query": TEXTS, "document": TEXTS})
    assert any("its vectors of queries are not this encoder's" in line for line in said), said
    assert features.missing({"query": TEXTS, "document": TEXTS}) == {"query": TEXTS, "document": []}


def test_the_cache_of_version_0_1_is_used_where_it_fits_and_left_alone_where_not(tmp_path):
    for seed, missing in (("", []), ("other", TEXTS)):
        cache = tmp_path / f"cache{seed}"
        filled(cache, Toy(seed=seed))
        as_before(store_of(cache, Toy())).rename(cache / "features" / PLAIN.legacy_key)
        shutil.rmtree(cache / "features" / "verified")
        features = Features(Toy(), cache=cache)  # type: ignore[arg-type]
        features.verify({"document": TEXTS})
        assert features.missing({"document": TEXTS}) == {"document": missing}


def test_an_encoder_that_is_not_here_needs_a_store_of_its_name(tmp_path):
    filled(tmp_path / "a", Toy())
    store = store_of(tmp_path / "a", Toy())
    absent = Toy(here=False)
    features = Features(absent, cache=tmp_path / "a", extra=[store])  # type: ignore[arg-type]
    assert not absent.identity.verified
    assert "unverified" in features.verify({"query": TEXTS})[0]
    np.testing.assert_array_equal(features.vectors(TEXTS, "query"), Toy().encode(TEXTS, "query"))
    with pytest.raises(InputError, match=r"not on this machine, and 1 texts have no vector"):
        features.add({"query": ["another text"]})
    with pytest.raises(InputError, match=r"the feature store named is of toy"):
        Features(Toy(replace(PLAIN, name="mine"), here=False), cache=tmp_path, extra=[store])  # type: ignore[arg-type]
    # What was cached is not enough: nothing tells it from another's.
    with pytest.raises(InputError, match=r"no such folder"):
        Features(Toy(here=False), cache=tmp_path / "a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v * np.float32("nan"), "not finite"),
        (lambda v: 3 * v, "a vector of norm 3"),
        (lambda v: v.astype(np.int32), "vectors of int32"),
        (lambda v: v[:-1], "do not fit together"),
    ],
)
def test_vectors_that_no_encoder_gives_are_refused(tmp_path, spoil, message):
    filled(tmp_path / "a", Toy())
    store = as_before(store_of(tmp_path / "a", Toy()))
    np.save(store / "vectors.npy", spoil(np.load(store / "vectors.npy")))
    with pytest.raises(InputError, match=f"{message}|not this encoder's"):
        Features(Toy(), cache=tmp_path / "b", extra=[store]).vectors(TEXTS, "document")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["[]", '"x"', "null", "{", '{"encoder": 3}'])
def test_a_manifest_that_is_none_is_one_line(tmp_path, content):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json|a feature store with"):
        Features(Toy(), cache=tmp_path, extra=[tmp_path / "store"])  # type: ignore[arg-type]


class Collapsed(Toy):
    """An encoder whose vectors are all but one: their cosines say nothing."""

    def encode(self, texts, task) -> np.ndarray:
        rows = 1e-3 * super().encode(texts, task)
        rows[:, 0] += 1.0
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_vectors_of_another_collapsed_encoder_are_told_by_the_distance_between_texts(tmp_path):
    for seed, cache in (("", "a"), ("other", "b")):
        filled(tmp_path / cache, Collapsed(seed=seed))
        store = as_before(store_of(tmp_path / cache, Toy()))
        features = Features(Collapsed(), cache=tmp_path / f"new-{cache}", extra=[store])  # type: ignore[arg-type]
        if seed:
            with pytest.raises(InputError, match="of the distance between different texts"):
                features.verify({"document": TEXTS})
        else:
            assert "agree" in features.verify({"document": TEXTS})[0]


def test_a_text_of_unknown_words_may_be_a_zero(tmp_path):
    class Zero(Toy):
        def encode(self, texts, task) -> np.ndarray:
            return super().encode(texts, task) * np.array([[text != "text 3"] for text in texts], dtype=np.float32)

    features = filled(tmp_path, Zero())
    assert not features.vectors(["text 3"], "query").any()
