"""Models between two others: what is written, how it loads, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding
from tests_support import toy_run
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModel, BertConfig, BertModel

from collapse_probe import interpolate
from collapse_probe.errors import InputError
from collapse_probe.respred import Recipe
from collapse_probe.respred.training._saved import load_head
from collapse_probe.retrieval import between

NEEDED = "give two models of one architecture"


def written(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def pair(folder: Path) -> tuple[Path, Path]:
    """Two folders with a weight of zeros and of ones."""
    return tuple(written(folder / name, weight=torch.full((2, 3), at)) for name, at in (("a", 0.0), ("b", 1.0)))


def bert(folder: Path, seed: int, **save) -> Path:
    torch.manual_seed(seed)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=400, **shape)).save_pretrained(folder, **save)
    return folder


def sentences(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "hat": 1, "boat": 2}, unk_token="[UNK]"))
    modules = [StaticEmbedding(tokenizer, embedding_dim=4), Dense(4, 4, activation_function=torch.nn.Identity())]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


def test_types_are_the_ends_own_and_whole_numbers_are_its_own(tmp_path):
    whole = torch.arange(3)
    half = torch.tensor([1.0, 3.0], dtype=torch.bfloat16)
    start = written(tmp_path / "a", w=torch.tensor([0.0, 1.0]), ids=whole)
    end = written(tmp_path / "b", w=half, ids=whole + 7)
    found = load_file(interpolate(start, end, 0.5, tmp_path / "c") / "model.safetensors")
    assert found["w"].dtype == torch.bfloat16 and found["w"].tolist() == [0.5, 2.0]
    assert found["ids"].tolist() == [7, 8, 9]
    note = json.loads((tmp_path / "c" / "interpolation.json").read_text())
    assert (note["t"], note["interpolated"], note["from_end"]) == (0.5, 1, ["ids"])
    assert note["start"]["model"] == str(start) and list(note["end"]["sha256"]) == ["model.safetensors"]


def test_positions_that_an_older_library_saved_may_be_in_one_alone(tmp_path):
    """As in the hub's all-MiniLM-L6-v2 and in what is fine-tuned of it today."""
    start = written(tmp_path / "a", w=torch.zeros(2), position_ids=torch.arange(3))
    end = written(tmp_path / "b", w=torch.ones(2))
    assert load_file(interpolate(start, end, 0.5, tmp_path / "c") / "model.safetensors")["w"].tolist() == [0.5, 0.5]
    found = load_file(interpolate(end, start, 0.25, tmp_path / "d") / "model.safetensors")
    assert (found["w"].tolist(), found["position_ids"].tolist()) == ([0.75, 0.75], [0, 1, 2])


@pytest.mark.parametrize("t", [0, 1.0])
def test_the_ends_are_exact(tmp_path, t):
    generator = torch.Generator().manual_seed(0)
    start, end = (written(tmp_path / str(i), w=torch.randn(99, generator=generator)) for i in range(2))
    found = load_file(interpolate(start, end, t, tmp_path / "c") / "model.safetensors")["w"]
    assert torch.equal(found, load_file((end if t else start) / "model.safetensors")["w"])


def test_what_becomes_equal_is_kept_though_it_is_not_finite(tmp_path):
    mask = torch.tensor([0.0, -torch.inf])
    start, end = (written(tmp_path / name, mask=mask, w=torch.ones(1)) for name in "ab")
    found = load_file(interpolate(start, end, 0.5, tmp_path / "c") / "model.safetensors")
    assert torch.equal(found["mask"], mask)


def test_a_model_in_several_files_between_one_in_one_file(tmp_path):
    start, end = bert(tmp_path / "a", 0), bert(tmp_path / "b", 1, max_shard_size="8KB")
    assert len(list(end.glob("*.safetensors"))) > 1
    folder = interpolate(str(start), str(end), 0.25, tmp_path / "deep" / "c")
    assert {path.name for path in folder.iterdir()} == {path.name for path in end.iterdir()} | {"interpolation.json"}
    found, *ends = (AutoModel.from_pretrained(one).state_dict() for one in (folder, start, end))
    expected = between(*ends, 0.25)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_sentence_transformers_model_with_a_head(tmp_path):
    start, end = sentences(tmp_path / "a", 0), sentences(tmp_path / "b", 1)
    (end / "checkpoint-3").mkdir()
    (end / "checkpoint-3" / "model.safetensors").write_text("of a step before")
    (end / "pytorch_model.bin").write_text("a copy in another form")
    folder = interpolate(start, end, 0.5, tmp_path / "c")
    models = [SentenceTransformer(str(one), device="cpu") for one in (folder, start, end)]
    found, expected = models[0].state_dict(), between(models[1].state_dict(), models[2].state_dict(), 0.5)
    assert len(expected) == 3 and all(torch.equal(found[name], expected[name]) for name in expected)
    assert models[0].encode(["hat"]).shape == (1, 4)
    assert not (folder / "checkpoint-3").exists() and not (folder / "pytorch_model.bin").exists()
    assert json.loads((folder / "interpolation.json").read_text())["left_out"] == ["pytorch_model.bin"]
    assert (folder / "README.md").read_text().rstrip().endswith(f"from {start} to {end} (interpolation.json).")


