"""Public training programs, each in its own environment, plain and by ``collapse-probe run``.

    python benchmarks/wild/run.py --environments DIR [--make] [NAME ...]

It prints what was heard, and whether both left the same bits. ``--make`` makes an environment for each program from the
package index first; torch's CPU build and the trainers' libraries are those of the interpreter that runs this.
 Not run by CI: it needs what others publish.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

_FLAG = "-m FlagEmbedding.finetune.embedder.encoder_only.base --model_name_or_path bert --train_data pairs.jsonl "
_FLAG += "--train_group_size 4 --output_dir out --per_device_train_batch_size 8 --max_steps 40 --report_to none "
_FLAG += "--save_strategy no --learning_rate 1e-4 --use_cpu true --query_max_len 16 --passage_max_len 16 "
_FLAG += "--dataloader_num_workers 0 --logging_steps 10"
_CLIP = (
    "-m open_clip_train.main --model local-dir:model --dataset-type csv --train-data pairs.csv --csv-img-key filepath "
)
_CLIP += "--csv-caption-key title --precision fp32 --device cpu --batch-size 8 --epochs 2 --workers 0 --warmup 2 "
_CLIP += "--logs logs --name it --save-frequency 2"


@dataclass(frozen=True)
class Wild:
    """A program.

    Attributes:
        environment: The environment that it runs in.
        packages: What that environment needs.
        arguments: What is run, as arguments of Python; the script of its name where empty.
        weights: Files in which it leaves its weights.
        alone: Packages that are installed without what they ask for: they would bring another torch.
    """

    environment: str
    packages: str
    arguments: str = ""
    weights: tuple[str, ...] = ("weights.pt",)
    alone: str = ""
    options: tuple[str, ...] = field(default=())


WILD = {
    "flag_embedding": Wild("flag", "FlagEmbedding==1.4.2 transformers==5.23.0", _FLAG, ("out/model.safetensors",)),
    "llama_adapter": Wild("llama", "llama-index-finetuning==0.4.2 mistralai<2"),
    "setfit_trainer": Wild("setfit", "setfit==1.2.0"),
    "pylate_contrastive": Wild(
        "pylate", "sentence-transformers==5.3.0 transformers==5.3.0 ujson ninja fastkmeans", alone="pylate==1.6.0"
    ),
    "lightly_simsiam": Wild("lightly", "lightly==1.6.0 torchvision==0.28.*"),
    "lightly_simclr": Wild("lightly", "lightly==1.6.0 torchvision==0.28.*"),
    "metric_learning_trainer": Wild("pml", "pytorch-metric-learning==2.9.0"),
    "metric_learning_loop": Wild("pml", "pytorch-metric-learning==2.9.0"),
    "clip_pairs": Wild(
        "openclip",
        "open_clip_torch==3.3.0 torchvision==0.28.* braceexpand webdataset",
        _CLIP,
        ("logs/it/checkpoints/epoch_2.pt",),
    ),
    "model2vec_pairs": Wild("model2vec", "model2vec[train]==0.10.0"),
    "tokenlearn_train": Wild("tokenlearn", "tokenlearn==0.2.1", weights=("weights.npy",)),
    "stable_pretraining_simclr": Wild("stable", "stable-pretraining==0.1.8 torchvision==0.28.*"),
    "uniem_finetuner": Wild("uniem", "uniem==0.3.3 transformers==4.57.6 accelerate==0.21.*"),
    "angle_pairs": Wild("angle", "angle-emb==0.6.1"),
    "pykeen_link_prediction": Wild("pykeen", "pykeen==1.11.1"),
    "embetter_learner": Wild("embetter", "embetter==0.9.1"),
    "byol_images": Wild("byol", "byol-pytorch==0.9.1 torchvision==0.28.*"),
    "xclip_pairs": Wild("xclip", "x-clip==0.14.4 torchvision==0.28.*"),
    "geometric_autoencoder": Wild("geometric", "torch-geometric==2.8.1"),
    "geometric_infomax": Wild("geometric", "torch-geometric==2.8.1"),
    "rechub_softmax": Wild("rechub", "torch-rechub==0.9.0"),
    "rechub_labels": Wild("rechub", "torch-rechub==0.9.0"),
    "infonce_loop": Wild("infonce", "info-nce-pytorch==0.1.4"),
    "khoji_lora": Wild("khoji", "khoji==0.4.0", weights=("adapter/adapter_model.safetensors",)),
    "txtai_classifier": Wild("txtai", "txtai[pipeline-train]==9.14.0", weights=("model/model.safetensors",)),
    "simpletransformers_retrieval": Wild("simpletransformers", "simpletransformers==0.70.8"),
    "cornac_sessions": Wild("cornac", "cornac==3.0.1"),
    "lightly_train_simclr": Wild("lightlytrain", "lightly-train==0.18.0 torchvision==0.28.*"),
    "keras_two_towers": Wild("keras", "keras==3.15.1", weights=("weights.npy",)),
    "gensim_words": Wild("gensim", "gensim==4.4.0", weights=("weights.npy",)),
}


def make(wild: Wild, folder: Path) -> None:
    """Make an environment whose packages stand before those of the interpreter that runs this."""
    if (folder / "bin" / "python").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(site, "base.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *wild.packages.split()], check=True)
    if wild.alone:
        subprocess.run([*install, "--no-deps", *wild.alone.split()], check=True)
    # The wheel's operators are compiled for CUDA: beside torch's CPU build they are absent, and so cannot be described.
    for described in Path(site).glob("torchvision/_meta_registrations.py"):
        described.write_text("")


def run(name: str, wild: Wild, python: Path, folder: Path, *, watched: bool) -> tuple[int, str, str, float]:
    """Run a program in a folder of its own; returns exit code, both outputs and seconds."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE / 'programs'}", "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "COLLAPSE_PROBE_STRICT": "1"}
    script = str(HERE / "programs" / f"{name}.py")
    ours = ["-m", "collapse_probe", "run", *wild.options] if watched else []
    whole = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 900}
    if wild.arguments:
        subprocess.run([python, script], check=True, **whole)
    start = time.monotonic()
    done: Any = subprocess.run([python, *ours, *(wild.arguments.split() or [script])], **whole)
    return done.returncode, done.stdout, done.stderr, time.monotonic() - start


