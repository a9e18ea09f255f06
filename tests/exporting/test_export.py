"""Runs in other programs' files, read back by those programs' own readers: values, steps, times, no duplicate."""

from __future__ import annotations

import csv
import json
import math
import struct
import sys
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from journals_support import FALL, append, both, made, ramp

from collapse_probe.cli._card import command as card_command
from collapse_probe.cli._export import command as export_command
from collapse_probe.errors import InputError
from collapse_probe.exporting import TARGETS, Described, Unreachable, described, distinct, export
from collapse_probe.journal import Clock, End, JournalWriter, LiveRun, Run, RunConfig, Start, Store, Terms

NASTY = [
    "<script>alert(1)</script>",
    '=HYPERLINK("http://bad.example","x")',
    "@SUM(A1)",
    "\x1b[2J\x1b]0;title\x07",
    "one\ntwo\r\nthree",
    "\u202egnp.exe\u200f",
    "![x](https://bad.example/p.png)|`code`",
    "../../etc/passwd",
    "名前/é",
    "y" * 1_000_000,
]
BEGAN = 1_700_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that collapses, with a clock, the raw encoder's scores, and numbers that are not finite."""
    planted = {**FALL, **both("common_share", ramp(0.2, 0.97))}
    found = made(tmp_path_factory.mktemp("runs") / "mine", planted, steps=100, noise=0.01)
    stamp = [{"kind": "clock", "step": step, "time": iso(BEGAN + step**2)} for step in (1, 50, 100)]
    strange = [
        {"kind": "terms", "step": 40 + at, "values": {"monitor/odd": odd}}
        for at, odd in enumerate(["NaN", "Infinity", "-Infinity"])
    ]
    raw = {"kind": "evaluation", "collection": "reference pairs", "step": 0, "metrics": {"mrr": 0.9}, "variant": "raw"}
    return append(found, [*stamp, *strange, raw])


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose every name is somebody's attempt."""
    found = made(tmp_path_factory.mktemp("runs") / "nasty", FALL, steps=60)
    content = json.loads((found.folder / "run.json").read_text())
    (found.folder / "run.json").write_text(json.dumps({**content, "name": "=1+1 <b>\u202e"}))
    records = []
    for at, text in enumerate(NASTY):
        values = {f"{text}/norm_mean": float(at), "loss/total": 1.0}
        records.append({"kind": "readings", "step": 7, "values": values, "n": 8, "dataset": text})
        records.append({"kind": "evaluation", "collection": text, "step": 60, "metrics": {text: 0.5}, "variant": text})
    return append(found, records)


@pytest.fixture(scope="module")
def told(run: Run) -> Described:
    return described(run)


@pytest.fixture(scope="module")
def odd(nasty: Run) -> Described:
    return described(nasty)


