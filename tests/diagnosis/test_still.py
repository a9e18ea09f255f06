"""Reference pairs that do not go through what is trained: said, and the batches are judged in their place."""

from __future__ import annotations

import json

import pytest
from journals_support import FALL, made, ramp

from collapse_probe.diagnosis import Status, diagnose

COLLAPSE = {**FALL, "query/common_share": ramp(0.2, 0.99), "document/common_share": ramp(0.2, 0.99)}


def kept_still(folder) -> None:
    """Write every reading of the reference pairs again as it was at step 0."""
    path = folder / "journal.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    first = next(one["values"] for one in records if one.get("on") == "reference")
    for one in records:
        if one.get("on") == "reference":
            one["values"] = first
    path.write_text("".join(json.dumps(one) + "\n" for one in records))


def said(found) -> list:
    return [one for one in found.not_measured if one.what == "reference pairs"]


@pytest.mark.parametrize("every", [5, 1])
def test_batches_are_judged_where_the_reference_pairs_stand_still(tmp_path, every):
    made(tmp_path, COLLAPSE, scores=lambda t: 0.84, every=every)
    kept_still(tmp_path)
    found = diagnose(tmp_path)
    assert found.status is Status.CRITICAL
    assert {"query", "document"} <= {one.subject for one in found.kinds if one.code in ("CP410", "CP421")}
    (one,) = said(found)
    assert not one.essential and "do not go through what is trained" in one.why
    assert found.kinds[0].kind == "path_mismatch"


def test_a_model_that_does_not_move_either_is_not_said_to_be_another(tmp_path):
    made(tmp_path, scores=lambda t: 0.84)
    kept_still(tmp_path)
    assert not said(diagnose(tmp_path))


def test_reference_pairs_that_move_are_judged(tmp_path):
    made(tmp_path, COLLAPSE)
    assert not said(diagnose(tmp_path))
