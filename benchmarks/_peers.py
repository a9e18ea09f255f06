"""Other people's listeners beside a training, for ``overhead.py`` and ``cuda.sh``: each as its documentation says.

Every one can be had at its documented schedule, or at one that is matched to ours: due every 10 steps. What is not
installed is said, and nothing here is needed for anything else. ``peers.txt`` has the versions.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from _peer_stores import offline_run, quiet, written
from torch import nn

EVERY = 10
"""Steps between two due ones of ours after the first 20, so of what is matched to it."""

KINDS = ("outputs", "gradients", "weights")
"""What numbers can be of."""


class Peer:
    """One listener beside one training; steps count from 1.

    Attributes:
        name: Its name on PyPI.
        module: What is imported.
        records: What it records.
        of: What that is of: outputs, gradients, weights.
        default: Steps between two due ones by its documentation; None for what is due at the end of an epoch.
        always: What it does on steps that are not due, when it is matched; "" for nothing of note.
    """

    name = ""
    module = ""
    records = ""
    of: tuple[str, ...] = ()
    default: int | None = 1
    always = ""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, *, every: int | None) -> None:
        self.model, self.optimizer, self.folder, self.every = model, optimizer, folder, every
        self.done = 0
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.attach()

    @property
    def due(self) -> bool:
        """Whether the step in progress is due."""
        return self.every is not None and (self.done + 1) % self.every == 0

    def begins(self) -> None:
        """Hear that a step begins, before its forward."""

    def backward(self) -> None:
        """Hear that the gradients are there."""

    def step(self, _: int, loss: float) -> None:
        """Hear that the optimiser's step is done, and of the loss."""
        self.ends(loss)
        self.done += 1

    def attach(self) -> None:
        """Listen."""
        raise NotImplementedError

    def ends(self, loss: float) -> None:
        """Keep what there is of a step."""

    def numbers(self) -> int:
        """Return how many numbers the last due step gave; may write, and is called after the training."""
        raise NotImplementedError

    def close(self) -> None:
        """End."""


class WandbWatch(Peer):
    """``wandb.watch`` with what it logs by default, the loss beside it."""

    name, module = "wandb", "wandb"
    records = "histograms of the gradients of parameters"
    of = ("gradients",)
    default = 1000

    def attach(self) -> None:
        self._run = offline_run(self.folder)
        self._run.watch(self.model, log_freq=self.every)

    def ends(self, loss: float) -> None:
        self._run.log({"loss": loss})

    def numbers(self) -> int:
        bins = self._run._torch._num_bins
        return (sum(one.requires_grad for one in self.model.parameters())) * (2 * bins + 1) + 1


