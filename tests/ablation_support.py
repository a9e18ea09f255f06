"""A small ablation over made-up vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests_support import toy_data, toy_evaluation

from collapse_probe.experiments import CONTROL, Intervention, keep, make_cells, run_cell, write_record
from collapse_probe.journal import RunConfig
from collapse_probe.respred import Recipe
from collapse_probe.respred._ablation import Material, cell_inputs, train_cell
from collapse_probe.respred._plans import plan
from collapse_probe.statistics import SeededDifference, seeded_difference

RECIPE = Recipe(batch_size=32, epochs=2, learning_rate=1e-2)


def material(config: RunConfig, threads: int = 1) -> Material:
    """Return what every cell of the small ablation reads."""
    data = toy_data()
    texts = ["x"] * len(data.query)
    out = ["y"] * len(data.validation_query)
    return Material(
        config=config,
        pairs=(data.query, data.document, texts, texts),
        validation=(data.validation_query, data.validation_document, out, out),
        share=0.1,
        evaluations=[toy_evaluation()],
        device="cpu",
        threads=threads,
        encoder=(None, Path(".")),
    )


def write_ablation(folder: Path, config: RunConfig) -> None:
    """Run the plan ``causes`` over two seeds, in this process: each of a pool would import for ten seconds."""
    interventions = [Intervention(CONTROL, {}), *plan("causes", RECIPE)]
    cells = make_cells(interventions, RECIPE, seeds=[0, 1])
    names = [cell.name for cell in cells]
    write_record(folder, name="toy", run="base", plan="causes", interventions=interventions, seeds=[0, 1], cells=names)
    read = material(config, threads=torch.get_num_threads())
    for cell in cells:
        keep(folder, cell, run_cell(train_cell, cell, read), cell_inputs(config))


def over(seeds: int, mean: float) -> SeededDifference:
    """Return a resolved difference over some seeds."""
    return seeded_difference(mean + np.random.default_rng(0).normal(0, 0.01, size=(seeds, 40)))