def installed(name: str) -> None:
    """Skip a test whose library is missing; without importing it, since Trackio reads its folder then."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat()


def of_journal(run: Run) -> dict[tuple[str, int], float]:
    """Read the journal's numbers without a ``Run``: name and step to the value."""
    found = {}
    for line in (run.folder / "journal.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["kind"] in ("readings", "terms"):
            for name, value in one["values"].items():
                found[f"{one.get('on', 'batch')}/{name}", one["step"]] = float(value)
        elif one["kind"] == "evaluation":
            for name, value in one["metrics"].items():
                known = f"evaluation/{one['collection']}/{one.get('variant', 'model')}/{name}"
                found[known, one["step"]] = float(value)
    return found


def same(found: dict[tuple[str, int], float], wanted: dict[tuple[str, int], float], *, single: bool = False) -> None:
    assert found.keys() == wanted.keys()
    a, b = (np.array([one[key] for key in wanted]) for one in (found, wanted))
    np.testing.assert_array_equal(a, b.astype(np.float32) if single else b)


def harmless(text: str) -> None:
    """Nothing in it starts a formula, is HTML, moves a cursor, breaks a line or is an address or an image."""
    assert not text.startswith(("=", "+", "-", "@")), text[:80]
    assert not set("<>`|") & set(text) and "://" not in text and "](" not in text, text[:200]
    assert all(unicodedata.category(one)[0] != "C" for one in text), text[:200]
    assert len(text) < 3000


def test_csv_has_the_journals_numbers_and_is_replaced_by_itself(run, told, tmp_path):
    first = export(told, to="csv", into=tmp_path)
    before = {path.name: path.read_bytes() for path in Path(first.where).iterdir()}
    export(told, to="csv", into=tmp_path)
    assert {path.name: path.read_bytes() for path in Path(first.where).iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with (tmp_path / "mine" / "readings.csv").open() as file:
        rows = list(csv.DictReader(file))
    same({(row["series"], int(row["step"])): float(row["value"]) for row in rows}, of_journal(run))
    times = {int(row["step"]): datetime.fromisoformat(row["time"]).timestamp() for row in rows if row["on"] == "batch"}
    assert times[1] == BEGAN + 1 and times[50] == BEGAN + 2500 and times[25] == pytest.approx(BEGAN + 1225, abs=1)
    with (tmp_path / "mine" / "findings.csv").open() as file:
        findings = list(csv.DictReader(file))
    assert [row["code"] for row in findings] == [one.code for one in told.alerts] != []


def test_parquet_has_the_journals_numbers(run, told, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.read_parquet(Path(export(told, to="parquet", into=tmp_path).where) / "readings.parquet")
    wanted = of_journal(run)
    same({(row.series, row.step): row.value for row in frame.itertuples()}, wanted)
    assert len(frame) == len(wanted) and frame["value"].dtype == "float64"


def test_names_from_anywhere_are_harmless(odd, tmp_path):
    assert len({one.name.casefold() for one in odd.lines}) == len(odd.lines)
    for line in odd.lines:
        harmless(line.name)
        assert ".." not in line.name.split("/") and len(line.name) <= 200
    for alert in odd.alerts:
        harmless(alert.title)
        harmless(alert.text)
    place = Path(export(odd, to="csv", into=tmp_path).where)
    assert place.parent == tmp_path and sum(path.stat().st_size for path in place.iterdir()) < 1_000_000
    for name in ("readings.csv", "findings.csv"):
        with (place / name).open(newline="") as file:
            for row in csv.DictReader(file):
                for column in ("series", "reading", "dataset", "subject", "title", "text"):
                    harmless(row.get(column) or "")


def test_the_card_has_the_verdict_the_raw_encoder_as_row_0_and_intervals(run, told, odd):
    text = CliRunner().invoke(card_command, [str(run.folder)]).output
    assert text == told.card and text.startswith("## ") and "**UNHEALTHY** after 100 steps" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| 0", "| 1", "| 2"))]
    assert rows[0][:3] == ["| 0", "raw encoder", "reference pairs"] and rows[0][5] == ".900"
    assert rows[2][:2] == ["| 2", "trained"] and rows[2][6].count("[") == 1
    text = odd.card
    assert "<script" not in text and "](" not in text and "://" not in text and len(text) < 30_000
    assert all(unicodedata.category(one)[0] != "C" for one in text.replace("\n", ""))
    assert all(line.count(" | ") == 6 for line in text.splitlines() if line.startswith(("| 0", "| 1", "| 2")))


def test_a_clock_gives_the_time_of_a_step_and_a_resumed_run_has_its_pause():
    store = Store()
    with JournalWriter(None, store=store) as writer:
        writer.write(Start(time=iso(BEGAN)))
        for step, time in ((1, 10), (10, 100), (20, 200), (21, 5000), (30, 5900)):
            writer.write(Terms(step=step, values={"loss/total": 1.0}))
            writer.write(Clock(step=step, time=iso(BEGAN + time)))
        writer.write(End(status="completed", step=30, time=iso(BEGAN + 6000)))
    times = described(LiveRun(RunConfig(name="r"), store)).times
    assert times.exact and times.began == BEGAN and times.ended == BEGAN + 5900
    assert (times.at(np.array([0, 1, 5, 20, 21, 30])) - BEGAN).tolist() == [0, 10, 50, 200, 5000, 5900]


def test_names_that_differ_in_what_is_replaced_stay_different():
    found = distinct(["a<b", "a>b", "A_B", "x" * 999, "x" * 998])
    assert len({one.casefold() for one in found}) == 5 and found[0] == "a_b"


def test_tensorboard(run, told, odd, tmp_path):
    installed("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for one in (told, told, odd):
        place = export(one, to="tensorboard", into=tmp_path).where
        read = EventAccumulator(place, size_guidance={"scalars": 0, "tensors": 0}).Reload()
        found = {tag: read.Scalars(tag) for tag in read.Tags()["scalars"]}
        assert sorted(found) == sorted(line.name for line in one.lines)
        if one is told:
            points = {(tag, point.step): point for tag, some in found.items() for point in some}
            assert len(points) == sum(map(len, found.values()))
            same({key: point.value for key, point in points.items()}, of_journal(run), single=True)
            assert points["batch/loss/total", 50].wall_time == BEGAN + 2500
        texts = {tag: read.Tensors(tag) for tag in read.Tags()["tensors"]}
        assert len(texts) == 1 + len(one.alerts) and all(len(some) == 1 for some in texts.values())
        assert len(list(Path(place).glob("*tfevents*"))) == 1


def records(folder: Path) -> Iterator[object]:
    """Yield the records of an offline run: LevelDB's log format behind seven bytes, as wandb 0.31 writes it.

    That version has no reader in Python any more; its own ``wandb_internal_pb2`` reads each record.
    """
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    content, at, part = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        part += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record


def test_wandb(run, told, odd, tmp_path):
    installed("wandb")
    for one in (told, told, odd):
        done = export(one, to="wandb", into=tmp_path, project="p")
        assert done.fresh == (one is odd or not (tmp_path / "seen").exists())
        (tmp_path / "seen").touch()
        found, times, alerts = {}, {}, []
        for record in records(Path(done.where)):
            if record.WhichOneof("record_type") == "history":
                row = {(item.nested_key or [item.key])[0]: item.value_json for item in record.history.item}
                step = record.history.step.num
                times[step] = float(row["_timestamp"])
                found |= {(k, step): float(json.loads(v)) for k, v in row.items() if not k.startswith("_")}
            elif record.WhichOneof("record_type") == "alert":
                alerts.append(record.alert.title)
        assert alerts == [alert.title for alert in one.alerts]
        if one is told:
            same(found, of_journal(run))
            assert times[1] == BEGAN + 1 and times[50] == BEGAN + 2500
        else:
            assert {name for name, _ in found} == {line.name for line in odd.lines}
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow(run, told, odd, tmp_path):
    installed("mlflow")
    from mlflow.tracking import MlflowClient

    fresh = [export(one, to="mlflow", into=tmp_path).fresh for one in (told, told, odd)]
    assert fresh == [True, False, True]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("collapse-probe").experiment_id
    by_name = {one.info.run_name: one for one in client.search_runs([experiment])}
    assert len(by_name) == len(client.search_runs([experiment])) == 2
    mine = by_name["mine"]
    found, times = {}, {}
    for line in told.lines:
        for point in client.get_metric_history(mine.info.run_id, line.name):
            assert (point.key, point.step) not in found
            found[point.key, point.step], times[point.step] = point.value, point.timestamp
    largest = sys.float_info.max
    wanted = {
        key: math.copysign(largest, value) if math.isinf(value) else value for key, value in of_journal(run).items()
    }
    same(found, wanted)
    assert times[50] == (BEGAN + 2500) * 1000 and mine.data.tags["collapse_probe.verdict"] == "critical"
    codes = {alert.code for alert in told.alerts}
    assert {tag.rpartition(".")[2] for tag in mine.data.tags if ".finding." in tag} == codes
    (other,) = (one for name, one in by_name.items() if name != "mine")
    assert other.data.metrics.keys() == {line.name for line in odd.lines}


def test_trackio(run, told, odd, tmp_path):
    installed("trackio")
    fresh = [export(one, to="trackio", into=tmp_path, project="p").fresh for one in (told, told, odd)]
    assert fresh == [True, False, True]
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    runs = {one.name: one for one in trackio.Api().runs("p")}
    assert len(runs) == 2 and trackio.context_vars.current_run.get() is None
    rows = SQLiteStorage.get_logs("p", "mine", run_id=runs["mine"].id)
    ours = ("step", "timestamp", "wall_time")
    same({(k, row["step"]): float(v) for row in rows for k, v in row.items() if k not in ours}, of_journal(run))
    assert {row["step"]: row["wall_time"] for row in rows}[50] == BEGAN + 2500
    alerts = sorted((one["title"], one["step"]) for one in runs["mine"].alerts())
    assert alerts == sorted((alert.title, alert.step) for alert in told.alerts)


@pytest.mark.parametrize("target", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_library_that_is_not_installed_is_one_line_with_the_extra(told, monkeypatch, target):
    monkeypatch.setitem(sys.modules, target, None)
    for name in [one for one in sys.modules if one.startswith(f"{target}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError) as error:
        export(told, to=target)
    assert str(error.value) == f'{target} is not installed: pip install "collapse-probe[{target}]"'


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_that_is_not_there_is_said_in_one_line(told):
    installed("mlflow")
    with pytest.raises(Unreachable) as error:
        export(told, to="mlflow", into="http://127.0.0.1:9")
    assert "\n" not in str(error.value) and "127.0.0.1:9" in str(error.value)


def test_wrong_use(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="did you mean 'csv'"):
        export(run, to="cvs")
    with pytest.raises(InputError, match="is a file, where a folder is needed"):
        export(run, to="csv", into=run.folder / "run.json")
    with pytest.raises(InputError, match="project"):
        export(run, to="csv", project="x")
    done = CliRunner().invoke(export_command, [str(run.folder), "--to", "csv"])
    assert done.exit_code == 0 and "exports/csv/mine" in done.output, done.output
    (to,) = (one for one in export_command.params if one.name == "to")
    assert list(to.type.choices) == list(TARGETS)
