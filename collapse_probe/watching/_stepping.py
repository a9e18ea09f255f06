"""What a watch does in a step: before the optimiser changes the weights, and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ..journal.vocabulary import Role
from ..recording import Place, Recorder, WeightReader, canonical, is_left_out, total_norm, why_unread
from ._agreed import Agreed
from ._calls import CallListener
from ._coverage import HEARD_BY, Coverage
from ._delivered import WeightsLeft
from ._finder import Finder
from ._kept_gradients import KeptGradients
from ._left_out import LeftOut
from ._optimizers import ClipListener, rates
from ._path import ScoredPath
from ._pooling import PaddingCheck
from ._product_taps import ProductTaps
from ._references import ReferenceReader
from ._terms import LossListener
from ._verdicts import Verdicts

WINDOW = 100
"""Steps of a window, where the run names no epochs."""

_HARDLY = 1e-3
"""Share of a model's parameters below which vectors alone, of one module, are hardly all that was to be trained."""


class Stepping:
    """The steps of a watch."""

    recorder: Recorder
    stop: bool
    _target: nn.Module
    _optimizers: Sequence[Optimizer]
    _padding: PaddingCheck | None
    _parameters: Sequence[nn.Parameter]
    _in_parts: bool
    _agreed: Agreed
    _calls: CallListener
    _clip: ClipListener
    _coverage: Coverage
    _finder: Finder | None
    _gates: list[Place]
    _kept: KeptGradients | None
    _left: WeightsLeft | None
    _left_out: LeftOut | None
    _look_for_silent: Callable[[], None]
    _loss: LossListener
    _path: ScoredPath
    _products: ProductTaps | None
    _reference: ReferenceReader
    _roots: int | None
    _say: Callable[[str, str], None]
    _touched: int
    _unread: Callable[[str, str], None]
    _verdicts: Verdicts
    _weights: WeightReader | None
    _windows_by_hand: bool

    def _touch(self) -> None:
        """Read gates before the optimiser changes them: once in every step that is due."""
        if self._touched != self.recorder.current and not self._calls.paused:
            self._touched = self.recorder.current
            for place in self._gates:
                assert place.parameter is not None
                role = None if place.tap.role is None else Role(place.tap.role)
                if (why := why_unread(place.parameter, gate=True)) is None:
                    self.recorder.observe(place.tap.stream, place.parameter, role=role)
                else:
                    self._unread(place.tap.stream, why)

    def _step_begins(self) -> None:
        self._reference.step_begins()
        if self._left is not None:
            self.recorder.containment.run("delivered weights", self._left.begins)

    def _before_step(self) -> None:
        due = self.recorder.due
        if not (due or self.recorder.first):
            return
        if self._left_out is not None and self.recorder.done in (0, HEARD_BY - 1):
            self.recorder.containment.run("parameters left out", self._left_out.before_step)
        self.recorder.scalars(self._gradient_norms(due=due))
        if self._optimizers:
            self.recorder.rates(rates(self._optimizers))
        if due and self.recorder.first:
            self._touch()
            if self._weights is not None:
                self._weights.before(self.recorder.current)

    def _gradient_norms(self, *, due: bool) -> dict[str, Tensor]:
        before = self._clip.take()
        if self._kept is not None:
            self.recorder.containment.run("kept gradients", self._look_for_kept, before is not None)
        if self._in_parts:
            self._say("gradient norm", "gradient/norm is not measured: the gradients lie in parts on several processes")
            return {}
        if due and any(one.grad is not None and is_left_out(one.grad) for one in self._parameters):
            self._say("sparse", "gradient/norm leaves sparse gradients out: adding them up would wait")
        # Whoever clips has measured the norm: that after clipping is read on due steps alone.
        after = total_norm(self._parameters) if due or before is None else None
        named = {"gradient/norm": after if before is None else before}
        if before is not None:
            named["gradient/clipped_norm"] = after
        return {name: norm for name, norm in named.items() if norm is not None}

    def _look_for_kept(self, clipped: bool) -> None:
        if self._kept is None:
            return
        if self._kept.before_step(clipped=clipped):
            self.recorder.event("gradients_kept", step=self.recorder.current)
        if self._kept.own is not None:
            self.recorder.scalars({"gradient/own": self._kept.own})

    def _say_left_out(self) -> None:
        assert self._left_out is not None
        for module, count in self._left_out.found().items():
            parameters = "1 parameter has" if count == 1 else f"{count} parameters have"
            message = f"{module}: {parameters} a gradient, and no optimiser holds them"
            self.recorder.event("left_out", message, subject=module)

    def _say_batch_norm(self) -> None:
        names = [canonical(name) for name, one in self._target.named_modules() if isinstance(one, _BatchNorm)]
        if names:
            message = f"{', '.join(names[:3])}: in training mode a vector depends on its batch"
            self.recorder.event("batch_norm", message, subject=names[0])

    def _say_pretrained(self) -> None:
        """Note the first module that names the weights that it began with, as those of transformers do."""
        for name, one in self._target.named_modules():
            if getattr(getattr(one, "config", None), "_name_or_path", ""):
                self.recorder.event("pretrained", subject=canonical(name))
                return

    def _say_hardly_trained(self) -> None:
        """Note that of a model one module's vectors alone are trained, as where all but a bias is frozen."""
        trained = [one for one in self._parameters if one.requires_grad]
        held = {id(one) for one in trained}
        names = [canonical(name) for name, one in self._target.named_parameters() if id(one) in held]
        some, everything = (sum(one.numel() for one in of) for of in (trained, self._target.parameters()))
        if (
            0 < some < _HARDLY * everything
            and all(one.ndim < 2 for one in trained)
            and len(set(map(_module_of, names))) == 1
        ):
            message = f"{', '.join(names)}: nothing else is trained, {some:,} of the model's {everything:,} parameters"
            self.recorder.event("noted", message, subject="hardly trained")

    def _say_evaluation_mode(self) -> None:
        """Note that a model is trained in evaluation mode, in which dropout beside trained weights does nothing."""
        held = {id(one) for one in self._parameters if one.requires_grad}
        paths = {name: one for name, one in self._target.named_modules() if isinstance(one, nn.Dropout) and one.p > 0}
        beside = [one for name, one in paths.items() if self._holds(_module_of(name), held)]
        if beside and not any(one.training for one in beside):
            message = "the model is trained in evaluation mode: its dropout does nothing (model.train())"
            self.recorder.event("noted", message, subject="evaluation mode")

    def _holds(self, path: str, held: set[int]) -> bool:
        return any(id(one) in held for one in self._target.get_submodule(path).parameters())

    def _after_step(self) -> None:
        if self._kept is not None:
            self.recorder.containment.run("kept gradients", self._kept.after_step)
        if self._products is not None:
            self._products.step_ended()
        self._stepped()
        if self._finder is not None:
            self.recorder.containment.run("products", self._finder.step_begins)
        if self._products is not None:
            self.recorder.containment.run("products", self._products.step_begins)

    def _stepped(self) -> None:
        due = self.recorder.due
        if due and self._weights is not None:
            read = self.recorder.containment.run("weights", self._weights.read, self.recorder.current)
            self.recorder.scalars(read or {})
        if self._finder is not None:
            self.recorder.containment.run("finding streams", self._finder.end_step)
        if self._padding is not None and self._padding.open:
            self.recorder.containment.run("padding", self._padding.end_step, self.recorder.heard)
        self.recorder.containment.run("replayed pairs", self._calls.end_step)
        self._loss.end_step()
        if self._left is not None:
            self.recorder.containment.run("delivered weights", self._left.after_step)
        self._roots = None if self._roots is None else 0
        self.recorder.step()
        step = self.recorder.done
        if self._agreed.after_step(due=due):
            self.stop = True
        if not self.recorder.first:
            if not self._windows_by_hand and step % WINDOW == 0:
                self.recorder.window()
            if step == HEARD_BY - 1:
                self.recorder.containment.run("finding streams", self._look_for_silent)
            return
        self._reference.after_step()
        if step == 1:
            self.recorder.containment.run("coverage", self._coverage.cover)
            self.recorder.containment.run("batch norm", self._say_batch_norm)
            self.recorder.containment.run("pretrained", self._say_pretrained)
            self.recorder.containment.run("parameters", self._say_hardly_trained)
            self.recorder.containment.run("evaluation mode", self._say_evaluation_mode)
        if step == HEARD_BY and self._left_out is not None:
            self.recorder.containment.run("parameters left out", self._say_left_out)
        if step == HEARD_BY - 1:
            self.recorder.containment.run("finding streams", self._look_for_silent)
        if step == HEARD_BY:
            self.recorder.containment.run("coverage", self._coverage.warn_unheard)
            self.recorder.containment.run("coverage", self._path.tell)
        if not self._windows_by_hand and step % WINDOW == 0:
            self.recorder.window()
        self._verdicts.after_step(step)


def _module_of(name: str) -> str:
    return name.rpartition(".")[0]
