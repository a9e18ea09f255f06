"""The shrink forecast against what training to convergence gives, on real pairs and a frozen projection.

    python benchmarks/shrinkage.py

For every residual weight, reduction and alpha, a linear delta is trained with the recipe's own losses until L-BFGS
stops, and the applied correction's norm is taken over that of the ridge optimum on the same pairs. The forecast is
alpha^2 / (alpha^2 + mu); the last column should be within 15 % of 1.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from _common import SHARED, THREADS, stored_vectors
from sentence_transformers import SentenceTransformer
from torch import Tensor

from collapse_probe.measures import penalty_ratio, ridge_correction, shrinkage
from collapse_probe.respred import FOUNDING, Recipe
from collapse_probe.respred.losses import Batch, build_loss
from collapse_probe.respred.modules import ResidualPredictor, build_head, head_parts
from collapse_probe.retrieval import read_pairs

WEIGHTS = (1e-5, 1e-4, 1e-2)
REDUCTIONS = ("sum", "mean")
ALPHAS = (0.1, 0.3)
ITERATIONS = 1500


def main() -> None:
    """Print the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2500, help="pairs to fit; more take longer")
    rows = parser.parse_args().rows
    torch.set_num_threads(THREADS)
    query, document = vectors(rows)
    print(f"{len(query):,} pairs, D = {query.shape[1]}, projection frozen at its initial weights")
    print(f"{'lambda':>8} {'reduction':>9} {'alpha':>6} {'forecast':>9} {'measured':>9} {'measured / forecast':>20}")
    worst = 0.0
    for weight, reduction, alpha in itertools.product(WEIGHTS, REDUCTIONS, ALPHAS):
        recipe = replace(
            FOUNDING,
            freeze_projection=True,
            delta="linear",
            tanh=False,
            dropout=0.0,
            alpha_learnable=False,
            lambda_residual=weight,
            residual_reduction=reduction,
            alpha=alpha,
        )
        forecast, measured = shrunk(recipe, query, document)
        worst = max(worst, abs(measured / forecast - 1))
        cells = f"{weight:>8g} {reduction:>9} {alpha:>6g} {forecast:>9.5f} {measured:>9.5f}"
        print(f"{cells} {measured / forecast:>20.3f}", flush=True)
    print(f"largest deviation {100 * worst:.1f} % (bar 15 %)")


def vectors(rows: int) -> tuple[Tensor, Tensor]:
    """Return stored MiniLM vectors of the first MedQuAD pairs, float64."""
    pairs = read_pairs(SHARED / "data" / "medquad_smoke_10k.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        features = stored_vectors(Path(folder))
        query = features.vectors(pairs.queries[:rows], "query")
        document = features.vectors(pairs.documents[:rows], "document")
    return torch.from_numpy(query).double(), torch.from_numpy(document).double()


def shrunk(recipe: Recipe, query: Tensor, document: Tensor) -> tuple[float, float]:
    """Return the forecast, and the trained correction's norm over the ridge optimum's."""
    dimension = query.shape[1]
    head = build_head(recipe, dimension, seed=0).double()
    parts = head_parts(head)
    predictor = parts.predictor
    assert isinstance(predictor, ResidualPredictor)
    with torch.no_grad():
        q = parts.query_projection({"sentence_embedding": query})["sentence_embedding"]
        d = parts.document_projection({"sentence_embedding": document})["sentence_embedding"]
    train_to_convergence(recipe, head, predictor, q, d)
    with torch.no_grad():
        correction = predictor.scale * predictor.delta(q)
    mu = penalty_ratio(
        lambda_residual=recipe.lambda_residual,
        lambda_predictive=recipe.lambda_predictive,
        dimension=dimension,
        reduction=recipe.residual_reduction,
    )
    best = ridge_correction(q, d, penalty=1e-6)
    return shrinkage(recipe.alpha, mu), float(correction.norm() / best.norm())


def train_to_convergence(
    recipe: Recipe, head: torch.nn.Module, predictor: ResidualPredictor, q: Tensor, d: Tensor
) -> None:
    """Minimise the recipe's predictive and residual terms over the predictor's weights, all pairs at once."""
    loss = build_loss(recipe, SentenceTransformer(modules=[head], device="cpu"))
    weights = [parameter for parameter in predictor.parameters() if parameter.requires_grad]
    unit = float((d - q).square().mean())
    optimiser = torch.optim.LBFGS(
        weights,
        max_iter=ITERATIONS,
        history_size=50,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        delta = predictor.delta(q)
        batch = Batch(query=q, document=d, predicted=q + predictor.scale * delta, delta=delta)
        terms = ("predictive", "residual")
        total = torch.stack([loss.weights[name] * loss.terms[name](batch) for name in terms]).sum() / unit
        total.backward()
        return total

    optimiser.step(closure)


if __name__ == "__main__":
    main()
