"""What the optimiser did: the size of its updates, and how far the weights have gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..journal.vocabulary import OUTSIDE
from ._exchange import is_sharded

ENTRIES = 4096
"""Entries that are read of a parameter; drawn once, by a generator of our own."""

_LEAST = 2.0**-20
"""Size of a gradient entry near which others vanish in float16: 16 times the smallest that it has."""

_FEW = 2
"""Numbers that a clamp may hold at their bounds, whatever they are trained to: a temperature and a bias."""

_HALVES = (torch.float16, torch.bfloat16)


class WeightReader:
    """Relative sizes of updates and of the way from the start, by group of parameters.

    ``drift/GROUP`` is ||theta_t - theta_0|| / ||theta_0|| and ``update/GROUP`` ||theta_t - theta_t-1|| / ||theta_t-1||,
    both over a fixed sample of entries of each parameter. A group that begins at zero is compared with 1e-12.
    ``lost/GROUP``, of groups in half precision alone, is the share of entries that a gradient reached and a step did
    not change: their updates are below half a unit in the last place. ``zeros/GROUP`` is the share of gradient entries
    that are exactly 0 where all of a group's are numbers of float16, so that they were computed in it, whatever type
    the weights are kept in; 0 where they are not, where all are 0 and no weight is a float16 itself, and where none
    is nearly too small for it, as of an absolute error. Tables whose rows are looked up are left out of it.
    ``undone/GROUP``, where the step before was read, too, is the share of its update that was taken back since, by
    whatever writes weights between two steps: 0 where nothing does, 1 where they are put back. A group of one or two
    numbers has none: a clamp holds a temperature at its bound, and a step towards it is taken back whole.

    Args:
        groups: Name of a group to its parameters.
        tables: Parameters whose rows are looked up: of those that are not, the gradient is 0 in any precision.
    """

    def __init__(self, groups: dict[str, list[nn.Parameter]], tables: Iterable[nn.Parameter] = ()) -> None:
        looked_up = {id(one) for one in tables}
        generator = torch.Generator().manual_seed(4096)
        self._groups = {
            name: [(parameter, _places(parameter, generator)) for parameter in parameters]
            for name, parameters in groups.items()
            if parameters
        }
        self._whole = {
            name: [one for one in group if id(one[0]) not in looked_up] for name, group in self._groups.items()
        }
        self._start = self._sample()
        self._before: dict[str, Tensor] | None = None
        self._last: tuple[int, dict[str, Tensor], dict[str, Tensor]] | None = None
        self._undone: dict[str, Tensor] = {}
        self._reached: dict[str, Tensor] = {}
        self._zeros: dict[str, Tensor] = {}

    def before(self, step: int) -> None:
        """Note the weights just before a step whose update is to be read."""
        self._before = self._sample()
        last, self._last, self._undone = self._last, None, {}
        if last is not None and last[0] == step - 1:
            _, then, now = last
            self._undone = {
                f"undone/{name}": _taken_back(then[name], now[name], found)
                for name, found in self._before.items()
                if found.numel() > _FEW
            }
        gradients = {name: _gradients(group) for name, group in self._groups.items()}
        self._zeros = {
            f"zeros/{name}": _halved_zeros(
                gradients[name] if len(whole) == len(self._groups[name]) else _gradients(whole),
                kept=_of(whole, torch.float16),
            )
            for name, whole in self._whole.items()
            if whole
        }
        self._reached = {name: gradients[name] != 0 for name, group in self._groups.items() if _of(group, *_HALVES)}

    def read(self, step: int) -> dict[str, Tensor]:
        """Return the readings after a step; waits for no device."""
        now = self._sample()
        values = {f"drift/{name}": _change(self._start[name], now[name]) for name in now}
        if self._before is not None:
            values |= {f"update/{name}": _change(self._before[name], now[name]) for name in now}
            for name, reached in self._reached.items():
                values[f"lost/{name}"] = _share((self._before[name] == now[name]) & reached, reached)
            values |= self._zeros | self._undone
            self._last = step, self._before, now
        self._before = None
        return values

    @torch.no_grad()
    def _sample(self) -> dict[str, Tensor]:
        return {
            name: torch.cat([_entries(parameter, places) for parameter, places in group])
            for name, group in self._groups.items()
        }


def group_parameters(target: nn.Module, trained: Iterable[nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """Return the trained parameters by the module that they are of: the largest parts of the model that differ.

    A model with one child is looked into until it has several, so that an encoder's embeddings, layers and head are
    told apart; parameters of the target itself stand under their own names.
    """
    wanted = {id(parameter) for parameter in trained}
    names = {name: parameter for name, parameter in target.named_parameters() if id(parameter) in wanted}
    depth = 1
    while depth < 4 and len({_head(name, depth) for name in names}) < 2 and len(names) > 1:
        depth += 1
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in names.items():
        groups.setdefault(_head(name, depth), []).append(parameter)
    known = {id(parameter) for parameter in names.values()}
    rest = [parameter for parameter in trained if id(parameter) not in known]
    if rest:
        groups[OUTSIDE] = rest
    return groups


def total_norm(parameters: Sequence[nn.Parameter]) -> Tensor | None:
    """Return the L2 norm of all gradients together, or None where there is none; waits for no device.

    A sparse gradient whose rows would have to be added up on another device than the CPU is left out: that waits.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    dense = [found for gradient in gradients if (found := _entries_of(gradient)) is not None]
    if not dense:
        return None
    if len({(gradient.device, gradient.dtype) for gradient in dense}) > 1:
        return torch.nn.utils.get_total_norm(dense)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(dense)))


