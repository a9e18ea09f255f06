"""Probe declarations: the shipped ones are sound, own ones go first, and mistakes are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import collapse_probe
from collapse_probe.errors import InputError
from collapse_probe.recording import RESIDUAL_SET, available_probes, load_probe, load_watched, parse_probe

SHIPPED = ("coverage", "embedding", "founding_monitor", "loss", "pairs", "residual")


def test_the_shipped_probes_are_found_and_read(tmp_path):
    assert tuple(available_probes(tmp_path)) == SHIPPED
    for name in SHIPPED:
        probe = load_probe(name, tmp_path)
        assert probe.summary
        assert all(entry["source"] and entry["why"] and entry["remedy"] for entry in probe.expected)


def test_a_checkout_that_nobody_installed_has_them_too(tmp_path, monkeypatch):
    if not (Path(collapse_probe.__file__).parents[1] / "probes").is_dir():
        pytest.skip("the package is not imported from its repository")
    monkeypatch.setitem(sys.modules, "collapse_probe.shipped_probes", None)
    assert tuple(available_probes(tmp_path)) == SHIPPED
    assert load_probe("loss", tmp_path).summary


def test_the_founding_monitor_list_is_as_the_document_has_it(tmp_path):
    expected = {entry["reading"]: entry for entry in load_probe("founding_monitor", tmp_path).expected}
    assert expected["delta/mean_abs"]["min"] == 0.01
    assert expected["delta/max_abs"]["min"] == 0.1
    assert (expected["delta/alpha"]["min"], expected["delta/alpha"]["max"]) == (0.1, 0.15)
    assert expected["delta/correction_mean_abs"]["min"] == 0.001


def test_a_projects_own_declaration_goes_before_the_shipped_one(tmp_path):
    (tmp_path / "residual.toml").write_text('summary = "mine"\n[readings]\n"delta/alpha" = "alpha"\n')
    (tmp_path / "extra.toml").write_text('summary = "another"\n')
    assert load_probe("residual", tmp_path).summary == "mine"
    assert "extra" in available_probes(tmp_path)


def test_watching_adds_the_loss_and_keeps_each_probe_once(tmp_path):
    names = [probe.name for probe in load_watched(["residual", "all"], watch_delta=True, folder=tmp_path)]
    assert names[0] == "loss"
    assert sorted(names) == sorted(SHIPPED)
    assert [probe.name for probe in load_watched([], watch_delta=False, folder=tmp_path)] == ["loss"]
    assert {p.name for p in load_watched([], watch_delta=True, folder=tmp_path)} == {"loss", *RESIDUAL_SET}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = y", r"p\.toml: not TOML: .*line 1"),
        ("sumary = 'x'", r"p\.toml: unknown key 'sumary': did you mean 'summary'\?"),
        ('[readings]\n"delta/mean_ab" = "x"', r"unknown reading 'delta/mean_ab': did you mean 'delta/mean_abs'\?"),
        ('[histograms]\n"delta/ab" = "x"', r"unknown histogram 'delta/ab': did you mean 'delta/abs'\?"),
        ("[schedule]\nevery = 0", r"every = 0: a whole number of at least 1 is needed"),
        ("[schedule]\nevry = 3", r"unknown key 'evry': did you mean 'every'\?"),
        ('[expected]\nreading = "delta/alpha"', r"write \[\[expected\]\]"),
        ("[[expected]]\nmin = 1", r"names no reading"),
        ('[[expected]]\nreading = "delta/alpha"\nsource = "s"', r"delta/alpha has no bound"),
        ('[[expected]]\nreading = "delta/alpha"\nmin = "a"\nsource = "s"', r"min is 'a', a number is needed"),
        ('[[expected]]\nreading = "delta/alpha"\nmin = 1', r"an expected range needs its source"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_probe("p", text, source="p.toml")


def test_an_unknown_probe_names_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"unknown probe 'residul': did you mean 'residual'\?"):
        load_watched(["residul"], watch_delta=False, folder=tmp_path)
