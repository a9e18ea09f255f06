"""A plain loop that goes on with the run of an earlier one."""

from __future__ import annotations

import pytest
import torch
from plain_loops import OneTower, descend, infonce, pairs

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Evaluation, Event, JournalError, Run
from collapse_probe.watching import watch


def _train(steps, seed, **options):
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="tower", document="tower", **options) as w:
        for a, b in pairs(steps, seed=seed):
            loss = infonce(model(a), model(b))
            w.terms(infonce=loss)
            descend(optimizer, loss)
    return w


def test_a_run_goes_on_after_its_last_step(tmp_path):
    _train(30, 0, run=tmp_path / "run")
    before = Run.load(tmp_path / "run").series("loss/infonce")
    w = _train(25, 1, run=Run.load(tmp_path / "run"))
    assert w.run == tmp_path / "run"
    run = Run.load(tmp_path / "run")
    after = run.series("loss/infonce")
    assert after.steps.tolist() == list(range(1, 56)) and not run.damage
    assert after.values[:30].tolist() == before.values.tolist()
    assert [one.step for one in run.of(Event) if one.name == "resumed"] == [30]
    assert run.status == "completed" and run.steps == 55
    assert w.live.series("loss/infonce").steps.tolist() == after.steps.tolist()
    # The pairs of the first steps are not mixed with others.
    assert set(run.series("pairs/mrr", on="reference").steps.tolist()) <= set(range(31))


def test_a_run_that_is_being_written_or_is_nowhere_is_refused(tmp_path):
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, run=tmp_path / "run"):
        other = OneTower()
        steps = torch.optim.SGD(other.parameters(), lr=0.1)
        with pytest.raises(JournalError, match="is writing this run"):
            watch(other, optimizer=steps, run=Run.load(tmp_path / "run"))


def _fixed(seed, rows=64, noise=0.3):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, 12, generator=generator)
    return a, a + noise * torch.randn(rows, 12, generator=generator)


def _go_on(model, path, given, steps=20):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run = Run.load(path) if path.exists() else path
    reference = None if given is None else lambda: (model.tower(given[0]), model.tower(given[1]))
    with watch(model, optimizer=optimizer, query="tower", document="tower", run=run, reference=reference) as w:
        for a, b in pairs(steps, rows=32):
            loss = infonce(model(a), model(b))
            w.terms(infonce=loss)
            descend(optimizer, loss)
    return w


def _ranked(path):
    found = [one for one in Run.load(path).of(Evaluation) if one.role == "reference"]
    return [(one.collection, one.step) for one in found]


@pytest.mark.parametrize("case", ["other texts", "other number", "replayed before"])
def test_other_reference_pairs_are_compared_with_themselves_alone(tmp_path, case):
    """Harder pairs that are given when a run goes on are no fall of retrieval."""
    torch.manual_seed(0)
    model, path = OneTower(), tmp_path / "run"
    _go_on(model, path, None if case == "replayed before" else _fixed(1), steps=100)
    before = Run.load(path).series("pairs/d_prime", on="reference").steps.tolist()
    hard = _fixed(2, rows=48 if case == "other number" else 64, noise=2.0)
    w = _go_on(model, path, hard)
    found = diagnose(path)
    assert not [one for one in found.kinds if "reference pairs" in one.subject], found.summary
    assert [one for one in _ranked(path) if one[1] > 100 or "#" in one[0]] == [
        ("reference pairs#2", 100),
        ("reference pairs#2", 120),
    ]
    assert Run.load(path).series("pairs/d_prime", on="reference").steps.tolist() == before
    assert [one.step for one in w.live.of(Event) if one.subject == "other pairs"] == [100]
    # Pairs that a run has had once are known again.
    again = _go_on(model, path, hard)
    assert len([one for one in again.live.of(Event) if one.subject == "other pairs"]) == 1
    assert _ranked(path)[-1] == ("reference pairs#2", 140)


def test_the_same_reference_pairs_go_on(tmp_path):
    torch.manual_seed(0)
    model, path = OneTower(), tmp_path / "run"
    for _ in range(2):
        w = _go_on(model, path, _fixed(1))
    assert {one for one, _ in _ranked(path)} == {"reference pairs"}
    assert Run.load(path).series("pairs/d_prime", on="reference").steps[-1] == 40
    assert not [one for one in w.live.of(Event) if one.subject == "other pairs"]


def test_texts_are_told_apart_by_what_they_are(tmp_path):
    """Whatever the weights: two sets of as many texts."""
    model = Encoding()
    texts = [(f"query {index}", f"document {index}") for index in range(12)]
    for given in (texts, texts, texts[::-1]):
        run = Run.load(tmp_path / "run") if (tmp_path / "run").exists() else tmp_path / "run"
        torch.nn.init.normal_(model.tower.weight)
        with watch(model, query="tower", document="tower", run=run, reference=given, reference_every=1000) as w:
            for a, b in pairs(5):
                infonce(model.tower(a), model.tower(b))
                w.step()
    assert list(dict.fromkeys(one for one, _ in _ranked(tmp_path / "run"))) == ["reference pairs", "reference pairs#2"]
    assert _ranked(tmp_path / "run")[-3:] == [
        ("reference pairs", 10),
        ("reference pairs#2", 10),
        ("reference pairs#2", 15),
    ]


class Encoding(torch.nn.Module):
    """A model of texts, each of which is a point of its own."""

    def __init__(self):
        super().__init__()
        self.tower = torch.nn.Linear(12, 8)

    def encode(self, texts, **_):
        points = [torch.randn(12, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts]
        return self.tower(torch.stack(points))
