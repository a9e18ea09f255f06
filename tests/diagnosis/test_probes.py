"""What ``[detectors.CODE]`` of a probe says: it is obeyed, or refused with the nearest name."""

from __future__ import annotations

import pytest
from journals_support import live

from collapse_probe.diagnosis import diagnose
from collapse_probe.errors import InputError


@pytest.mark.parametrize(
    ("detectors", "said"),
    [
        ({"CP999": {"ignore": "x"}}, r"probe mine: \[detectors\.CP999\]: unknown code 'CP999'"),
        ({"CP41": {"critical": 0.9}}, "unknown code 'CP41': did you mean 'CP4"),
        ({"CP411": {"critcal": 0.9}}, r"\[detectors\.CP411\]: unknown key 'critcal': did you mean 'critical'\?"),
        ({"CP410": {"ignore": "x", "Ignore": "y"}}, "unknown key 'Ignore': did you mean 'ignore'"),
    ],
)
def test_a_name_that_no_detector_has_is_refused(detectors, said):
    with pytest.raises(InputError, match=said):
        diagnose(live(steps=8, fields={"probes": {"mine": {"detectors": detectors}}}))


def test_what_a_detector_has_is_obeyed():
    probes = {"mine": {"detectors": {"CP411": {"ignore": "known"}, "CP410": {"critical": 0.01}}}}
    found = diagnose(live(steps=8, fields={"probes": probes}))
    assert {one.ignored for one in found.findings if one.code == "CP411"} == {"known"}
    (bounds, *_) = [one.judgement.bounds for one in found.findings if one.code == "CP410" and one.judgement]
    assert bounds.critical == 0.01


def test_a_stream_that_was_read_was_heard_in_as_many_steps():
    """A further call of a module has readings, and no record of its own of how often it was heard."""
    readings = {"negative.2/norm_median": 1.0}
    found = {one.stream: one for one in diagnose(live(steps=30, every=10, extra=readings)).heard}
    assert found["negative.2"].steps == 21
    assert found["query"].steps == 30
