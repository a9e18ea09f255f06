"""Which module is being trained: the one that owns the parameters of the optimisers that step."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

_LOSS = re.compile(r"(loss|criterion|objective)$", re.IGNORECASE)
_AROUND = ("DistributedDataParallel", "DataParallel")
"""What stands around a model and calls it: its own forward may wait for other processes."""


class Together(nn.Module):
    """Modules that are trained together and are parts of no common one: a holder, which is never called.

    Args:
        parts: The modules by name.
    """

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def optimizers_beside(optimizer: Optimizer) -> list[Optimizer]:
    """Return an optimiser with those whose parameters have a gradient now: they step in the same iteration."""
    found = {id(optimizer): optimizer}
    # The class alone is looked at: an object may do something when it is asked for an attribute.
    known = [one for one in gc.get_objects() if issubclass(type(one), Optimizer) and "param_groups" in vars(one)]
    inside = {id(held) for one in known for held in held_by(one)}
    for one in known:
        wraps = isinstance(vars(one).get("optimizer"), Optimizer)
        if not wraps and id(one) not in inside and has_gradient(one):
            found.setdefault(id(one), one)
    return list(found.values())


def held_by(optimizer: Optimizer) -> list[Optimizer]:
    """Return the optimisers that one holds, as ZeRO's: their steps are steps of its own."""
    return [one for one in vars(optimizer).values() if issubclass(type(one), Optimizer)]


def has_gradient(optimizer: Optimizer) -> bool:
    """Return whether a parameter of an optimiser has a gradient."""
    return any(parameter.grad is not None for parameter in _parameters(optimizer))


def owner_of(optimizers: Sequence[Optimizer]) -> nn.Module | None:
    """Return the module that is trained; a holder where several have no common one; None where none is found."""
    wanted = {id(one): one for optimizer in optimizers for one in _parameters(optimizer)}
    modules = [one for one in gc.get_objects() if issubclass(type(one), nn.Module) and "_modules" in vars(one)]
    parents: dict[int, list[nn.Module]] = {}
    direct: dict[int, nn.Module] = {}
    for module in modules:
        for child in vars(module)["_modules"].values():
            if child is not None:
                parents.setdefault(id(child), []).append(module)
        for parameter in vars(module).get("_parameters", {}).values():
            if id(parameter) in wanted:
                direct.setdefault(id(parameter), module)
    roots: list[nn.Module] = []
    left = dict.fromkeys(one for one in wanted if one in direct)
    while left:
        root, held = _widest(direct[next(iter(left))], parents, left)
        roots.append(root)
        left = dict.fromkeys(one for one in left if one not in held)
    trained = [_model_in(_outermost(root, parents), set(wanted)) for root in roots]
    trained = list({id(one): one for one in trained}.values())
    # A loss with weights of its own is heard as a loss, which is no part of the model.
    models = [one for one in trained if not is_loss_by_name(one)] or trained
    if not models:
        return _run_by(optimizers, modules)
    return models[0] if len(models) == 1 else Together(_named(models))


def is_loss_by_name(module: nn.Module) -> bool:
    """Return whether a module's class is called a loss."""
    return bool(_LOSS.search(type(module).__name__))


def _run_by(optimizers: Sequence[Optimizer], modules: Iterable[nn.Module]) -> nn.Module | None:
    """Return the model inside of a module that holds the optimisers: an engine trains copies, which no module owns."""
    wanted = {id(one) for one in optimizers}
    for module in modules:
        for one in vars(module).values():
            inside = getattr(one, "__dict__", None) if type(one).__name__.endswith("Optimizer") else None
            held = [one, *inside.values()] if isinstance(inside, dict) else [one]
            children = [child for child in module.children() if any(True for _ in child.parameters())]
            if children and wanted & set(map(id, held)):
                return children[0] if len(children) == 1 else module
    return None


def _parameters(optimizer: Optimizer) -> Iterable[Any]:
    return (one for group in optimizer.param_groups for one in group["params"] if one.requires_grad)


def _widest(
    module: nn.Module, parents: dict[int, list[nn.Module]], left: dict[int, None]
) -> tuple[nn.Module, set[int]]:
    """Return the smallest module around another one that holds most of what is left, and what it holds of it."""
    around, waiting = [module], [module]
    while waiting:
        for one in parents.get(id(waiting.pop()), []):
            if all(one is not known for known in around):
                around.append(one)
                waiting.append(one)
    held = [{id(one) for one in each.parameters()} & set(left) for each in around]
    sizes = [sum(1 for _ in each.parameters()) for each in around]
    best = max(range(len(around)), key=lambda index: (len(held[index]), -sizes[index]))
    return around[best], held[best]


def _outermost(module: nn.Module, parents: dict[int, list[nn.Module]]) -> nn.Module:
    """Return what stands around a module, as long as that is one alone: where several do, which is called is open."""
    seen = {id(module)}
    while len(around := {id(one): one for one in parents.get(id(module), [])}) == 1:
        module = next(iter(around.values()))
        if id(module) in seen:
            break
        seen.add(id(module))
    return module


def _model_in(module: nn.Module, wanted: set[int]) -> nn.Module:
    """Return the model inside of what wraps it: several processes', or a loss that holds it."""
    while True:
        children = list(module.children())
        # What stands around replicas is alone in being called itself.
        replicates = len(getattr(module, "device_ids", None) or ()) > 1
        if type(module).__name__ in _AROUND and len(children) == 1 and not replicates:
            module = children[0]
            continue
        held = {id(one) for one in module.parameters()} & wanted
        whole = [one for one in children if held and held <= {id(parameter) for parameter in one.parameters()}]
        if not is_loss_by_name(module) or len(whole) != 1:
            return module
        module = whole[0]


def _named(models: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """Return modules by the program's own names for them, else by their classes'."""
    known = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    names = {id(value): name for name, value in list(known.items()) if isinstance(value, nn.Module)}
    found: dict[str, nn.Module] = {}
    for model in models:
        name = names.get(id(model), type(model).__name__.lower())
        number = sum(one.partition("#")[0] == name for one in found)
        found[name if not number else f"{name}#{number + 1}"] = model
    return found
