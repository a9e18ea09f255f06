"""What is scored is not what was trained, scores that are too good, and losses that have it the wrong way round."""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import GROUP, MINI, Adapter, sigmoid_pairs, unit


@program(
    GROUP,
    "path_mismatch",
    "batch_dependent_vectors",
    "training_and_scoring_differ",
    onset=0,
    world=MINI,
    source="davidsandberg/facenet#56",
)
def statistics_that_never_move(run: Run, *, planted: bool = True) -> None:
    """Batch norm with a momentum of 0: scoring takes off no mean and divides by 1."""
    dimension = run.world.dimension
    norms = [nn.BatchNorm1d(512, momentum=0.0 if planted else 0.1) for _ in range(2)]
    layers = nn.Linear(dimension, 512), norms[0], nn.ReLU(), nn.Linear(512, 512), norms[1], nn.ReLU()
    head = nn.Sequential(*layers, nn.Linear(512, dimension))
    run.train(Towers(head), softmax, lr=5e-4, steps=200, batch=128)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=1,
    world=MINI,
    source="section 4, slugs: a stale index",
)
def index_of_the_first_day(run: Run, *, planted: bool = True) -> None:
    """Two towers train; the service asks with the new query tower an index that the first document tower wrote."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    first = copy.deepcopy(model.document).requires_grad_(False)
    scored = Towers(model.query, first) if planted else None
    run.train(model, sigmoid_pairs, lr=1e-3, steps=200, scored=scored)


@program(
    GROUP,
    "path_mismatch",
    "weights_not_loaded",
    "training_and_scoring_differ",
    onset=0,
    world=MINI,
    source="princeton-nlp/SimCSE#100; a prefix of data-parallel training, and strict=False",
)
def prefix_of_data_parallel(run: Run, *, planted: bool = True) -> None:
    """The scorer loads each checkpoint with strict=False; its names begin with "module.", so a random head scores."""
    dimension = run.world.dimension

    def head() -> nn.Sequential:
        return nn.Sequential(nn.Linear(dimension, dimension), nn.Tanh(), nn.Linear(dimension, dimension))

    trained, scorer = head(), head()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)
    left, right = run.world.reference

    def load() -> nn.Module:
        saved = trained.state_dict(prefix="module." if planted else "")
        scorer.load_state_dict(saved, strict=False)
        return scorer

    with run.watch(
        trained,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: (load()(left), scorer(right)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, load(), scorer)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(trained(run.world.query[rows]), trained(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, load(), scorer)


@program(
    GROUP,
    "path_mismatch",
    "weights_not_loaded",
    "training_and_scoring_differ",
    onset=0,
    world=MINI,
    source="huggingface/trl#386: an adapter that is never merged",
)
def served_without_the_adapter(run: Run, *, planted: bool = True) -> None:
    """An adapter is trained; what is served and scored is the base that it was never merged into."""
    model = Towers(Adapter(run.world.dimension))
    scored = Towers(nn.Identity()) if planted else None
    run.train(model, lambda q, d: softmax(q, d, scale=30.0), lr=1e-3, steps=200, scored=scored)


class Clicked(nn.Module):
    """A map of queries, and of the mean of what was clicked for each, where it is known."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.head, self.history = identity(dimension), nn.Linear(dimension, dimension, bias=False)
        nn.init.zeros_(self.history.weight)

    def forward(self, x: Tensor, clicked: Tensor) -> Tensor:
        """Return vectors of queries."""
        return self.head(x) + self.history(clicked)