def is_left_out(gradient: Tensor) -> bool:
    """Return whether :func:`total_norm` leaves a gradient out."""
    return is_sharded(gradient) or (
        gradient.is_sparse and not gradient.is_coalesced() and gradient.device.type != "cpu"
    )


def _entries_of(gradient: Tensor) -> Tensor | None:
    if is_left_out(gradient):
        return None
    return gradient.detach().coalesce()._values() if gradient.is_sparse else gradient


def _head(name: str, depth: int) -> str:
    parts = name.split(".")
    return ".".join(parts[: min(depth, len(parts) - 1)]) or name


def _places(parameter: nn.Parameter, generator: torch.Generator) -> Tensor | None:
    if parameter.numel() <= ENTRIES:
        return None
    return torch.randint(parameter.numel(), (ENTRIES,), generator=generator).to(parameter.device)


def _entries(parameter: nn.Parameter, places: Tensor | None) -> Tensor:
    flat = parameter.detach().reshape(-1)
    taken = flat.clone() if places is None else flat.index_select(0, places.to(flat.device))
    return taken.float()


def _of(group: Sequence[tuple[nn.Parameter, Tensor | None]], *dtypes: torch.dtype) -> bool:
    return all(parameter.dtype in dtypes for parameter, _ in group)


def _gradients(group: Sequence[tuple[nn.Parameter, Tensor | None]]) -> Tensor:
    """Return the gradients of the sampled entries, float32; zeros where there is none."""
    parts = []
    for parameter, places in group:
        gradient = parameter.grad
        if gradient is None or gradient.is_sparse:
            count = parameter.numel() if places is None else len(places)
            parts.append(torch.zeros(count, device=parameter.device))
        else:
            flat = gradient.detach().reshape(-1)
            parts.append((flat if places is None else flat.index_select(0, places.to(flat.device))).float())
    return torch.cat(parts)


def _halved_zeros(gradients: Tensor, *, kept: bool) -> Tensor:
    """Return the share of zeros among float16 gradients; of all zeros 1 where the weights are ``kept`` in float16."""
    if not gradients.numel():
        return gradients.new_zeros(())  # of a parameter whose part on this process is empty
    zeros = (gradients == 0).float().mean()
    halved = (gradients.half().float() == gradients).all()
    # What underflows leaves numbers beside it that are hardly above what float16 has.
    sizes = gradients.abs()
    least = sizes.masked_fill(sizes == 0, torch.inf).min()
    return torch.where(halved & ((least <= _LEAST) | ((zeros == 1) & kept)), zeros, torch.zeros_like(zeros))


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Return a share, 0 of nothing."""
    return part.sum().float() / whole.sum().clamp(min=1).float()


def _change(before: Tensor, after: Tensor) -> Tensor:
    return torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before).clamp(min=1e-12)


def _taken_back(before: Tensor, after: Tensor, found: Tensor) -> Tensor:
    """Return the share of an update that was taken back since; 0 of no update."""
    update = after - before
    return torch.dot(after - found, update) / torch.dot(update, update).clamp(min=1e-30)
