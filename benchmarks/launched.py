"""The same bits in two processes, however they are started: ``python benchmarks/launched.py [WAY ...]``.

Each way is a program and what starts it: torchrun, accelerate's launcher or Lightning's own. It runs unwatched, watched
by ``watch`` and by ``collapse-probe run``. Weights and random states of both processes are compared bit for bit, and it
is said of how many processes the readings are. A way whose library is not installed is left out.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
ACCELERATE += ["--mixed_precision", "no", "--dynamo_backend", "no"]
WAYS: dict[str, tuple[list[str], str]] = {
    "lightning by torchrun": (TORCHRUN, "lightning"),
    "lightning by itself": ([], "lightning"),
    "accelerate": (ACCELERATE, "accelerate"),
    "DeepSpeed, stage 0": (TORCHRUN, "deepspeed-0"),
    "DeepSpeed, stage 1": (TORCHRUN, "deepspeed-1"),
    "sentence-transformers by torchrun": (TORCHRUN, "sentence_transformers"),
    "sentence-transformers by accelerate": (ACCELERATE, "sentence_transformers"),
}


def main() -> None:
    """Run the ways that were asked for, all if none, and print a line of each."""
    asked = sys.argv[1:] or list(WAYS)
    different = 0
    for way in asked:
        launcher, program = WAYS[way]
        library = program.partition("-")[0]
        if importlib.util.find_spec(library) is None:
            print(f"{way}: {library} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = {how: _states(launcher, program, how, Path(folder)) for how in ("plain", "watch", "run")}
            for how in ("watch", "run"):
                same = _equal(found["plain"], found[how])
                different += not same
                bits = "the same bits" if same else "OTHER BITS"
                print(
                    f"{way}, {how}: {bits}; {_said(Path(folder) / 'runs' / (how if how == 'watch' else 'launched'))}",
                    flush=True,
                )
    sys.exit(different)


def _states(launcher: list[str], program: str, how: str, folder: Path) -> list[Any]:
    import torch

    ours = ["-m", "collapse_probe", "run"] if how == "run" else []
    command = [sys.executable, *launcher, *ours, str(Path(__file__).resolve()), "--train", program, how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLLAPSE_PROBE_STRICT": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return [torch.load(folder / f"{how}.{rank}") for rank in range(2)]


def _equal(one: list[Any], other: list[Any]) -> bool:
    import torch

    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


def _said(run: Path) -> str:
    from collapse_probe.diagnosis import diagnose

    words = " ".join(diagnose(run).summary.split())
    found = re.search(r"on rows of (the first of )?2 processes( to step \d+, then of the first)?", words)
    return found[0] if found else "?"


def train(program: str, how: str) -> None:
    """Train in one of two processes, and save what came of it."""
    import torch

    torch.set_num_threads(1)
    ways = {"lightning": _lightning, "accelerate": _accelerate, "sentence_transformers": _sentences}
    ways |= {f"deepspeed-{stage}": functools.partial(_deepspeed, stage=stage) for stage in (0, 1)}
    model, rank = ways[program](how)
    torch.save([*(one.detach() for one in model.parameters()), torch.get_rng_state()], f"{how}.{rank}")


def _loss(query: Any, document: Any) -> Any:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    return cross_entropy(10 * normalize(query, dim=1) @ normalize(document, dim=1).T, torch.arange(len(query)))


def _tower() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Tanh(), nn.Linear(16, 8))


def _data() -> Any:
    import torch
    from torch.utils.data import TensorDataset

    x = torch.randn(320, 12)
    return TensorDataset(x, x + 0.3 * torch.randn(320, 12))


def _lightning(how: str) -> tuple[Any, int]:
    import lightning
    import torch
    from torch.utils.data import DataLoader

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.tower = _tower()

        def training_step(self, batch: Any, index: int) -> Any:
            rows = len(batch[0]) - 4 * self.global_rank  # batches of unequal size
            return _loss(self.tower(batch[0][:rows]), self.tower(batch[1][:rows]))

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    lightning.seed_everything(0)
    callbacks = []
    if how == "watch":
        from collapse_probe import LightningCallback

        callbacks = [LightningCallback(run="runs/watch")]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    about = {"max_epochs": 2, "accelerator": "cpu", "devices": 2, "strategy": "ddp", "callbacks": callbacks}
    trainer, model = lightning.Trainer(**about, **quiet), Model()
    trainer.fit(model, DataLoader(_data(), 16, shuffle=True))
    return model, trainer.global_rank


def _accelerate(how: str) -> tuple[Any, int]:
    import torch
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    inner = _tower()
    optimizer = torch.optim.AdamW(inner.parameters(), lr=1e-2)
    model, optimizer, batches = accelerator.prepare(inner, optimizer, DataLoader(_data(), 16, shuffle=True))
    w = None
    if how == "watch":
        import collapse_probe

        w = collapse_probe.watch(model, optimizer=optimizer, run="runs/watch")
    for _ in range(2):
        for query, document in batches:
            rows = len(query) - 4 * accelerator.process_index
            accelerator.backward(_loss(model(query[:rows]), model(document[:rows])))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    if w is not None:
        w.close()
    accelerator.end_training()
    return inner, accelerator.process_index


def _deepspeed(how: str, *, stage: int) -> tuple[Any, int]:
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import torch

    # An operation for processes that share memory would be compiled first.
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]
    deepspeed.init_distributed("gloo")
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    model = _tower()
    settings = {
        "train_micro_batch_size_per_gpu": 16,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": 1.0,
    }
    own = torch.optim.AdamW(model.parameters(), lr=1e-2)
    engine, optimizer, _, _ = deepspeed.initialize(model=model, optimizer=own, config=settings)
    w = None
    if how == "watch":
        import collapse_probe

        w = collapse_probe.watch(model, optimizer=optimizer, run="runs/watch")
    torch.manual_seed(rank)
    for query, document in torch.utils.data.DataLoader(_data(), 16):
        rows = len(query) - 4 * rank
        engine.backward(_loss(engine(query[:rows]), engine(document[:rows])))
        engine.step()
    if w is not None:
        w.close()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return model, rank


def _sentences(how: str) -> tuple[Any, int]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from watching.trainers_support import encoder, pairs, save_bert, st_trainer

    rank = int(os.environ["RANK"])
    model = encoder(save_bert(Path(f"bert-{rank}")))
    texts = pairs(30, seed=5)
    sides = [{str(row): text for row, text in enumerate(texts[side])} for side in ("anchor", "positive")]
    own = {row: {row} for row in sides[0]}
    evaluator = InformationRetrievalEvaluator(*sides, own, name="mine", show_progress_bar=False)
    loss = MultipleNegativesRankingLoss(model, gather_across_devices=True)
    evaluated = {"evaluator": evaluator, "eval_strategy": "steps", "eval_steps": 6, "ddp_backend": "gloo"}
    trainer = st_trainer(model, loss, Path("out"), steps=12, data=pairs(70), **evaluated)
    if how == "watch":
        import collapse_probe

        collapse_probe.watch(trainer, run="runs/watch")
    trainer.train()
    return model, rank


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train(*sys.argv[2:])
    else:
        main()
