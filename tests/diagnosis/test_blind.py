"""What cannot show a fall is not measured, rather than healthy."""

from __future__ import annotations

import pytest
from journals_support import made, ramp

from collapse_probe.diagnosis import Status, diagnose

RETRIEVAL = "retrieval or separation"


@pytest.mark.parametrize(("steps", "status"), [(3, Status.NOT_MEASURED), (7, Status.NOT_MEASURED), (8, Status.HEALTHY)])
def test_few_steps_are_too_few_to_tell(steps, status, tmp_path):
    """Bug: a run of three steps was healthy, with everything measured."""
    found = diagnose(made(tmp_path / "run", steps=steps))
    assert found.status is status
    assert [one.what for one in found.not_measured if one.essential] == ([] if steps == 8 else [RETRIEVAL])
    assert ("too few steps to tell" in found.summary) == (steps < 8)
    assert found.exit_code == (0 if steps == 8 else 1)


@pytest.mark.parametrize(
    ("own", "others", "rank", "status"),
    [
        (1.0, 0.3, 1.0, Status.NOT_MEASURED),
        (0.99, 0.3, 0.99, Status.HEALTHY),
        (1.0, 1.0, 0.99, Status.HEALTHY),
        (0.999994, 0.999981, 0.16, Status.HEALTHY),
    ],
)
def test_documents_that_are_their_queries_cannot_show_a_fall(own, others, rank, status, tmp_path):
    """Bug: a reciprocal rank of 1 from a document that is a copy of its query was healthy.

    Bug: an encoder to which all texts are nearly the same, and which finds few, was said to have pairs too easy.
    """
    planted = {
        "pairs/cosine_mean": lambda t: own,
        "pairs/cosine_random_mean": lambda t: others,
        "pairs/mrr": lambda t: rank,
        "pairs/mrr_centred": lambda t: rank,
        "pairs/d_prime": ramp(4.0, 4.4),
    }
    run = made(tmp_path / "run", planted, noise=0.0, extra={"pairs/cosine_mean": own, "pairs/cosine_random_mean": 0.3})
    found = diagnose(run)
    assert found.status is status
    assert ("too easy to show a fall" in found.summary) == (status is Status.NOT_MEASURED)


@pytest.mark.parametrize("gap", [0.1, 0.0])
@pytest.mark.parametrize("falls", [True, False])
def test_two_passes_of_dropout_over_one_text_are_judged_by_their_batches(gap, falls, tmp_path):
    """In evaluation mode they are one vector; where the batches' sides are, too, nothing is told."""
    same = {"pairs/cosine_mean": 1.0, "pairs/cosine_random_mean": 0.3, "pairs/side_gap": gap}
    planted = {"pairs/mrr": lambda t: 1.0, "pairs/d_prime": ramp(4.0, 2.0 if falls else 5.0)}
    found = diagnose(made(tmp_path / "run", planted, noise=0.0, extra=same))
    assert [one.what for one in found.not_measured if one.essential] == ([] if gap else [RETRIEVAL])
    judged = next(one for one in found.retrieval if one["change"] is not None)
    assert not gap or (judged["collection"], judged["change"]["value"] < 0) == ("batch pairs", falls)
