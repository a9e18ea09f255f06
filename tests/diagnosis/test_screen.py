"""The first screen, the JSON, and the commands that print them."""

from __future__ import annotations

import html
import json
import math
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from journals_support import FALL, STREAM, made, ramp, step

from collapse_probe.cli._diagnose import command as diagnose_command
from collapse_probe.cli._explain import command as explain_command
from collapse_probe.cli._explain import explained
from collapse_probe.diagnosis import Status, diagnose, diagnosed
from collapse_probe.diagnosis.screen import clean, number
from collapse_probe.errors import InputError
from collapse_probe.journal import Coverage, Event, JournalWriter, StreamInfo
from collapse_probe.reporting import write_report

KEYS = {
    "schema": int,
    "run": str,
    "status": str,
    "exit_code": int,
    "summary": str,
    "steps": int,
    "errors": list,
    "heard": list,
    "retrieval": list,
    "kinds": list,
    "causes": list,
    "findings": list,
    "not_measured": list,
    "who_fell": list,
    "delivered": type(None),
}
KIND = ["kind", "subject", "code", "status", "state", "raised", "onset", "forecast", "value", "bounds"]
NASTY = "a\x1b[2J\nb‮" + "x" * 200


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    sides = {f"{one}/common_share": ramp(0.2, 0.9) for one in ("query", "document")}
    planted = {**FALL, **sides, "query/norm_median": ramp(1.0, 0.24), "document/norm_median": ramp(1.0, 0.1)}
    return made(tmp_path_factory.mktemp("runs") / "collapsed", planted)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return made(tmp_path_factory.mktemp("runs") / "healthy")


def fits(summary: str) -> None:
    lines = summary.split("\n")
    assert len(lines) <= 24 and max(map(len, lines)) <= 100 and len(summary.encode()) <= 2048
    assert all(one.isprintable() for one in lines)


def test_the_screen_says_what_happened_and_since_when(collapsed):
    found = diagnose(collapsed)
    fits(found.summary)
    first = found.summary.split("\n")[0]
    assert first.startswith("UNHEALTHY  cone (document, query), then scale collapse (document, query), since")
    for label in ("Seen", "Retrieval", "Loss", "Do", "Measured"):
        assert f"\n{label}" in found.summary
    assert "separation (d')" in found.summary and "▁" in found.summary


def test_both_sides_that_do_the_same_are_one_line(tmp_path):
    sides = {"query/common_share": ramp(0.2, 0.9), "document/common_share": ramp(0.2, 0.95)}
    run = made(tmp_path / "both", {**FALL, **sides})
    found = diagnose(run)
    fits(found.summary)
    assert [(one.code, one.subject) for one in found.kinds] == [("CP421", "document"), ("CP421", "query")]
    seen = [line for line in found.summary.split("\n") if "CP421" in line]
    assert len(seen) == 1
    assert re.search(r"CP421  document, query: 1 - common share is \.\d+ and \.\d+ x that of the start", seen[0])
    report = write_report(run, tmp_path / "report", figures=False).read_text(encoding="utf-8")
    assert len(re.findall(r"CP421, critical\.", report)) == 1
    assert "### 1. Cone: document, query, since step" in report


@pytest.mark.parametrize(
    ("planted", "settings", "word"),
    [
        ({}, {}, "HEALTHY"),
        ({"loss/total": step(1.0, math.nan)}, {}, "UNHEALTHY"),
        ({}, {"ends": False}, "WARNING"),
        ({}, {"silent": ("query", "document"), "reference": False}, "NOT MEASURED"),
    ],
)
def test_the_first_word_is_the_status(planted, settings, word, tmp_path):
    found = diagnose(made(tmp_path / "run", planted, **settings))
    fits(found.summary)
    assert found.summary.startswith(word + "  ")


@pytest.mark.parametrize("width", [60, 72, 80, 100])
def test_the_screen_fits_the_terminal_and_says_no_less(collapsed, width):
    narrow, wide = diagnosed(collapsed, width=width)[1].summary, diagnose(collapsed).summary
    assert max(map(len, narrow.split("\n"))) <= width
    said = [set(re.sub(r"[▁-█…]+|\nMeasured.*", "", one, flags=re.DOTALL).split()) for one in (narrow, wide)]
    assert said[1] <= said[0] and len(said[1]) > 40


