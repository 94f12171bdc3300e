"""The tables of columns and the study's figures in every format: kept files, nothing too wide, nothing cut off."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest
from synthetic_report import NASTY, finished
from zoo_study import WIDE, draw, everything, pictured, zoo

from posestudy.home import Home
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_reports.writers import FORMATS, latex

HERE = Path(__file__).parent
MM = 72 / 25.4


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> StudyReport:
    return pictured(zoo(), Home.resolve(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def files(report) -> dict[str, bytes]:
    return report.files(FORMATS)


@pytest.fixture(scope="module")
def reader(files) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(files["report.pdf"]))


def test_the_same_ledger_and_files_give_the_same_bytes(report, files):
    again = StudyReport(report.result.snapshot, report.result.runs, pictures=report._pictures)
    assert again.files(FORMATS) == files


def test_a_study_without_profiles_and_pictures_has_none_of_it():
    found = finished().report().files(FORMATS)
    assert not [p for p in found if re.search("tradeoff|training_time|gallery|attention|columns", p)]
    assert not re.search(rb'id="figure-(tradeoff|training_time|gallery|attention)', found["report.html"])


def test_every_figure_is_in_every_format(files):
    drawn = ("tradeoff_gflops", "tradeoff_latency", "tradeoff_train_time", "training_time")
    shown = ("gallery", "attention_001_dependency", "attention_001_affect", "attention_002_dependency")
    assert {f"figures/{n}.{e}" for n in drawn for e in ("svg", "pdf", "tex")} <= set(files)
    assert {f"figures/{n}.{e}" for n in shown for e in ("jpg", "tex")} <= set(files)
    markdown, page = files["report.md"].decode(), files["report.html"].decode()
    for name in drawn + shown:
        assert len(re.findall(rf"\]\(figures/{name}\.(svg|jpg)\)", markdown)) == 1
        assert page.count(f'<figure id="figure-{name}">') == 1
    linked = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert set(linked) <= set(files)


def test_every_stage_that_asks_has_its_table_in_every_format(files):
    for i, name in enumerate(("zoo", "boxes", "precision", "losses"), start=1):
        assert {f"tables/{i}_{name}_columns.{e}" for e in ("tex", "csv")} <= set(files)
        assert f"### Costs and metrics: {name}" in files["report.md"].decode()
        assert f"<h3>Costs and metrics: {name}</h3>" in files["report.html"].decode()


def test_a_stage_that_only_evaluates_has_no_learning_curve(files):
    assert "figures/1_zoo.svg" not in files
    assert "figures/3_precision.svg" in files
    assert "curves-1" not in files["report.html"].decode()
    assert 'id="curves-3"' in files["report.html"].decode()


def test_the_csv_has_the_95th_percentile_in_a_column_of_its_own(files):
    rows = list(csv.DictReader(io.StringIO(files["tables/2_boxes_columns.csv"].decode())))
    assert [r["latency_p95_ms"] for r in rows] == ["30.3", "30.3", "383.3"]
    assert all(r["trial_uid"] for r in rows)


def test_the_points_are_there_for_programs(report):
    points = report.tradeoff
    assert set(points["cost"]) == {"gflops", "latency", "train_time"}
    assert points.set_index(["cost", "label"]).loc[("gflops", "H-A6"), "cost_mean"] == 21.8
    assert points.set_index(["cost", "label"]).loc[("gflops", "H-A6"), "on_front"]
    assert list(report.training_times["head"].unique()) == ["heatmap", "regression", "RLE", "SimCC"]


class _Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_holds_its_pictures_and_loads_nothing(files):
    parsed = _Sources()
    parsed.feed(files["report.html"].decode())
    assert sum(source.startswith("data:image/jpeg;base64,") for source in parsed.found) == 4
    own = ("#", "data:image/jpeg;base64,", "data:image/svg+xml;base64,")
    assert all(source.startswith(own) for source in parsed.found)


def _texts(page: pypdf.PageObject) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []

    def visit(text, matrix, position, font, size):
        if text.strip():
            x, y = position[4], position[5]
            found.append((matrix[0] * x + matrix[2] * y + matrix[4], matrix[1] * x + matrix[3] * y + matrix[5], text))

    page.extract_text(visitor_text=visit)
    return found


def test_the_pdf_tells_all_of_it(reader):
    text = " ".join(" ".join(p.extract_text() for p in reader.pages).split())
    for part in (
        "Costs and metrics: zoo", "AP(M)", "17.5M", "AP against cost", "a point per completed cell", "Training time",
        "The same images side by side", "Attention", "Evaluated, not trained again: the weights of trial 5.",
    ):  # fmt: skip
        assert part in text


def test_the_pdf_shows_the_pictures(reader):
    images = [image for page in reader.pages for image in page.images]
    assert len(images) == 4


def _widths(document: bytes) -> list[tuple[float, float]]:
    """(width of each page, where its rightmost text begins), mm."""
    return [
        (float(page.mediabox.width) / MM, max((x for x, _, _ in _texts(page)), default=0.0) / MM)
        for page in pypdf.PdfReader(io.BytesIO(document)).pages
    ]


def test_sixteen_columns_fit_an_upright_page(reader):
    page = next(p for p in reader.pages if "AR(L)" in p.extract_text())
    assert float(page.mediabox.width) < float(page.mediabox.height)
    starts = [x / MM for x, _, text in _texts(page) if "AR(L)" in text or text.strip() == "0.872"]
    assert starts
    assert max(starts) < 190


def test_every_column_there_is_fits_a_page():
    printed = everything().report().printed
    for document in filter(None, (printed.report, printed.supplement)):
        assert all(right < 192 for _, right in _widths(document))  # the page's right margin
    text = "".join(page.extract_text() for d in (printed.report, printed.supplement) if d for page in _pages(d))
    assert "NME" in text
    assert "Costs and metrics: a" in text


def _pages(document: bytes) -> list[pypdf.PageObject]:
    return list(pypdf.PdfReader(io.BytesIO(document)).pages)


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def _compiled(files: dict[str, bytes], folder: Path, wanted: str) -> str:
    """What pdfLaTeX says of a document that inputs the .tex files whose path matches `wanted`."""
    names = []
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
        if re.search(wanted, path):
            names.append(path)
    assert names
    inputs = "\n".join(rf"\input{{{name}}}" for name in names)
    head = (
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{amssymb,booktabs,graphicx,siunitx}\extrafloats{50}"
    )
    (folder / "main.tex").write_text(
        rf"{head}\input{{numbers}}\begin{{document}}{inputs}\end{{document}}", encoding="utf-8"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "main.tex"],
        cwd=folder, check=False, timeout=400, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@needs_latex
def test_tables_of_columns_fit_their_page_in_latex(files, tmp_path):
    assert "Overfull" not in _compiled(files, tmp_path, r"_columns\.tex$")


@needs_latex
def test_figures_compile_in_latex(files, tmp_path):
    assert "Overfull" not in _compiled(files, tmp_path, r"^figures/.*\.tex$")


@needs_latex
def test_names_that_mean_something_to_latex_compile(tmp_path):
    study = everything(rows=2, label=NASTY)
    home = Home.resolve(tmp_path / "home")
    for trial in study.trials:
        draw(home, "everything", trial.number, 1)
    written = study.report(pictures=SavedPictures(home)).files(["latex"])
    _compiled(written, tmp_path, r"(_columns|^figures/.*)\.tex$")


def test_few_columns_stand_in_one_column_of_a_page_and_many_in_both():
    narrow, wide = (latex.latex(t, "s") for t in (zoo().report().zoo_tables[2], zoo().report().zoo_tables[0]))
    assert r"\begin{table}" in narrow
    assert r"\begin{table*}" in wide
    assert len(WIDE) == 15
    assert wide.count("AR(L)") == 1


def test_names_that_are_markup_are_set_as_they_are(tmp_path):
    study = everything(rows=2, label=NASTY)
    home = Home.resolve(tmp_path)
    for trial in study.trials:
        draw(home, "everything", trial.number, 1)
    written = study.report(pictures=SavedPictures(home)).files(["markdown", "html", "pdf"])
    assert b'<script>alert("1")' not in written["report.html"].replace(b"\\u003c", b"<")
    text = "".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(written["report.pdf"])).pages)
    assert '<script>alert("1")</script>' in text.replace("\u200b", "").replace(" ", "").replace("\n", "")
    assert "<script" not in written["report.md"].decode()


def test_a_picture_that_vanished_since_takes_its_section_along(tmp_path):
    study = zoo()
    home = Home.resolve(tmp_path)
    without = {"effects", "factors", "tradeoff", "training_time"}
    assert {s.name for s in pictured(study, home).sections} == {*without, "gallery", "attention"}
    shutil.rmtree(home.runs)
    after = study.report(pictures=SavedPictures(home))
    assert {s.name for s in after.sections} == without
