"""The written formats: equal to what was read and kept once, and safe against every name a user may choose."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from synthetic_report import NASTY, finished, nasty, unfinished

from posestudy.errors import NotFoundError
from posestudy.home import safe_part
from posestudy_reports.report import StudyReport
from posestudy_reports.writers import FORMATS, latex, markdown, spreadsheet


@pytest.mark.slow
def test_the_same_ledger_gives_the_same_bytes():
    assert finished().report().files(FORMATS) == finished().report().files(FORMATS)


def test_looked_up_run_ids_are_all_that_a_rebuilt_projection_changes():
    report = finished().report()
    renamed = {uid: run.replace("0", "e") for uid, run in report.result.runs.items()}
    before, after = (_texts(r) for r in (report, StudyReport(report.result.snapshot, renamed)))
    assert before != after
    for path, data in before.items():
        for uid, run in report.result.runs.items():
            data = data.replace(run, renamed[uid])
        assert data == after[path]


def _texts(report: StudyReport) -> dict[str, str]:
    """What is written of a report without drawing its figures."""
    spreadsheets = {path: data.decode() for path, data in report.files(["csv"]).items()}
    grids = {f"{table.name}.md": "\n".join(markdown.grid(table)) for table in report.all_tables}
    return spreadsheets | latex.tex_files(report) | grids


def test_runs_stand_in_comments_of_latex_alone():
    report = finished().report()
    for text in latex.tex_files(report).values():
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("%")]
        assert not any(run in line for line in lines for run in report.result.runs.values())


@pytest.mark.parametrize("build", [finished, unfinished, nasty])
def test_every_number_has_its_trial_and_run(build):
    files = build().report().files(["csv"])
    known = {t.uid for t in build().trials}
    for path, data in files.items():
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        uids = {u for r in rows for u in (r.get("uid") or r["trial_uid"]).split()}
        # Nothing in an unfinished study may have a difference yet.
        assert uids or path == "differences.csv", path
        assert uids <= known
        assert "mlflow_run_id" in data.decode().splitlines()[0]


def test_csv_runs_no_formula():
    table = nasty().report().files(["csv"])[f"tables/1_{safe_part(NASTY)}.csv"]
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert rows[1]["label"] == "'=SUM(A1)"
    assert rows[1]["policy"] == "'+1 second line"
    assert rows[1]["delta"] == "+0.100"
    assert rows[0]["label"] == NASTY


def test_latex_escapes_every_letter_that_means_something():
    assert latex.escape(r"50%_$&#{}~^\ <a> [b]") == (
        r"50\%\_\$\&\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}a\textgreater{} {[}b{]}"
    )
    table = next(text for path, text in latex.tex_files(nasty().report()).items() if path.startswith("tables/1"))
    rows = [line for line in table.splitlines() if " & " in line]
    assert len(rows) == 3
    assert all(re.search(r"(?<!\\)[%#]", line) is None for line in rows)


def test_markdown_tables_keep_their_columns():
    for table in nasty().report().tables:
        lines = [line for line in markdown.grid(table) if line.startswith("|")]
        main = lines[: 2 + len(table.rows)]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in main} == {len(table.columns) + 1}
        assert "<script" not in "".join(lines)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.urls += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data):
        if not self.tags or self.tags[-1] != "script":
            self.text.append(data)


def _parse(report) -> tuple[_Page, str]:
    page = report.files(["html"])["report.html"].decode()
    parsed = _Page()
    parsed.feed(page)
    return parsed, page


def test_html_loads_nothing_and_runs_no_label():
    plain, _ = _parse(finished().report())
    evil, page = _parse(nasty().report())
    assert {url[0] for url in (*plain.urls, *evil.urls) if not url.startswith("data:image/")} == {"#"}
    # One script of Plotly and one a figure: no label added any.
    assert evil.tags.count("script") == 1 + page.count("Plotly.newPlot(")
    assert '<script>alert("1")' not in page
    assert NASTY in evil.text


def test_html_offers_no_upload_of_a_chart():
    _, page = _parse(finished().report())
    assert page.count('"showSendToCloud": false') == page.count("Plotly.newPlot(") > 1


def test_html_has_every_number_with_its_address():
    study = finished()
    parsed, page = _parse(study.report())
    text = " ".join("".join(parsed.text).split())
    assert "20: 0.451" in text
    assert all(t.uid in text for t in study.trials)
    best = 'data-address="lr/lr_3e-3/final" title="mean of the final coco/AP over 3 seeds" href="#trial-'
    assert f'{best}{study.trials[4].uid}">0.451</a>' in page


def test_every_link_of_the_page_leads_somewhere():
    study = finished()
    parsed, _ = _parse(study.report())
    links = {url[1:] for url in parsed.urls if url.startswith("#")}
    assert {f"trial-{t.uid}" for t in study.trials if t.final_value is not None and t.seed == 0} <= links
    assert {"stage-1", "stage-2"} <= links
    assert links <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_what_the_rows_say_stands_under_their_table():
    report = finished().report()
    written = report.files(["markdown", "html"])
    parsed, _ = _parse(report)
    text = " ".join("".join(parsed.text).split())
    for sentences in report.analysis:
        assert sentences
        assert " ".join(sentences) in text
        assert " ".join(map(markdown.escape, sentences)) in written["report.md"].decode()


def test_unknown_format_names_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'markdown'"):
        finished().report().files(["markdwn"])


def test_formula_guard_leaves_numbers_alone():
    assert [spreadsheet.guarded(t) for t in ("-0.5", "+0.1", "@x", "a=b", "-")] == ["-0.5", "+0.1", "'@x", "a=b", "-"]


def test_values_hold_every_metric_of_every_epoch():
    rows = list(csv.DictReader(io.StringIO(finished().report().files(["csv"])["values.csv"].decode())))
    assert {r["metric"] for r in rows} == {"coco/AP", "loss"}
    assert json.loads(next(r["value"] for r in rows if r["number"] == "4" and r["metric"] == "coco/AP")) == 0.05
