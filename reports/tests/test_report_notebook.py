"""What a notebook shows of a report, and the examples of its page in the documents."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_report import NASTY, Builder, finished, nasty, unfinished

import posestudy_reports
from posestudy.errors import NotFoundError
from posestudy_reports.sections import Chart, Picture, Section

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"


class Seen(HTMLParser):
    """The text, tags and links of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.tags, self.attributes = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data


def shown(part) -> Seen:
    return Seen(part._repr_html_())


def test_a_report_shows_its_summary_and_stages_and_is_short_in_a_log() -> None:
    report = finished().report()
    assert repr(report) == "<report of the study cats_small: 2 stages, 8 cells, 13 trials>"
    seen = shown(report)
    assert "Which learning rate and which sigma suit drawn cats." in seen.words
    assert "13 trials" in seen.words
    assert "lr_3e-3" not in repr(report)
    assert "sigma_2" in seen.words
    assert "Still open" in shown(unfinished().report()).words


def test_stages_and_sections_are_reached_by_name() -> None:
    report = finished().report()
    stage = report["lr"]
    assert list(report)[:2] == ["lr", "sigma"]
    assert stage.frame.cell.unique().tolist() == ["baseline", "lr_1e-3", "lr_3e-3", "lr_1", "large"]
    assert repr(stage) == "<stage lr: 5 rows, 9 trials>"
    assert report.stage("sigma").table == report.tables[1]
    for name in report:
        assert shown(report[name]).words
    with pytest.raises(NotFoundError, match="did you mean 'sigma'"):
        report["sgima"]
    with pytest.raises(NotFoundError, match="no stage"):
        report.stage("tradeoff")
    assert "lr" in report
    assert "nothing" not in report


def test_a_stage_shows_tables_notes_sentences_and_curves() -> None:
    stage = finished().report()["lr"]
    seen = shown(stage)
    assert "0.452" in seen.words
    assert "taken against" in seen.words
    (source,) = [value for key, value in seen.attributes if key == "src"]
    kind, data = source.split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == stage.curves.vector("svg")
    assert stage.curves.plotly().data


def test_nothing_a_user_wrote_becomes_markup() -> None:
    report = nasty().report()
    parts = [report, *(report[name] for name in report), *report.tables, report[NASTY].curves]
    for part in parts:
        seen = shown(part)
        assert "script" not in seen.tags, part
        assert not {key for key, _ in seen.attributes} & {"onclick", "onload", "onerror"}
        assert not [value for key, value in seen.attributes if key == "href"]
    assert NASTY in shown(report).words
    assert "<script>" in shown(report[NASTY]).words


def test_charts_and_pictures_have_their_caption_and_a_short_repr() -> None:
    picture = Picture("p", NASTY, NASTY, b"\xff\xd8\xff", (30, 20))
    chart = Chart("c", NASTY, NASTY, lambda form: b"<svg/>", None, wide=False)
    for figure in (picture, chart):
        seen = shown(figure)
        assert NASTY in seen.words
        assert seen.tags.count("img") == 1
        assert ("alt", NASTY) in seen.attributes
    assert repr(picture) == "<picture p: 30 x 20 px>"
    assert len(repr(Section("s", "S", (picture, chart)))) < 60


def test_a_study_without_a_stage_has_a_face_too() -> None:
    report = Builder().report()
    assert "0 stages" in repr(report)
    assert "report[NAME]" in shown(report).words
    with pytest.raises(NotFoundError, match="none yet"):
        report.stage("lr")


def test_the_examples_of_the_document_run(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    monkeypatch.setattr(posestudy_reports, "open", lambda name: finished().report())
    place: dict = {}
    exec(code, place)
    assert place["best"].cell == "sigma_2"
    assert place["means"].loc["lr_3e-3", "count"] == 3
    assert place["curve"].tolist() == [0.0, 0.02, 0.07, 0.101]
    assert place["names"][:2] == ["lr", "sigma"]
    assert place["svg"].startswith(b"<?xml")
