"""The written formats: equal to what was read and kept once, and safe against every name a user may choose."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_report import GOLDEN, NASTY, finished, nasty, unfinished

from posestudy.errors import NotFoundError
from posestudy.home import safe_part
from posestudy_reports.report import StudyReport
from posestudy_reports.writers import FORMATS, latex, markdown, spreadsheet

HERE = Path(__file__).parent


@pytest.mark.parametrize("path", GOLDEN)
def test_files_equal_the_ones_kept(path):
    written = finished().report().files(["latex", "csv", "markdown"])
    assert written[path].decode() == (HERE / "golden" / path.replace("/", "_")).read_text(encoding="utf-8")


def test_the_same_ledger_gives_the_same_bytes():
    assert finished().report().files(FORMATS) == finished().report().files(FORMATS)


def test_looked_up_run_ids_are_all_that_a_rebuilt_projection_changes():
    report = finished().report()
    renamed = {uid: run.replace("0", "e") for uid, run in report.result.runs.items()}
    before = report.files(["csv", "latex", "markdown"])
    after = StudyReport(report.result.snapshot, renamed).files(["csv", "latex", "markdown"])
    assert before != after
    for path, data in before.items():
        for uid, run in report.result.runs.items():
            data = data.replace(run.encode(), renamed[uid].encode())
        assert data == after[path]


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
    table = next(iter(nasty().report().files(["latex"]).values())).decode()
    for line in table.splitlines():
        if not line.lstrip().startswith("%"):
            assert len(re.findall(r"(?<!\\)[%#]", line)) == 0
            assert line.count("\\\\") <= 1 or "footnotesize" in line


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("build", [finished, nasty])
def test_latex_compiles(build, tmp_path):
    names = []
    for path, data in build().report().files(["latex"]).items():
        (tmp_path / Path(path).name).write_bytes(data.replace("猫".encode(), b"cat"))
        names.append(Path(path).name)
    inputs = "\n".join(rf"\input{{{name}}}" for name in names)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
    source = rf"{head}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "main.tex").write_text(source, encoding="utf-8")
    subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "main.tex"], cwd=tmp_path, check=True, timeout=60
    )
    assert (tmp_path / "main.pdf").stat().st_size > 1000


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
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
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
    assert plain.urls == evil.urls == []
    # One script of Plotly and one a stage (two and one): no label added any.
    assert plain.tags.count("script") == evil.tags.count("script") + 1
    assert '<script>alert("1")' not in page
    assert NASTY in evil.text


def test_html_offers_no_upload_of_a_chart():
    _, page = _parse(finished().report())
    assert page.count('"showSendToCloud": false') == 2


def test_html_has_every_number_with_its_address():
    study = finished()
    parsed, _ = _parse(study.report())
    text = " ".join(parsed.text)
    assert "20: 0.451" in text
    assert all(t.uid in text for t in study.trials)


def test_unknown_format_names_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'markdown'"):
        finished().report().files(["markdwn"])


def test_formula_guard_leaves_numbers_alone():
    assert [spreadsheet.guarded(t) for t in ("-0.5", "+0.1", "@x", "a=b", "-")] == ["-0.5", "+0.1", "'@x", "a=b", "-"]


def test_values_hold_every_metric_of_every_epoch():
    rows = list(csv.DictReader(io.StringIO(finished().report().files(["csv"])["values.csv"].decode())))
    assert {r["metric"] for r in rows} == {"coco/AP", "loss"}
    assert json.loads(next(r["value"] for r in rows if r["number"] == "4" and r["metric"] == "coco/AP")) == 0.05
