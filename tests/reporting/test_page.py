"""Pages of reports, without a browser: well-formed, reachable, closed to the network, and the Markdown's own words."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from journals_support import FALL, config, made, ramp

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Evaluation, Event, JournalWriter, Readings, Run, Start, Terms, write_config
from collapse_probe.reporting import PAGE, _drawing, write_report
from collapse_probe.reporting._drawing import FIGURES
from collapse_probe.reporting._first import entries, first_screen_html
from collapse_probe.reporting._page import MOST, Part, page
from collapse_probe.reporting._svg import compact

_VOID = {"meta", "link", "br", "hr", "img", "path", "use", "rect"}


class Read(HTMLParser):
    """What a page has, by a parser that takes nothing that is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), "an attribute twice"
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def words(self, *tags: str, between: str = "") -> list[str]:
        return between.join(text for where, text in self.texts if {*tags} & {*where}).split()

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_sound(text: str) -> Read:
    read = Read(text)
    names = [one["id"] for _, one in read.tags if "id" in one]
    assert len(names) == len(set(names))
    for _, one in read.tags:
        assert set(one.get("aria-labelledby", "").split()) <= set(names)
        assert not [name for name in one if name.startswith("on")]
        for link in (one.get("href", "#"), one.get("xlink:href", "#"), one.get("src", "#")):
            assert link in ("data:,", "#") or (link[0] == "#" and link[1:] in names) or link.startswith("figures/"), (
                link
            )
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(names) and "url(http" not in text and "@import" not in text
    assert not {"script", "img", "iframe", "object", "form"} & {name for name, _ in read.tags}
    levels = [int(name[1]) for name, _ in read.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert len(read.all("caption")) == len(read.all("table"))
    assert all("scope" in one for one in read.all("th"))
    assert len(read.all("title")) == len(read.all("svg")) + 1 and all(one["role"] == "img" for one in read.all("svg"))
    assert len(text.encode()) <= MOST
    return read


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory) -> Run:
    cone = {"query/common_share": ramp(0.2, 0.97), "document/common_share": ramp(0.2, 0.97)}
    return made(tmp_path_factory.mktemp("runs") / "mine", {**FALL, **cone})


@pytest.fixture(scope="module")
def report(collapsed, tmp_path_factory) -> Path:
    return write_report(collapsed, tmp_path_factory.mktemp("reports") / "mine")


def test_a_page_is_one_sound_file_that_begins_with_the_first_screen(report, collapsed):
    text, found = report.with_name(PAGE).read_text(), diagnose(collapsed)
    read = assert_sound(text)
    assert read.words("dl") == found.to_dict()["summary"].split()
    assert text.index("<dl") < text.index("What happened") < text.index("<details><summary>Configuration")
    assert [name for name, _ in read.tags].index("dl") < [name for name, _ in read.tags].index("svg")
    assert read.words("title")[0] == "UNHEALTHY:"


def test_a_page_says_what_the_markdown_says_with_each_claim_above_its_figure(report):
    text, markdown = report.with_name(PAGE).read_text(), report.read_text()
    read = Read(text)
    headings = re.findall(r"^#{2,3} (.*)$", markdown, re.MULTILINE)
    assert read.words("h2", "h3", between=" ") == " ".join(headings).replace("\\", "").split()
    assert len(read.all("svg")) == markdown.count("](figures/") == len(read.all("figure"))
    claim = re.search(r"^### 1\. (.*)$", markdown, re.MULTILINE)[1].replace("\\", "")
    assert f"<h3>1. {claim}</h3>" in text and f'<title id="figure-1-title">{claim}</title>' in text
    cells = [cell.strip() for line in re.findall(r"^\| (.*) \|$", markdown, re.MULTILINE) for cell in line.split(" | ")]
    numbers = {cell for cell in cells if re.fullmatch(r"-?[\d.,e-]*\d", cell)}
    assert numbers and numbers <= set(read.words("td", between=" "))


def test_without_figures_there_is_a_page_all_the_same(collapsed, tmp_path):
    path = write_report(collapsed, tmp_path / "r", figures=False)
    assert not assert_sound(path.with_name(PAGE).read_text()).all("svg")


def test_nothing_of_foreign_text_is_markup_or_moves_anything_and_a_megabyte_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(_drawing, "FIGURES", {name: FIGURES[name] for name in ("retrieval", "loss_terms")})
    nasty = "_a$b$|<script>x</script>\x1b[31m\u202egnp\u2066```\n# h\n[x](http://y.z) &amp; <http://y.z> \"'"
    long = f"{nasty}{'w ' * 500_000}"
    records: list = [Event(name="error", message=long, subject=nasty, step=2)]
    for step in (1, 2):
        records.append(Terms(step=step, values={f"loss/{nasty}": 1.0, "loss/total": 1.0}))
        records.append(Readings(step=step, values={f"{nasty}/norm_median": 1.0}, n=4, dimension=3))
    records.append(Evaluation(collection=long, step=3, variant=nasty, metrics={nasty: 0.5}, n_queries=3))
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run", replace(config("run"), streams=(), reference=None, command=long))
    with JournalWriter(tmp_path / "run") as writer:
        writer.write(Start())
        for one in records:
            writer.write(one)
        writer.end("completed", step=3)
    path = write_report(tmp_path / "run", tmp_path / "r")
    text = path.with_name(PAGE).read_text()
    read = assert_sound(text)
    assert read.all("svg") and "&lt;script&gt;x&lt;/script&gt;" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u200e\u200f\u202a-\u202e\u2066-\u2069]", text + path.read_text())
    assert not [one for one in read.all("a") if not one["href"].startswith("#")]


def test_labels_of_a_figure_stay_as_they_are():
    """Bug in the making: decimals are cut in paths, not in what is read."""
    drawn = '<?xml version="1.0"?>\n<svg viewBox="0 0 1 1"><g id="a">\n <path id="b" d="M 0.123456 1 \nL 2 3"/>\n'
    drawn += '<text style="font: 9px x" x="1.23456">0.123456 id="b" font: 9px x</text>\n</g></svg>'
    text = compact(drawn)
    assert '>0.123456 id="b" font: 9px x<' in text and 'd="M 0.12 1L 2 3"' in text and 'x="1.23"' in text


def test_the_first_screen_keeps_its_words_and_hides_bars_from_the_ear():
    screen = "NOT MEASURED  retrieval: no scores\nSeen       CP421  a\n           b\n           CP422  c  d\n"
    screen += "Loss       1 -> 2\n           separation (d')   3.8  ▆█▅  3.18"
    assert [one.label for one in entries(screen)] == ["NOT MEASURED", "Seen", "Loss"]
    assert entries(screen)[1].lines == ["CP421  a b", "CP422  c  d"]
    read = Read(first_screen_html(screen))
    assert read.words("dl") == screen.split()
    assert [one for one in read.tags if "aria-hidden" in one[1]] == [("span", {"aria-hidden": "true"})]


def test_a_figure_that_does_not_fit_is_a_link():
    text = page(
        [Part("# x\n\n![y](figures/z.svg)\n\n*Figure 1. What.*")], title="x", figures={"z.svg": "<svg>" + " " * MOST}
    )
    assert '<a href="figures/z.svg">y</a>' in text and len(text) < 50_000