def test_the_screen_obeys_the_columns_and_the_encoding_of_the_terminal(collapsed):
    script = "from collapse_probe.cli import main; main()"
    environment = {**os.environ, "COLUMNS": "64", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", script, "diagnose", str(collapsed.folder)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    lines = done.stdout.decode("ascii").splitlines()
    assert done.returncode == 1 and lines[0].startswith("UNHEALTHY") and max(map(len, lines)) <= 64
    assert any("#" in line and "separation (d')" in line for line in lines)


def test_names_cannot_break_the_screen(tmp_path):
    fields = {"streams": (StreamInfo(name=NASTY, role="left"),), "reference": None}
    extra = {f"{NASTY}/{name}": value for name, value in STREAM.items()}
    planted = {**FALL, f"{NASTY}/norm_median": ramp(1.0, 0.01)}
    found = diagnose(made(tmp_path / "run", planted, fields=fields, extra=extra))
    fits(found.summary)
    assert found.status is Status.CRITICAL


def test_many_streams_fit_too(tmp_path):
    names = [f"layer {i}" for i in range(40)]
    extra = {f"{name}/{measure}": value for name in names for measure, value in STREAM.items()}
    planted = {**FALL, **{f"{name}/norm_median": ramp(1.0, 0.01) for name in names}}
    found = diagnose(made(tmp_path / "run", planted, extra=extra))
    fits(found.summary)
    assert sum(one.subject in names for one in found.kinds) == len(names)
    assert "layer 0, layer 1 and 38 more" in " ".join(found.summary.split()), "all are counted, two are named"


def measured(found) -> str:
    """Return the last part of a screen in one line."""
    return " ".join(found.summary[found.summary.index("\nMeasured") :].split())


@pytest.mark.parametrize("names", [["negative"], [f"negative.{i}" for i in range(12)]])
def test_what_is_said_not_to_be_measured_is_not_counted_as_measured(tmp_path, names):
    streams = tuple(StreamInfo(name=name, role="document") for name in ("document", *names))
    extra = {f"{name}/norm_median": 1.0 for name in names}
    fields = {"streams": (StreamInfo(name="query", role="query"), *streams)}
    found = diagnose(made(tmp_path / "run", fields=fields, extra=extra))
    applies = [one for one in found.findings if one.status is not Status.NOT_APPLICABLE]
    partly = {one.code for one in applies if one.status is Status.NOT_MEASURED}
    known, asked = map(int, re.match(r"Measured (\d+) of (\d+)\. Not: ", measured(found)).groups())
    assert asked - known == len(partly) > 0


def test_what_was_not_measured_is_counted_where_it_is_not_named(tmp_path):
    names = [f"negative.{i}" for i in range(12)]
    fields = {"streams": tuple(StreamInfo(name=name, role="document") for name in ("query", *names))}
    found = diagnose(made(tmp_path / "run", fields=fields, extra={f"{name}/norm_median": 1.0 for name in names}))
    text = measured(found)
    named = text.count("(not enough of ")
    assert "…" not in text and text.endswith(f" and {len(found.not_measured) - named} more.")


@given(st.text(max_size=80))
def test_a_cleaned_name_is_one_printable_line(text):
    assert clean(text).isprintable() and len(clean(text)) <= 32


@given(st.floats())
def test_a_number_is_short(value):
    assert len(number(value, sign=True)) <= 12


def test_the_json_has_the_shape_that_is_documented(collapsed):
    plain = json.loads(json.dumps(diagnose(collapsed).to_dict(), allow_nan=False))
    assert {key: type(value) for key, value in plain.items()} == KEYS
    assert (plain["schema"], plain["status"], plain["exit_code"], plain["causes"]) == (1, "critical", 1, [])
    assert [list(one) for one in plain["kinds"]] == [KIND] * 4
    cone = plain["kinds"][0]
    assert (cone["kind"], cone["code"], cone["state"], cone["subject"]) == ("cone", "CP421", "confirmed", "document")
    assert list(cone["onset"]) == ["step", "low", "high"] and cone["bounds"] == {"warning": 0.5, "critical": 0.5}
    assert {"stream", "role", "where", "rule", "n", "dimension", "dtype", "steps"} == set(plain["heard"][0])
    (row,) = plain["retrieval"]
    assert list(row) == ["collection", "domain", "metric", "n", "raw", "start", "end", "change"]
    assert list(row["change"]) == ["value", "low", "high", "p"]
    assert row["raw"] is None and row["change"]["high"] < 0
    assert {"what", "why", "essential"} == set(plain["not_measured"][0]) if plain["not_measured"] else True


def test_the_change_of_a_row_is_between_the_numbers_beside_it(tmp_path):
    planted = {"pairs/d_prime": ramp(0.2, 4.0, since=0.0, until=1.0), "pairs/mrr": ramp(0.2, 0.9, since=0.0, until=1.0)}
    run = made(tmp_path / "run", planted, reference=False, noise=0.1, fields={"reference": None})
    (row,) = diagnose(run).retrieval
    assert row["collection"] == "batch pairs" and row["change"]["low"] is not None
    assert row["end"] - row["start"] == pytest.approx(row["change"]["value"])


GROWS = {"pairs/d_prime": ramp(0.2, 4.0, since=0.0, until=0.5), "pairs/mrr": ramp(0.2, 0.9, since=0.0, until=0.5)}
DEAD = {name: step(value, math.nan) for name, value in {"gradient/norm": 0.5, "query/norm_median": 1.0}.items()}


def dies(folder, *names, **settings):
    """Return a run whose pairs get better until some of its readings are no numbers from the middle on."""
    dying = {name: (lambda t, shape=shape: math.nan if t >= 0.5 else shape(t)) for name, shape in GROWS.items()}
    planted = {**dying, **{name: DEAD[name] for name in names}}
    return made(folder, planted, reference=False, fields={"reference": None}, **settings)


def test_nothing_is_shown_as_a_gain_that_is_not_finite_later(tmp_path):
    summary = diagnose(dies(tmp_path / "run", "gradient/norm")).summary
    rows = [line for line in summary.split("\n") if "batch pairs" in line or "separation (d')" in line]
    assert len(rows) == 2 and all("until step 100" in line and "[" not in line for line in rows)


@pytest.mark.parametrize(
    ("names", "every", "output"),
    [(["gradient/norm"], 1, False), (["query/norm_median", "gradient/norm"], 1, True), (list(DEAD), 5, False)],
)
def test_the_inputs_are_the_first_check_and_the_loss_is_none_where_the_output_was_first(tmp_path, names, every, output):
    summary = " ".join(diagnose(dies(tmp_path / "run", *names, every=every)).summary.split())
    where = "step 100" if every == 1 else "steps 96 to 100"
    assert f"Do data: look at the batch of {where} for inputs that are not finite;" in summary
    assert ("it is the model's output, before any loss" in summary) == output
    assert ("in it that can reach zero" in summary) == output
    assert ("lower the learning rate" in summary) != output


def test_streams_that_were_heard_until_they_were_not_finite_are_said_to_be_heard(tmp_path):
    run = dies(tmp_path / "run")
    with JournalWriter(run.folder) as writer:
        writer.write(Event(name="not_finite", subject="query", step=100))
        writer.write(Coverage(stream="query", role="query", step=200, calls=1, steps=200, finite_share=0.4, n=64))
    found = diagnose(run.folder, ignore=["CP001"])
    assert found.summary.startswith("WARNING    values that are not finite (query), since step 100")
    assert "query was heard; up to 60% of its values are not finite" in found.summary


CONE = {**FALL, "query/common_share": ramp(0.2, 0.9), "document/common_share": ramp(0.2, 0.9)}


@pytest.mark.parametrize(
    ("loss", "push", "told"),
    [
        ("regression", 0.01, True),
        ("regression", 0.2, False),
        ("MultipleNegativesRankingLoss", 0.01, False),
        ("query_nce", 0.01, False),
    ],
)
def test_no_remedy_recommends_the_loss_that_is_there(tmp_path, loss, push, told):
    planted = {**CONE, f"loss/{loss}": ramp(1.0, 0.5)}
    run = made(tmp_path / "run", planted, extra={f"loss/{loss}": 1.0, "pairs/push": push})
    summary = diagnose(run).summary
    assert ("an in-batch softmax" in summary) == told and "let the head start at the identity" in summary


def test_no_remedy_recommends_the_setting_that_is_there(tmp_path):
    recipe = {"lambda_contrastive": 1.0, "projection": "linear", "learning_rate": 1e-3}
    run = made(tmp_path / "run", CONE, fields={"session": {"recipe": recipe}})
    assert "Do         no cause is suspected; what may help: learning_rate=0.0001\n" in diagnose(run).summary


def test_a_healthy_run_has_no_kinds(healthy):
    found = diagnose(healthy).to_dict()
    assert (found["status"], found["kinds"], found["exit_code"]) == ("healthy", [], 0)
    assert {one["status"] for one in found["findings"]} <= {"healthy", "not applicable", "not measured"}


def test_a_notebook_shows_the_first_screen_and_the_claims_of_the_page(collapsed, healthy):
    found = diagnose(collapsed)
    shown = found._repr_html_()
    screen, _, claims = shown.partition("</pre>")
    assert html.unescape(screen.removeprefix("<pre>")) == found.summary
    titles = [html.unescape(one) for one in re.findall(r"<li><b>(.*?)</b>", claims)]
    report = write_report(collapsed, collapsed.folder.parent / "notebook", figures=False).read_text()
    assert titles == re.findall(r"^### \d\. (.*)$", report.replace("\\", ""), re.MULTILINE) != []
    assert all(code in claims for code in {one.code for one in found.kinds[:2]})
    assert diagnose(healthy)._repr_html_().endswith("</pre>"), "a healthy run claims nothing"


def test_a_notebook_takes_no_markup_of_names(tmp_path):
    nasty = "<script>alert(1)</script>"
    fields = {"streams": (StreamInfo(name=nasty, role="left"),), "reference": None}
    extra = {f"{nasty}/{name}": value for name, value in STREAM.items()}
    planted = {**FALL, f"{nasty}/norm_median": ramp(1.0, 0.01)}
    shown = diagnose(made(tmp_path / "run", planted, fields=fields, extra=extra))._repr_html_()
    assert "<script" not in shown and "&lt;script" in shown


def test_what_watching_cost_is_the_share_that_the_run_measured(tmp_path):
    folder = tmp_path / "run"
    made(folder, FALL)
    assert "Cost" not in diagnose(folder).summary, "a run that did not measure it says nothing of it"
    journal = folder / "journal.jsonl"
    *rest, last = journal.read_text().splitlines()
    end = json.loads(last)
    assert end["kind"] == "end"
    journal.write_text("\n".join([*rest, json.dumps({**end, "ours": 1.5, "seconds": 200.0})]) + "\n")
    found = diagnose(folder)
    assert found.summary.endswith("\nCost       0.8 % of the run's time (1.5 s of 200.0 s) was spent watching it")
    fits(found.summary)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 1), (["--fail-on", "nothing"], 0), (["--ignore", "CP411", "--ignore", "CP421", "--ignore", "CP201"], 0)],
)
def test_exit_codes_of_diagnose(collapsed, arguments, code):
    result = CliRunner().invoke(diagnose_command, [str(collapsed.folder), *arguments], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, code)


