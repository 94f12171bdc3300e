"""A study whose every text attacks what shows it: a browser, a spreadsheet, LaTeX, Typst, Markdown, a terminal."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic_report
from test_report_browser import _rendered, needs_browser

ATTACKS = {
    "tag": "<script>document.title='planted'</script>",
    "attribute": '"><img src=x onerror="document.title=\'planted\'">',
    "quote": "' onmouseover='document.title=1' x='",
    "end of a script": "</script><svg onload=document.title='planted'>",
    "style": "</style><script>document.title='planted'</script>",
    "comment": "--><script>document.title='planted'</script><!--",
    "link": "<a href=\"javascript:document.title='planted'\">x</a>",
    "markdown link": "[x](javascript:document.title=1) ![y](file:///etc/passwd)",
    "markdown code": "``` \n<script>1</script>\n```",
    "LaTeX": r"\input{/etc/passwd}\write18{touch HARM}\immediate\openout5=HARM \end{document}",
    "LaTeX letters": r"^^5cinput{/etc/passwd} \catcode`\@=0 %",
    "Typst": '#read("/etc/passwd") #eval("1") $x$ @cite <label> //c /*',
    "formula": '=HYPERLINK("http://h","x")',
    "formula with +": "+cmd|' /C calc'!A0",
    "formula with @": "@SUM(1)",
    "formula after a tabulator": "\t=1+1",
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "turned round": "\u202egnp.exe\u202c",
}
BENIGN_TAGS = re.compile(r"<(script|img|svg|iframe|object|link|a)\b", re.IGNORECASE)


@pytest.fixture
def attack(monkeypatch: pytest.MonkeyPatch) -> str:
    text = " ".join(ATTACKS.values())
    monkeypatch.setattr(synthetic_report, "NASTY", text)
    return text


class Page(HTMLParser):
    """What a browser would load or run of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.fixture(scope="module")
def plain_tags() -> set[str]:
    return set(Page(synthetic_report.nasty().report().files(["html"])["report.html"].decode()).tags)


def test_html_gains_no_tag_no_handler_and_no_address(attack: str, plain_tags: set[str]) -> None:
    text = synthetic_report.nasty().report().files(["html"])["report.html"].decode()
    page = Page(text)
    assert set(page.tags) == plain_tags
    assert page.tags.count("script") == 1 + text.count("Plotly.newPlot(")
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "action")]
    assert not [value for value in addresses if not value.startswith(("#", "data:image/"))]


@pytest.mark.parametrize("kind", [kind for kind in ATTACKS if kind.startswith("formula")])
def test_no_cell_of_a_spreadsheet_is_a_formula(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_report, "NASTY", ATTACKS[kind])
    files = synthetic_report.nasty().report().files(["csv"])
    for name, data in files.items():
        for row in csv.reader(io.StringIO(data.decode())):
            for cell in row:
                assert cell.strip()[:1] not in ("=", "@", "+", "-") or _is_number(cell), (name, cell)


def _is_number(cell: str) -> bool:
    return cell == "-" or re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", cell) is not None


def test_latex_gains_no_command(attack: str) -> None:
    files = synthetic_report.nasty().report().files(["latex"])
    text = "\n".join(data.decode() for name, data in files.items() if name.endswith(".tex"))
    assert "immediate" in text
    assert not set(re.findall(r"\\([A-Za-z]+)", text)) & {"write", "immediate", "openout", "catcode"}
    assert "\\input{/etc" not in text
    assert "^^" not in text


def test_markdown_holds_no_tag_and_no_link_of_a_name(attack: str) -> None:
    text = synthetic_report.nasty().report().files(["markdown"])["report.md"].decode()
    assert not BENIGN_TAGS.search(text)
    assert not re.search(r"(?<!\\)\]\((javascript|file|http)", text)


def test_the_pdf_prints_the_text_and_reads_no_file(attack: str) -> None:
    import pypdf

    (data,) = (d for n, d in synthetic_report.nasty().report().files(["pdf"]).items() if n == "report.pdf")
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)
    assert "root:x:" not in text
    assert b"/JavaScript" not in data
    assert b"/Launch" not in data


@needs_browser
@pytest.mark.slow
def test_no_attack_runs_in_a_real_browser(tmp_path: Path, attack: str) -> None:
    synthetic_report.nasty().report().write(tmp_path / "out", ["html"])
    document, console = _rendered(tmp_path / "out" / "report.html", tmp_path / "profile")
    title = document.partition("<title>")[2].partition("</title>")[0]
    assert "&lt;script&gt;" in title
    assert title not in ("planted", "1")
    assert not [line for line in console if "planted" in line]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_sets_every_attack_and_obeys_none(tmp_path: Path, attack: str) -> None:
    files = synthetic_report.nasty().report().files(["latex"])
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (main,) = (name for name, data in files.items() if b"\\documentclass" in data)
    done = subprocess.run(
        ["pdflatex", "-shell-escape", "-interaction=nonstopmode", "-halt-on-error", main],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "/etc/passwd" not in done.stdout
    assert not list(tmp_path.rglob("HARM*"))
