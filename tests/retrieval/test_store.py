"""The feature store: once, ever; and whole after a kill at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import EncoderIdentity, FeatureStore

IDENTITY = EncoderIdentity("toy", "ab" * 32, 8, 4, "mean", False, "ef" * 32)
ENCODING = IDENTITY.encoding("query")


def encode(texts: list[str]) -> np.ndarray:
    rows = [hashlib.sha256(text.encode()).digest()[:4] for text in texts]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 4).astype(np.float32)


def test_texts_are_encoded_once_ever(tmp_path):
    texts = [f"text {i}" * (i % 5 + 1) for i in range(50)]
    calls: list[str] = []

    def counted(part: list[str]) -> np.ndarray:
        calls.extend(part)
        return encode(part)

    for _ in range(2):
        store = FeatureStore.open(tmp_path, ENCODING)
        store.add([*texts, *texts[:7]], counted, chunk=8)
        np.testing.assert_array_equal(store.vectors(texts), encode(texts))
    assert sorted(calls) == sorted(texts)
    assert [len(t) for t in calls] == sorted(map(len, texts), reverse=True)
    assert len(store) == 50


def test_the_layout_is_the_documented_one(tmp_path):
    FeatureStore.open(tmp_path, ENCODING).add(["a", "b"], encode)
    keys, vectors = (np.load(tmp_path / f"{name}.npy", allow_pickle=False) for name in ("keys", "vectors"))
    assert (keys.dtype, keys.shape, vectors.dtype, vectors.shape) == (np.uint8, (2, 32), np.float32, (2, 4))
    assert {row.tobytes() for row in keys} == {hashlib.sha256(t.encode()).digest() for t in ("a", "b")}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["count"], manifest["dimension"], manifest["weights_sha256"]) == (2, 4, "ab" * 32)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "keys.npy",
        "manifest.json",
        "vectors.npy",
    ]


def test_a_text_without_a_vector_is_named(tmp_path):
    store = FeatureStore.open(tmp_path, ENCODING)
    assert store.missing(["x", "y", "x"]) == ["x", "y"]
    with pytest.raises(InputError, match="no vector of the text 'x'"):
        store.vectors(["x"])


def test_an_interruption_keeps_what_is_done(tmp_path):
    texts = [f"text {i:03d}" for i in range(40)]
    done = 0

    def interrupted(part: list[str]) -> np.ndarray:
        nonlocal done
        if done >= 16:
            raise KeyboardInterrupt
        done += len(part)
        return encode(part)

    with pytest.raises(KeyboardInterrupt):
        FeatureStore.open(tmp_path, ENCODING).add(texts, interrupted, chunk=8)
    store = FeatureStore.open(tmp_path, ENCODING)
    assert len(store.missing(texts)) == 24
    assert store.add(texts, encode) == 24
    np.testing.assert_array_equal(store.vectors(texts), encode(texts))


def test_a_killed_process_loses_at_most_its_chunk(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_store import ENCODING, encode; from collapse_probe.retrieval import FeatureStore\n"
        "def slow(part):\n    time.sleep(0.05); return encode(part)\n"
        "FeatureStore.open(Path(sys.argv[1]), ENCODING).add([f'text {i:03d}' for i in range(400)], slow, chunk=10)\n"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), here])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("segment-*.keys.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    texts = [f"text {i:03d}" for i in range(400)]
    store = FeatureStore.open(tmp_path, ENCODING)
    assert 0 < len(store.missing(texts)) <= 370
    store.add(texts, encode)
    np.testing.assert_array_equal(FeatureStore.open(tmp_path, ENCODING).vectors(texts), encode(texts))


@pytest.mark.parametrize("stop_at", range(8))
def test_a_kill_between_any_two_renames_leaves_a_whole_store(tmp_path, monkeypatch, stop_at):
    first, second = [f"a{i}" for i in range(5)], [f"b{i}" for i in range(5)]
    FeatureStore.open(tmp_path, ENCODING).add(first, encode)
    count = 0
    replace = os.replace

    def dying(source, target):
        nonlocal count
        if count == stop_at:
            raise SystemExit
        count += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with contextlib.suppress(SystemExit):
        FeatureStore.open(tmp_path, ENCODING).add(second, encode)
    monkeypatch.setattr(os, "replace", replace)
    store = FeatureStore.open(tmp_path, ENCODING)
    store.add(second, encode)
    np.testing.assert_array_equal(store.vectors([*first, *second]), encode([*first, *second]))
    assert len(store) == 10


def test_a_foreign_store_is_read_and_never_written(tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    FeatureStore.open(other, ENCODING).add(["a"], encode)
    before = {path: path.read_bytes() for path in other.iterdir()}
    store = FeatureStore.open(own, ENCODING, extra=[other])
    assert store.add(["a", "b"], encode) == 1
    np.testing.assert_array_equal(store.vectors(["b", "a"]), encode(["b", "a"]))
    assert {path: path.read_bytes() for path in other.iterdir()} == before


def test_what_is_named_goes_before_what_is_cached(tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    FeatureStore.open(own, ENCODING).add(["a"], encode)
    FeatureStore.open(other, ENCODING).add(["a"], lambda texts: 2 * encode(texts))
    store = FeatureStore.open(own, ENCODING, extra=[other])
    np.testing.assert_array_equal(store.vectors(["a"]), 2 * encode(["a"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 5}, r"dimension 4, where toy has 5"),
        ({"weights_sha256": "cd" * 32}, r"weights_sha256 'abab.*where toy has 'cdcd"),
        ({"max_seq_length": 9}, r"max_seq_length 8, where toy has 9"),
    ],
)
def test_a_store_of_another_encoder_is_refused(tmp_path, change, message):
    FeatureStore.open(tmp_path / "other", ENCODING).add(["a"], encode)
    encoding = EncoderIdentity(**{**IDENTITY.__dict__, **change}).encoding("query")
    with pytest.raises(InputError, match=message):
        FeatureStore.open(tmp_path / "own", encoding, extra=[tmp_path / "other"])


def test_a_folder_without_a_manifest_is_no_store(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json in it, so this is no feature store"):
        FeatureStore.open(tmp_path / "own", ENCODING, extra=[tmp_path])


def test_vectors_that_are_not_finite_or_of_another_dimension_are_refused(tmp_path):
    store = FeatureStore.open(tmp_path, ENCODING)
    with pytest.raises(InputError, match="not finite for the text 'bad'"):
        store.add(["bad"], lambda texts: np.full((1, 4), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match=r"shape \(1, 3\), where \(1, 4\) is needed"):
        store.add(["bad"], lambda texts: np.zeros((1, 3), dtype=np.float32))


def test_the_shared_store_is_readable(shared, tmp_path):
    manifest = json.loads((shared / "features" / "all-MiniLM-L6-v2" / "manifest.json").read_text())
    encoding = EncoderIdentity("m", manifest["weights_sha256"], 256, 384, "mean", True).encoding("document")
    store = FeatureStore.open(tmp_path, encoding, extra=[shared / "features" / "all-MiniLM-L6-v2"])
    assert len(store) == manifest["count"]


@pytest.mark.parametrize("stop_at", range(8))
def test_a_store_can_be_read_first_after_a_kill_between_any_two_renames(tmp_path, monkeypatch, stop_at):
    """The command line asks what is missing before it adds."""
    first, second = [f"a{i}" for i in range(5)], [f"b{i}" for i in range(5)]
    FeatureStore.open(tmp_path, ENCODING).add(first, encode)
    replace, count = os.replace, 0

    def dying(source, target):
        nonlocal count
        if count >= stop_at:
            raise SystemExit
        count += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    store = FeatureStore.open(tmp_path, ENCODING)
    # The last case lets every rename through.
    with contextlib.suppress(SystemExit):
        store.add(second, encode)
    monkeypatch.setattr(os, "replace", replace)
    store = FeatureStore.open(tmp_path, ENCODING)
    known = [text for text in [*first, *second] if text not in store.missing([*first, *second])]
    assert set(first) <= set(known)
    np.testing.assert_array_equal(store.vectors(known), encode(known))


def test_reading_while_another_process_adds_never_fails(tmp_path):
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_store import ENCODING, encode; from collapse_probe.retrieval import FeatureStore\n"
        "for r in range(60):\n"
        "    FeatureStore.open(Path(sys.argv[1]), ENCODING).add([f'{r} {i}' for i in range(50)], encode, chunk=10)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)])
    sizes = []
    while process.poll() is None:
        sizes.append(len(FeatureStore.open(tmp_path, ENCODING)))
    assert process.returncode == 0
    assert sizes == sorted(sizes)
    assert len(FeatureStore.open(tmp_path, ENCODING)) == 3000


@pytest.mark.parametrize("kept", [0, 0.3, 0.95])
@pytest.mark.parametrize("name", ["keys", "vectors"])
def test_a_cut_segment_costs_its_own_texts_alone(tmp_path, name, kept):
    store = FeatureStore.open(tmp_path, ENCODING)
    store.add(["a", "b"], encode)
    store._write_segment(["c", "d"], encode(["c", "d"]))
    path = tmp_path / f"segment-000000.{name}.npy"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    store = FeatureStore.open(tmp_path, ENCODING)
    assert store.missing(["a", "b", "c", "d"]) == ["c", "d"]
    assert store.add(["a", "c", "d"], encode) == 2
    np.testing.assert_array_equal(store.vectors(["d", "a", "c"]), encode(["d", "a", "c"]))
    assert not list(tmp_path.glob("segment-*.keys.npy"))


@pytest.mark.parametrize("kept", [0, 0.3, 0.95])
@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", "manifest.json"])
def test_a_cut_file_is_a_one_line_error(tmp_path, name, kept):
    FeatureStore.open(tmp_path, ENCODING).add(["a", "b"], encode)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"damaged feature store|cannot be read as JSON") as caught:
        FeatureStore.open(tmp_path, ENCODING).missing(["a"])
    assert "\n" not in str(caught.value)


def test_a_segment_number_is_never_used_twice(tmp_path):
    store = FeatureStore.open(tmp_path, ENCODING)
    for text in ("a", "b", "c"):
        store._write_segment([text], encode([text]))
    for kind in ("keys", "vectors"):
        (tmp_path / f"segment-000000.{kind}.npy").unlink()
    store._write_segment(["d"], encode(["d"]))
    assert (tmp_path / "segment-000003.keys.npy").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalised": True}, "unit_norm False, where toy has True"),
        ({"pooling": "cls"}, "pooling 'mean', where toy has 'cls'"),
    ],
)
def test_a_store_of_otherwise_pooled_vectors_is_refused(tmp_path, change, message):
    FeatureStore.open(tmp_path / "other", ENCODING).add(["a"], encode)
    encoding = EncoderIdentity(**{**IDENTITY.__dict__, **change}).encoding("query")
    with pytest.raises(InputError, match=message):
        FeatureStore.open(tmp_path / "own", encoding, extra=[tmp_path / "other"])
