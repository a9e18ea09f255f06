"""A sample's readings: by role, by name, each once, on the device, and left out where something is lacking."""

from __future__ import annotations

import pytest
import torch

from collapse_probe import measures as m
from collapse_probe.errors import InputError
from collapse_probe.journal.vocabulary import MEASURES, Role
from collapse_probe.measures import Sample, _given, read, singular_values

ROLES = {
    "query": Role.query,
    "document": Role.document,
    "negative": Role.document,
    "delta": Role.correction,
    "alpha": Role.gate,
}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sample(**streams: torch.Tensor) -> Sample:
    return Sample(streams=streams, roles={name: ROLES.get(name, Role.hidden) for name in streams})


def full(n: int = 9, dimension: int = 5) -> Sample:
    q, d = drawn(n, dimension), drawn(n, dimension, seed=1)
    return sample(query=q, document=d, delta=drawn(n, dimension, seed=2).tanh(), alpha=torch.tensor(0.3))


@pytest.mark.parametrize("on", ["batch", "reference"])
def test_everything_that_the_roles_allow_is_read(on):
    values = read(full(), on=on)
    more = {"neighbours", "earlier", "force", "gradient", "negative"}
    measures = [measure for measure in MEASURES.values() if on in measure.on and not more & set(measure.needs)]
    vectors = [e.name for e in measures if e.subject == "stream"]
    expected = {f"{stream}/{name}" for stream in ("query", "document", "delta") for name in vectors}
    expected |= {f"pairs/{e.name}" for e in measures if e.subject == "pairs"}
    expected |= {f"delta/{e.name}" for e in measures if e.subject == "correction"}
    assert values.keys() == expected | {"alpha/value", "alpha/finite_share"}
    assert all(value.shape == () and torch.isfinite(value) for value in values.values())


def test_readings_are_the_functions_of_their_names():
    s = full()
    q, d, delta = (s.streams[name] for name in ("query", "document", "delta"))
    values = read(s, on="reference")
    assert values["query/effective_rank"] == m.effective_rank(m.spectrum(m.scatter(q), n=9))
    assert values["document/isoscore_corrected"] == m.isoscore_corrected(m.covariance(d), n=9)
    assert values["pairs/mrr"] == m.mrr(q, d, similarity="cosine")
    assert values["delta/mean_abs"] == m.mean_abs(delta)
    assert values["delta/correction_mean_abs"] == m.mean_abs(0.3 * delta)
    assert values["delta/identity_gain"] == m.identity_gain(0.3 * delta, q, d)
    assert values["alpha/value"].item() == pytest.approx(0.3)


def test_wanted_readings_alone_are_computed(monkeypatch):
    monkeypatch.setattr(_given, "compare", lambda *_, **__: pytest.fail("scores were not asked for"))
    wanted = ["query/norm_mean", "delta/mean_abs", "loss/total", "elsewhere/norm_mean"]
    assert list(read(full(), on="batch", wanted=wanted)) == ["query/norm_mean", "delta/mean_abs"]
    assert read(full(), on="batch", wanted=[]) == {}


def test_covariances_spectra_and_scores_are_computed_once(monkeypatch):
    calls = []
    for name in ("scatter", "spectrum", "compare"):
        counted = getattr(_given, name)
        monkeypatch.setattr(
            _given, name, lambda *a, name=name, counted=counted, **k: calls.append(name) or counted(*a, **k)
        )
    s = full()
    read(s, on="reference")
    singular_values(s, "query")
    assert sorted(calls) == ["compare", *["scatter"] * 3, *["spectrum"] * 3]


def test_documents_of_several_streams_are_scored_together():
    q, d, n = drawn(6, 4), drawn(6, 4, seed=1), drawn(12, 4, seed=2)
    values = read(sample(query=q, document=d, negative=n), on="batch")
    assert values["pairs/mrr"] == m.mrr(q, torch.cat([d, n]), similarity="cosine")
    own = torch.arange(6) + 6
    swapped = Sample(streams={"negative": n[:6], "document": d, "query": q}, roles=ROLES, own=own)
    torch.testing.assert_close(read(swapped, on="reference")["pairs/cosine_mean"], m.pair_cosine(q, d).mean())


@pytest.mark.parametrize(
    ("gate", "scale"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.full((1,), 0.5), 0.5),
        (torch.full((5,), 0.5), 0.5),
        (torch.full((9,), 0.5), 0.5),
        (torch.full((9, 1), 0.5), 0.5),
        (torch.full((9, 5), 0.5), 0.5),
        (torch.full((7,), 0.5), None),
    ],
)
def test_gates_of_every_shape_scale_the_correction(gate, scale):
    delta = drawn(9, 5)
    values = read(sample(query=drawn(9, 5), delta=delta, alpha=gate), on="batch")
    assert values["alpha/value"] == 0.5
    if scale is None:
        assert "delta/correction_mean_abs" not in values and "delta/mean_abs" in values
    else:
        torch.testing.assert_close(values["delta/correction_mean_abs"], m.mean_abs(scale * delta))


