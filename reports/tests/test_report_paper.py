"""The paper: every part in its place, within its pages, with the user's own words, nothing wider than its column."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_report import NASTY, Builder, finished, nasty, unfinished
from zoo_study import GPU, profile, zoo

import posestudy_reports
from posestudy.errors import InputError
from posestudy.settings import Settings
from posestudy.vocabulary import Outcome
from posestudy_reports import own_text
from posestudy_reports.addressed import Number, numbers_in
from posestudy_reports.document import Document, Paragraph, Part, Shown
from posestudy_reports.fitting import LEVELS, Measured, fit
from posestudy_reports.line_breaks import loose, whole, words_of
from posestudy_reports.paper import quotable
from posestudy_reports.press import _spilled, referred
from posestudy_reports.references import bibtex
from posestudy_reports.report import StudyReport
from posestudy_reports.table_setting import GAP, MARK, SMALLEST, UNIT, entry_text, setting
from posestudy_reports.tables import Column, Entry, Row, Table


def text(data: bytes) -> str:
    pages = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)
    return " ".join(pages.replace("\u200b", "").replace("-\n", "").split())


def pages(data: bytes) -> int:
    return len(pypdf.PdfReader(io.BytesIO(data)).pages)


def said(report: StudyReport) -> str:
    """All prose of the paper, as its reader sees it but for the tables."""
    content = [*report.document.abstract, *(c for part in report.document.parts for c in part.content)]
    return " ".join(f"{c.heading} {c.text}" for c in content if isinstance(c, Paragraph))


@cache
def long_study() -> StudyReport:
    """Tables and curves of four stages: more than a page holds."""
    study = Builder(report={"pages": 1, "title": "Long"})
    for i in range(4):
        study.stage(f"stage_{i}", carried="b")
        study.cell("baseline", {})
        study.trial(scores=(0.1, 0.2, 0.3, 0.4))
        study.cell("b", {"sigma": 2.0 + i}, note="A policy in so many words that it takes a line of its own")
        study.trial(scores=(0.1, 0.2, 0.35, 0.5 + i / 100))
    return study.report()


# ---- What it says. ----


def test_parts_stand_in_the_order_of_a_paper() -> None:
    names = [part.name for part in zoo().report().document.parts]
    assert names == ["introduction", "methods", "experiments", "complexity"]
    own = finished().report()
    own.own_text = Path(__file__).parent / "no_such_folder"
    with pytest.raises(InputError, match="no such folder"):
        _ = own.document


def test_methods_tell_what_was_fixed_and_what_was_varied() -> None:
    found = said(finished().report())
    assert "The network is resnet_tiny, which gives one heatmap per keypoint for a crop of 64\u00d764 px" in found
    assert "for 20 epochs with Adam in batches of 16 at a learning rate of 1e-4" in found
    assert "the stages change its lr and sigma, and nothing else in it differs" in found
    assert "Stage 2, \u201csigma\u201d, crosses sigma (1, 2, 3) in 3 cells." in found
    assert "13 trials of 8 cells, 1 to 3 seeds a cell (seeds 0, 1 and 2)" in found


def test_a_study_that_trains_nothing_says_so() -> None:
    study = Builder()
    study.stage("zoo")
    study.cell("baseline", {})
    study.cells[-1] = replace(study.cells[-1], config={**study.cells[-1].config, "epochs": 0})
    study.trial(final_value=0.7, final_epoch=0, best_value=0.7, best_epoch=0)
    found = said(study.report())
    assert "Nothing is trained: the weights are evaluated as they were given." in found
    for never in ("learning rate of", "augmented", "constant", "at random", "at epoch"):
        assert never not in found


def test_a_study_that_trains_in_some_stages_tells_both() -> None:
    found = said(zoo().report())
    assert "for 20 epochs with Adam" in found
    assert "Stage \u201czoo\u201d only evaluates weights that were given." in found or "only evaluate weights" in found
    assert "Nothing is trained" not in found


def test_a_study_that_measured_nothing_claims_nothing() -> None:
    study = Builder()
    study.stage("lr", state="open")
    study.cell("baseline", {})
    study.trial(Outcome.FAILED)
    found = said(study.report(state="open"))
    assert "1 cell in 1 stage was tried, of which 0 completed." in found
    for never in ("The best", "Final is the value", "resolved", "Intervals"):
        assert never not in found
    assert said(Builder().report(state="open")).startswith(" No cell has been planned yet.")


def test_one_seed_and_imports_are_told_as_such() -> None:
    study = Builder()
    study.stage("lr")
    study.cell("baseline", {})
    source = {"kind": "imported", "file": "table.csv", "line": 2}
    study.trial(scores=(0.1,), provenance={}, source=source)
    study.cell("b", {"optimizer.lr": 1e-3})
    study.trial(scores=(0.2,), provenance={}, source=source)
    found = said(study.report())
    assert "2 trials of 2 cells, 1 seed a cell (seed 0). All results were imported" in found
    assert "Differences have no intervals" in found
    assert "Trials ran on" not in found
    assert "The software is" not in found


@pytest.mark.parametrize(
    ("metric", "told"),
    [("nme", "the normalised mean error (NME); less is better"), ("pck", "PCK"), ("epe", "less is better")],
)
def test_the_metric_is_the_studys(metric: str, told: str) -> None:
    report = Builder(metric=metric, stages=[]).report()
    assert told in said(report)
    assert "OKS" not in said(report)
    assert not any(r.key == "lin2014coco" for r in report.document.references)


def test_a_reader_sees_which_references_belong_to_what() -> None:
    report = finished().report()
    keys = [reference.key for reference in report.document.references]
    assert keys[0] == "he2016resnet"
    assert "kingma2015adam" in keys
    assert len(set(keys)) == len(keys)
    cited = {int(n) for group in re.findall(r"\[(\d+(?:, \d+)*)\]", said(report)) for n in group.split(", ")}
    assert cited == set(range(1, len(keys) + 1))
    assert "akiba2019optuna" not in keys
    assert "yang2021transpose" not in keys
    entries = bibtex(report.document)
    assert list(re.findall(r"@\w+\{(\w+),", entries)) == keys
    assert entries.count("{") == entries.count("}")


def test_networks_and_heads_bring_their_own_references() -> None:
    study = Builder(baseline={})
    study.stage("heads")
    study.cell("baseline", {})
    codec = {"model": "hrnet_w32", "codec": {"type": "regression"}, "loss": {"type": "rle"}}
    study.cells[-1] = replace(study.cells[-1], config={**study.cells[-1].config, **codec})
    study.trial(scores=(0.1, 0.2))
    report = study.report()
    keys = {reference.key for reference in report.document.references}
    assert {"sun2019hrnet", "li2021rle"} <= keys
    assert "xiao2018simple" not in keys
    assert "with their spread (RLE)" in said(report)
    assert "Gaussian" not in said(report)


def test_a_search_names_its_sampler_and_pruner() -> None:
    stages = [{"name": "lr", "design": "search", "sampler": {"type": "tpe"}, "pruner": {"type": "hyperband"}}]
    study = Builder(stages=stages)
    study.stage("lr", design="search")
    study.cell("a", {"optimizer.lr": 1e-3})
    study.trial(scores=(0.1, 0.2))
    report = study.report()
    assert "lets Optuna (TPE with hyperband pruning) choose 1 cell that vary lr" in said(report)
    keys = {r.key for r in report.document.references}
    assert {"akiba2019optuna", "bergstra2011tpe", "li2018hyperband"} <= keys


def test_cells_that_a_search_was_given_are_told() -> None:
    study = Builder(stages=[{"name": "lr", "design": "search", "sampler": {"type": "tpe"}}])
    study.stage("lr", design="search")
    for name, rate, note in (("a", 5e-4, "tried first"), ("b", 1e-3, "")):
        study.cell(name, {"optimizer.lr": rate}, note=note)
        study.trial(scores=(0.1, 0.2))
    assert "choose 2 cells that vary lr, 1 of them given by the study file" in said(study.report())


def test_complexity_is_told_of_each_network_with_its_machine() -> None:
    study = Builder()
    study.stage("lr")
    study.cell("baseline", {})
    measured = profile(62_009, 0.0056, 610.0)
    study.trial(scores=(0.1, 0.2), profile=measured, duration_s=24.0, provenance={"device_name": GPU})
    study.cell("b", {"optimizer.lr": 1e-3})
    study.trial(scores=(0.1, 0.3), profile=measured, duration_s=90.0, provenance={"device_name": GPU})
    (found,) = [p for part in study.report().document.parts if part.name == "complexity" for p in part.content[:1]]
    assert isinstance(found, Paragraph)
    assert found.text == (
        "The network of \u201cbaseline\u201d (resnet_tiny, heatmap, 64\u00d764 px) has 62.0k parameters, 0.0056 GFLOPs "
        "(multiply-adds) per image and a median latency of 1.6 ms per image. Latency was measured on NVIDIA H200, one "
        "image at a time. Training a trial took 24 s to 1 min 30 s, on NVIDIA H200, with at most 512 MiB of memory."
    )
    assert len(list(numbers_in([found.text]))) == 6


def test_a_study_without_profiles_tells_no_complexity() -> None:
    study = Builder()
    study.stage("lr")
    study.cell("baseline", {})
    study.trial(scores=(0.1, 0.2), duration_s=None)
    assert "complexity" not in [part.name for part in study.report().document.parts]


def test_a_stage_without_description_is_no_answer() -> None:
    study = Builder()
    study.stage("lr")
    assert "This study has one stage: \u201clr\u201d." in said(study.report())


def test_what_is_open_stands_in_front() -> None:
    assert unfinished().report(state="open").document.notices[0] == "Trials 2 and 3 running."


def test_the_numbers_of_the_abstract_have_addresses() -> None:
    (abstract,) = finished().report().document.abstract
    assert [n.address for n in numbers_in([abstract.text])] == ["sigma/sigma_2/final", "lr/baseline/final"]


# ---- The user's own words. ----

NUMBER = Number("lr/lr_3e-3/final", "0.451", 0.451, "mean", ("0" * 32,))


def paragraphs(folder: Path, content: str) -> tuple[Paragraph, ...]:
    (folder / "introduction.md").write_text(content, encoding="utf-8")
    return own_text.read(folder, {NUMBER.address: NUMBER}).of("introduction")


def test_markdown_becomes_paragraphs_lists_and_styles(tmp_path: Path) -> None:
    found = paragraphs(tmp_path, "One **bold** and *slanted* `co_de`\nstill one.\n\n## Why\n- first\n- second 2 * 3\n")
    assert [p.text for p in found] == ["One bold and slanted co_de still one.", "", "first", "second 2 * 3"]
    assert [(s.text, s.style) for s in found[0].spans] == [
        ("One ", ""), ("bold", "bold"), (" and ", ""), ("slanted", "italic"), (" ", ""), ("co_de", "code"),
        (" still one.", ""),
    ]  # fmt: skip
    assert [p.item for p in found] == [False, False, True, True]
    assert found[1].heading == "Why"


def test_a_number_is_quoted_by_its_address(tmp_path: Path) -> None:
    (found,) = paragraphs(tmp_path, "It reaches **{{ lr/lr_3e-3/final }}** at last; `{{code}}` is no number.")
    assert found.text == "It reaches 0.451 at last; {{code}} is no number."
    assert list(numbers_in([found.text])) == [NUMBER]


def test_a_wrong_address_names_file_line_and_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        paragraphs(tmp_path, "Right.\n\nNow\n it is {{lr/lr_3e3/final}}.\n")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "introduction.md"), 4)
    assert "lr/lr_3e-3/final" in problem.hint


@pytest.mark.parametrize("source", [NASTY, "#set page(width: 1cm)", r"\input{x} $x$ <b>b</b> [a](b)", "* * ** a**"])
def test_markup_of_other_kinds_stays_text(tmp_path: Path, source: str) -> None:
    (found,) = paragraphs(tmp_path, source.replace("\\", "\\\\").replace("`", "\\`").replace("*", "\\*"))
    assert found.text == source.strip()
    assert not found.spans


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_is_lost_or_refused(source: str) -> None:
    problems: list = []
    reader = own_text._Reader(Path("x.md"), {}, problems)
    found = "".join(p.heading + p.text for p in reader.read(source))
    letters = re.compile(r"[A-Za-z0-9]")
    if "{{" not in source and not re.search(r"^\s*\d{1,3}[.)]\s", source, re.MULTILINE):
        assert letters.findall(found) == letters.findall(source)


def test_own_text_survives_and_stands_in_the_paper(tmp_path: Path) -> None:
    (tmp_path / "introduction.md").write_text("Written *by hand*: {{sigma/sigma_2/final}}.", encoding="utf-8")
    (tmp_path / "conclusion.md").write_text("Nothing <b>more</b> #strong[to] say.", encoding="utf-8")
    (tmp_path / "introducton.md").write_text("lost", encoding="utf-8")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    study = Builder(report={"text": str(tmp_path)})
    full = finished()
    study.stages, study.cells, study.trials, study.values = full.stages, full.cells, full.trials, full.values
    report = study.report()
    found = text(report.printed.report)
    assert "Written by hand: 0.481." in found
    assert "This study asks" not in found
    assert "Nothing <b>more</b> #strong[to] say." in found
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    (warning,) = report.printed.warnings
    assert "introducton.md" in warning
    assert "did you mean 'introduction.md'?" in warning


def test_every_number_of_a_cell_may_be_quoted() -> None:
    known = quotable(finished().report())
    for what in ("final", "final/low", "best", "difference", "train_time"):
        assert f"lr/lr_3e-3/{what}" in known


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "methods.md").write_bytes(b"good\n\xff\xfe")
    with pytest.raises(InputError, match=r"methods\.md:2:1.*UTF-8"):
        own_text.read(tmp_path, {})


# ---- Pages. ----


def test_a_long_study_keeps_to_its_pages_and_says_what_went() -> None:
    made = long_study().printed
    assert pages(made.report) == 1
    assert made.supplement is not None
    found = text(made.report)
    assert re.search(r"Table S1 and Figures S1 to S\d+ stand in the supplement \( ?supplement\.pdf\)\.", found)
    further = text(made.supplement)
    assert "Table S1." in further
    assert "Where the numbers come from" in further


def test_the_same_study_gives_the_same_bytes() -> None:
    assert unfinished().report(state="open").printed == unfinished().report(state="open").printed


def test_declared_priorities_and_places_are_kept() -> None:
    options = {"supplement": ["1_lr_differences"], "priorities": {"2_sigma": 3, "2_sigmo": 1}}
    study = Builder(report=options)
    full = finished()
    study.stages, study.cells, study.trials, study.values = full.stages, full.cells, full.trials, full.values
    report = study.report()
    assert "1_lr_differences" not in {s.name for s in report.document.shown}
    assert {s.name: s.priority for s in report.document.shown}["2_sigma"] == 3
    (warning,) = report.printed.warnings
    assert warning.startswith("report.priorities names '2_sigmo'")
    assert "did you mean '2_sigma'?" in warning


@pytest.mark.slow
def test_a_study_with_data_and_predictions_fits_whole(tmp_path: Path) -> None:
    from predicted_study import make  # which imports MMPose, as no other test here does

    report = posestudy_reports.open(make(tmp_path), Settings.resolve(str(tmp_path / "home")))
    printed = report.printed
    assert pages(printed.report) <= 4
    assert not printed.warnings
    assert "ronchi2017benchmarking" in {reference.key for reference in report.document.references}
    captions = set(re.findall(r"(?:Table|Figure) S?\d+\. ", text(printed.report) + text(printed.supplement or b"")))
    assert len(captions) == len(report.document.shown) + 1  # and the table of trials
    parts = [part.name for part in report.document.parts]
    assert parts[:5] == ["introduction", "data_set", "methods", "experiments", "qualitative"]


def test_a_table_over_several_stages_has_their_names_before_its_rows() -> None:
    study = Builder(report={"tables": [{"form": "ablation", "name": "everything", "columns": ["cell", "final"]}]})
    full = finished()
    study.stages, study.cells, study.trials, study.values = full.stages, full.cells, full.trials, full.values
    report = study.report()
    assert report.document.shown[0].name == "everything"
    table = text(report.printed.report).partition("Ablation: lr and sigma. ")[2]
    places = [table.index(part) for part in ("lr", "baseline", "3e-3", "sigma", "sigma_2")]
    assert places == sorted(places)


def paper(priorities: list[int], limit: int) -> Document:
    table = Table("t", "T", (), (), (), ())
    shown = [Shown(f"s{i}", table, priority) for i, priority in enumerate(priorities)]
    return Document("d", "D", (), "", (Part("p", "P", (Paragraph("text"), *shown)),), pages=limit)


def measured(document: Document, level: object, _arrangement: object) -> Measured:
    """A page for every second table, and one of text; the tightest level holds three to a page."""
    each = 3 if level == LEVELS[-1] else 2
    return Measured(1 + (len(document.shown) + each - 1) // each)


def test_what_has_room_stays_as_it_is() -> None:
    found = fit(paper([50] * 4, 3), measured)
    assert found.level == LEVELS[0]
    assert len(found.document.shown) == 4
    assert not found.document.supplement


def test_things_shrink_before_they_move() -> None:
    found = fit(paper([50] * 6, 3), measured)
    assert found.level == LEVELS[-1]
    assert len(found.document.shown) == 6


def test_the_largest_priority_moves_first_and_no_more_than_must() -> None:
    found = fit(paper([10, 80, 20, 80, 30, 40, 50, 60], 3), measured)
    assert [s.name for s in found.document.shown] == ["s0", "s2", "s4", "s5", "s6", "s7"]
    (part,) = found.document.supplement
    assert [s.name for s in part.content if isinstance(s, Shown)] == ["s1", "s3"]


def test_what_spills_over_something_else_does_not_count_as_fitting() -> None:
    def spilling(document: Document, level: object, arrangement: object) -> Measured:
        return replace(measured(document, level, arrangement), spilled=("s1",) if len(document.shown) > 1 else ())

    assert [s.name for s in fit(paper([1, 50], 4), spilling).document.shown] == ["s0"]


def test_things_that_overlap_or_leave_the_page_are_found() -> None:
    at = {"page": 1, "left": 18.0, "top": 20.0, "width": 84.0, "height": 50.0}
    apart = [at | {"name": "a"}, at | {"name": "b", "top": 70.2}, at | {"name": "c", "left": 108.0}]
    assert _spilled([*apart, at | {"name": "d", "page": 2}]) == ()
    assert _spilled([*apart, at | {"name": "wide", "width": 174.0, "top": 110.0}]) == ("wide",)
    assert _spilled([at | {"name": "low", "top": 256.0}]) == ("low",)


def test_text_that_alone_is_too_long_is_printed_and_named(tmp_path: Path) -> None:
    (tmp_path / "introduction.md").write_text("\n\n".join(["A line of one's own words. " * 60] * 12), encoding="utf-8")
    report = Builder(report={"pages": 1, "text": str(tmp_path)}).report()
    made = report.printed
    assert pages(made.report) > 1
    (warning,) = made.warnings
    assert "where at most 1 page may be; shorten introduction.md (4320 words)" in warning


# ---- Nothing is wider than its column. ----

LONG = "W" * 200


def test_a_label_of_two_hundred_letters_is_broken_and_whole() -> None:
    study = Builder(description=f"Asks {LONG}", report={"title": LONG, "authors": [LONG]})
    study.stage("lr", carried="b")
    study.cell("baseline", {}, label=LONG, note=LONG)
    study.trial(scores=(0.1, 0.2, 0.3))
    study.cell("b", {"sigma": 2.0})
    study.trial(scores=(0.1, 0.3, 0.4))
    made = study.report().printed
    assert not made.warnings
    for data in (made.report, made.supplement):
        assert data is not None
        for page in pypdf.PdfReader(io.BytesIO(data)).pages:
            assert max(map(len, re.findall("W+", page.extract_text()))) < 80  # a line of the widest letter is shorter
    assert text(made.report).replace(" ", "").count(LONG) >= 3


def test_nasty_text_and_control_characters_are_set() -> None:
    made = nasty().report().printed
    assert pages(made.report) == 1
    assert not made.warnings
    study = Builder(description="a\x00b\x07c\u202ed\x1b")
    study.stage("l\x00r")
    study.cell("baseline", {}, label="x\x01y\u200b")
    study.trial(scores=(0.1, 0.2, 0.3))
    assert pages(study.report().printed.report) == 1


def width(text: str, bold: bool) -> float:
    """A face in which every letter is half as wide as it is high."""
    return len(whole(text)) * UNIT * (0.55 if bold else 0.5)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)


@given(st.lists(st.lists(WORDS, min_size=4, max_size=4), min_size=1, max_size=5), st.sampled_from([7.0, 8.0]))
@settings(max_examples=50, deadline=None)
def test_no_word_of_a_table_is_wider_than_its_column(rows: list[list[str]], points: float) -> None:
    columns = tuple(Column(f"c{i}", f"Header {i}") for i in range(4))
    made = tuple(Row(tuple(Entry(t, marks=(1,)) for t in row), (), ()) for row in rows)
    table = Table("t", "T", columns, made, (), ())
    how = setting(table, width, points, 238.0, 493.0)
    assert sum(how.widths) <= (493.1 if how.wide else 238.1)
    assert SMALLEST <= how.points <= points
    assert how.factor == 1.0
    for row in made:
        for entry, room in zip(row.entries, how.widths, strict=True):
            for word in words_of(entry_text(entry, how.run)):
                assert width(word, False) * how.points / UNIT <= room - 2 * GAP + 0.01


def test_a_table_of_too_many_columns_is_reported() -> None:
    columns = tuple(Column(f"c{i}", "Sixlet") for i in range(60))
    table = Table("t", "T", columns, (Row(tuple(Entry("0.123456") for _ in columns), (), ()),), (), ())
    assert setting(table, width, 8.0, 238.0, 493.0).factor < 1
    narrow = Table("t", "T", columns[:3], (Row((Entry("0.1"),) * 3, (), ()),), (), ())
    assert not setting(narrow, width, 8.0, 238.0, 493.0).wide
    assert MARK < 1


@given(st.text(max_size=120))
def test_places_to_break_change_no_letter(source: str) -> None:
    broken = whole(loose(source)).replace("\u00a0", " ")
    assert broken.split() == source.replace("\u200b", "").replace("\u00a0", " ").split()


def test_labels_are_put_together() -> None:
    assert referred(["Table 1", "Figure 2", "Table 2"]) == ["Tables\u00a01 and 2", "Figure\u00a02"]
    assert referred(["Figure 1", "Figure S2", "Figure S3", "Figure S4"]) == ["Figures\u00a01 and S2 to S4"]