def test_checkpoints_of_a_run_without_their_training_state(tmp_path):
    recipe = Recipe(batch_size=32, epochs=2)
    toy_run(tmp_path / "run", recipe, watch=(), counterfactuals=False)
    start, end = sorted((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name[11:]))
    folder = interpolate(start, end, 0.5, tmp_path / "c")
    found, *ends = (load_head(one, recipe, 16).state_dict() for one in (folder, start, end))
    assert all(torch.equal(found[name], value) for name, value in between(*ends, 0.5).items())
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not {"optimizer.safetensors", "trainer_state.json", "scheduler.json", "random_state_0.safetensors"} & names
    with pytest.raises(InputError, match="a run's folder; give a model in it: checkpoints/checkpoint-"):
        interpolate(tmp_path / "run", end, 0.5, tmp_path / "d")


@pytest.mark.parametrize("t", [-0.1, 1.5, float("nan"), True, "half"])
def test_a_share_that_is_none_is_refused(tmp_path, t):
    with pytest.raises(InputError, match=r"t is .*: a number from 0 \(the start\) to 1 \(the end\) is needed"):
        interpolate(*pair(tmp_path), t, tmp_path / "c")


def test_nothing_is_overwritten(tmp_path):
    start, end = pair(tmp_path)
    interpolate(start, end, 0.5, tmp_path / "c")
    for taken in (tmp_path / "c", start):
        with pytest.raises(InputError, match="already exists; choose another name"):
            interpolate(start, end, 0.25, taken)
    assert load_file(tmp_path / "c" / "model.safetensors")["weight"][0, 0] == 0.5


OTHERS = {
    "other names": ({"other": torch.ones(2, 3)}, r"1 only in .*a \(weight\), 1 only in .*x \(other\); " + NEEDED),
    "more": ({"weight": torch.ones(2, 3), "b": torch.ones(1)}, r"other tensors than .*: 1 only in .*x \(b\); "),
    "another shape": ({"weight": torch.ones(3, 2)}, r"weight is \[3, 2\], and \[2, 3\] in .*a; " + NEEDED),
    "whole numbers": ({"weight": torch.ones(2, 3).int()}, r"weight is torch\.int32, and torch\.float32 in .*a; "),
    "no number": ({"weight": torch.full((2, 3), torch.nan)}, "weight is not finite, .* give an earlier checkpoint"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_refused_and_leaves_nothing(tmp_path, name):
    tensors, said = OTHERS[name]
    start, _ = pair(tmp_path)
    _refused(start, written(tmp_path / "x", **tensors), tmp_path / "c", said)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "x"}


def _refused(start: object, end: object, folder: Path, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        interpolate(start, end, 0.5, folder)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert not folder.exists()


FILES = {
    "an adapter": ("adapter_config.json", "{}", r"an adapter, and .*a is a whole model; merge it first"),
    "another model": ("config.json", '{"model_type": "bert"}', "model_type is bert, and mpnet in"),
    "quantised": ("config.json", '{"quantization_config": {"bits": 4}}', "quantised weights"),
    "damaged": ("model.safetensors", "x", r"model\.safetensors: torn, or no weights"),
    "a pointer": ("model.safetensors", "version https://git-lfs.github.com/spec/v1", "git lfs pull"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_whole_model_is_refused(tmp_path, name):
    file, text, said = FILES[name]
    start, end = pair(tmp_path)
    (start / "config.json").write_text('{"model_type": "mpnet"}')
    (end / file).write_text(text)
    _refused(start, end, tmp_path / "c", said)


def test_folders_that_are_none(tmp_path):
    start, end = pair(tmp_path)
    _refused(tmp_path / "gone", end, tmp_path / "c", "start=.*gone: no such folder")
    _refused(start, end / "model.safetensors", tmp_path / "c", "end=.*: a file, where a model's folder is needed")
    (end / "model.safetensors").unlink()
    _refused(start, end, tmp_path / "c", r"no \*\.safetensors in it")
    (end / "pytorch_model.bin").write_text("pickle")
    _refused(start, end, tmp_path / "c", "weights in pickle files")


def test_tensors_that_two_files_hold_are_refused(tmp_path):
    start, end = pair(tmp_path)
    shutil.copyfile(end / "model.safetensors", end / "model-00001-of-00001.safetensors")
    _refused(start, end, tmp_path / "c", "weight is in .* and in .*; delete one of these files")
