"""Probes of the user's own: readings, how often, and ranges that diagnosis judges by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loops import TwoTowers, descend, infonce, pairs
from torch import nn

from collapse_probe import Run, diagnose, respred, write_report
from collapse_probe.errors import InputError
from collapse_probe.journal import Histogram
from collapse_probe.journal.vocabulary import Role
from collapse_probe.recording import Tap
from collapse_probe.watching import Watch, autolog, watch

MINE = """
summary = "The hidden layer keeps its scale."
[schedule]
every = 1
[readings]
"hidden/norm_mean" = "mean norm of the hidden layer"
[[expected]]
reading = "hidden/norm_mean"
relative_to = "hidden/norm_mean"
critical_above = 1.05
source = "own runs"
why = "the layer behind it saturates"
remedy = "lower the rate of the first layer"
"""

SIDES = {"query": "query_tower", "document": "doc_tower"}


def own(name: str = "mine", text: str = MINE) -> Path:
    """Write a probe of the project that the test runs in."""
    path = Path("probes") / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def trained(steps: int = 40, **options: Any) -> Watch:
    """Return the closed watch of a loop whose hidden layer grows."""
    torch.manual_seed(0)
    model = TwoTowers(lambda a, b: (a, b))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taps = [Tap(stream="hidden", at="query_tower.0")]
    with watch(model, optimizer=optimizer, **SIDES, taps=taps, **{"run": False, **options}) as w:
        for a, b in pairs(steps):
            descend(optimizer, infonce(*model(a, b)))
            with torch.no_grad():
                model.query_tower[0].weight.mul_(1.01)
    return w


@pytest.mark.parametrize("given", ["mine", ["residual", "mine"], "probes/mine.toml", Path("probes/mine.toml")])
def test_a_range_that_is_crossed_is_found_with_its_own_remedy(given):
    own()
    w = trained(run="runs/mine", probes=given)
    assert w.run is not None
    found = diagnose(w.run)
    assert [(one.code, one.subject, str(one.status)) for one in found.kinds] == [
        ("CP101", "hidden/norm_mean", "critical")
    ]
    assert found.exit_code == 1
    assert "hidden/norm_mean is" in found.summary
    assert "x the first hidden/norm_mean (cut 1.05)" in found.summary
    assert "mine: lower the rate of the first layer" in found.summary
    assert Run.load(w.run).config.probes["mine"]["expected"][0]["source"] == "own runs"
    assert "hidden/norm" in write_report(w.run, figures=False).read_text(encoding="utf-8")


def test_a_probe_takes_no_reading_away_and_may_ask_for_more_steps():
    own()
    without, with_it = trained(), trained(probes="mine")
    assert without.live.keys == with_it.live.keys
    many, few = (one.live.series("hidden/norm_mean", on="batch").steps.tolist() for one in (with_it, without))
    assert (many, few) == (list(range(1, 41)), [*range(1, 21), 30, 40])
    assert diagnose(without).kinds == ()


class Corrected(TwoTowers):
    """Adds something to the query."""

    def __init__(self) -> None:
        super().__init__(lambda q, d: (q + self.delta(q), d))
        self.delta = nn.Linear(8, 8)


def test_what_is_read_only_for_a_probe_is_read():
    def journalled(**options: Any) -> tuple[set[str], set[str]]:
        model = Corrected()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        taps = [Tap(stream="delta", at="delta", role=Role.correction)]
        with watch(model, optimizer=optimizer, **SIDES, taps=taps, run=False, reference=False, **options) as w:
            for a, b in pairs(30):
                descend(optimizer, infonce(*model(a, b)))
        summaries = {name for name, _, _ in w.live.keys if name.startswith("delta/") and name.endswith(".mean")}
        return {one.name for one in w.live.of(Histogram)}, summaries

    assert journalled() == (set(), set())
    histograms, summaries = journalled(probes="residual")
    assert histograms == {"delta/abs"}
    assert "delta/mean_abs.mean" in summaries


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mien", "unknown probe 'mien': did you mean 'mine'?"),
        ("nowhere.toml", "nowhere.toml: cannot be read: No such file or directory"),
        (["mine", 3], "probes: a int is none: give names of probes, or paths of TOML files"),
        (["mine", "other/mine.toml"], "two probes are called 'mine'"),
        ("rank", "hidden/effective_rank cannot be read: effective_rank is of the reference pairs'"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_attached(given, message):
    own()
    own("rank", '[readings]\n"hidden/effective_rank" = "rank"\n')
    Path("other").mkdir()
    Path("other/mine.toml").write_text(MINE)
    model = TwoTowers(lambda a, b: (a, b))
    with pytest.raises(InputError) as raised:
        watch(model, **SIDES, taps=[Tap(stream="hidden", at="query_tower.0")], run="runs/x", probes=given)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not any(one._forward_hooks for one in model.modules())
    assert not Path("runs").exists()


def test_autolog_says_at_once_that_there_is_no_such_probe():
    with pytest.raises(InputError, match="unknown probe 'residul'"):
        autolog(probes="residul")


WRONG_CUTS = {
    "[detectors.CP999]\nwarning = 1": "unknown code 'CP999'",
    "[detectors.CP411]\nwarning = -1": "unknown key 'warning': Known: critical, floor, ignore",
    "[detectors.CP411]\ncritical = nan": "critical is nan, a number is needed",
    "[detectors.CP411]\nignore = 1": "ignore is 1, a reason in words is needed",
}


@pytest.mark.parametrize("text", WRONG_CUTS)
@pytest.mark.parametrize("begin", ["watch", "autolog", "respred"])
def test_cuts_that_no_detector_has_are_refused_before_anything_begins(text, begin):
    own(text=text)
    model = TwoTowers(lambda a, b: (a, b))
    begins: dict[str, Callable[[], Any]] = {
        "watch": lambda: watch(model, probes="mine"),
        "autolog": lambda: autolog(probes="mine"),
        "respred": lambda: respred.train("respred", pairs="none.jsonl", watch=["mine"]),
    }
    with pytest.raises(InputError, match=WRONG_CUTS[text]) as caught:
        begins[begin]()
    assert len(str(caught.value).splitlines()) == 1 and not Path("runs").exists()
    watch(model, run=False).close()


ASKED = """
[schedule]
every = 1000
powers_of = 3
[readings]
"elsewhere/norm_mean" = "of a stream that nobody hands over"
"hidden/norm_mean" = "of a tap"
[histograms]
"hidden/abs" = "of a tap"
"gate/abs" = "of a gate"
"nowhere/abs" = "of nothing"
"""


def test_a_probe_s_powers_are_due_and_the_values_of_any_stream_are_counted():
    own(text=ASKED)
    torch.manual_seed(0)
    model = TwoTowers(lambda a, b: (a, b))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taps = [Tap(stream="hidden", at="query_tower.0"), Tap(stream="gate", at="doc_tower.0.bias", role="gate")]
    with watch(model, optimizer=optimizer, **SIDES, taps=taps, run=False, probes="mine", every=1000) as w:
        for a, b in pairs(90):
            descend(optimizer, infonce(*model(a, b)))
    steps = w.live.series("hidden/norm_mean", on="batch").steps.tolist()
    assert steps == [*range(1, 21), 27, 81]
    counted = {one.name: one for one in w.live.of(Histogram)}
    assert set(counted) == {"hidden/abs", "gate/abs"}
    assert sum(counted["hidden/abs"].counts) == counted["hidden/abs"].n * 16 == len(steps) * 10 * 16
    missing = {one.what: one.why for one in diagnose(w).not_measured}
    assert missing["stream elsewhere"] == missing["stream nowhere"] == "asked for, never heard"
    assert "probe mine" in w.live.coverage["elsewhere"].where


@pytest.mark.parametrize(("role", "missing"), [(None, False), ("hidden", False), ("view", True)])
def test_a_hidden_layer_lacks_no_rank_of_reference_pairs(role, missing):
    torch.manual_seed(0)
    model = TwoTowers(lambda a, b: (a, b))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taps = [Tap(stream="first", at="query_tower.0", role=role)]
    with watch(model, optimizer=optimizer, **SIDES, taps=taps, run=False) as w:
        for a, b in pairs(60):
            descend(optimizer, infonce(*model(a, b)))
    found = diagnose(w)
    assert any(one.what == "dimensional_collapse" for one in found.not_measured) is missing


def test_the_first_screen_draws_queries_and_documents_before_hidden_layers():
    torch.manual_seed(0)
    model = TwoTowers(lambda a, b: (a, b))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, taps=[Tap(stream="first", at="query_tower.0")], run=False) as w:
        for a, b in pairs(60):
            descend(optimizer, infonce(*model(a, b)))
    summary = diagnose(w).summary
    assert "document common share" in summary and "first common share" not in summary