class TensorBoard(Peer):
    """Histograms of parameters and gradients, the loss beside them."""

    name, module = "tensorboard", "tensorboard"
    records = "histograms of parameters and of their gradients"
    of = ("gradients", "weights")

    def attach(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder))

    def backward(self) -> None:
        if self.due:
            for name, parameter in self.model.named_parameters():
                self._writer.add_histogram(name, parameter, self.done + 1)
                if parameter.grad is not None:
                    self._writer.add_histogram(f"{name}.grad", parameter.grad, self.done + 1)

    def ends(self, loss: float) -> None:
        self._writer.add_scalar("loss", loss, self.done + 1)

    def numbers(self) -> int:
        self._writer.flush()
        return written(self.folder, self.done // self.every * self.every)

    def close(self) -> None:
        self._writer.close()


class ModuleMonitor(Peer):
    """The metrics of its README, logged with wandb as there."""

    name, module = "torch-module-monitor", "torch_module_monitor"
    records = "means of every module's outputs, norms of parameters and of their gradients"
    of = ("outputs", "gradients", "weights")
    default = 20

    def attach(self) -> None:
        from torch_module_monitor import ModuleMonitor

        self._run = offline_run(self.folder)
        self._monitor = ModuleMonitor(monitor_step_fn=lambda step: step % self.every == 0)
        self._monitor.set_module(self.model)
        self._monitor.add_activation_metric("mean", lambda x: x.mean())
        self._monitor.add_parameter_metric("norm", lambda x: x.norm())
        self._monitor.add_gradient_metric("norm", lambda x: x.norm())

    def begins(self) -> None:
        self._monitor.begin_step(self.done + 1)

    def backward(self) -> None:
        self._monitor.monitor_parameters()
        self._monitor.monitor_gradients()

    def ends(self, loss: float) -> None:
        self._monitor.end_step()
        found = self._monitor.get_step_metrics() if self.due else {}
        self._numbers = len(found) or getattr(self, "_numbers", 0)
        self._run.log({"loss": loss, **found})

    def numbers(self) -> int:
        return self._numbers + 1


class Monitorch(Peer):
    """The lenses of its documentation's example, drawn with TensorBoard."""

    name, module = "monitorch", "monitorch"
    records = "activity of activations' outputs, norms and angles of parameters' gradients, the loss"
    of = ("outputs", "gradients")
    default = None
    _epoch = 100

    def attach(self) -> None:
        from monitorch.inspector import PyTorchInspector
        from monitorch.lens import LossMetrics, OutputActivation, ParameterGradientGeometry
        from monitorch.visualizer.TensorBoardVisualizer import TensorBoardVisualizer

        self._writer = TensorBoardVisualizer(log_dir=str(self.folder))
        lenses = [LossMetrics(), OutputActivation(), ParameterGradientGeometry()]
        about = {"module": self.model, "visualizer": self._writer, "is_active_fn": self.every or 1}
        self._inspector = PyTorchInspector(lenses, **about)

    def ends(self, loss: float) -> None:
        if self.every is None or self.due:
            self._inspector.push_loss(loss, train=True)
        if self.every is not None or (self.done + 1) % self._epoch == 0:
            self._inspector.tick_epoch()

    def numbers(self) -> int:
        if self.every is None:
            self._inspector.tick_epoch()
        self._writer.writer.flush()
        last = self._inspector.state.counter - 1
        return written(self.folder, last if self.every is None else last // self.every * self.every)

    def close(self) -> None:
        self._inspector.detach()


class NNDiagnostics(Peer):
    """Its hooks on every module and parameter; what they gather is printed to a file."""

    name, module = "nndiagnostics", "diagnostics"
    records = "percentiles and eigenvalues of outputs, their gradients, parameters and their gradients"
    of = ("outputs", "gradients", "weights")

    def attach(self) -> None:
        import diagnostics
        from diagnostics.diagnostics import ModelDiagnostic

        peer = self

        class Gated(ModelDiagnostic):
            """What hears nothing on steps that are not due."""

            def __getitem__(self, name: str) -> Any:
                return super().__getitem__(name) if peer.due else _Deaf

        self._handle = diagnostics.maybe_attach_diagnostics(self.model)
        if self.every != 1:
            self._handle._diagnostic.__class__ = Gated

    def ends(self, loss: float) -> None:
        if self.every != 1 and self.due:
            self._print()

    def numbers(self) -> int:
        if self.every == 1:
            self._print()
        text = (self.folder / "diagnostics.txt").read_text()
        lists = sum(len(found.split()) for found in re.findall(r"\[([^\]]*)\]", text))
        return lists + len(re.findall(r"(?:norm|mean|rms)=", text))

    def _print(self) -> None:
        self._handle.print(self.folder / "diagnostics.txt")
        self._handle._diagnostic.diagnostics.clear()


class _Deaf:
    @staticmethod
    def accumulate(*_: Any, **__: Any) -> None:
        """Gather nothing."""


class Torchmortem(Peer):
    """An autopsy, its report not counted."""

    name, module = "torchmortem", "torchmortem"
    records = "means, spread and effective rank of layers' outputs, gradients' and weights' norms, the loss"
    of = ("outputs", "gradients", "weights")
    always = "its hooks read every step and keep the due ones"

    def attach(self) -> None:
        from torchmortem import Autopsy, SamplingConfig

        sampling = None if self.every == 1 else SamplingConfig(default_interval=EVERY, expensive_interval=EVERY)
        self._autopsy = Autopsy(self.model, optimizer=self.optimizer, sampling=sampling)
        self._autopsy.attach()

    def ends(self, loss: float) -> None:
        self._autopsy.step(loss=loss)

    def numbers(self) -> int:
        series = [one for collector in self._autopsy._collectors for one in collector.state().series.values()]
        return sum(one[-1].size for one in series if len(one))

    def close(self) -> None:
        for collector in self._autopsy._collectors:
            collector.detach()
        self._autopsy._attached = False


class Traintools(Peer):
    """Its quick start but for what needs classes as labels: gradient health, and the tracker's plasticity."""

    name, module = "traintools", "traintools"
    records = "norms, extremes and zeros of parameters' gradients; dormant units and rank of activations"
    of = ("outputs", "gradients", "weights")
    always = "activations are kept on every step"
    _plasticity = 200

    def attach(self) -> None:
        from traintools import GradientHealthMonitor
        from traintools.callbacks.pytorch import TraintoolsTracker

        self._health = GradientHealthMonitor(max_grad_norm=1.0)
        often = {} if self.every == 1 else {"gns_freq": self.every, "plasticity_freq": self.every}
        self._tracker = TraintoolsTracker(self.model, None, verbose=False, **often)
        self._report: Any = None

    def backward(self) -> None:
        if self.due:
            rate = self.optimizer.param_groups[0]["lr"]
            self._report = self._health.inspect(self.model, step=self.done + 1, lr=rate)

    def ends(self, loss: float) -> None:
        self._tracker.step(step=self.done + 1)

    def numbers(self) -> int:
        found = self._tracker.plasticity_history.results
        activations = 1 + 3 * len(found[-1].layers) if found and self.every != 1 else 0
        return 7 * len(self._report.layers) + 5 + activations

    def close(self) -> None:
        self._tracker._probe.remove_hooks()


class NDTracker(Peer):
    """Its tracker of linear layers."""

    name, module = "ndtracker", "ndt"
    records = "four dimensions of every linear layer's outputs, the loss"
    of = ("outputs",)
    always = "outputs are kept on every step"

    def attach(self) -> None:
        from ndt import HighFrequencyTracker

        self._tracker = HighFrequencyTracker(self.model, sampling_frequency=self.every)

    def ends(self, loss: float) -> None:
        self._tracker.log(self.done + 1, loss)

    def numbers(self) -> int:
        return 4 * sum(bool(one) for one in self._tracker.metrics_history.values()) + 1

    def close(self) -> None:
        self._tracker.close()


PEERS: tuple[type[Peer], ...] = (
    WandbWatch,
    TensorBoard,
    ModuleMonitor,
    Monitorch,
    NNDiagnostics,
    Torchmortem,
    Traintools,
    NDTracker,
)


def schedules(peer: type[Peer]) -> dict[str, int | None]:
    """Return the schedules of a peer by name: its documented one, and the matched one where that is another."""
    if peer.default is None:
        return {"documented: an epoch of 100 steps": None, f"matched: every {EVERY} steps": EVERY}
    documented = "every step" if peer.default == 1 else f"every {peer.default:,} steps"
    always = f" ({peer.always})" if peer.always else ""
    return {f"documented: {documented}": peer.default, f"matched: every {EVERY} steps{always}": EVERY}


def why_not(peer: type[Peer]) -> str:
    """Return why a peer cannot be run here, in one line; "" where it can."""
    return "" if importlib.util.find_spec(peer.module) is not None else "not installed (`benchmarks/peers.txt`)"


def version(peer: type[Peer]) -> str:
    """Return a peer's name with its version."""
    try:
        return f"{peer.name} {metadata.version(peer.name)}"
    except metadata.PackageNotFoundError:
        return peer.name


def in_one_line(error: Exception) -> str:
    """Return why a peer failed, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".replace("|", "/").split())[:160]
