"""The PDF and the curves in it: vectors and embedded fonts, the text a reader expects, and nothing cut off."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pypdf
import pytest
from synthetic_report import CREATED, NASTY, Builder, finished, nasty, unfinished

from posestudy_reports.figures import learning_curves_plotly, learning_curves_svg
from posestudy_reports.pdf import compile_pdf

SVG = "{http://www.w3.org/2000/svg}"


def read(study: Builder, **fields) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(compile_pdf(study.report(**fields))))


def text(reader: pypdf.PdfReader) -> str:
    joined = " ".join(page.extract_text() for page in reader.pages)
    return " ".join(joined.replace("\u200b", "").split())


@pytest.fixture(scope="module")
def reader() -> pypdf.PdfReader:
    return read(finished())


def test_it_says_what_the_study_found(reader):
    found = text(reader)
    assert "Which learning rate and which sigma suit drawn cats." in found
    assert "The best cell is “sigma_2” of stage “sigma”, at AP 0.481" in found
    for part in ("Stage 1: lr", "Stage 2: sigma", "20: 0.451", "0.449–0.452, n = 3", "+0.344", "diverged"):
        assert part in found


def test_every_trial_is_addressed_in_the_supplement():
    study = finished()
    supplement = study.report().printed.supplement
    found = text(pypdf.PdfReader(io.BytesIO(supplement))).replace(" ", "")
    assert all(t.uid in found for t in study.trials)


def test_pages_are_a4_with_vectors_and_no_bitmap(reader):
    page = reader.pages[0]
    assert float(page.mediabox.width) == pytest.approx(595.28, abs=0.1)
    assert float(page.mediabox.height) == pytest.approx(841.89, abs=0.1)
    assert not any(image for p in reader.pages for image in p.images)
    drawn = b"".join(_streams(page))
    # Lines of the curves, not only of the tables: several segments follow one another.
    assert drawn.count(b" l\n") > 30


def _streams(page: pypdf.PageObject) -> list[bytes]:
    """The page's own drawing and that of the forms it shows."""
    found = [page.get_contents().get_data()]
    holders = [page]
    while holders:
        forms = holders.pop().get("/Resources", {}).get("/XObject", {})
        holders += [forms[name] for name in forms]
        found += [forms[name].get_data() for name in forms]
    return found


def test_fonts_are_embedded(reader):
    fonts = [f.get_object() for p in reader.pages for f in p["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        (descendant,) = font["/DescendantFonts"]
        descriptor = descendant.get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)


def test_its_date_is_the_studys(reader):
    assert reader.metadata.creation_date.timestamp() == CREATED


def test_labels_are_set_and_never_read_as_markup():
    found = text(read(nasty())).replace(" ", "")
    for part in ('<script>alert("1")</script>', r"50%_$&#{}~^\|`x`*b*[a](b)ü"):
        assert part in found


def test_an_unfinished_study_says_what_is_open():
    found = text(read(unfinished(), state="open"))
    assert "Still open. Trials 2 and 3 running. Trial 4 waiting for a worker." in found
    assert "Stage sigma not opened yet." in found
    assert "running, epoch 10" in found


def test_a_study_before_its_first_stage_has_a_report():
    assert "No trial has been planned yet." in text(read(Builder(), state="open"))


def test_a_study_whose_trials_all_failed_has_a_report():
    from posestudy.vocabulary import Outcome

    study = Builder()
    study.stage("lr")
    study.cell("baseline", {})
    study.trial(Outcome.FAILED)
    study.cell("b", {"sigma": 2.0})
    study.trial(Outcome.CANCELLED)
    found = text(read(study))
    assert "Trial 1 failed and counted as no result" in found
    assert "The best cell" not in found


def test_svg_holds_text_and_paths_and_is_the_same_every_time():
    report = finished().report()
    svg = learning_curves_svg(report.curves[0], report.result.metric)
    assert svg == learning_curves_svg(report.curves[0], report.result.metric)
    root = ET.fromstring(svg)
    texts = {"".join(t.itertext()).strip() for t in root.iter(f"{SVG}text")}
    assert {"epoch", "AP", "1e-3", "3e-3 (carried)", "lr_1"} <= texts
    assert not list(root.iter(f"{SVG}image"))
    assert len([p for p in root.iter(f"{SVG}path") if (p.get("d") or "").count("L") >= 3]) >= 7


def test_svg_with_nasty_labels_is_well_formed():
    report = nasty().report()
    root = ET.fromstring(learning_curves_svg(report.curves[0], report.result.metric))
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert any(t.startswith(NASTY[:20]) for t in texts)


def test_hovering_names_the_trial_of_every_point():
    report = finished().report()
    figure = learning_curves_plotly(report.curves[0], report.result.metric)
    assert len(report.curves[0]) == 8
    assert all(any(curve.uid in (trace.hovertemplate or "") for trace in figure.data) for curve in report.curves[0])
