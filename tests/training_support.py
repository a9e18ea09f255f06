"""A training function that makes its run up; without torch, so that a worker starts soon."""

from __future__ import annotations

from pathlib import Path

from journals_support import both, made, ramp

BASE = {"loss": {"kind": "squared", "temperature": 0.05}, "lr": 1e-3, "seed": 3}
FORCES = {"pairs/pull": -0.4, "query/radial": 0.0, "document/radial": 0.0}
CALLS: list[tuple[object, int]] = []


def made_up(configuration: dict, watch_folder: Path, seed: int = -1) -> None:
    """A collapse under a squared error, none under a softmax; a rate of 1 raises after the watch began."""
    CALLS.append((configuration["loss"]["kind"], seed))
    assert configuration["seed"] == seed
    falls = configuration["loss"]["kind"] == "squared"
    end = 0.5 if configuration["lr"] == 1e-3 else 0.6
    ranks = {"pairs/mrr": ramp(0.84, end), "pairs/d_prime": ramp(3.4, 1.5), "pairs/mrr_centred": ramp(0.845, end)}
    planted = {**ranks, **both("common_share", ramp(0.2, 0.995))} if falls else {}
    made(watch_folder, planted, extra={**FORCES, "pairs/push": -0.2 if falls else 0.2}, seed=seed, steps=60)
    if configuration["lr"] == 1.0:
        raise FloatingPointError("the loss is\nnot a number")
