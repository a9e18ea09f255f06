"""Saved models load in plain sentence-transformers; checkpoints are read without running what they name."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from collapse_probe.errors import InputError
from collapse_probe.respred import Recipe, get_recipe
from collapse_probe.respred.modules import build_head, head_parts
from collapse_probe.respred.training._saved import fill_head, library_head, load_encoder, load_head
from collapse_probe.respred.training._trainer import FeatureTrainer

TEXTS = ["a brass compass", "a felt hat", "an oak barrel of a hat"]
WITHOUT_OURS = """
import json, sys
sys.modules["collapse_probe"] = None
from sentence_transformers import SentenceTransformer
texts = json.loads(sys.argv[1])
for path in sys.argv[2:]:
    try:
        m = SentenceTransformer(path, device="cpu")
        print(json.dumps([m.encode_query(texts).tolist(), m.encode_document(texts).tolist()]))
    except (ImportError, ValueError) as error:
        print(json.dumps(str(error)))
"""
RECIPES = {
    "respred": Recipe(),
    "linear": Recipe(projection="linear", predictor="none"),
    "unit": Recipe(normalise=True),
    "asymmetric": get_recipe("option_e"),
    "asymmetric unit linear": replace(get_recipe("option_e"), projection="linear", normalise=True),
    "none": Recipe(projection="none"),
}
SCORED = replace(get_recipe("respred"), scoring_path="predictor")


def table(dimension: int = 8) -> StaticEmbedding:
    words = sorted({"[UNK]", *" ".join(TEXTS).split()})
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(4)
    return StaticEmbedding(tokenizer, embedding_dim=dimension)


def changed_head(recipe: Recipe):
    """Return a head whose two projections differ where they may, with no bias of zero."""
    head = build_head(recipe, 8, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return head


def saved(folder: Path, modules) -> Path:
    SentenceTransformer(modules=list(modules), device="cpu").save(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_the_librarys_modules_give_what_the_head_gives(name):
    head = changed_head(RECIPES[name])
    own = torch.nn.Sequential(*library_head(head)).eval()
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
    for task in ("query", "document"):
        expected = head({"sentence_embedding": z}, task=task)["sentence_embedding"]
        features = {"sentence_embedding": z, "task": task}
        torch.testing.assert_close(own(features)["sentence_embedding"], expected, atol=1e-6, rtol=0)
    assert all(type(module).__module__.startswith(("sentence_transformers.", "torch.")) for module in own.modules())


def test_saved_models_load_where_this_package_is_not_installed_unless_the_predictor_is_scored(tmp_path):
    """Towers that differ and vectors of unit length; a head that needs no router; a head that needs our classes."""
    heads = {name: changed_head(RECIPES[name]) for name in ("asymmetric unit linear", "respred")}
    scored = changed_head(SCORED)
    assert library_head(scored) is None
    folders = [saved(tmp_path / name, [table(), *library_head(head)]) for name, head in heads.items()]
    folders.append(saved(tmp_path / "scored", [table(), scored]))
    arguments = [sys.executable, "-I", "-c", WITHOUT_OURS, json.dumps(TEXTS), *map(str, folders)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    *found, refusal = (json.loads(line) for line in done.stdout.splitlines())
    for head, vectors in zip(heads.values(), found, strict=True):
        ours = SentenceTransformer(modules=[table(), head], device="cpu")
        for one, expected in zip(vectors, (ours.encode_query(TEXTS), ours.encode_document(TEXTS)), strict=True):
            torch.testing.assert_close(torch.tensor(one), torch.from_numpy(expected), atol=1e-6, rtol=0)
    assert "trust_remote_code=True" in refusal or "collapse_probe" in refusal
    loaded = SentenceTransformer(str(folders[-1]), device="cpu", trust_remote_code=True)
    ours = SentenceTransformer(modules=[table(), scored], device="cpu")
    torch.testing.assert_close(loaded.encode_query(TEXTS), ours.encode_query(TEXTS))


@pytest.mark.parametrize("recipe", [SCORED, *RECIPES.values()], ids=["scored", *RECIPES])
def test_a_head_comes_back_from_its_checkpoint(tmp_path, recipe):
    head = changed_head(recipe)
    loaded = load_head(saved(tmp_path / "c", [table(), head]), recipe, 8)
    for name, module in head_parts(head).named().items():
        assert all(
            torch.equal(v, head_parts(loaded).named()[name].state_dict()[k]) for k, v in module.state_dict().items()
        )


def test_the_encoder_comes_back_from_its_checkpoint(tmp_path):
    checkpoint = saved(tmp_path / "c", [table(), Normalize(), changed_head(SCORED)])
    first, second = load_encoder(checkpoint)
    assert torch.equal(first.embedding.weight, table().embedding.weight) and isinstance(second, Normalize)


@pytest.mark.parametrize("place", ["modules.json", "router"])
def test_a_class_of_a_stranger_is_refused_and_not_run(tmp_path, place):
    """The file beside the weights would leave a mark if it were imported."""
    checkpoint = saved(tmp_path / "c", [table(), changed_head(SCORED)])
    mark = tmp_path / "ran"
    (checkpoint / "stranger.py").write_text(f"open({str(mark)!r}, 'w')\nclass Head: pass\n")
    path = checkpoint / "modules.json" if place == "modules.json" else next(checkpoint.rglob("router_config.json"))
    found = json.loads(path.read_text())
    if place == "modules.json":
        found[0]["type"] = "stranger.Head"
    else:
        found["types"] = dict.fromkeys(found["types"], "stranger.Head")
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"names the class stranger\.Head"):
        load_encoder(checkpoint)
    # The head's numbers are read whatever class is named.
    load_head(checkpoint, SCORED, 8)
    assert not mark.exists()


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    whole = saved(tmp_path / "c", [table(), changed_head(SCORED)])
    weights = next(path.relative_to(whole) for path in whole.rglob("*ResidualPredictor/model.safetensors"))
    for number, (name, text) in enumerate(
        [("modules.json", "{}"), ("modules.json", "[]"), ("modules.json", None), (weights, "x"), (weights, None)]
    ):
        folder = shutil.copytree(whole, tmp_path / str(number))
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)
        with pytest.raises(InputError, match="this checkpoint is damaged") as error:
            fill_head(build_head(SCORED, 8, seed=0), folder)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="this checkpoint is damaged"):
        load_head(whole, SCORED, 16)


def test_what_the_trainer_overrides_exists_in_the_library_with_a_signature_that_fits():
    """Private methods come and go with versions; one that is never called any more would fail in silence."""
    own = {name: value for name, value in vars(FeatureTrainer).items() if inspect.isfunction(value)}
    assert len(own) > 10
    for name, function in own.items():
        base = getattr(SentenceTransformerTrainer, name, None)
        assert base is not None, f"{name} overrides nothing"
        theirs, ours = inspect.signature(base).parameters, inspect.signature(function).parameters
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in ours.values()):
            continue
        assert list(ours)[: len(theirs)] == list(theirs), name