def weights_of(path: Path) -> dict[str, Any]:
    """Return the arrays of a file of weights."""
    import numpy as np
    import torch

    if path.suffix == ".npy":
        return {"": torch.from_numpy(np.load(path))}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    found = torch.load(path, weights_only=True)
    return found.get("state_dict", found)


def equal(wild: Wild, plain: Path, watched: Path) -> bool:
    """Return whether both runs left the same bits."""
    import torch

    for name in wild.weights:
        before, after = weights_of(plain / name), weights_of(watched / name)
        if before.keys() != after.keys() or not all(torch.equal(before[key], after[key]) for key in before):
            return False
    return True


def _plain(output: str) -> str:
    """Return an output without its numbers, times among them, and without its folder's name."""
    return re.sub(r"[\d.]+", "0", re.sub(r"/(plain|watched)\b", "", output))


def heard(folder: Path) -> list[dict[str, Any]]:
    """Return what each run in a folder says of itself."""
    found = []
    for one in sorted((folder / "runs").glob("*/run.json")):
        command = [sys.executable, "-m", "collapse_probe", "diagnose", str(one.parent), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        found.append(json.loads(done.stdout))
    return found


def tried(name: str, environments: Path, keep: Path | None) -> dict[str, Any]:
    """Run one program both ways and return what is known."""
    wild = WILD[name]
    python = environments / wild.environment / "bin" / "python"
    folder = Path(tempfile.mkdtemp(prefix=f"wild-{name}-"))
    try:
        plain = run(name, wild, python, folder / "plain", watched=False)
        watched = run(name, wild, python, folder / "watched", watched=True)
        row: dict[str, Any] = {"program": name, "codes": [plain[0], watched[0]]}
        if plain[0]:
            return row | {"error": plain[2].strip().splitlines()[-1:]}
        runs = heard(folder / "watched")
        row["equal"] = equal(wild, folder / "plain", folder / "watched")
        row["seconds"] = [round(plain[3], 1), round(watched[3], 1)]
        row["steps"] = [one["steps"] for one in runs]
        row["status"] = [one["status"] for one in runs]
        row["heard"] = [
            f"{one['stream']} {one['n']}x{one['dimension']} ({one['where']}; {one['rule']})"
            for each in runs
            for one in each["heard"]
            if one["steps"] and one["dimension"]
        ]
        row["errors"] = [one for each in runs for one in each["errors"]]
        row["cost"] = [line for each in runs for line in each["summary"].splitlines() if line.startswith("Cost")]
        row["said"] = re.findall(r"collapse-probe: .*", watched[2])
        row["output"] = _plain(plain[1]) == _plain(watched[1])
        if watched[0] != plain[0]:
            row["error"] = watched[2].strip().splitlines()[-3:]
        return row
    finally:
        if keep is not None:
            shutil.copytree(folder, keep / name, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the programs and print one JSON object each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WILD)}; all if none")
    parser.add_argument("--environments", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--make", action="store_true", help="make those that are not there")
    parser.add_argument("--keep", type=Path, help="folder that keeps what the programs left")
    arguments = parser.parse_args()
    for name in arguments.names or WILD:
        if arguments.make:
            make(WILD[name], arguments.environments / WILD[name].environment)
        print(json.dumps(tried(name, arguments.environments.resolve(), arguments.keep), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