@pytest.mark.parametrize(("fail_on", "code"), [("warning", 1), ("critical", 0), ("nothing", 0)])
def test_a_warning_fails_where_it_is_asked_for(tmp_path, fail_on, code):
    run = made(tmp_path / "run", ends=False)
    result = CliRunner().invoke(diagnose_command, [str(run.folder), "--fail-on", fail_on], standalone_mode=False)
    assert result.return_value == code


def test_diagnose_prints_json(healthy):
    result = CliRunner().invoke(diagnose_command, [str(healthy.folder), "--json"], standalone_mode=False)
    assert json.loads(result.output)["status"] == "healthy"


def test_explain_says_which_readings_see_no_scale():
    assert "not seen by STREAM/participation_ratio_corrected" in explained("CP422")
    assert "not seen by" not in explained("CP411")


def test_explain_knows_codes_and_kinds_and_asks_back():
    assert explained("cp411") == explained("scale_collapse")
    result = CliRunner().invoke(explain_command, ["CP411"], standalone_mode=False)
    assert result.output.startswith("CP411 scale_collapse") and "0.25" in result.output and "1e-08" in result.output
    with pytest.raises(InputError, match="did you mean"):
        explained("CP41")
    with pytest.raises(InputError, match=r"did you mean .*'CP411'"):
        explained("CP4111")


