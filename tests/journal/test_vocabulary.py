"""The vocabulary: entries have their functions, names are derived, old names are known, null bands hold."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from collapse_probe import measures as m
from collapse_probe.errors import InputError
from collapse_probe.journal.vocabulary import (
    MEASURES,
    Band,
    Measure,
    Role,
    modern_reading,
    reading_name,
    split_reading,
)
from collapse_probe.measures import Sample
from collapse_probe.measures._functions import OPTIONS

OLDER_RESIDUAL = (
    "mean_abs",
    "max_abs",
    "norm",
    "alpha",
    "correction_mean_abs",
    "correction_max_abs",
    "correction_over_query",
    "correction_over_residual",
    "identity_gain",
    "cosine_above_chance",
    "constancy",
    "tanh_saturation",
)
OLDER_EMBEDDING = (
    "norm_mean",
    "norm_spread",
    "std_mean",
    "std_min",
    "mean_cosine",
    "participation_ratio",
    "participation_ratio_uncentred",
    "effective_rank",
    "isoscore",
    "grand_mean_fraction",
    "dead_dimensions",
    "uniformity",
    "scale_drift",
    "scale_drift_raw",
)
OLDER_PAIRS = ("distance_mean", "cosine_mean", "distance_random_mean", "cosine_random_mean", "margin", "accuracy")

HELPERS = {
    "covariance",
    "dimension_std",
    "mismatched",
    "pair_cosine",
    "pair_distance",
    "scale_drift",
    "scatter",
    "spectrum",
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_entry_has_its_function_and_its_needs_are_the_arguments(name):
    parameters = inspect.signature(m.FUNCTIONS[name]).parameters
    required = {part for part, p in parameters.items() if p.default is inspect.Parameter.empty}
    assert required - {"n", "similarity"} == set(MEASURES[name].needs)
    assert OPTIONS[name] <= {"n", "dimension", "similarity", "own", "scores", "shifts", "t", "threshold"}


def test_every_function_that_is_exported_has_its_entry_or_is_a_helper():
    families = (m._angles, m._corrections, m._forces, m._neighbours, m._pairs, m._rows, m._scale, m._spectrum)
    exported = {name for family in families for name in family.__all__}
    assert exported == MEASURES.keys() | HELPERS and not MEASURES.keys() & HELPERS


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda measure: measure.name)
def test_every_entry_is_fit_to_be_shown(measure):
    assert measure.about.endswith(".") and len(measure.label) <= 24
    assert "/" not in measure.name and "." not in measure.name
    if {"covariance", "spectrum"} & set(measure.needs):
        # One rank is read of batches, too, for runs without pairs that could be read again.
        batches = {"batch"} if measure.name == "participation_ratio_corrected" else set()
        assert measure.on == {"reference", *batches} and measure.scale_blind
    if measure.every_step:
        assert "batch" in measure.on


@pytest.mark.parametrize("measure", [e for e in MEASURES.values() if e.scale_blind], ids=lambda measure: measure.name)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_what_is_called_blind_to_scale_is(measure, scale):
    rng = torch.Generator().manual_seed(0)
    z, other, third = (torch.randn(12, 5, generator=rng, dtype=torch.float64) for _ in range(3))
    before, after = (given(measure.name, s * z, s * other, s * third).item() for s in (1.0, scale))
    assert after == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize(
    "measure", [e for e in MEASURES.values() if not e.scale_blind and e.subject == "stream"], ids=lambda e: e.name
)
def test_what_is_not_called_blind_to_scale_sees_it(measure):
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z /= z.abs().max()
    small, large = given(measure.name, 1e-6 * z, z, z), given(measure.name, z, z, z)
    if measure.name == "pass_through":  # what a bound lets through, which is all where everything is small
        small, large = 1 - small, 1 - large
    assert small < 1e-3 * large


def given(name: str, z: torch.Tensor, other: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
    """Return a measure of independent tensors."""
    needs = MEASURES[name].needs
    tensors = {"z": z, "values": z, "correction": z, "applied": z, "query": other, "document": third}
    tensors |= {"force": (third, other), "gradient": other, "negative": torch.arange(len(z)).flip(0)[None]}
    if "neighbours" in needs:
        many = [torch.cat([k * one.roll(k, dims=1) for k in range(1, 6)]) for one in (other, third, z)]
        tensors["neighbours"], tensors["earlier"] = (
            m.neighbours_of(Sample(streams={"q": query, "d": many[1]}, roles={"q": Role.query, "d": Role.document}))
            for query in (many[0], many[2])
        )
    if set(needs) & {"covariance", "spectrum"}:
        tensors["covariance"] = m.scatter(z)
        tensors["spectrum"] = m.spectrum(tensors["covariance"], n=len(z)) if "spectrum" in needs else z
    options = {"n": len(z), "dimension": z.shape[1], "similarity": "cosine"}
    known = {key: value for key, value in options.items() if key in OPTIONS[name]}
    return m.FUNCTIONS[name](**{need: tensors[need] for need in needs}, **known)


SHAPES = ((64, 16), (64, 384), (300, 48))


@pytest.mark.parametrize("measure", [e for e in MEASURES.values() if e.null], ids=lambda measure: measure.name)
@pytest.mark.parametrize(("n", "dimension"), SHAPES)
def test_isotropic_vectors_lie_in_the_null_band_and_it_is_no_wider_than_it_must(measure, n, dimension):
    """Four standard deviations: of 12 draws none is outside, and together they take at least an eighth of the band."""
    band = measure.null(n, dimension)
    rng = torch.Generator().manual_seed(n + dimension)
    draws = [given(measure.name, *(torch.randn(3, n, dimension, generator=rng))).item() for _ in range(12)]
    assert all(value in band for value in draws), (band, min(draws), max(draws))
    assert max(draws) - min(draws) > (band.high - band.low) / 8, (band, min(draws), max(draws))


@pytest.mark.parametrize("measure", [e for e in MEASURES.values() if e.null], ids=lambda measure: measure.name)
@pytest.mark.parametrize(("n", "dimension"), [(1, 1), (1, 8), (2, 1), (2, 3), (3, 4096), (5000, 2)])
def test_null_bands_are_bands_also_at_few_rows(measure, n, dimension):
    band = measure.null(n, dimension)
    assert band.low <= band.high


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("common_share", lambda z: z + 1),
        ("mean_cosine", lambda z: z + 1),
        ("grand_mean_fraction", lambda z: z + 1),
        ("participation_ratio_uncentred", lambda z: z + 1),
        ("uniformity", lambda z: z + 1),
        ("participation_ratio", lambda z: z * torch.linspace(0.1, 3, 48)),
        ("participation_ratio_corrected", lambda z: z * torch.linspace(0.1, 3, 48)),
        ("isoscore_corrected", lambda z: z * torch.linspace(0.1, 3, 48)),
        ("top_share", lambda z: z * torch.cat([torch.tensor([5.0]), torch.ones(47)])),
    ],
)
def test_what_is_not_isotropic_lies_outside(name, planted):
    z = planted(torch.randn(300, 48, generator=torch.Generator().manual_seed(0)))
    assert given(name, z, z, z).item() not in MEASURES[name].null(300, 48)


def test_a_measure_that_no_sample_can_meet_is_refused():
    with pytest.raises(ValueError, match=r"known are values, z, covariance"):
        Measure(name="x", needs=("zz",), label="x", about="X.")
    assert 1.0 in Band(0.0, 1.0) and float("nan") not in Band(0.0, 1.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("delta_eval/mean_abs", ("delta/mean_abs", "reference")),
        ("delta/tanh_saturation.max", ("delta/saturation.max", "batch")),
        ("delta/cosine_above_chance", ("delta/alignment_above_chance", "batch")),
        ("delta_eval/alpha", ("alpha/value", "reference")),
        ("raw_query/isoscore", ("query/isoscore_corrected", "raw")),
        ("document/participation_ratio", ("document/participation_ratio_corrected", "reference")),
        ("raw_document/norm_mean", ("document/norm_mean", "raw")),
        ("pairs/margin", ("pairs/margin", "batch")),
        ("pairs/cosine_mean", ("pairs/cosine_mean", "reference")),
        ("loss/norm", ("loss/norm", "batch")),
        ("validation/total", ("validation/total", "reference")),
        ("encoder/0/norm_mean", ("encoder/0/norm_mean", "batch")),
    ],
)
def test_readings_of_older_journals_have_their_names_of_today(old, new):
    assert modern_reading(old) == new


OLDER = [
    *(f"{tap}/{measure}" for tap in ("delta", "delta_eval") for measure in OLDER_RESIDUAL),
    *(f"{tap}/{measure}" for tap in ("query", "document", "raw_query", "raw_document") for measure in OLDER_EMBEDDING),
    *(f"pairs/{measure}" for measure in OLDER_PAIRS),
    *(f"loss/{term}" for term in ("total", "isotropy", "isotropy_weighted", "gradient_norm")),
    *(f"validation/{term}" for term in ("total", "isotropy")),
]
"""What journals of schemas 1 and 2 could hold."""


def test_every_reading_of_the_older_journals_has_a_measure_or_is_derived_or_a_loss():
    for name in OLDER:
        stream, measure = split_reading(modern_reading(name)[0])
        assert measure in MEASURES or stream in ("loss", "validation") or measure.startswith("scale_drift"), name
        assert modern_reading(name + ".mean")[0] == modern_reading(name)[0] + ".mean"


def test_names_of_readings_are_put_together_and_taken_apart():
    assert split_reading(reading_name("a/b", "c")) == ("a/b", "c")
    for bad in ("norm_mean", "/norm_mean", "query/"):
        with pytest.raises(InputError, match="write STREAM/MEASURE"):
            split_reading(bad)


def test_roles_are_their_names():
    assert [Role(role.value) for role in Role] == list(Role)
    assert f"{Role.class_}" == "class"


def test_the_vocabulary_needs_no_library():
    """Its files import nothing but the standard library and each other."""
    script = (
        "import sys, types; sys.modules['collapse_probe.journal'] = j = types.ModuleType('collapse_probe.journal');"
        "import collapse_probe, os; j.__path__ = [os.path.join(collapse_probe.__path__[0], 'journal')];"
        "import collapse_probe.journal.vocabulary;"
        "print({'torch', 'numpy', 'pandas', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
