"""Listening to torch's functions leaves the program's modes, modules and results as they are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from plain_loops import descend, tower
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from collapse_probe.recording import Containment
from collapse_probe.watching import watch
from collapse_probe.watching._by_product import Products
from collapse_probe.watching._overheard import Overheard
from collapse_probe.watching._products import Listener, Product


class Counted(TorchFunctionMode):
    """A mode of the program's own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def overheard(model: nn.Module) -> Iterator[tuple[list[Product], Overheard]]:
    heard: list[Product] = []
    one = Overheard(model, Listener(heard.append), Containment(lambda probe, error: None), paused=lambda: False)
    one.begin()
    try:
        yield heard, one
    finally:
        one.end()
        one.end()
        assert not _get_current_function_mode_stack()
        assert not nn.modules.module._has_any_global_hook()


def step(model: nn.Module, inside: Any) -> Tensor:
    x = torch.randn(6, 12)
    with inside:
        query = model(x)
        document = model(x + 1)
        return normalize(query, dim=1) @ normalize(document, dim=1).T


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("cpu")
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("inside", [nullcontext, Counted, lambda: torch.device("cpu"), default_device])
def test_what_the_program_enters_it_leaves(inside):
    model = nn.Sequential(tower(), nn.Identity())
    with overheard(model) as (heard, one):
        assert step(model, inside()).requires_grad
        assert _get_current_function_mode_stack() == [one._mode]
    assert [(found.pairwise, found.site.name) for found in heard] == [(False, "matmul")]


def test_nothing_is_entered_inside_of_the_programs_own_modes():
    with Counted(), overheard_not():
        pass


@contextmanager
def overheard_not() -> Iterator[None]:
    one = Overheard(tower(), Listener(lambda product: None), Containment(lambda *_: None), paused=lambda: False)
    one.begin()
    assert not one.on
    yield


def test_an_error_in_a_forward_leaves_nothing_out():
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Linear(12, 8)
            self.part.register_forward_pre_hook(self.fail)

        def fail(self, *_: Any) -> None:
            raise ValueError("of the program's own")

        def forward(self, x: Tensor) -> Tensor:
            return self.part(x)

    model = Broken()
    with overheard(model) as (heard, one):
        for _ in range(2):
            with pytest.raises(ValueError, match="of the program's own"):
                model(torch.randn(2, 12))
        step(nn.Linear(12, 8), nullcontext())
        assert len(heard) == 1 and one.on


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_that_is_not_trained_computes_what_it_computes():
    """Its fast path is not taken where a mode is entered."""
    torch.manual_seed(0)
    teacher = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, batch_first=True), 2).eval().requires_grad_(False)
    x, mask = torch.randn(4, 5, 16), torch.arange(5) >= torch.tensor([[5], [3], [2], [4]])
    plain = teacher(x, src_key_padding_mask=mask)
    with overheard(tower()):
        assert torch.equal(teacher(x, src_key_padding_mask=mask), plain)


def test_a_program_that_compiles_is_heard_no_more():
    """What is compiled under a mode is compiled with it, or not at all."""
    x = torch.randn(4, 8)
    score = torch.compile(lambda one: (one @ one.T).softmax(1), backend="eager", fullgraph=True)
    with overheard(tower()) as (heard, one):
        assert torch.equal(score(x), (x @ x.T).softmax(1))
        assert not one.on and not _get_current_function_mode_stack() and not heard


def test_modules_in_other_threads_are_left_alone():
    model = tower()
    with overheard(nn.Sequential(model)) as (_, one), ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            pool.submit(model, torch.randn(2, 12)).result()
            assert pool.submit(_get_current_function_mode_stack).result() == []
        assert _get_current_function_mode_stack() == [one._mode]


def test_what_was_heard_of_a_step_is_freed_with_it(monkeypatch):
    """A hook that holds its own tensor keeps it for good: no collector sees that far."""
    kept: list[weakref.ref[Tensor]] = []
    keep = Products.keep

    def listed(self: Products, product: Product) -> None:
        kept.append(weakref.ref(product.output))
        keep(self, product)

    monkeypatch.setattr(Products, "keep", listed)
    sides = nn.ParameterList([torch.randn(30, 8), torch.randn(30, 8)])
    optimizer = torch.optim.SGD(sides.parameters(), lr=0.05)
    with watch(sides, optimizer=optimizer, run=False):
        for step in range(5):
            rows = torch.arange(10) + 2 * step
            descend(optimizer, cross_entropy(sides[0][rows] @ sides[1][rows].T, torch.arange(10)))
    gc.collect()
    assert kept and all(one() is None for one in kept)


def products(function: Any, *given: Tensor) -> list[tuple[tuple[int, int], bool]]:
    with overheard(tower()) as (heard, _):
        function(*given)
    return [((len(one.query.vectors), len(one.document.vectors)), one.pairwise) for one in heard]


def test_which_functions_are_products_of_two_sides():
    q, d, groups = (torch.randn(*shape, requires_grad=True) for shape in ((4, 8), (4, 8), (4, 3, 8)))
    weight = nn.Parameter(torch.randn(8, 8))
    assert products(lambda q, d: q @ d.T, q, d) == [((4, 4), False)]
    assert products(lambda q, d: torch.einsum("nc,nc->n", q, d), q, d) == [((4, 4), True)]
    assert products(lambda q, d: (q * d).sum(-1), q, d) == [((4, 4), True)]
    assert products(lambda q, d: (q - d).pow(2).sum(1), q, d) == [((4, 4), True)]
    assert products(torch.cdist, q, d) == [((4, 4), False)]
    assert products(lambda q, g: torch.bmm(g, q.unsqueeze(2)), q, groups) == [((4, 12), False)]
    assert products(lambda q, g: (q.unsqueeze(1) * g).sum(-1), q, groups) == [((4, 12), False)]
    # Layers, pooling, covariances, moments, norms of weights and mean squared errors are none.
    assert products(lambda q: q @ weight.T, q) == []
    assert products(lambda q: q @ normalize(weight, dim=1).T, q) == []
    assert products(lambda g: torch.bmm(g.softmax(1).transpose(1, 2), g), groups) == []
    assert products(lambda g: (g * g.mean(-1, keepdim=True)).sum(1), groups) == []
    assert products(lambda q: q.T @ q, q) == []
    assert products(lambda q, d: (q - d).square().mean(), q, d) == []