def test_without_a_gate_the_correction_is_what_is_added_and_with_two_nobody_knows():
    delta, q = drawn(9, 5), drawn(9, 5, seed=1)
    alone = read(sample(query=q, delta=delta), on="batch")
    assert alone["delta/correction_mean_abs"] == alone["delta/mean_abs"]
    roles = {"a": Role.gate, "b": Role.gate, "delta": Role.correction, "query": Role.query}
    streams = {"a": torch.ones(1), "b": torch.ones(1), "delta": delta, "query": q}
    both = read(Sample(streams=streams, roles=roles), on="batch")
    assert "delta/identity_gain" not in both and "delta/correction_mean_abs" not in both
    assert {"a/value", "b/value"} <= both.keys()


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param({"query": drawn(4, 3), "document": drawn(4, 5)}, id="another width"),
        pytest.param({"query": drawn(4, 3), "document": drawn(3, 3)}, id="fewer documents, own unknown"),
        pytest.param({"query": drawn(4, 3)}, id="no document"),
        pytest.param({"query": drawn(4, 7, 3), "document": drawn(4, 7, 3)}, id="tokens"),
        pytest.param({"query": drawn(0, 3), "document": drawn(0, 3)}, id="no rows"),
        pytest.param({"document": drawn(4, 3), "delta": drawn(2, 3)}, id="no query"),
        pytest.param({"query": drawn(4, 3), "document": drawn(4, 3), "delta": drawn(2, 3)}, id="rows of delta"),
        pytest.param({"query": drawn(4), "document": torch.tensor(1.0)}, id="no matrix"),
    ],
)
@pytest.mark.parametrize("on", ["batch", "reference"])
def test_what_does_not_fit_is_left_out_and_never_raised(streams, on):
    values = read(sample(**streams), on=on)
    assert all(f"{name}/finite_share" in values for name in streams)
    if "delta" in streams:
        assert "delta/mean_abs" in values and "delta/identity_gain" not in values
    else:
        assert not any(name.startswith("pairs/") for name in values)
    for name, stream in streams.items():
        assert (f"{name}/norm_mean" in values) == (stream.ndim == 2 and len(stream) > 0)


def test_half_precision_and_graphs_are_taken_as_they_come():
    q = drawn(6, 4).bfloat16().requires_grad_()
    values = read(sample(query=q, document=drawn(6, 4).half()), on="batch")
    assert not any(value.requires_grad for value in values.values())
    assert all(torch.isfinite(value) for value in values.values())


@pytest.mark.parametrize("roles", [ROLES, {}])
def test_a_batch_is_read_without_waiting_for_the_device(roles):
    """A meta tensor has no values, so reading one on the host raises."""
    streams = {name: torch.empty(8, 5, device="meta") for name in ("query", "document", "negative", "delta")}
    streams["alpha"] = torch.empty((), device="meta")
    values = read(Sample(streams=streams, roles=roles), on="batch")
    assert len(values) > 30 and {value.device.type for value in values.values()} == {"meta"}


@pytest.mark.parametrize(
    ("name", "on", "message"),
    [
        ("query/effective_rank", "batch", r"query/effective_rank cannot be read on a batch, .* on reference pairs"),
        ("pairs/margin", "reference", r"pairs/margin cannot be read on reference pairs, .* on batches"),
        ("query/norm_men", "batch", r"unknown measure 'norm_men': did you mean 'norm_mean'\?"),
        ("norm_mean", "batch", r"write STREAM/MEASURE"),
    ],
)
def test_what_cannot_be_read_says_so(name, on, message):
    with pytest.raises(InputError, match=message):
        read(full(), on=on, wanted=[name])


def test_a_stream_may_not_be_called_as_the_pairs_are():
    with pytest.raises(InputError, match="a stream is called 'pairs'"):
        sample(pairs=drawn(2, 2))


def test_singular_values_are_numpys_or_none():
    z = drawn(5, 9).double()
    found = singular_values(sample(query=z), "query")
    torch.testing.assert_close(found, torch.linalg.svdvals(z - z.mean(dim=0)), atol=1e-6, rtol=1e-6)
    assert singular_values(sample(query=drawn(2, 3, 4)), "query") is None
    z[0, 0] = torch.nan
    assert torch.isnan(singular_values(sample(query=z), "query")).all()


@pytest.mark.parametrize(("views", "rows", "pairs"), [(2, 9, True), (3, 9, False), (2, 8, False)])
def test_two_views_of_as_many_rows_are_each_others_own(views, rows, pairs):
    streams = {f"z{at}": drawn(9 if at == 0 else rows, 5, seed=at) for at in range(views)}
    found = read(Sample(streams=streams, roles=dict.fromkeys(streams, Role.view)), on="batch")
    assert ("pairs/d_prime" in found) is pairs
    if pairs:
        both = Sample(streams=streams, roles={"z0": Role.query, "z1": Role.document})
        assert torch.equal(found["pairs/mrr"], read(both, on="batch")["pairs/mrr"])