@pytest.mark.parametrize("spelt", ["CP421", "cp421", "cone"])
def test_a_code_is_ignored_however_explain_takes_it(collapsed, spelt):
    ignored = {one.code for one in diagnose(collapsed, ignore=[spelt]).findings if one.ignored}
    assert ignored == {"CP421"} and explained(spelt).startswith("CP421 cone")


def test_a_code_is_ignored_with_a_reason_of_the_caller_s(collapsed):
    found = diagnose(collapsed, ignore=["cone = a whitening follows"])
    assert "Ignored: CP421 (a whitening follows)." in " ".join(found.summary.split())
    assert {one.ignored for one in found.findings if one.code == "CP421"} == {"a whitening follows"}


@pytest.mark.parametrize("asked", ["CP999", "CP41", "nothing like it"])
def test_an_unknown_code_names_the_nearest_and_the_list(healthy, asked):
    for refused in (lambda: diagnose(healthy, ignore=[asked]), lambda: explained(asked)):
        with pytest.raises(InputError) as caught:
            refused()
        said = str(caught.value)
        assert said.startswith(f"unknown code '{asked}': ") and said.endswith(
            "`collapse-probe list detectors` lists them"
        )
        assert said.count(" or ") <= 2 and len(said) < 150


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        diagnose(tmp_path / "nothing")
    with pytest.raises(InputError, match="cannot read a run from a int: give a run folder's path"):
        diagnose(3)


def test_these_commands_come_without_torch(healthy):
    typed = [["explain", "CP411"], ["list", "detectors"], ["diagnose", str(healthy.folder)]]
    script = (
        "import sys; from collapse_probe.cli import main\n"
        f"for typed in {typed!r}:\n"
        "    sys.argv = ['collapse-probe', *typed]\n"
        "    try: main()\n    except SystemExit as end: print('ended', end.code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    ends = [line for line in result.stdout.splitlines() if line.startswith("ended ")]
    assert ends == ["ended 0 False"] * 3
