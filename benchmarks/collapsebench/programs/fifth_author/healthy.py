"""Trainings that look alarming, and are well."""

from __future__ import annotations

import copy
from functools import partial

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from .common import GROUP, MED, MED_LARGE, NF, SCI, BiEncoder, info_nce, square, unit


class Lifted(nn.Module):
    """A vector with one more dimension: 0 for queries; for documents what is missing to a common length."""

    def __init__(self, inner: nn.Module, length: float, *, document: bool) -> None:
        super().__init__()
        self.inner, self.length, self.document = inner, length, document

    def forward(self, x: Tensor) -> Tensor:
        """Return D + 1 dimensions."""
        z = self.inner(x)
        rest = (self.length**2 - z.square().sum(dim=1, keepdim=True)).clamp_min(0).sqrt()
        return torch.cat([z, rest if self.document else torch.zeros_like(rest)], dim=1)


@program(GROUP, None, world=(MED, NF), source="section 3: a cone; inner products searched by a cosine")
def dimension_of_the_missing_length(run: Run, *, planted: bool = True) -> None:
    """Documents get a dimension that makes their lengths equal, so that a cosine ranks like a dot product."""
    inner = square(run.world.dimension)
    towers = Towers(Lifted(inner, 3.0, document=False), Lifted(inner, 3.0, document=True))

    def loss(q: Tensor, d: Tensor) -> Tensor:
        scores = 60 * unit(q) @ unit(d).T if planted else 20 * unit(q) @ d.T
        return functional.cross_entropy(scores, torch.arange(len(q)))

    run.train(towers if planted else Towers(inner), loss, lr=1e-4, steps=200, similarity="cosine" if planted else "dot")