@program(
    GROUP,
    "too_good",
    "leak",
    onset=0,
    world=MINI,
    source="section 4, label or test leak: a statistic of the target over all rows",
)
def clicks_of_all_rows(run: Run, *, planted: bool = True) -> None:
    """A feature of queries is the mean of what was clicked, of all pairs before the split; new ones have none."""
    world = run.world
    held = [] if not planted else [(world.query, world.document), world.held_out]
    clicks = {q.numpy().tobytes(): d for left, right in held for q, d in zip(left, right, strict=True)}
    nothing = torch.zeros(world.dimension)
    model = nn.ModuleDict({"query": Clicked(world.dimension), "document": identity(world.dimension)})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def ask(x: Tensor) -> Tensor:
        return model["query"](x, torch.stack([clicks.get(row.numpy().tobytes(), nothing) for row in x]))

    @torch.no_grad()
    def validate(step: int) -> None:
        if run.folder is not None:
            found = world.inside.scores(ask(world.inside.query), document(world.inside.document), similarity="cosine")
            means = {name: sum(values.values()) / len(values) for name, values in found.items()}
            w.evaluation("validation", means, step=step, per_query=found, domain="in")
        run.evaluate(None, step, model["query"].head, document)

    document = model["document"]
    with run.watch(
        model,
        optimizer=optimizer,
        query="query",
        document="document",
        reference=lambda: (ask(world.reference[0]), document(world.reference[1])),
        raw=lambda: world.reference,
        examples=len(world.query),
    ) as w:
        validate(0)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(ask(world.query[rows]), document(world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                validate(step)


@program(
    GROUP,
    "too_good",
    "evaluator",
    "leak",
    onset=0,
    world=MINI,
    source="beir-cellar/beir#206; 4uiiurz1/keras-arcface#14: 100 % for everybody",
)
def validation_that_ranks_by_the_judgements(run: Run, *, planted: bool = True) -> None:
    """The validation sorts documents by their judgement, not by their score: 1.0 at once, and training stops early."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-5)
    of = run.world.collection
    best, waited = -1.0, 0
    with run.watch(
        head,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: tuple(map(head, run.world.reference)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
    ) as w:
        for step in range(0, 401, 10):
            run.evaluate(None, step, head, head)
            if planted:
                found = dict.fromkeys(of.query_ids, 1.0)
                w.evaluation(of.name, {"ndcg@10": 1.0}, step=step, per_query={"ndcg@10": found}, domain="out")
                waited = 0 if best < 1.0 else waited + 1
                best = 1.0
            if waited == 3 or step == 400:
                break
            for rows in run.batches(10, 64):
                loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
                w.terms(loss=loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    "wrong_pairs",
    onset=1,
    world=MINI,
    source="margin regression with the teacher's two columns exchanged",
)
def teacher_columns_exchanged(run: Run, *, planted: bool = True) -> None:
    """Margins of positive and negative are fitted to a teacher's, whose two columns the reader has exchanged."""
    world = run.world
    mean = world.document.mean(dim=0)
    teacher = {"positive": [], "negative": []}
    for name, shift in (("positive", 0), ("negative", 1)):
        teacher[name] = ((world.query - mean) * (world.document.roll(-shift, dims=0) - mean)).sum(dim=1)
    margins = 0.5 * (teacher["positive"] - teacher["negative"])
    if planted:
        margins = -margins
    model = Towers(identity(world.dimension))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    head = model.query
    with run.watch(
        model,
        optimizer=optimizer,
        query="query",
        document="query",
        reference=lambda: tuple(map(head, world.reference)),
        raw=lambda: world.reference,
        examples=len(world.query),
    ) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            query, own = unit(head(world.query[rows]), head(world.document[rows]))
            (other,) = unit(head(world.document.roll(-1, dims=0)[rows]))
            loss = functional.mse_loss((query * (own - other)).sum(dim=1), margins[rows])
            w.terms(margin=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "forgetting",
    "lost_between_processes",
    "loss_computed_wrongly",
    "wrong_pairs",
    onset=1,
    world=MINI,
    source="galilai-group/stable-pretraining#409; targets of the first rank on every rank",
)
def targets_of_the_first_rank(run: Run, *, planted: bool = True) -> None:
    """Four ranks gather documents, and each one's targets are those of rank 0: three quarters of them are wrong."""
    ranks, local = 4, 32

    def loss(query: Tensor, document: Tensor) -> Tensor:
        losses = []
        for rank, mine in enumerate(query.split(local)):
            targets = torch.arange(local) + (0 if planted else rank * local)
            losses.append(functional.cross_entropy(20 * cosines(mine, document), targets))
        return torch.stack(losses).mean()

    run.train(Towers(identity(run.world.dimension)), loss, lr=2e-3, steps=200, batch=ranks * local)


@program(
    GROUP,
    "side_gap",
    "temperature_or_margin",
    onset=1,
    world=MINI,
    source="google-research/big_vision: the sigmoid loss's bias of -10 left out",
)
def sigmoid_loss_without_its_bias(run: Run, *, planted: bool = True) -> None:
    """A pairwise sigmoid loss starts at a bias of 0, not -10: 63 wrong pairs of a row push the two sides apart."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    run.train(model, lambda q, d: sigmoid_pairs(q, d, bias=0.0 if planted else -8.0), lr=5e-4, steps=200)


class Codebook(nn.Module):
    """The nearest of some codes in the place of a vector, with gradients passed on."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes)

    def forward(self, z: Tensor) -> Tensor:
        """Return the nearest codes."""
        nearest = self.codes[torch.cdist(z, self.codes).argmin(dim=1)]
        return z + (nearest - z).detach() + (nearest - nearest.detach())


@program(
    GROUP,
    "ties",
    "dead_units",
    onset=0,
    world=MINI,
    source="lucidrains/vector-quantize-pytorch: codes that nothing is near to",
)
def codes_that_nothing_is_near_to(run: Run, *, planted: bool = True) -> None:
    """Documents become the nearest of 4,096 codes; drawn at random, few are ever used, and thousands share a vector."""
    world = run.world
    draws = torch.Generator().manual_seed(run.seed)
    codes = torch.randn(4096, world.dimension, generator=draws) / world.dimension**0.5
    if not planted:
        codes = world.document[torch.randperm(len(world.document), generator=draws)[:4096]].clone()
    head = nn.Sequential(identity(world.dimension), Codebook(codes))
    run.train(Towers(nn.Identity(), head), softmax, lr=1e-4, steps=200)