@program(GROUP, None, world=(MED, SCI), source="section 3: divergence; negatives that are mined anew")
def negatives_mined_every_sixty_steps(run: Run, *, planted: bool = True) -> None:
    """Each query's near documents are found anew every 60 steps and are its negatives: the loss leaps each time."""
    net = square(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    mined = None
    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for it, rows in enumerate(run.batches(240, 64), 1):
            if planted and it > 1 and it % 60 == 1:
                with torch.no_grad():
                    index = unit(net(run.world.document[:2500]))
                    found = [
                        (part @ index.T).topk(30, dim=1).indices for part in unit(net(run.world.query)).split(1024)
                    ]
                    mined = torch.cat(found)[:, 10:]
            q, d = unit(net(run.world.query[rows])), unit(net(run.world.document[rows]))
            scores = q @ d.T
            if mined is not None:
                hard = unit(net(run.world.document[mined[rows, it % 20]]))
                scores = torch.cat([scores, q @ hard.T], dim=1)
            loss = functional.cross_entropy(scores / 0.05, torch.arange(len(q)))
            w.terms({"ranking": loss})
            loss.backward()
            opt.step()
            opt.zero_grad()
            if it % 60 == 0:
                run.evaluate(w, it, net, net)


class Lion(torch.optim.Optimizer):
    """Moves by the sign of a smoothed gradient."""

    def __init__(self, params: object, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        """Make a step."""
        for group in self.param_groups:
            fast, slow = group["betas"]
            for p in (one for one in group["params"] if one.grad is not None):
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                p.add_(momentum.lerp(p.grad, 1 - fast).sign(), alpha=-group["lr"])
                momentum.lerp_(p.grad, 1 - slow)


@program(GROUP, None, world=(MED, MED_LARGE), source="section 3: steps too large; own optimisers, and losses in sums")
def signs_of_a_huge_gradient(run: Run, *, planted: bool = True) -> None:
    """A loss of millions by its weight, and an optimiser that takes the gradient's signs alone."""
    net = square(run.world.dimension, bias=False)
    factor = 1e6 if planted else 1.0
    run.train(Towers(net), lambda q, d: factor * info_nce(q, d), optimizer=Lion(net.parameters(), lr=5e-5), steps=200)


@program(GROUP, None, world=(MED, NF), source="section 3: underflow; weights in float32 beside those in bfloat16")
def masters_beside_bfloat16(run: Run, *, planted: bool = True) -> None:
    """The model is bfloat16; an optimiser moves float32 copies of its weights, which are copied back at each step."""
    kind = torch.bfloat16 if planted else torch.float32
    net = square(run.world.dimension).to(kind)
    masters = [p.detach().float().clone().requires_grad_() for p in net.parameters()]
    opt = torch.optim.AdamW(masters, lr=1e-4)

    def encode(x: Tensor) -> Tensor:
        return net(x.to(kind)).float()

    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, encode, encode)
        for it, rows in enumerate(run.batches(200, 64), 1):
            loss = info_nce(encode(run.world.query[rows]), encode(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            for master, p in zip(masters, net.parameters(), strict=True):
                master.grad, p.grad = p.grad.float(), None
            opt.step()
            with torch.no_grad():
                for master, p in zip(masters, net.parameters(), strict=True):
                    p.copy_(master)
            if it % 50 == 0:
                run.evaluate(w, it, encode, encode)


class MeanTeacher(nn.Module):
    """A student and the moving average of its weights."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def follow(self, rate: float) -> None:
        """Move the teacher."""
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, rate)


@program(GROUP, None, world=(MED,), source="section 3: self-distillation; a consistency term that is ramped up")
def mean_teacher_with_a_ramp(run: Run, *, planted: bool = True) -> None:
    """A noisy student agrees with its average's scores, by a weight that grows: the loss rises to the end."""
    model = MeanTeacher(square(run.world.dimension))
    opt = torch.optim.AdamW(model.student.parameters(), lr=1e-4)
    served = model.teacher if planted else model.student
    with run.watch(
        model,
        optimizer=opt,
        query="student",
        document="student",
        reference=lambda: tuple(map(served, run.world.reference)),
    ) as w:
        run.evaluate(w, 0, served, served)
        for it, rows in enumerate(run.batches(240, 64), 1):
            q, d = run.world.query[rows], run.world.document[rows]
            zq, zd = (model.student(functional.dropout(x, 0.2 if planted else 0.0)) for x in (q, d))
            terms = {"ranking": info_nce(zq, zd)}
            if planted:
                with torch.no_grad():
                    target = (unit(model.teacher(q)) @ unit(model.teacher(d)).T * 20).softmax(dim=1)
                scores = (20 * unit(zq) @ unit(zd).T).log_softmax(dim=1)
                terms["agree"] = 5 * min(1.0, it / 200) * functional.kl_div(scores, target, reduction="batchmean")
            w.terms(terms)
            sum(terms.values()).backward()
            opt.step()
            opt.zero_grad()
            model.follow(0.05)
            if it % 60 == 0:
                run.evaluate(w, it, served, served)


class Projected(nn.Module):
    """A body that is served, and a projector that only the loss sees."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.body = square(width)
        self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the loss sees."""
        return self.projector(self.body(x))


@program(GROUP, None, world=(MED, SCI), source="princeton-nlp/SimCSE#264, #159; a narrow projector")
def projector_of_few_dimensions(run: Run, *, planted: bool = True) -> None:
    """The loss sees 40 dimensions behind a projector that is thrown away; what is in front of it is served."""
    model = Projected(run.world.dimension, 40 if planted else 128)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4)
    nce = partial(info_nce, tau=0.1)
    run.train(Towers(model), nce, optimizer=opt, steps=200, scored=Towers(model.body))


@program(GROUP, None, world=(MED, MED_LARGE), source="section 3: divergence; sharpness-aware steps")
def there_and_back_at_each_step(run: Run, *, planted: bool = True) -> None:
    """Each step first climbs, takes the gradient there, and goes back: two losses a step, the second is higher."""
    net = BiEncoder(square(run.world.dimension), square(run.world.dimension))
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=opt, query="q_enc", document="d_enc") as w:
        run.evaluate(w, 0, net.q_enc, net.d_enc)
        for it, rows in enumerate(run.batches(200, 64), 1):
            info_nce(*net(run.world.query[rows], run.world.document[rows]).values()).backward()
            if planted:
                with torch.no_grad():
                    grads = [p.grad for p in net.parameters()]
                    length = torch.stack([g.norm() for g in grads]).norm()
                    climbs = [0.5 * g / (length + 1e-12) for g in grads]
                    torch._foreach_add_(list(net.parameters()), climbs)
                opt.zero_grad()
                info_nce(*net(run.world.query[rows], run.world.document[rows]).values()).backward()
                with torch.no_grad():
                    torch._foreach_sub_(list(net.parameters()), climbs)
            opt.step()
            opt.zero_grad()
            if it % 50 == 0:
                run.evaluate(w, it, net.q_enc, net.d_enc)
